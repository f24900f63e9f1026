"""Faster clocks: for every BGP speaker of a lab alike, and for nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.errors import InputError
from testbed.model.loader import load_topology
from testbed.plan.compile import compile_plan
from testbed.plan.templates import load_templates
from testbed.plan.types import Plan

TOPOLOGY = Path(__file__).parents[3] / "topologies" / "active-standby.yaml"


def planned(folder: Path, timers: str) -> Plan:
    file = folder / "quick.yaml"
    file.write_text(f"{TOPOLOGY.read_text()}\ntimers: {timers}\n")
    return compile_plan(load_topology(file).topology, templates=load_templates())


def test_all_speakers_have_the_same_fast_clock_and_bfd_has_not(tmp_path: Path) -> None:
    plan = planned(tmp_path, "{bgp: azure, time_lapse: 20}")
    assert plan.time_lapse == 20
    daemons = [(node.kind, each.name, each.environment.get("FAKETIME")) for node in plan.nodes for each in node.daemons]
    assert {clock for _, name, clock in daemons if name in ("zebra", "bgpd")} == {"+0 x20"}
    assert {clock for _, name, clock in daemons if name == "bfdd"} == {None}
    assert {kind for kind, _, clock in daemons if clock} == {"nva", "route_server"}


def test_without_a_time_lapse_the_plan_is_as_it_was(tmp_path: Path) -> None:
    plan = planned(tmp_path, "{bgp: azure}")
    assert plan.time_lapse == 1.0
    assert not [each for node in plan.nodes for each in node.daemons if each.environment]


@pytest.mark.parametrize("factor", ["0.5", "21", "fast"])
def test_a_factor_that_makes_no_sense_is_refused(tmp_path: Path, factor: str) -> None:
    with pytest.raises(InputError, match="time_lapse"):
        planned(tmp_path, f"{{time_lapse: {factor}}}")
