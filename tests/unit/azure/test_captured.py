"""`compare`: all rows that Azure showed agree, differences are found and named, hostile files are refused in plain words."""

from __future__ import annotations

import copy
import io
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from testbed import cli
from testbed.azure.captured import Compared, Outcome, compare_advertised, compare_effective, compare_learned
from testbed.azure.control_plane import ControlPlane, converge
from testbed.azure.json_shapes import ROLE
from testbed.azure.predict_json import advertised_of, effective_of, learned_of, nic_subnets
from testbed.errors import InputError
from testbed.model.loader import load_topology

from .paper_designs import OVERLAY, changed

CASES = Path(__file__).parents[2] / "azure-cases"


def is_whole(file: Path) -> bool:
    """Whether all that Azure showed is in the file: a table of a few rows would differ in all the others."""
    meta = file.parents[1] / "meta.json"
    return not (meta.is_file() and json.loads(meta.read_text()).get(file.parent.name, {}).get(file.stem, {}).get("partial"))


EFFECTIVE = sorted(filter(is_whole, CASES.glob("*/expected/effective/*.json")))
BGP = sorted([*CASES.glob("*/expected/learned/*.json"), *CASES.glob("*/expected/advertised/*.json")])


@cache
def plane_of(case: Path) -> ControlPlane:
    return converge(load_topology(case / "topology.yaml").topology)


@cache
def overlay() -> ControlPlane:
    return changed(OVERLAY)


def as_azure(rows: list[dict[str, Any]]) -> str:
    """Captured rows in the shape in which az prints BGP tables."""
    kept = [{**row, "localAddress": row["instance"], "weight": 32768, "origin": "EBgp"} for row in rows if not row.get("optional")]
    instances = sorted({row["instance"] for row in kept})
    return json.dumps({f"{ROLE}{number}": [row for row in kept if row["instance"] == each] for number, each in enumerate(instances)})


def names(file: Path) -> tuple[str, str]:
    plane = plane_of(file.parents[2])
    server = next(each for each in plane.topology.route_servers if file.stem.startswith(f"{each}-"))
    return server, file.stem.removeprefix(f"{server}-")


def differences(rows: tuple[Compared, ...]) -> list[tuple[str, str]]:
    return [(row.outcome.value, row.prefix) for row in rows if row.different]


@pytest.mark.parametrize("file", EFFECTIVE, ids=lambda file: f"{file.parents[2].name}:{file.stem}")
def test_captured_effective_routes_agree(file: Path) -> None:
    rows = compare_effective(plane_of(file.parents[2]), file.stem, json.dumps({"value": json.loads(file.read_text())}), file.name)
    assert differences(rows) == []
    assert sum(row.outcome is Outcome.AGREES for row in rows) >= 4


@pytest.mark.parametrize("file", BGP, ids=lambda file: f"{file.parents[2].name}:{file.parent.name}:{file.stem}")
def test_captured_bgp_tables_agree(file: Path) -> None:
    comparison = compare_learned if file.parent.name == "learned" else compare_advertised
    for text in (as_azure(json.loads(file.read_text())), file.read_text()):
        rows = comparison(plane_of(file.parents[2]), *names(file), text, file.name)
        assert differences(rows) == []
        assert sum(row.outcome is Outcome.AGREES for row in rows) >= 4


class TestOwnOutput:
    """What `predict` prints compares as equal, and each change of it is found."""

    @pytest.mark.parametrize("nic", nic_subnets(changed(OVERLAY).topology))
    def test_effective_routes(self, nic: str) -> None:
        assert differences(compare_effective(overlay(), nic, json.dumps(effective_of(overlay(), nic)), "x")) == []

    def test_learned_and_advertised_in_another_order_of_instances(self) -> None:
        learned, advertised = learned_of(overlay(), "rs1", "nva1"), advertised_of(overlay(), "rs1", "nva1")
        swapped = {f"{ROLE}0": learned[f"{ROLE}1"], f"{ROLE}1": learned[f"{ROLE}0"]}
        assert differences(compare_learned(overlay(), "rs1", "nva1", json.dumps(swapped), "x")) == []
        assert differences(compare_advertised(overlay(), "rs1", "nva1", json.dumps(advertised), "x")) == []

    def test_a_path_that_is_longer(self) -> None:
        shown = learned_of(overlay(), "rs1", "nva1")
        shown[f"{ROLE}0"][0]["asPath"] += "-65009"
        prefix = shown[f"{ROLE}0"][0]["network"]
        assert differences(compare_learned(overlay(), "rs1", "nva1", json.dumps(shown), "x")) == [("differs", prefix)]

    def test_one_instance_only(self) -> None:
        shown = learned_of(overlay(), "rs1", "nva1") | {f"{ROLE}1": None}
        found = differences(compare_learned(overlay(), "rs1", "nva1", json.dumps(shown), "x"))
        assert {outcome for outcome, _ in found} == {"only predicted"}
        assert len(found) == len(shown[f"{ROLE}0"])

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            (lambda rows: rows.pop(0), ("only predicted", "10.11.0.0/16")),
            (lambda rows: rows[0].update(nextHopType="VNetPeering"), ("differs", "10.11.0.0/16")),
            (lambda rows: rows[0].update(state="Invalid"), ("differs", "10.11.0.0/16")),
            (lambda rows: rows.append({**rows[0], "addressPrefix": ["172.30.0.0/16"]}), ("only in Azure", "172.30.0.0/16")),
        ],
    )
    def test_a_row_that_differs(self, change: Any, expected: tuple[str, str]) -> None:
        shown = copy.deepcopy(effective_of(overlay(), "vm11"))
        change(shown["value"])
        assert differences(compare_effective(overlay(), "vm11", json.dumps(shown), "x")) == [expected]

    def test_what_is_tolerated(self) -> None:
        """Order, case, names, one row a next hop, IPv6, endpoints, further None rows."""
        rows = [
            {**row, "addressPrefix": row["addressPrefix"][0], "nextHopType": row["nextHopType"].upper(), "name": "x"}
            for row in reversed(effective_of(overlay(), "vm11")["value"])
        ]
        plain = {"nextHopIpAddress": [], "source": "Default", "state": "Active"}
        rows += [
            {**plain, "addressPrefix": ["25.4.0.0/14"], "nextHopType": "None"},
            {**plain, "addressPrefix": ["fd00::/8"], "nextHopType": "VnetLocal"},
            {**plain, "addressPrefix": ["20.60.0.0/24", "20.61.0.0/24"], "nextHopType": "VirtualNetworkServiceEndpoint"},
        ]
        assert differences(compare_effective(overlay(), "vm11", json.dumps(rows), "x")) == []

    def test_prefixes_of_the_own_vnet_are_shown_or_not(self) -> None:
        shown = learned_of(overlay(), "rs1", "nva1")
        shown[f"{ROLE}0"].append({**shown[f"{ROLE}0"][0], "network": "10.1.0.0/24"})
        rows = compare_learned(overlay(), "rs1", "nva1", json.dumps(shown), "x")
        assert [(row.prefix, row.rule[:14]) for row in rows if row.outcome is Outcome.TOLERATED] == [("10.1.0.0/24", "RS9, chapter 7")]


class TestRules:
    def test_why_a_row_is_not_there(self) -> None:
        def kept(design: dict[str, Any]) -> None:
            for nva in design["nvas"].values():
                nva["as_override"] = False

        row = {
            "nextHopIpAddress": ["10.1.0.4"],
            "nextHopType": "VirtualNetworkGateway",
            "source": "VirtualNetworkGateway",
            "state": "Active",
        }
        shown = json.dumps({"value": [{**row, "addressPrefix": [prefix]} for prefix in ("10.21.0.0/16", "10.1.7.0/24", "172.31.0.0/16")]})
        rules = {each.prefix: each.rule for each in compare_effective(changed(OVERLAY, kept), "vm11", shown, "x") if each.different}
        assert rules["10.21.0.0/16"].startswith("RS8: 65515")
        assert rules["10.1.7.0/24"].startswith("RS9, E2: inside 10.1.0.0/16")
        assert rules["172.31.0.0/16"] == "no rule gives this row"


HOSTILE = [
    "",
    "{",
    "null",
    "3",
    '"text"',
    "{}",
    '{"value": {}}',
    '{"value": [1]}',
    '{"value": [{}]}',
    '{"value": [{"addressPrefix": [7], "nextHopType": "x", "source": "x", "state": "x"}]}',
    '{"value": [{"addressPrefix": ["10.0.0.0/99"], "nextHopType": "x", "source": "x", "state": "x"}]}',
    '{"value": [{"addressPrefix": ["10.0.0.0/8"], "nextHopType": "\\u001b[31m", "source": "x", "state": "x"}]}',
    '{"value": [{"addressPrefix": ["10.0.0.0/8"], "nextHopType": null, "source": "x", "state": "x"}]}',
    "[" * 100_000,
    '{"value": ' + "9" * 5000 + "}",
    json.dumps({"RouteServiceRole_IN_0": "x"}),
    json.dumps({"RouteServiceRole_IN_0": [{"network": "x" * 10_000}]}),
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_files_are_refused(text: str) -> None:
    for comparison in (
        lambda: compare_effective(overlay(), "vm11", text, "captured.json"),
        lambda: compare_learned(overlay(), "rs1", "nva1", text, "captured.json"),
    ):
        with pytest.raises(InputError, match=r"captured\.json"):
            comparison()


class TestCommand:
    CASE = str(CASES / "ecmp-four-nvas" / "topology.yaml")
    TABLE = str(CASES / "ecmp-four-nvas" / "expected" / "effective" / "spoke-vm.json")

    @pytest.mark.parametrize(
        ("arguments", "code", "said"),
        [
            (["--effective-routes", "spoke-vm", TABLE], 0, "agrees"),
            (["--effective-routes", "hub-vm", TABLE], 1, "only in Azure"),
            (["--effective-routes", "nobody", TABLE], 2, "no NIC named nobody"),
            (["--learned-routes", "rs", "nobody", TABLE], 2, "no session of rs with nobody"),
            (["--effective-routes", "spoke-vm", "nowhere.json"], 2, "nowhere.json"),
            ([], 2, "nothing to compare with"),
        ],
    )
    def test_exit_codes(self, arguments: list[str], code: int, said: str, capfd: pytest.CaptureFixture[str]) -> None:
        assert cli.execute(["compare", self.CASE, *arguments]) == code
        assert said in "".join(capfd.readouterr())

    def test_json_from_stdin(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(Path(self.TABLE).read_bytes())))
        assert cli.execute(["compare", self.CASE, "--effective-routes", "spoke-vm", "-", "--json"]) == 0
        found = json.loads(capfd.readouterr().out)
        assert found["agrees"] is True
        assert {row["outcome"] for row in found["tables"][0]["rows"]} == {"agrees"}

    def test_stdin_that_is_no_text(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfe\x00")))
        assert cli.execute(["compare", self.CASE, "--effective-routes", "spoke-vm", "-"]) == 2
