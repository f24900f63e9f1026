"""What faults break, and what is predicted while they last."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.azure.control_plane import ControlPlane, converge
from testbed.azure.impairment import INTACT, Broken
from testbed.model.loader import load_topology
from testbed.model.scenario import Fault
from testbed.model.topology import Topology
from testbed.plan.compile import compile_plan
from testbed.plan.templates import load_templates
from testbed.plan.types import Plan
from testbed.scenario.breakage import broken_by

TOPOLOGIES = Path(__file__).parents[3] / "topologies"


def design(name: str) -> tuple[Topology, Plan]:
    topology = load_topology(TOPOLOGIES / f"{name}.yaml").topology
    return topology, compile_plan(topology, templates=dict.fromkeys(load_templates(), ""))


def predicted(name: str, *faults: Fault) -> ControlPlane:
    topology, plan = design(name)
    return converge(topology, broken=broken_by(plan, faults))


def best(control: ControlPlane, node: str, prefix: str) -> set[tuple[int, ...]]:
    return {route.path.as_path for route in control.rib(node).get(prefix, ()) if route.best}


def test_no_fault_breaks_nothing() -> None:
    assert broken_by(design("dual-region")[1], ()) == INTACT


def test_a_dead_nva_has_no_routes() -> None:
    dead = predicted("active-standby", Fault(node="nva1", daemon="bgpd"))
    assert dict(dead.injected("hub1", 0))["10.21.0.0/16"] == ("10.1.0.5",)
    assert dict(dead.injected("hub2", 0))["10.11.0.0/16"] == ("10.2.0.4",)
    silent = predicted("active-standby", Fault(node="nva1", power=True), Fault(tunnel="nva1b-nva2"))
    assert dict(silent.injected("hub1", 0)) == {}


def test_a_tunnel_that_is_down_leaves_the_detour() -> None:
    assert best(predicted("three-regions", Fault(tunnel="nva1-nva2")), "nva1", "10.21.0.0/16") == {(65003, 65002, 65515)}


def test_an_instance_of_a_route_server_takes_its_sessions_with_it() -> None:
    control = predicted("dual-region", Fault(node="rs1-0"))
    states = {str(session.instance): control.down(session) for session in control.sessions if session.server == "rs1"}
    assert states == {"0": "rs1-0 does not speak BGP", "1": ""}


def test_sessions_shut_in_good_order_are_down_and_nothing_else_is() -> None:
    control = predicted("dual-region", Fault(node="nva1", session="rs1"))
    states = {str(session): control.down(session) for session in control.sessions}
    assert sorted(set(states.values())) == ["", "the session is shut"]
    assert sum(map(bool, states.values())) == 2
    assert best(control, "nva1", "10.21.0.0/16") == {(65002, 65515)}, "the tunnel's session is up"


def test_no_protected_tunnel_without_charon() -> None:
    _, plan = design("internet-overlay")
    assert broken_by(plan, (Fault(node="nva2", daemon="charon"),)).devices == {"nva1-nva2"}
    assert broken_by(plan, (Fault(node="nva1", daemon="charon"),)).devices == {"nva1-nva2", "nva1-onprem"}


def test_a_circuit_is_cut_whole_or_by_the_link() -> None:
    _, plan = design("expressroute-overlay")
    assert broken_by(plan, (Fault(link=("london-msee0", "onprem")),)).vanished == {"london-msee0-onprem"}
    assert broken_by(plan, (Fault(link=("london", "onprem")),)).vanished == {"london-msee0-onprem", "london-msee1-onprem"}


def test_the_primary_circuit_fails_and_the_longer_path_is_left() -> None:
    control = predicted("two-circuits", Fault(link=("london", "onprem")))
    assert best(control, "er1-0", "10.100.0.0/16") == {(12076, 65100, 65100, 65100)}
    assert best(control, "er2-0", "10.100.0.0/16") == set()


def test_an_msee_without_power_takes_its_links_with_it() -> None:
    _, plan = design("two-circuits")
    broken = broken_by(plan, (Fault(node="london-msee0", power=True),))
    assert broken.silent == {"london-msee0"}
    assert broken.vanished == {"-".join(wire.nodes) for wire in plan.wires if "london-msee0" in wire.nodes}


def test_what_hub_a_link_between_regions_connects() -> None:
    _, plan = design("dual-region")
    assert broken_by(plan, (Fault(link=("hub1", "hub2")),)).peerings == {frozenset(("hub1", "hub2"))}


def test_ends_that_do_not_agree() -> None:
    _, plan = design("internet-overlay")
    for what in ("key", "proposals"):
        assert broken_by(plan, (Fault(tunnel="nva1-nva2", mismatch=what),)) == Broken(devices=frozenset(("nva1-nva2",)))
    password = predicted("internet-overlay", Fault(tunnel="nva1-onprem", mismatch="password"))
    assert best(password, "nva1", "10.100.0.0/16") == set()
    assert best(password, "nva1", "10.21.0.0/16") == {(65002, 65515)}
    with pytest.raises(ValueError, match="mismatch is about a tunnel"):
        Fault(node="nva1", mismatch="key")
