"""The model agrees with itself on a thousand random designs; and where a side is made to lie, the comparison says so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network

import pytest
from hypothesis import HealthCheck, example, given, note, settings
from hypothesis import strategies as st

from testbed.azure.types import Address, Domain, Prefix
from testbed.model.loader import parse_topology
from testbed.model.topology import Topology, UserRoute
from testbed.plan.design_checks import check_design
from testbed.plan.openflow import SetField
from testbed.plan.paper_switch import Outcome
from testbed.plan.trace import Sent
from testbed.scenario.agreement import (
    Paper,
    choice_differences,
    decision_differences,
    disagreements,
    representatives,
    same_decision,
    walk_differences,
)
from testbed.scenario.fuzz import text_of
from testbed.scenario.generator import LENGTH, design

EACH = 340
"""Designs of one, of two and of three regions: more than a thousand in all."""

THOROUGH = settings(max_examples=EACH, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
DATA = st.binary(min_size=LENGTH, max_size=LENGTH)


def paper(data: bytes, regions: int = 3) -> Paper:
    made = design(bytes([regions - 1]) + data)
    text = text_of(made)
    note(text)
    return Paper(parse_topology(text).topology)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("regions", [1, 2, 3])
@THOROUGH
@given(data=DATA)
def test_effective_routes_and_flows_and_walks_agree(regions: int, data: bytes) -> None:
    found = paper(data, regions)
    if found.control.settled:
        assert list(disagreements(found)) == []
        assert_tables_follow_from_the_rules(found)
    else:
        assert found.control.oscillating


@settings(THOROUGH, max_examples=60)
@given(data=DATA)
def test_check_has_an_opinion_on_every_design(data: bytes) -> None:
    check_design(parse_topology(text_of(design(data))), {})


# --- E1 to E3 and RS9 once more, in few words, from the rules' text alone ---

RESERVED = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
Entry = tuple[Prefix, str, tuple[Address, ...], bool]


def assert_tables_follow_from_the_rules(found: Paper) -> None:
    for nic in found.nics:
        domain = found.tracer.index.domains[nic.domain]
        table = {(row.prefix, str(row.next_hop_type), row.next_hops, row.active) for row in found.tracer.table(nic)}
        assert table == by_the_rules(found, domain, nic.home), nic.label


def by_the_rules(found: Paper, domain: Domain, home: int) -> set[Entry]:
    topology = found.topology
    system = dict(system_rows(topology, domain.vnet))
    table = topology.route_tables.get(domain.route_table or "")
    user = {str(route.prefix): route for route in table.routes.values()} if table else {}
    propagated = table is None or not table.disable_bgp_route_propagation
    bgp = dict(found.control.injected(domain.hub, home)) if domain.hub is not None and propagated else {}
    spaces = [prefix for prefix, kind in system.items() if kind in ("VnetLocal", "VNetPeering", "VNetGlobalPeering")]
    bgp = {prefix: hops for prefix, hops in bgp.items() if not any(inside(prefix, space) for space in spaces)}  # RS9, E2
    if "0.0.0.0/0" in {*bgp, *user}:  # E3
        system = {prefix: kind for prefix, kind in system.items() if kind != "None"}
    if "0.0.0.0/0" in bgp:
        del system["0.0.0.0/0"]
    vpn = tuple(vpn_instances(topology, domain.vnet))
    return set(entries(system, bgp, {prefix: (route.next_hop_type, hops_of(route, vpn)) for prefix, route in user.items()}))


def entries(
    system: Mapping[Prefix, str], bgp: Mapping[Prefix, tuple[Address, ...]], user: Mapping[Prefix, tuple[str, tuple[Address, ...]]]
) -> Iterator[Entry]:
    """E1: of equal prefixes the user's before BGP's before the system's."""
    for prefix, (kind, hops) in user.items():
        yield prefix, kind, hops, True
    for prefix, hops in bgp.items():
        yield prefix, "VirtualNetworkGateway", hops, prefix not in user
    for prefix, kind in system.items():
        yield prefix, kind, (), prefix not in user and prefix not in bgp


def hops_of(route: UserRoute, vpn: tuple[Address, ...]) -> tuple[Address, ...]:
    """E4: the address that a UDR names, or the VPN gateway it hands its packets to."""
    if route.next_hop_type == "VirtualNetworkGateway":
        return vpn
    return (str(route.next_hop_ip),) if route.next_hop_ip else ()


def vpn_instances(topology: Topology, vnet: str) -> Iterator[Address]:
    """E4, GW1, P2, P3: the VPN gateway of the VNet itself, else of the hub whose gateways it uses; never an ExpressRoute gateway."""
    homes = {each.vnet for each in (*topology.gateways.values(), *topology.route_servers.values())}
    allowing = {(side.to, side.from_) for side in topology.peerings if side.allow_gateway_transit}
    using = [side.to for side in topology.peerings if side.from_ == vnet and side.use_remote_gateways and (vnet, side.to) in allowing]
    hub = vnet if vnet in homes else next((each for each in using if each in homes), None)
    here = [gateway for gateway in topology.gateways.values() if gateway.vnet == hub]
    for place, gateway in enumerate(here):
        first = topology.vnets()[gateway.vnet].subnets["GatewaySubnet"].network_address + 4 + 2 * place
        if gateway.type == "vpn":
            yield from (str(first + instance) for instance in range(2 if gateway.active_active else 1))


def system_rows(topology: Topology, vnet: str) -> Iterator[tuple[Prefix, str]]:
    """E3, P1, P5: the own ranges, those of VNets peered both ways, the Internet, and None for what is left of the reserved spaces."""
    kinds: dict[Prefix, str] = {str(prefix): "VnetLocal" for prefix in topology.vnets()[vnet].address_space}
    sides = {(side.from_, side.to) for side in topology.peerings}
    for one, other in sides:
        if one == vnet and (other, one) in sides:
            near = topology.region_of(one) == topology.region_of(other)
            kinds |= {str(prefix): "VNetPeering" if near else "VNetGlobalPeering" for prefix in topology.vnets()[other].address_space}
    yield from kinds.items()
    yield "0.0.0.0/0", "Internet"
    yield from ((space, "None") for space in RESERVED if not any(inside(space, prefix) for prefix in kinds))


def inside(prefix: Prefix, space: Prefix) -> bool:
    return IPv4Network(prefix).subnet_of(IPv4Network(space))


# --- where a side lies, it is found out ---

LOOPING = """
name: looping
regions:
  region1:
    vnets:
      hub1: {address_space: [10.1.0.0/16], subnets: {nva: 10.1.0.0/24, RouteServerSubnet: 10.1.1.0/26, workload: 10.1.2.0/24}}
      spoke11: {address_space: [10.11.0.0/16], subnets: {workload: 10.11.0.0/24}}
peerings:
  - {from: hub1, to: spoke11, allow_gateway_transit: true, allow_forwarded_traffic: true}
  - {from: spoke11, to: hub1, use_remote_gateways: true, allow_forwarded_traffic: true}
route_servers:
  rs1: {vnet: hub1, peers: [nva1, nva2]}
nvas:
  nva1: {subnet: hub1/nva, ip: 10.1.0.11, asn: 65001, advertise: [10.50.0.0/16], loopbacks: [10.50.0.0/16]}
  nva2: {subnet: hub1/nva, ip: 10.1.0.12, asn: 65002, advertise: [10.50.0.0/16]}
vms:
  vm11: {subnet: spoke11/workload}
"""


@pytest.fixture
def looping() -> Paper:
    return Paper(parse_topology(LOOPING).topology)


def test_a_design_of_both_kinds_of_ends_agrees(looping: Paper) -> None:
    assert list(disagreements(looping)) == []
    assert {walk.verdict for walk in looping.tracer.traces("vm11", "10.50.0.1")} == {"delivered", "loops"}


def test_a_flow_that_is_missing_is_noticed(looping: Paper) -> None:
    bridge = looping.fabric.bridges[looping.tracer.index.bridges["spoke11"].id]
    bridge.flows = {key: flow for key, flow in bridge.flows.items() if ("ipv4_dst", "10.50.0.0/16") not in flow.match}
    bridge.apply(())
    assert [each.what for each in decision_differences(looping)] == ["vm11 to 10.50.0.0"]
    assert [each.what for each in walk_differences(looping, ["vm11"])] == ["the way from vm11 to 10.50.0.0"]


def test_a_wrong_next_hop_is_noticed(looping: Paper) -> None:
    bridge = looping.fabric.bridges[looping.tracer.index.bridges["spoke11"].id]
    nva1 = looping.tracer.index.nics["nva1"]
    for key, flow in list(bridge.flows.items()):
        if flow.table == 25 and SetField("eth_dst", nva1.mac) in flow.actions:
            del bridge.flows[key]
    bridge.apply(())
    found = [str(each) for each in decision_differences(looping)]
    assert found == [
        "vm11 to 10.50.0.0: the model says nva1 or nva2, found dropped in spoke11 (the chosen next hop has just left its set) or nva2"
    ]


def test_a_brain_that_chooses_otherwise_is_noticed(looping: Paper) -> None:
    looping.control._injected["hub1", 0] = type(looping.control.injected("hub1", 0))({"10.50.0.0/16": ("10.1.0.11",)})
    assert [each.what for each in choice_differences(looping.control)] == ["rs1 instance 0, 10.50.0.0/16"]


@pytest.mark.parametrize(
    ("model", "found", "same"),
    [
        ([Sent("nva1", "nva1")], ["nva1"], True),
        ([Sent("nva1", "nva1"), Sent("nva2", "nva2")], ["nva1"], False),
        ([Sent("", "vm1", "E3: 10.0.0.0/8 leads to None")], ["!10.0.0.0/8 None: dropped"], True),
        ([Sent("", "vm1", "E3: 10.0.0.0/8 leads to None")], ["!P1: no NIC"], False),
        ([Sent("", "vm1", "P1: no NIC in hub1")], ["!10.50.0.0/16 VirtualNetworkGateway"], True),
        ([Sent("", "vm1", "E9: no public address")], ["!10.50.0.0/16 VirtualNetworkGateway"], False),
    ],
)
def test_a_drop_for_another_reason_is_not_the_same(model: list[Sent], found: list[str], same: bool) -> None:
    outcomes = [Outcome(None, "x", each[1:], {}, ()) if each.startswith("!") else Outcome(each, "x", "", {}, ()) for each in found]
    assert same_decision(model, outcomes) == same


@given(st.lists(st.tuples(st.integers(1 << 24, (224 << 24) - 1), st.integers(4, 32)), max_size=8), st.integers(1 << 24, (224 << 24) - 1))
@example([], 127 << 24)
def test_every_address_is_in_a_class_with_its_representative(prefixes: list[tuple[int, int]], number: int) -> None:
    networks = [IPv4Network((address, length), strict=False) for address, length in prefixes]
    found = [int(IPv4Network(address).network_address) for address in representatives(map(str, networks))]
    if number >> 24 != 127:
        mine = max(each for each in found if each <= number)
        assert {each for each in networks if number in range(int(each[0]), int(each[-1]) + 1)} == {
            each for each in networks if mine in range(int(each[0]), int(each[-1]) + 1)
        }
