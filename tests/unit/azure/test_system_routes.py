"""System routes (E3, P5) and the spaces that BGP cannot touch (RS9)."""

from __future__ import annotations

from testbed.azure.peering import connections
from testbed.azure.system_routes import protected_spaces, system_routes

from .designs import topology, two_regions, with_flags, without_side

DEFAULTS = [
    ("0.0.0.0/0", "Internet"),
    ("10.0.0.0/8", "None"),
    ("172.16.0.0/12", "None"),
    ("192.168.0.0/16", "None"),
    ("100.64.0.0/10", "None"),
]


def rows(design: dict, vnet: str, *own: str) -> list[tuple[str, str]]:  # type: ignore[type-arg]
    return [(row.prefix, str(row.next_hop_type)) for row in system_routes(own, vnet, connections(topology(design)))]


def test_e3_p5_local_peered_globally_peered_and_the_defaults() -> None:
    assert rows(two_regions(), "hub1", "10.1.0.0/16") == [
        ("10.1.0.0/16", "VnetLocal"),
        ("10.11.0.0/16", "VNetPeering"),
        ("10.2.0.0/16", "VNetGlobalPeering"),
        *DEFAULTS,
    ]


def test_p1_a_half_peering_gives_no_route() -> None:
    assert rows(without_side(two_regions(), "hub1", "spoke11"), "spoke11", "10.11.0.0/16") == [("10.11.0.0/16", "VnetLocal"), *DEFAULTS]


def test_p4_without_access_the_route_is_still_there() -> None:
    design = with_flags(two_regions(), "spoke11", "hub1", allow_virtual_network_access=False)
    assert ("10.1.0.0/16", "VNetPeering") in rows(design, "spoke11", "10.11.0.0/16")


def test_e3_a_range_that_holds_a_reserved_space_takes_the_place_of_its_none_row() -> None:
    found = rows(two_regions(), "spoke11", "192.168.0.0/16", "172.0.0.0/8")
    assert ("192.168.0.0/16", "VnetLocal") in found
    assert [prefix for prefix, kind in found if kind == "None"] == ["10.0.0.0/8", "100.64.0.0/10"]


def test_rs9_protected_are_the_own_and_all_peered_spaces() -> None:
    connected = connections(topology(two_regions()))
    assert protected_spaces(["10.1.0.0/16"], "hub1", connected) == ("10.1.0.0/16", "10.11.0.0/16", "10.2.0.0/16")
    assert protected_spaces(["10.11.0.0/16"], "spoke11", connected) == ("10.11.0.0/16", "10.1.0.0/16")
