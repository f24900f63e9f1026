"""Hubs: who speaks BGP there, whom they serve and what they originate (RS1, RS7, GW1)."""

from __future__ import annotations

from testbed.azure.hubs import hubs
from testbed.azure.types import Speaker

from .designs import topology, two_regions, with_flags


def test_rs1_two_instances_at_the_first_usable_addresses_with_asn_65515() -> None:
    hub1, hub2 = hubs(topology(two_regions()))
    assert hub1.speakers == (
        Speaker("rs1", 0, "route_server", "10.1.1.4", 65515),
        Speaker("rs1", 1, "route_server", "10.1.1.5", 65515),
    )
    assert (hub1.vnet, hub1.route_server, hub2.vnet, hub2.route_server) == ("hub1", "rs1", "hub2", "rs2")


def test_rs7_whole_address_spaces_of_its_vnet_and_of_spokes_with_gateway_transit() -> None:
    hub1 = hubs(topology(two_regions()))[0]
    assert hub1.served == ("hub1", "spoke11")
    assert hub1.advertised == ("10.1.0.0/16", "10.11.0.0/16")


def test_rs7_not_of_a_spoke_without_gateway_transit() -> None:
    hub1 = hubs(topology(with_flags(two_regions(), "spoke11", "hub1", use_remote_gateways=False)))[0]
    assert hub1.advertised == ("10.1.0.0/16",)


def test_rs7_every_range_of_an_address_space() -> None:
    design = two_regions()
    design["regions"]["region1"]["vnets"]["spoke11"]["address_space"] = ["10.11.0.0/16", "172.20.0.0/24"]
    assert hubs(topology(design))[0].advertised == ("10.1.0.0/16", "10.11.0.0/16", "172.20.0.0/24")


def test_gw1_gateways_beside_the_route_server() -> None:
    gateways = {"er1": {"type": "expressroute", "vnet": "hub1"}, "vpn1": {"type": "vpn", "vnet": "hub1", "asn": 65010}}
    hub1 = hubs(topology(two_regions(), gateways=gateways))[0]
    assert hub1.gateways == ("er1", "vpn1")
    assert hub1.speakers[2:] == (
        Speaker("er1", 0, "expressroute", "10.1.2.4", 65515),
        Speaker("er1", 1, "expressroute", "10.1.2.5", 65515),
        Speaker("vpn1", 0, "vpn", "10.1.2.6", 65010),
        Speaker("vpn1", 1, "vpn", "10.1.2.7", 65010),
    )


def test_an_active_standby_vpn_gateway_speaks_from_one_address() -> None:
    gateways = {"vpn1": {"type": "vpn", "vnet": "hub1", "active_active": False}}
    hub1 = hubs(topology(two_regions(), gateways=gateways, route_servers={}))[0]
    assert [speaker.address for speaker in hub1.speakers] == ["10.1.2.4"]


def test_gw1_a_vnet_with_a_gateway_alone_is_a_hub() -> None:
    (hub,) = hubs(topology(two_regions(), route_servers={}, gateways={"vpn1": {"type": "vpn", "vnet": "hub2"}}))
    assert (hub.vnet, hub.route_server, hub.served) == ("hub2", None, ("hub2", "spoke21"))


def test_settings_and_limits_of_the_topology_arrive() -> None:
    design = two_regions()
    design["route_servers"]["rs1"] |= {"allow_branch_to_branch": True, "hub_routing_preference": "ASPath"}
    changes = {
        "limits": {"ecmp": 2, "routes_per_peer": 10},
        "assumptions": {"aspath_tie": "ExpressRoute", "reflect_nva_routes_with_branch_to_branch": True, "own_vnet_prefixes_learned": True},
    }
    hub1 = hubs(topology(design, **changes))[0]
    assert (hub1.preference, hub1.branch_to_branch, hub1.ecmp, hub1.routes_per_peer) == ("ASPath", True, 2, 10)
    assert (hub1.aspath_tie, hub1.reflect_nva_routes, hub1.unlearned) == ("ExpressRoute", True, ())
    assert hubs(topology(two_regions()))[0].unlearned == ("10.1.0.0/16",)


def test_no_route_server_no_gateway_no_hub() -> None:
    assert hubs(topology(two_regions(), route_servers={})) == ()
