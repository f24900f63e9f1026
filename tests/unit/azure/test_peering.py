"""Peerings: both sides, transit of gateways and of forwarded packets (P1-P5)."""

from __future__ import annotations

import pytest

from testbed.azure.peering import connections

from .designs import HUB_SIDE, pair, spoke_vnet, topology, two_regions, with_flags, without_side


def test_p1_connected_only_when_both_sides_exist() -> None:
    assert [p.peer for p in connections(topology(two_regions())).peers("hub1")] == ["spoke11", "hub2"]
    for side in (("hub1", "hub2"), ("hub2", "hub1")):
        halved = connections(topology(without_side(two_regions(), *side)))
        assert [p.peer for p in halved.peers("hub1")] == ["spoke11"]
        assert halved.between("hub2", "hub1") is None
        assert halved.accept("hub1", "hub2") == "none"


def test_p1_not_transitive() -> None:
    connected = connections(topology(two_regions()))
    assert connected.reaches("spoke11", "hub1")
    assert connected.reaches("spoke11", "spoke11")
    assert not connected.reaches("spoke11", "hub2")
    assert not connected.reaches("spoke11", "spoke21")


def test_a_peering_to_nowhere_or_to_itself_connects_nothing() -> None:
    design = two_regions()
    design["peerings"] = [*pair("hub1", "atlantis"), *pair("hub1", "hub1")]
    assert connections(topology(design)).peers("hub1") == ()


def test_p5_global_between_regions_only() -> None:
    connected = connections(topology(two_regions()))
    assert {p.peer: p.is_global for p in connected.peers("hub1")} == {"spoke11": False, "hub2": True}


def test_the_peer_has_its_address_space_and_both_sides_flags() -> None:
    peering = connections(topology(two_regions())).between("spoke11", "hub1")
    assert peering is not None
    assert peering.peer_space == ("10.1.0.0/16",)
    assert peering.local.use_remote_gateways
    assert peering.remote.allow_gateway_transit


def test_p2_the_hub_serves_a_spoke_when_both_flags_are_set() -> None:
    connected = connections(topology(two_regions()))
    assert connected.gateway_vnet("spoke11") == "hub1"
    assert connected.served_by("hub1") == ("hub1", "spoke11")


@pytest.mark.parametrize(("side", "flag"), [(("hub1", "spoke11"), "allow_gateway_transit"), (("spoke11", "hub1"), "use_remote_gateways")])
def test_p2_either_flag_missing_and_the_spoke_is_not_served(side: tuple[str, str], flag: str) -> None:
    connected = connections(topology(with_flags(two_regions(), *side, **{flag: False})))
    assert connected.gateway_vnet("spoke11") is None
    assert connected.served_by("hub1") == ("hub1",)


def test_p3_a_vnet_with_a_route_server_serves_itself_whatever_its_flags() -> None:
    design = with_flags(two_regions(), "hub1", "hub2", use_remote_gateways=True)
    design = with_flags(design, "hub2", "hub1", allow_gateway_transit=True)
    connected = connections(topology(design))
    assert connected.gateway_vnet("hub1") == "hub1"
    assert connected.served_by("hub2") == ("hub2", "spoke21")


def test_p3_a_peer_without_gateway_or_route_server_serves_nobody() -> None:
    connected = connections(topology(two_regions(), route_servers={}))
    assert connected.gateway_vnet("spoke11") is None
    assert connected.gateway_vnet("hub1") is None
    assert connected.served_by("hub1") == ()


def test_gw1_a_gateway_alone_serves_too() -> None:
    connected = connections(topology(two_regions(), route_servers={}, gateways={"vpn1": {"type": "vpn", "vnet": "hub1"}}))
    assert connected.gateway_vnet("spoke11") == "hub1"


@pytest.mark.parametrize("side", [("hub1", "spoke11"), ("spoke11", "hub1")])
def test_p4_without_access_connected_but_nothing_passes_in_either_direction(side: tuple[str, str]) -> None:
    connected = connections(topology(with_flags(two_regions(), *side, allow_virtual_network_access=False)))
    assert [p.peer for p in connected.peers("spoke11")] == ["hub1"]
    assert connected.accept("hub1", "spoke11") == "none"
    assert connected.accept("spoke11", "hub1") == "none"
    assert not connected.admits_gateways_of("spoke11", "hub1")


def test_p4_forwarded_traffic_is_the_receivers_own_flag() -> None:
    connected = connections(topology(with_flags(two_regions(), "hub1", "hub2", allow_forwarded_traffic=False)))
    assert connected.accept("hub1", "hub2") == "direct"
    assert connected.accept("hub2", "hub1") == "all"


def test_p4_the_flag_is_not_needed_where_the_topology_assumes_so() -> None:
    design = with_flags(two_regions(), "hub1", "hub2", allow_forwarded_traffic=False)
    assumed = topology(design, assumptions={"transit_without_allow_forwarded_traffic": True})
    assert connections(assumed).accept("hub1", "hub2") == "all"


def test_p4_gateways_used_with_gateway_transit_need_no_flag() -> None:
    connected = connections(topology(with_flags(two_regions(), "spoke11", "hub1", allow_forwarded_traffic=False)))
    assert connected.accept("spoke11", "hub1") == "direct"
    assert connected.admits_gateways_of("spoke11", "hub1")
    assert not connected.admits_gateways_of("hub1", "hub2")
    assert not connected.admits_gateways_of("hub1", "spoke11")


def test_served_spokes_come_in_the_order_of_the_topology() -> None:
    design = two_regions()
    design["regions"]["region1"]["vnets"]["spoke12"] = spoke_vnet(12)
    design["peerings"] = [*pair("hub1", "spoke12", HUB_SIDE, {"use_remote_gateways": True}), *design["peerings"]]
    assert connections(topology(design)).served_by("hub1") == ("hub1", "spoke12", "spoke11")
