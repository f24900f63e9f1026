"""Routing domains: every subnet in exactly one, with what its route table says (chapter 4, E4, E5)."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from testbed.azure.domains import domains, home

from .designs import pair, topology, two_regions, with_flags


def with_tables(**tables: Any) -> dict[str, Any]:
    return {**two_regions(), "route_tables": tables}


def test_one_domain_a_vnet_where_there_is_no_route_table() -> None:
    found = domains(topology(two_regions()))
    assert [(d.id, d.vnet, d.route_table, d.subnets) for d in found] == [
        (1, "hub1", None, ("hub1/nva", "hub1/RouteServerSubnet", "hub1/GatewaySubnet")),
        (2, "spoke11", None, ("spoke11/workload",)),
        (3, "hub2", None, ("hub2/nva", "hub2/RouteServerSubnet", "hub2/GatewaySubnet")),
        (4, "spoke21", None, ("spoke21/workload",)),
    ]


def test_one_more_for_each_route_table_in_use_there() -> None:
    found = domains(topology(with_tables(t={"subnets": ["hub1/nva", "spoke21/workload"]})))
    assert [(d.vnet, d.route_table) for d in found] == [
        ("hub1", "t"),
        ("hub1", None),
        ("spoke11", None),
        ("hub2", None),
        ("spoke21", "t"),
    ]


@given(st.lists(st.sampled_from(["hub1/nva", "hub1/GatewaySubnet", "spoke11/workload", "spoke21/workload"]), max_size=4), st.booleans())
def test_every_subnet_is_in_exactly_one_domain(subnets: list[str], swapped: bool) -> None:
    tables = {"a": {"subnets": subnets[:2]}, "b": {"subnets": subnets[2:]}}
    made = topology(with_tables(**dict(reversed(tables.items())) if swapped else tables))
    listed = [subnet for domain in domains(made) for subnet in domain.subnets]
    assert sorted(listed) == sorted(f"{vnet}/{subnet}" for vnet, each in made.vnets().items() for subnet in each.subnets)
    assert len({domain.id for domain in domains(made)}) == len(domains(made))


def test_of_a_subnet_in_two_route_tables_the_first_counts() -> None:
    tables = with_tables(a={"subnets": ["spoke11/workload"]}, b={"subnets": ["spoke11/workload"]})
    assert [domain.route_table for domain in domains(topology(tables)) if domain.vnet == "spoke11"] == ["a"]


def test_a_vnet_without_subnets_has_no_domain() -> None:
    design = two_regions()
    design["regions"]["region1"]["vnets"]["empty"] = {"address_space": ["10.99.0.0/16"]}
    assert "empty" not in {domain.vnet for domain in domains(topology(design))}


def test_ids_do_not_depend_on_peerings() -> None:
    design = {**two_regions(), "peerings": []}
    later = {**design, "peerings": pair("hub1", "spoke11")}
    assert [(d.id, d.vnet) for d in domains(topology(design))] == [(d.id, d.vnet) for d in domains(topology(later))]


def test_e5_propagation_can_be_disabled() -> None:
    tables = with_tables(off={"subnets": ["hub1/nva"], "disable_bgp_route_propagation": True})
    assert [domain.propagate for domain in domains(topology(tables))] == [False, True, True, True, True]


def test_p2_the_hub_that_injects() -> None:
    design = with_flags(two_regions(), "spoke21", "hub2", use_remote_gateways=False)
    assert [domain.hub for domain in domains(topology(design))] == ["hub1", "hub1", "hub2", None]


def test_user_routes_carry_name_type_and_next_hop() -> None:
    routes = {
        "to-nva": {"prefix": "10.21.0.0/16", "next_hop_type": "VirtualAppliance", "next_hop_ip": "10.1.0.4"},
        "drop": {"prefix": "10.66.0.0/16", "next_hop_type": "None"},
        "out": {"prefix": "0.0.0.0/0", "next_hop_type": "Internet"},
    }
    found = domains(topology(with_tables(t={"subnets": ["spoke11/workload"], "routes": routes})))
    assert [(r.name, r.prefix, str(r.next_hop_type), str(r.source), r.next_hops) for r in found[1].user] == [
        ("to-nva", "10.21.0.0/16", "VirtualAppliance", "User", ("10.1.0.4",)),
        ("drop", "10.66.0.0/16", "None", "User", ()),
        ("out", "0.0.0.0/0", "Internet", "User", ()),
    ]


def test_a_user_route_to_the_gateway_leads_to_the_vpn_gateway_that_serves_the_vnet() -> None:
    design = with_tables(
        t={
            "subnets": ["spoke11/workload", "spoke21/workload"],
            "routes": {"on-prem": {"prefix": "10.100.0.0/16", "next_hop_type": "VirtualNetworkGateway"}},
        }
    )
    design["gateways"] = {"er1": {"type": "expressroute", "vnet": "hub1"}, "vpn1": {"type": "vpn", "vnet": "hub1"}}
    by_vnet = {domain.vnet: domain for domain in domains(topology(design)) if domain.route_table}
    assert by_vnet["spoke11"].user[0].next_hops == ("10.1.2.6", "10.1.2.7")
    assert by_vnet["spoke21"].user[0].next_hops == ()


def test_home_is_stable_and_uses_both_instances() -> None:
    assert [home(label) for label in ("vm11", "vm12", "vm21", "vm22", "nva1", "nva1/outside")] == HOMES_OF_TODAY
    assert {home(f"vm{number}") for number in range(20)} == {0, 1}


HOMES_OF_TODAY = [0, 1, 0, 0, 0, 0]
