"""Effective routes: who wins, who is listed as invalid, who never gets a row (E1-E5, RS9)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.azure.effective_routes import Table, affected, effective_at, effective_routes, protected_by
from testbed.azure.lookup import PrefixMap
from testbed.azure.types import Domain, NextHopType, Prefix, RouteSource, Row

OWN, PEERED, REMOTE = "10.11.0.0/16", "10.1.0.0/16", "10.2.0.0/16"
NVA = ("10.1.0.4",)
FIREWALL = ("10.1.0.100",)


def system(prefix: Prefix, kind: str) -> Row:
    return Row(prefix, NextHopType(kind), RouteSource.DEFAULT)


def udr(prefix: Prefix, kind: str = "VirtualAppliance", name: str = "udr") -> Row:
    return Row(prefix, NextHopType(kind), RouteSource.USER, FIREWALL if kind == "VirtualAppliance" else (), name=name)


def domain(user: Sequence[Row] = (), propagate: bool = True, hub: str | None = "hub1") -> Domain:
    """A spoke 10.11/16, peered with its hub 10.1/16 and globally with 10.2/16."""
    rows = (
        system(OWN, "VnetLocal"),
        system(PEERED, "VNetPeering"),
        system(REMOTE, "VNetGlobalPeering"),
        system("0.0.0.0/0", "Internet"),
        system("10.0.0.0/8", "None"),
        system("172.16.0.0/12", "None"),
    )
    return Domain(1, "spoke11", None, ("spoke11/workload",), propagate, hub, (OWN, PEERED, REMOTE), rows, tuple(user))


def table(injected: Mapping[Prefix, tuple[str, ...]], *user: Row, propagate: bool = True) -> list[tuple[str, str, str, str]]:
    return [brief(row) for row in effective_routes(domain(user, propagate), injected)]


def brief(row: Row) -> tuple[str, str, str, str]:
    return row.prefix, str(row.next_hop_type), str(row.source), "Active" if row.active else "Invalid"


def at(injected: Mapping[Prefix, tuple[str, ...]], prefix: Prefix, *user: Row) -> list[tuple[str, str, str, str]]:
    return [brief(row) for row in effective_at(domain(user), injected, prefix)]


def test_e3_a_table_without_bgp_and_udr_in_azures_order() -> None:
    assert table({}) == [
        (OWN, "VnetLocal", "Default", "Active"),
        (PEERED, "VNetPeering", "Default", "Active"),
        ("0.0.0.0/0", "Internet", "Default", "Active"),
        ("10.0.0.0/8", "None", "Default", "Active"),
        ("172.16.0.0/12", "None", "Default", "Active"),
        (REMOTE, "VNetGlobalPeering", "Default", "Active"),
    ]


def test_e4_bgp_routes_show_the_gateway_as_source_and_type_with_all_next_hops() -> None:
    (row,) = effective_at(domain(), {"10.21.0.0/16": ("10.1.0.4", "10.1.0.5")}, "10.21.0.0/16")
    assert row == Row("10.21.0.0/16", NextHopType.VIRTUAL_NETWORK_GATEWAY, RouteSource.VIRTUAL_NETWORK_GATEWAY, ("10.1.0.4", "10.1.0.5"))


def test_order_bgp_after_peered_before_internet_user_before_globally_peered() -> None:
    injected = {"10.99.0.0/16": NVA, "10.21.0.0/16": NVA, "10.21.0.0/24": NVA}
    assert [(row[0], row[2]) for row in table(injected, udr("10.50.0.0/16"))] == [
        (OWN, "Default"),
        (PEERED, "Default"),
        ("10.21.0.0/16", "VirtualNetworkGateway"),
        ("10.21.0.0/24", "VirtualNetworkGateway"),
        ("10.99.0.0/16", "VirtualNetworkGateway"),
        ("0.0.0.0/0", "Default"),
        ("10.0.0.0/8", "Default"),
        ("172.16.0.0/12", "Default"),
        ("10.50.0.0/16", "User"),
        (REMOTE, "Default"),
    ]


@pytest.mark.parametrize("prefix", [OWN, PEERED, REMOTE, "10.11.3.0/24", "10.1.0.4/32", "10.2.128.0/17"])
def test_rs9_e2_equal_to_or_inside_a_protected_space_there_is_no_row(prefix: Prefix) -> None:
    assert table({prefix: NVA}) == table({})
    assert protected_by(domain(), prefix) in (OWN, PEERED, REMOTE)


@pytest.mark.parametrize("prefix", ["10.0.0.0/15", "10.10.0.0/15", "0.0.0.0/1"])
def test_rs9_a_supernet_of_a_protected_space_is_programmed(prefix: Prefix) -> None:
    assert at({prefix: NVA}, prefix) == [(prefix, "VirtualNetworkGateway", "VirtualNetworkGateway", "Active")]
    assert protected_by(domain(), prefix) is None


def test_e2_the_system_route_beats_a_more_specific_bgp_route_and_a_supernet() -> None:
    routes = Table(domain(), {"10.1.0.4/32": NVA, "10.0.0.0/15": NVA})
    row = routes.lookup("10.1.0.4")
    assert row is not None
    assert brief(row) == (PEERED, "VNetPeering", "Default", "Active")
    assert routes.withheld("10.1.0.4") == ("10.1.0.4/32",)


def test_e1_user_before_bgp_losers_are_listed() -> None:
    prefix = "10.21.0.0/16"
    assert at({prefix: NVA}, prefix, udr(prefix)) == [
        (prefix, "VirtualAppliance", "User", "Active"),
        (prefix, "VirtualNetworkGateway", "VirtualNetworkGateway", "Invalid"),
    ]
    assert [row.rule for row in effective_at(domain([udr(prefix)]), {prefix: NVA}, prefix)] == ["", "E1"]


@pytest.mark.parametrize("prefix", [OWN, PEERED, REMOTE])
def test_e2_a_udr_beats_an_equal_system_route_and_bgp_still_has_no_row(prefix: Prefix) -> None:
    user, default = at({prefix: NVA}, prefix, udr(prefix))
    assert user == (prefix, "VirtualAppliance", "User", "Active")
    assert default[2:] == ("Default", "Invalid")


def test_e2_a_longer_udr_beats_the_system_route_a_shorter_one_does_not() -> None:
    routes = Table(domain([udr("10.1.0.0/24"), udr("10.0.0.0/15", name="short")]), {})
    names = [row.name for row in (routes.lookup("10.1.0.9"), routes.lookup("10.1.1.9"), routes.lookup("10.0.0.9")) if row]
    assert names == ["udr", "", "short"]


def test_e1_a_udr_shorter_than_the_injected_route_loses() -> None:
    row = Table(domain([udr("10.5.0.0/16")]), {"10.5.10.0/24": NVA}).lookup("10.5.10.1")
    assert row is not None
    assert row.source is RouteSource.VIRTUAL_NETWORK_GATEWAY


def test_e3_bgp_default_removes_the_internet_row_and_all_none_rows() -> None:
    assert [row for row in table({"0.0.0.0/0": NVA}) if row[1] in ("None", "Internet")] == []
    assert at({"0.0.0.0/0": NVA}, "0.0.0.0/0") == [("0.0.0.0/0", "VirtualNetworkGateway", "VirtualNetworkGateway", "Active")]


@pytest.mark.parametrize("kind", ["VirtualAppliance", "None", "Internet"])
def test_e3_a_udr_default_leaves_the_internet_row_invalid_and_removes_all_none_rows(kind: str) -> None:
    assert at({}, "0.0.0.0/0", udr("0.0.0.0/0", kind)) == [
        ("0.0.0.0/0", kind, "User", "Active"),
        ("0.0.0.0/0", "Internet", "Default", "Invalid"),
    ]
    assert [row for row in table({}, udr("0.0.0.0/0", kind)) if row[1] == "None" and row[2] == "Default"] == []


def test_e3_udr_and_bgp_default_together() -> None:
    assert at({"0.0.0.0/0": NVA}, "0.0.0.0/0", udr("0.0.0.0/0", "Internet")) == [
        ("0.0.0.0/0", "Internet", "User", "Active"),
        ("0.0.0.0/0", "VirtualNetworkGateway", "VirtualNetworkGateway", "Invalid"),
    ]


def test_e3_half_defaults_override_nothing() -> None:
    assert ("10.0.0.0/8", "None", "Default", "Active") in table({"0.0.0.0/1": NVA, "128.0.0.0/1": NVA})


def test_e1_an_injected_10_8_beats_the_none_row() -> None:
    assert at({"10.0.0.0/8": NVA}, "10.0.0.0/8") == [
        ("10.0.0.0/8", "VirtualNetworkGateway", "VirtualNetworkGateway", "Active"),
        ("10.0.0.0/8", "None", "Default", "Invalid"),
    ]


def test_e5_with_propagation_disabled_there_is_no_bgp_row_and_the_defaults_are_back() -> None:
    injected = {"0.0.0.0/0": NVA, "10.21.0.0/16": NVA}
    assert table(injected, propagate=False) == table({})
    assert affected(domain(propagate=False), injected) == set()


def test_p2_without_a_hub_nothing_is_injected() -> None:
    assert effective_routes(domain(hub=None), {"10.21.0.0/16": NVA}) == effective_routes(domain(hub=None), {})


def test_a_prefix_whose_next_hops_are_all_gone_has_no_row() -> None:
    assert table({"10.21.0.0/16": (), "0.0.0.0/0": ()}) == table({})


def test_affected_is_what_is_programmed_and_with_the_default_the_none_rows() -> None:
    assert affected(domain(), ["10.21.0.0/16", "10.1.0.4/32"]) == {"10.21.0.0/16"}
    assert affected(domain(), ["0.0.0.0/0"]) == {"0.0.0.0/0", "10.0.0.0/8", "172.16.0.0/12"}
    assert affected(domain([udr("0.0.0.0/0")]), ["0.0.0.0/0"]) == {"0.0.0.0/0"}


def test_matches_lists_what_lookup_chose_from() -> None:
    routes = Table(domain([udr("10.21.0.0/16")]), {"10.21.0.0/16": NVA, "10.21.3.0/24": NVA})
    assert [(row.prefix, row.active) for row in routes.matches("10.21.3.4")] == [
        ("10.21.3.0/24", True),
        ("10.21.0.0/16", True),
        ("10.21.0.0/16", False),
        ("10.0.0.0/8", True),
        ("0.0.0.0/0", True),
    ]


POOL = [
    *("0.0.0.0/0", "0.0.0.0/1", "10.0.0.0/8", "172.16.0.0/12", "172.16.0.0/16", "10.10.0.0/15"),
    *(OWN, PEERED, REMOTE, "10.11.7.0/24", "10.1.0.4/32", "10.21.0.0/16", "10.21.1.0/24", "10.21.1.4/32", "8.8.8.0/24"),
]
INJECTED = st.dictionaries(st.sampled_from(POOL), st.sampled_from([NVA, ("10.1.0.4", "10.1.0.5"), ()]))
USER = st.lists(st.sampled_from(POOL), max_size=4, unique=True).map(lambda prefixes: [udr(prefix) for prefix in prefixes])
DOMAINS = st.builds(domain, USER, st.booleans(), st.sampled_from(["hub1", None]))


@given(DOMAINS, INJECTED)
def test_the_rows_of_all_prefixes_are_the_table(some: Domain, injected: dict[Prefix, tuple[str, ...]]) -> None:
    apart = [row for prefix in POOL for row in effective_at(some, injected, prefix)]
    whole = effective_routes(some, injected)
    assert sorted(map(repr, apart)) == sorted(map(repr, whole))
    active = [row.prefix for row in whole if row.active]
    assert len(active) == len(set(active))


@given(DOMAINS, INJECTED, INJECTED)
def test_affected_names_every_prefix_whose_rows_differ(
    some: Domain, before: dict[Prefix, tuple[str, ...]], after: dict[Prefix, tuple[str, ...]]
) -> None:
    changed = [prefix for prefix in POOL if before.get(prefix) != after.get(prefix)]
    differing = {prefix for prefix in POOL if effective_at(some, before, prefix) != effective_at(some, after, prefix)}
    assert differing <= affected(some, changed)


@given(
    DOMAINS, INJECTED, st.sampled_from(["10.11.7.9", "10.1.0.4", "10.2.9.9", "10.21.1.4", "10.21.9.9", "172.16.3.3", "8.8.8.8", "1.1.1.1"])
)
def test_lookup_is_the_longest_active_row(some: Domain, injected: dict[Prefix, tuple[str, ...]], address: str) -> None:
    fitting = [row for row in effective_routes(some, injected) if row.active and IPv4Address(address) in IPv4Network(row.prefix)]
    expected = max(fitting, key=lambda row: IPv4Network(row.prefix).prefixlen) if fitting else None
    assert Table(some, injected).lookup(address) == expected
    assert Table(some, PrefixMap(injected)).lookup(int(IPv4Address(address))) == expected
