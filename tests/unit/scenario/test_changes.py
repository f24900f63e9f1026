"""What actions make of a design, and which design stands for a lab with faults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from testbed.azure.control_plane import converge
from testbed.errors import InputError
from testbed.model.loader import load_topology, parse_topology
from testbed.model.scenario import Scenario, action_of
from testbed.model.scenario_file import load_scenario
from testbed.model.topology import Topology
from testbed.scenario.changes import changed, rehearse

TOPOLOGIES = Path(__file__).parents[3] / "topologies"


def design(name: str) -> Topology:
    return load_topology(TOPOLOGIES / f"{name}.yaml").topology


def after(topology: Topology, verb: str, **detail: Any) -> Topology:
    return changed(topology, action_of(verb, detail))


def injected(topology: Topology, hub: str = "hub1") -> dict[str, tuple[str, ...]]:
    return dict(converge(topology).injected(hub, 0))


def test_many_prefixes_come_and_go() -> None:
    before = design("route-limit")
    more = after(before, "announce", nva="nva1", prefix="172.20.0.0/24", count=3)
    assert [str(prefix) for prefix in more.nvas["nva1"].advertise] == ["10.0.0.0/8", "172.20.0.0/24", "172.20.1.0/24", "172.20.2.0/24"]
    less = after(more, "withdraw", nva="nva1", prefix="172.20.0.0/24", count=2)
    assert [str(prefix) for prefix in less.nvas["nva1"].loopbacks] == ["172.20.2.0/24"]
    assert after(less, "withdraw", nva="nva1", prefix="172.20.2.0/24") == before


def test_over_the_limit_everything_of_the_peer_goes() -> None:
    full = after(design("route-limit"), "announce", nva="nva1", prefix="172.20.0.0/24", count=19)
    assert injected(full)["10.0.0.0/8"] == ("10.1.0.4",)
    assert set(injected(after(full, "announce", nva="nva1", prefix="172.21.0.0/24"))) == {"198.51.100.0/24"}


def test_prepends_by_neighbour_keep_the_other_settings() -> None:
    before = after(design("active-standby"), "neighbor", nva="nva1", neighbor="rs1", settings={"communities": ["65001:1"]})
    changed_ = after(before, "prepend", nva="nva1", count=3, neighbor="rs1")
    assert changed_.nvas["nva1"].neighbors["rs1"].prepend == 3
    assert changed_.nvas["nva1"].neighbors["rs1"].communities == ("65001:1",)
    assert injected(changed_)["10.21.0.0/16"] == ("10.1.0.5",)
    assert injected(after(before, "prepend", nva="nva1b", count=0))["10.21.0.0/16"] == ("10.1.0.4", "10.1.0.5")


def test_stripping_lets_routes_in() -> None:
    kept = design("overlay-65515-kept")
    assert "10.21.0.0/16" not in injected(kept)
    assert "10.21.0.0/16" in injected(after(kept, "strip", nva="nva1", asns=[65515]))
    assert "10.21.0.0/16" in injected(after(kept, "as_override", nva="nva1", enabled=True))


def test_peers_route_servers_and_tables_change() -> None:
    eight = design("eight-nvas")
    seven = after(eight, "remove_peer", route_server="rs1", nva="nva8")
    assert after(seven, "add_peer", route_server="rs1", nva="nva9").route_servers["rs1"].peers[-1] == "nva9"
    assert after(eight, "branch_to_branch", route_server="rs1", enabled=True).route_servers["rs1"].allow_branch_to_branch
    assert after(eight, "preference", route_server="rs1", value="ASPath").route_servers["rs1"].hub_routing_preference == "ASPath"
    udr = design("no-overlay-udr")
    assert not after(udr, "propagation", table="nva1-static", enabled=True).route_tables["nva1-static"].disable_bgp_route_propagation
    assert after(udr, "route", table="nva1-static", route="to-spoke21").route_tables["nva1-static"].routes == {}


@pytest.mark.parametrize("path", sorted((TOPOLOGIES.parent / "scenarios").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_change_of_the_scenarios_is_possible_in_its_turn(path: Path) -> None:
    loaded = load_scenario(path)
    rehearse(loaded.scenario, loaded.topology.topology)


def test_a_change_that_is_not_possible_in_its_turn_is_found_before_anything_is_built() -> None:
    steps = [{"stage": "twice", "do": [{"withdraw": {"nva": "nva1", "prefix": "10.0.0.0/8"}}] * 2}]
    wrong = Scenario.model_validate({"name": "s", "topology": "supernet.yaml", "steps": steps})
    with pytest.raises(InputError, match=r"s, stage 'twice': nva1 does not announce 10\.0\.0\.0/8"):
        rehearse(wrong, design("supernet"))


def test_captures_and_faults_change_no_design() -> None:
    before = design("three-regions")
    assert after(before, "capture", file="x", node="nva1") is before
    assert after(before, "fail", node="nva1") is before


@pytest.mark.parametrize(
    ("name", "verb", "detail", "message"),
    [
        ("eight-nvas", "add_peer", {"route_server": "rs1", "nva": "nva9"}, r"as many as it may have \(RS6\)"),
        ("eight-nvas", "add_peer", {"route_server": "rs1", "nva": "nva1"}, "is a peer of rs1 already"),
        ("eight-nvas", "remove_peer", {"route_server": "rs1", "nva": "nva9"}, "is no peer of rs1"),
        ("eight-nvas", "announce", {"nva": "nva1", "prefix": "10.0.0.0/8"}, "announces 10.0.0.0/8 already"),
        ("eight-nvas", "announce", {"nva": "nva1", "prefix": "255.255.255.0/24", "count": 2}, "no 2 prefixes from"),
        ("eight-nvas", "withdraw", {"nva": "nva1", "prefix": "10.9.0.0/16"}, "does not announce 10.9.0.0/16"),
        ("eight-nvas", "neighbor", {"nva": "nva1", "neighbor": "rs9", "settings": {}}, "no neighbour named rs9"),
        ("eight-nvas", "propagation", {"table": "none", "enabled": True}, "no route table named none"),
        ("eight-nvas", "branch_to_branch", {"route_server": "rs9", "enabled": True}, "no Route Server named rs9"),
        ("no-overlay-udr", "route", {"table": "nva1-static", "route": "none"}, "has no route none"),
        ("no-overlay-udr", "route", {"table": "nva1-static", "route": "x", "next_hop_type": "None"}, "needs a prefix"),
    ],
)
def test_what_cannot_be_done_is_refused(name: str, verb: str, detail: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        changed(design(name), action_of(verb, detail))


def test_a_ninth_peer_is_refused_before_anything_is_built() -> None:
    text = (TOPOLOGIES / "eight-nvas.yaml").read_text()
    with pytest.raises(InputError, match=r"RS6") as caught:
        parse_topology(text.replace("nva8]", "nva8, nva9]"), "nine.yaml")
    assert str(caught.value.problems[0]).startswith("nine.yaml:")
