"""Which address every interface gets, Azure's reserved ones left out (RS1), and that it never depends on chance."""

from __future__ import annotations

import pytest

from testbed.errors import InputError
from testbed.model.addresses import assign_addresses, gateway_addresses, route_server_addresses, subnet_of, usable
from testbed.model.links import link_between, splits
from testbed.model.loader import parse_topology
from testbed.model.topology import Topology

DESIGN = """
name: x
regions:
  r:
    vnets:
      v:
        address_space: [10.1.0.0/16]
        subnets: {a: 10.1.0.0/24, b: 10.1.3.0/24, RouteServerSubnet: 10.1.1.64/27, GatewaySubnet: 10.1.2.0/27}
nvas:
  n1: {subnet: v/a, asn: 65001, extra_nics: [{name: outside, subnet: v/a}, {name: far, subnet: v/b}]}
  n2: {subnet: v/a, asn: 65002, ip: 10.1.0.5}
  n3: {subnet: v/b, asn: 65003, loopbacks: [203.0.113.1/32], extra_nics: [{name: out, subnet: v/b, public_ip: 203.0.113.3}]}
vms:
  m1: {subnet: v/a}
  m2: {subnet: v/a, ip: 10.1.0.4}
  m3: {subnet: v/a}
load_balancers:
  lb: {subnet: v/a, ip: 10.1.0.7, backends: [n1]}
route_servers: {rs: {vnet: v}}
gateways:
  vpn: {type: vpn, vnet: v, public_ips: [203.0.113.2]}
  er: {type: expressroute, vnet: v}
sites:
  s1: {asn: 65100, connections: [vpn]}
  s2: {asn: 65101}
tunnels:
  - {type: ipsec, between: [n2, s2], over: public}
  - {type: ipsec, between: [n3, s2], over: public}
"""


@pytest.fixture
def topology() -> Topology:
    return parse_topology(DESIGN).topology


def test_given_addresses_first_then_the_lowest_free_in_order(topology: Topology) -> None:
    taken = {name: str(nva.ip) for name, nva in topology.nvas.items()}
    taken |= {f"{name}/{nic.name}": str(nic.ip) for name, nva in topology.nvas.items() for nic in nva.extra_nics}
    taken |= {name: str(vm.ip) for name, vm in topology.vms.items()}
    assert taken == {
        "m2": "10.1.0.4",
        "n2": "10.1.0.5",
        "n1": "10.1.0.6",
        "n1/outside": "10.1.0.8",  # .7 is the load balancer's
        "n3": "10.1.3.4",
        "n1/far": "10.1.3.5",
        "n3/out": "10.1.3.6",
        "m1": "10.1.0.9",
        "m3": "10.1.0.10",
    }


def test_instances_have_the_first_usable_addresses(topology: Topology) -> None:
    assert route_server_addresses(topology, "rs") == ("10.1.1.68", "10.1.1.69")
    assert gateway_addresses(topology, "vpn") == ("10.1.2.4", "10.1.2.5")
    assert gateway_addresses(topology, "er") == ("10.1.2.6", "10.1.2.7")


def test_public_addresses_go_where_the_internet_is_needed(topology: Topology) -> None:
    assert [str(address) for address in topology.gateways["vpn"].public_ips] == ["203.0.113.2", "203.0.113.5"]
    assert topology.gateways["er"].public_ips == ()
    assert str(topology.nvas["n2"].public_ip) == "203.0.113.4"  # .1 is a loopback, .2 the gateway's, .3 an interface's
    assert topology.nvas["n3"].public_ip is None, "one of its interfaces has a public address"
    assert topology.nvas["n1"].public_ip is None
    assert [str(site.public_ip) for site in topology.sites.values()] == ["203.0.113.6", "203.0.113.7"]


def test_a_passive_vpn_gateway_has_one_public_address() -> None:
    design = parse_topology(DESIGN.replace("public_ips: [203.0.113.2]", "active_active: false")).topology
    assert len(design.gateways["vpn"].public_ips) == 1


def test_assigning_again_changes_nothing(topology: Topology) -> None:
    assert assign_addresses(topology) == topology
    assert parse_topology(DESIGN).topology == topology


def test_a_subnet_that_is_too_small_is_an_error(topology: Topology) -> None:
    vms = {f"m{number}": topology.vms["m1"].model_copy(update={"ip": None}) for number in range(300)}
    with pytest.raises(InputError, match="no free address"):
        assign_addresses(topology.model_copy(update={"vms": vms}))


def test_public_addresses_run_out() -> None:
    nvas = "".join(f"  n{number}: {{subnet: v/a, asn: 65001}}\n" for number in range(800))
    tunnels = "".join(f"  - {{type: ipsec, over: public, between: [n{number}, n{number + 1}]}}\n" for number in range(799))
    text = "name: x\nregions: {r: {vnets: {v: {address_space: [10.0.0.0/8], subnets: {a: 10.0.0.0/9}}}}}\n"
    with pytest.raises(InputError, match="has more public addresses than"):
        parse_topology(f"{text}nvas:\n{nvas}tunnels:\n{tunnels}", "x.yaml")


def test_azure_keeps_five_addresses_of_a_subnet(topology: Topology) -> None:
    subnet = subnet_of(topology, "v/RouteServerSubnet")
    assert [usable(address, subnet) for address in subnet] == [False] * 4 + [True] * 27 + [False]


def test_unknown_names_raise_key_error(topology: Topology) -> None:
    for call in (subnet_of, route_server_addresses, gateway_addresses):
        with pytest.raises(KeyError):
            call(topology, "none/none")


def test_links_are_found_either_way_and_with_dashes_in_names() -> None:
    text = "name: x\nregions: {west-europe: {}, north: {}, east: {}}\nlinks: {north-west-europe: {delay: 40ms, rate: 1gbit}}\n"
    topology = parse_topology(text).topology
    assert splits("north-west-europe", topology.regions) == [("north", "west-europe")]
    assert link_between(topology, "west-europe", "north").delay == pytest.approx(0.04)
    assert link_between(topology, "north", "west-europe").rate == pytest.approx(1e9)
    assert link_between(topology, "north", "east").delay == 0


def test_a_link_that_can_be_read_in_two_ways_is_refused() -> None:
    with pytest.raises(InputError, match="can be read as a and b-c or as a-b and c"):
        parse_topology("name: x\nregions: {a: {}, b-c: {}, a-b: {}, c: {}}\nlinks: {a-b-c: {}}\n")
