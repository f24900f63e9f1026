"""Walks over the plan: the designs of docs/azure-routing.md chapter 5, and agreement with the computed flows."""

from __future__ import annotations

import pytest

from testbed.azure.control_plane import ControlPlane, converge
from testbed.errors import InputError
from testbed.model.loader import parse_topology
from testbed.model.topology import Topology
from testbed.plan.explain import explain_pair
from testbed.plan.trace import Tracer, walk_nodes

from . import designs
from .fake_switch import FakeFabric

SPOKE21_CLOSED = "{from: spoke21, to: hub2, use_remote_gateways: true}"
SECOND_NVA = "  nva1b: {subnet: hub1/nva, ip: 10.1.0.5, asn: 65003, as_override: true}\n  nva2: {"


def tracer(topology: Topology) -> Tracer:
    return Tracer(designs.compiled(topology), converge(topology))


def made(*changes: tuple[str, str], tail: str = designs.OVERLAY) -> Topology:
    text = designs.DUAL_REGION
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return parse_topology(text + tail).topology


@pytest.mark.parametrize(
    ("source", "destination", "nodes", "ttl_down"),
    [
        ("vm11", "vm21", ("vm11", "nva1", "nva2", "vm21"), 2),
        ("vm21", "vm12", ("vm21", "nva2", "nva1", "vm12"), 2),
        ("vm11", "vmh2", ("vm11", "nva1", "nva2", "vmh2"), 2),
        ("vmh1", "vmh2", ("vmh1", "vmh2"), 0),
        ("nva1", "vm21", ("nva1", "nva2", "vm21"), 1),
    ],
)
def test_overlay(source: str, destination: str, nodes: tuple[str, ...], ttl_down: int) -> None:
    found = tracer(designs.overlay())
    walk = found.trace(source, found.index.nics[destination].ip)
    assert (walk.verdict, walk.nodes, walk.ttl_down) == ("delivered", nodes, ttl_down)
    assert walk.tunnels == (("nva1-nva2",) if "nva2" in nodes else ())
    assert walk_nodes(found.plan, found.control, source, walk.destination) == nodes


def test_no_overlay_loops_at_the_nva() -> None:
    found = tracer(designs.no_overlay())
    walk = found.trace("vm11", "10.21.0.4")
    assert (walk.verdict, walk.at, walk.cycle) == ("loops", "nva1", ("nva1",))
    assert found.trace("vmh1", "10.2.3.4").verdict == "delivered"


def test_65515_kept_is_a_drop_and_says_which_route_was_refused() -> None:
    topology = made((", as_override: true", ""))
    explanation = explain_pair(topology, "vm11", "vm21")
    assert explanation.there.walk.reason == "E3: 10.0.0.0/8 leads to None"
    assert any("RS8" in hint and "65001 65002 65515" in hint for hint in explanation.there.hints)
    assert explanation.symmetric is None


def test_equal_cost_paths_are_all_walked() -> None:
    topology = made(
        ("  nva2: {", SECOND_NVA),
        ("peers: [nva1]", "peers: [nva1, nva1b]"),
        tail="tunnels:\n  - {type: vxlan, between: [nva1, nva2]}\n  - {type: vxlan, between: [nva1b, nva2]}\n",
    )
    found = tracer(topology)
    walks = found.traces("vm11", "10.21.0.4")
    assert {walk.nodes for walk in walks} == {("vm11", "nva1", "nva2", "vm21"), ("vm11", "nva1b", "nva2", "vm21")}
    assert walks[0].steps[1].choices == ("nva1", "nva1b")
    assert {walk.nodes[2] for walk in found.traces("vm21", "10.11.0.4")} == {"nva1", "nva1b"}
    assert "for other flows" in explain_pair(topology, "vm11", "vm21").text()


def test_udrs_replace_the_overlay() -> None:
    tables = """
route_tables:
  one:
    subnets: [hub1/nva]
    disable_bgp_route_propagation: true
    routes: {a: {prefix: 10.21.0.0/16, next_hop_type: VirtualAppliance, next_hop_ip: 10.2.0.4}}
  two:
    subnets: [hub2/nva]
    disable_bgp_route_propagation: true
    routes: {a: {prefix: 10.11.0.0/16, next_hop_type: VirtualAppliance, next_hop_ip: 10.1.0.4}}
"""
    found = tracer(made(tail=designs.NO_OVERLAY + tables))
    walk = found.trace("vm11", "10.21.0.4")
    assert (walk.verdict, walk.nodes, walk.ttl_down) == ("delivered", ("vm11", "nva1", "nva2", "vm21"), 2)
    missing = found.trace("vm12", "10.21.0.4")
    assert missing.verdict == "delivered"
    back = explain_pair(found.control.topology, "vm21", "vm12").there  # its UDR is missing, and propagation is off
    assert (back.walk.verdict, back.walk.at) == ("dropped", "nva2")
    assert any(hint.startswith("E5") for hint in back.hints)


def test_what_is_not_served_is_dropped_with_a_hint() -> None:
    topology = made(("{from: spoke11, to: hub1, use_remote_gateways: true, ", "{from: spoke11, to: hub1, "))
    explanation = explain_pair(topology, "vm11", "vm21")
    assert explanation.there.walk.verdict == "dropped"
    assert any(hint.startswith("P2: spoke11 gets no routes") for hint in explanation.there.hints)
    assert explanation.back is not None
    assert any("advertises spoke11" in hint for hint in explanation.back.hints)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("{from: spoke21, to: hub2, use_remote_gateways: true, allow_forwarded_traffic: true}", SPOKE21_CLOSED), "P4"),
        (("nva2: {", "nva2: {enable_ip_forwarding: false, "), "E8"),
    ],
)
def test_flags_that_drop(change: tuple[str, str], reason: str) -> None:
    walk = tracer(made(change)).trace("vm11", "10.21.0.4")
    assert walk.verdict == "dropped"
    assert walk.reason.startswith(reason)


def udr(next_hop: str, prefix: str = "10.99.0.0/16") -> str:
    """A user-defined route of spoke11, as the tail of a topology."""
    route = f"{{prefix: {prefix}, next_hop_type: VirtualAppliance, next_hop_ip: {next_hop}}}"
    return f"route_tables:\n  t: {{subnets: [spoke11/workload], routes: {{r: {route}}}}}\n"


def test_rs2_a_route_server_carries_nothing() -> None:
    walk = tracer(made(tail=designs.OVERLAY + udr("10.1.1.4"))).trace("vm11", "10.99.0.1")
    assert (walk.verdict, walk.at, walk.nodes) == ("dropped", "rs1-0", ("vm11",))


@pytest.mark.parametrize(("forwarding", "reason"), [("", "E8"), (", enable_ip_forwarding: true", "vmh1 does not forward")])
def test_e8_a_nic_without_ip_forwarding_gets_only_what_is_its_own(forwarding: str, reason: str) -> None:
    topology = made(
        ("vmh1: {subnet: hub1/workload}", f"vmh1: {{subnet: hub1/workload{forwarding}}}"), tail=designs.OVERLAY + udr("10.1.3.4")
    )
    walk = tracer(topology).trace("vm11", "10.99.0.1")
    assert (walk.verdict, walk.at) == ("dropped", "vmh1")
    assert walk.reason.startswith(reason)


def test_e9_the_fabric_translates_for_the_nics_own_address_only() -> None:
    internet = "route_tables:\n  n: {subnets: [hub1/nva], routes: {r: {prefix: 0.0.0.0/0, next_hop_type: Internet}}}\n"
    table = internet + udr("10.1.0.4", "0.0.0.0/0").removeprefix("route_tables:\n")
    public = ("nva1: {subnet: hub1/nva,", "nva1: {subnet: hub1/nva, public_ip: 203.0.113.1,")
    found = tracer(made(public, tail=designs.OVERLAY + table))
    assert found.trace("nva1", "8.8.8.8").at == "internet"
    walk = found.trace("vm11", "8.8.8.8")
    assert (walk.verdict, walk.at, walk.nodes) == ("dropped", "nva1", ("vm11", "nva1"))
    assert walk.reason.startswith("E9: nva1 has no public address for 10.11.0.4")


def test_a_tunnel_whose_end_lies_inside_itself() -> None:
    found = tracer(designs.overlay())
    kernel = dict(found.control.fib("nva1"))
    del kernel["10.2.0.4/32"]
    found.control.__dict__["_fibs"]["nva1"] = kernel
    walk = found.trace("vm11", "10.21.0.4")
    assert (walk.verdict, walk.at) == ("dropped", "nva1")
    assert "nva1-nva2 itself" in walk.reason


def test_explanations_name_what_does_not_exist() -> None:
    for source, destination in (("nobody", "vm11"), ("vm11", "nowhere"), ("vm11", "10.1.2.300")):
        with pytest.raises(InputError):
            explain_pair(designs.overlay(), source, destination)


def test_explanation_in_words_and_as_data() -> None:
    found = explain_pair(designs.overlay(), "vm11", "vmh2")
    assert designs.golden("explain-vm11-vmh2.txt", found.text() + "\n")
    assert found.to_json()["symmetric"] is True
    assert found.to_json()["there"]["walks"][0]["nodes"] == ("vm11", "nva1", "nva2", "vmh2")
    assert explain_pair(designs.overlay(), "vm11", "10.77.0.1").back is None


@pytest.mark.parametrize("topology", [designs.overlay(), designs.no_overlay()], ids=["overlay", "no overlay"])
def test_every_fabric_step_agrees_with_the_flows(topology: Topology) -> None:
    """The walk decides by effective routes, the switch by flows computed from them: both must hand the packet to the same NIC."""
    found = tracer(topology)
    fabric = FakeFabric(found.plan)
    fabric.program(_injected(found.control))
    compared = 0
    for source in found.index.nics.values():
        for target in found.index.nics.values():
            for step in found.trace(source.node, target.ip).steps:
                if step.where == "fabric":
                    outer = step.headers[0]
                    sent = fabric.send(step.nic, outer.destination, ipv4_src=outer.source)
                    assert (sent.nic or "") == step.to, f"{step} {sent}"
                    compared += 1
    assert compared > 100


def _injected(control: ControlPlane) -> dict[str, dict[str, tuple[str, ...]]]:
    return {hub.vnet: dict(control.injected(hub.vnet, 0)) for hub in control.hubs}
