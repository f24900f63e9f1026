"""Where links are listened to, what a fault takes down, and BGP tables held against the prediction."""

from __future__ import annotations

import pytest

from testbed.azure.control_plane import converge
from testbed.errors import InputError
from testbed.model.loader import parse_topology
from testbed.model.scenario import Fault
from testbed.model.topology import Topology
from testbed.plan.compile import compile_plan
from testbed.plan.templates import load_templates
from testbed.plan.types import Plan
from testbed.scenario.lab_view import TableRow
from testbed.scenario.places import called, links_of, places_of
from testbed.scenario.table_agreement import table_differences

DESIGN = """
name: onprem
regions:
  region1:
    vnets:
      hub1:
        address_space: [10.1.0.0/16]
        subnets: {nva: 10.1.0.0/24, RouteServerSubnet: 10.1.1.0/26, GatewaySubnet: 10.1.2.0/26}
  region2: {vnets: {hub2: {address_space: [10.2.0.0/16], subnets: {nva: 10.2.0.0/24}}}}
peerings: [{from: hub1, to: hub2}, {from: hub2, to: hub1}]
route_servers: {rs1: {vnet: hub1, peers: [nva1]}}
nvas:
  nva1: {subnet: hub1/nva, ip: 10.1.0.4, asn: 65001, public_ip: 203.0.113.9}
  nva2: {subnet: hub2/nva, ip: 10.2.0.4, asn: 65002}
tunnels: [{type: ipsec, between: [nva1, nva2]}, {type: ipsec, between: [nva1, rome], over: public}]
gateways: {er1: {type: expressroute, vnet: hub1}}
circuits: {london: {gateways: [er1]}}
sites:
  paris: {asn: 65100, prefixes: [10.100.0.0/16], circuits: [london]}
  rome: {asn: 65200, prefixes: [10.200.0.0/16], public_ip: 203.0.113.3}
"""


@pytest.fixture(scope="module")
def topology() -> Topology:
    return parse_topology(DESIGN).topology


@pytest.fixture(scope="module")
def plan(topology: Topology) -> Plan:
    return compile_plan(topology, templates=load_templates())


def test_the_link_between_regions_is_in_the_fabric(plan: Plan) -> None:
    assert places_of(plan, ("hub2", "hub1")) == {"fabric": (plan.fabric, plan.peerings[0].ends[0].id)}


def test_a_circuit_is_all_its_wires(plan: Plan) -> None:
    assert set(places_of(plan, ("er1", "london"))) == {f"er1-{one}-london-msee{other}" for one in (0, 1) for other in (0, 1)}
    assert places_of(plan, ("paris", "london-msee1")) == {"london-msee1-paris": (plan.node("london-msee1").id, "w2")}


def test_a_nic_and_a_line_to_the_internet(plan: Plan) -> None:
    assert places_of(plan, ("nva1", "hub1")) == {"nva1": (plan.node("nva1").id, "eth0")}
    assert places_of(plan, ("rome", "internet")) == {"rome": (plan.node("rome").id, "eth0")}


@pytest.mark.parametrize("link", [("hub1", "hub1"), ("er1", "rome"), ("nva2", "hub1"), ("nva1", "internet")])
def test_no_link(plan: Plan, link: tuple[str, str]) -> None:
    with pytest.raises(InputError, match="no link of its own"):
        places_of(plan, link)


def test_what_a_node_may_be_called() -> None:
    assert called("er1-0") == ("er1-0", "er1")
    assert called("london-msee1") == ("london-msee1", "london")
    assert called("my-nva") == ("my-nva",)


def test_what_a_fault_takes_down(plan: Plan) -> None:
    assert links_of(plan, Fault(tunnel="nva1-nva2")) == [{"tunnel": "nva1-nva2"}]
    assert links_of(plan, Fault(link=("hub1", "hub2"))) == [{"peering": ["hub1", "hub2"]}]
    assert links_of(plan, Fault(link=("london", "paris"))) == [{"wire": [f"london-msee{number}", "paris"]} for number in (0, 1)]


def test_tables_are_held_against_the_prediction(topology: Topology) -> None:
    control = converge(topology)
    right = [
        TableRow("10.100.0.0/16", (65100,), control.rib("london-msee0")["10.100.0.0/16"][0].path.next_hop, True, True),
        *(
            TableRow("10.1.0.0/16", (65515,), route.path.next_hop, route.best, route.used)
            for route in control.rib("london-msee0")["10.1.0.0/16"]
        ),
        TableRow("10.9.0.0/16", (65515, 12076), "198.18.0.9", True, True, for_show=True),
    ]
    assert table_differences(control, {"london-msee0": right}) == ()
    wrong = [TableRow("10.100.0.0/16", (65101,), "x", True, True)]
    lines = table_differences(control, {"london-msee0": [*wrong, *right[1:]]})
    assert lines[0].startswith("london-msee0: predicted and not in its BGP table: 10.100.0.0/16 via")
    assert lines[1] == "london-msee0: in its BGP table and not predicted: 10.100.0.0/16 via x, AS path 65101 (best)"
    assert len(table_differences(control, {"london-msee0": right[:2]})) == 1
