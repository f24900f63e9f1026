"""Random designs: the loader takes every one of them, the same bytes give the same, and between them they show everything."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from testbed.errors import InputError
from testbed.model.loader import parse_topology, read_document
from testbed.scenario.fuzz import text_of
from testbed.scenario.generator import LENGTH, Choices, Design, design, seeded

MANY = 400


@settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=LENGTH))
def test_whatever_the_bytes_the_loader_takes_the_design_and_the_file_says_the_same(data: bytes) -> None:
    made = design(data)
    text = text_of(made)
    assert read_document(text, "x").data == json.loads(json.dumps(made))
    parse_topology(text)


def test_zeros_are_the_simplest_design() -> None:
    assert design(b"") == design(bytes(LENGTH))
    assert list(design(b"")["regions"]) == ["region1"]
    assert "nvas" not in design(b"")


def test_a_number_of_a_seed_is_always_the_same_design() -> None:
    assert design(seeded(7, 3)) == design(seeded(7, 3))
    assert len({json.dumps(design(seeded(seed, number))) for seed in (1, 2) for number in range(20)}) == 40


def test_a_series_shows_everything() -> None:
    seen: Counter[str] = Counter()
    for number in range(MANY):
        seen.update(features(design(seeded(1, number))))
    rare = {what: seen[what] for what in EVERYTHING if seen[what] < MANY // 80}
    assert rare == {}


EVERYTHING = (
    "1 regions",
    "2 regions",
    "3 regions",
    "0 nvas",
    "1 nvas",
    "2 nvas",
    "3 nvas",
    "0 spokes",
    "9 or more VNets",
    "no Route Server",
    "as_override",
    "as_path_exclude",
    "prepend",
    "advertise",
    "default_originate",
    "filter_route_server_routes",
    "neighbors",
    "instances",
    "communities",
    "next_hop",
    "tunnels",
    "bgp_sessions",
    "load_balancers",
    "route_tables",
    "disable_bgp_route_propagation",
    "VirtualAppliance",
    "Internet",
    "None",
    "VnetLocal",
    "allow_branch_to_branch",
    "hub_routing_preference",
    "allow_forwarded_traffic",
    "allow_gateway_transit",
    "use_remote_gateways",
    "allow_virtual_network_access",
    "limits",
    "assumptions",
    "enable_ip_forwarding",
    "second range",
    "expressroute",
    "vpn",
    "sites",
)


def features(made: Design) -> set[str]:
    """Which of `EVERYTHING` a design has."""
    vnets = [vnet for region in made["regions"].values() for vnet in region["vnets"].values()]
    found = {f"{len(made['regions'])} regions", f"{len(made.get('nvas', {}))} nvas"}
    found |= {f"{len(region['vnets']) - 1} spokes" for region in made["regions"].values()}
    found |= {"9 or more VNets"} if len(vnets) >= 9 else set()
    found |= {"no Route Server"} if not made.get("route_servers") else set()
    found |= {"second range"} if any(len(vnet["address_space"]) > 1 for vnet in vnets) else set()
    text = json.dumps(made)
    return found | {word for word in EVERYTHING if f'"{word}"' in text}


def test_choices_end_in_zeros() -> None:
    choose = Choices(bytes([5, 200]))
    assert (choose.below(4), choose.one_in(8), choose.of("abc"), choose.below(9)) == (1, False, "a", 0)
    assert Choices(bytes([2, 1, 1])).some("abc", 3) == ["b", "c"]


@pytest.mark.parametrize("number", range(3))
def test_a_design_with_a_mistake_would_be_refused(number: int) -> None:
    made = design(seeded(1, number))
    made["vms"] = {"lost": {"subnet": "nowhere/workload"}}
    with pytest.raises(InputError, match="nowhere"):
        parse_topology(text_of(made))
