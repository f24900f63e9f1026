"""The designs that were really deployed: every row that Azure showed comes out (tests/azure-cases)."""

from __future__ import annotations

import importlib.util
import json
from argparse import Namespace
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from testbed.azure.control_plane import ControlPlane, converge
from testbed.azure.predict_json import advertised_of, effective_of, gateway_learned, learned_of, router_learned
from testbed.model.loader import load_topology
from testbed.plan.compile import compile_plan
from testbed.plan.templates import load_templates
from testbed.plan.trace import Tracer
from testbed.plan.walk import Walk

CASES = Path(__file__).parents[2] / "azure-cases"
KINDS = ("effective", "learned", "advertised", "gateways", "sites", "msee")


def load_compare() -> ModuleType:
    spec = importlib.util.spec_from_file_location("azure_cases_compare", CASES / "compare.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


compare = load_compare()
TOLERANT = Namespace(inferred=False, strict=False)


def tables() -> Iterator[Any]:
    for file in sorted(CASES.glob("*/expected/*/*.json")):
        if file.parent.name in KINDS:
            yield pytest.param(file, id=str(file.relative_to(CASES)).replace("/expected/", ":").removesuffix(".json"))


@cache
def plane_of(case: Path) -> ControlPlane:
    return converge(load_topology(case / "topology.yaml").topology)


def predicted(plane: ControlPlane, kind: str, name: str) -> dict[str, Any]:
    if kind in ("learned", "advertised"):
        server = next(each for each in plane.topology.route_servers if name.startswith(f"{each}-"))
        return (learned_of if kind == "learned" else advertised_of)(plane, server, name.removeprefix(f"{server}-"))
    return {"effective": effective_of, "gateways": gateway_learned, "sites": router_learned, "msee": router_learned}[kind](plane, name)


@pytest.mark.parametrize("file", [*tables()])
def test_as_captured(file: Path, tmp_path: Path) -> None:
    actual = predicted(plane_of(file.parents[2]), file.parent.name, file.stem)
    check = compare.compare_effective if file.parent.name == "effective" else compare.compare_bgp
    assert check(file, actual, TOLERANT) == []


def bans() -> Iterator[Any]:
    """What must be absent, also from tables of which nothing else is expected."""
    for file in sorted(CASES.glob("*/expected/absent.json")):
        for kind, by_name in json.loads(file.read_text()).items():
            for name in by_name:
                yield pytest.param(file, kind, name, id=f"{file.parents[1].name}:{kind}/{name}")


@pytest.mark.parametrize(("file", "kind", "name"), [*bans()])
def test_absent(file: Path, kind: str, name: str) -> None:
    actual = predicted(plane_of(file.parents[1]), kind, name)
    banned = json.loads(file.read_text())[kind][name]
    if kind == "effective":
        rows = compare.effective_table(compare.rows_of(actual))
        found = [
            (key, hops)
            for ban in banned
            for key, hops in rows.items()
            if key[0] == ban["addressPrefix"]
            and key[2] == "active"
            and ban.get("nextHopType", key[3]).lower() == key[3]
            and set(ban.get("nextHopIpAddress", [])) <= hops
        ]
    else:
        found = [row for ban in banned for row in compare.rows_of(actual) if row["network"] == ban["network"]]
    assert found == []


@pytest.mark.parametrize("case", sorted(path.parents[1].name for path in CASES.glob("*/expected/packets.json")))
def test_packets_take_the_captured_ways(case: str) -> None:
    file = CASES / case / "expected/packets.json"
    plane = plane_of(CASES / case)
    tracer = Tracer(compile_plan(plane.topology, templates=load_templates()), plane)
    for wanted in json.loads(file.read_text()):
        walks, hops = tracer.traces(wanted["from"], wanted["to"]), wanted.get("hops", [])
        assert {walk.verdict for walk in walks} == {wanted["result"]}
        assert all(nvas_of(walk, plane)[: len(hops)] == hops for walk in walks)


def nvas_of(walk: Walk, plane: ControlPlane) -> list[str]:
    return [node for node in walk.nodes[1:-1] if node in plane.topology.nvas]


@pytest.mark.parametrize("case", sorted(path.parent.name for path in CASES.glob("*/topology.yaml")))
def test_settles(case: str) -> None:
    plane = plane_of(CASES / case)
    assert plane.settled
    assert not plane.oscillating


def test_comparison_can_fail(tmp_path: Path) -> None:
    file = CASES / "ecmp-four-nvas/expected/effective/spoke-vm.json"
    actual = predicted(plane_of(file.parents[2]), "effective", "spoke-vm")
    del actual["value"][0]
    assert compare.compare_effective(file, actual, TOLERANT)
