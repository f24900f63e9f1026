"""Prefix arithmetic and longest-prefix match, against brute force with the standard library."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.azure.lookup import PrefixMap, contains, covers, parse, parse_address, render

ADDRESSES = st.integers(0, 2**32 - 1)
# a few top bits only, so that random prefixes often contain each other
PREFIXES = st.builds(lambda number, length: str(IPv4Network((number & 0xF0F0F000, length), strict=False)), ADDRESSES, st.integers(0, 32))


@given(PREFIXES)
def test_parse_agrees_with_the_standard_library_and_render_undoes_it(prefix: str) -> None:
    network, length = parse(prefix)
    assert (network, length) == (int(IPv4Network(prefix).network_address), IPv4Network(prefix).prefixlen)
    assert render(network, length) == prefix


@pytest.mark.parametrize(
    "text", ["10.0.0.0", "10.0.0.0/33", "10.0.0/8", "10.0.0.256/32", "10.0.0.1/24", "", "a.b.c.d/8", "::/0", "10.0.0.0/", "10.0.0.0/-1"]
)
def test_parse_refuses_what_is_no_prefix(text: str) -> None:
    with pytest.raises(ValueError, match=r"prefix|address|host bits"):
        parse(text)


@pytest.mark.parametrize("text", ["10.0.0", "10.0.0.0.0", "10.0.0.-1", "10.0.0.256", "10.0.0.²"])
def test_parse_address_refuses_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="is not an IPv4 address"):
        parse_address(text)


@given(PREFIXES, PREFIXES)
def test_contains_is_subnet_of(prefix: str, other: str) -> None:
    assert contains(prefix, other) == IPv4Network(other).subnet_of(IPv4Network(prefix))


@given(PREFIXES, ADDRESSES)
def test_covers_is_membership(prefix: str, address: int) -> None:
    assert covers(prefix, str(IPv4Address(address))) == (IPv4Address(address) in IPv4Network(prefix))


@given(st.sets(PREFIXES, max_size=30), ADDRESSES)
def test_matches_are_all_prefixes_that_contain_the_address_longest_first(prefixes: set[str], address: int) -> None:
    table = PrefixMap({prefix: prefix.upper() for prefix in prefixes})
    expected = sorted((p for p in map(IPv4Network, prefixes) if IPv4Address(address) in p), key=lambda p: -p.prefixlen)
    assert list(table.matches(address)) == [str(prefix) for prefix in expected]
    assert table.lookup(str(IPv4Address(address))) == (str(expected[0]) if expected else None)


@given(st.sets(PREFIXES, max_size=30), PREFIXES)
def test_covering_is_the_longest_prefix_equal_to_or_around(prefixes: set[str], prefix: str) -> None:
    around = [p for p in map(IPv4Network, prefixes) if IPv4Network(prefix).subnet_of(p)]
    expected = str(max(around, key=lambda p: p.prefixlen)) if around else None
    assert PrefixMap(dict.fromkeys(prefixes)).covering(prefix) == expected


def test_a_prefix_map_is_a_mapping() -> None:
    table = PrefixMap({"10.0.0.0/8": 1, "0.0.0.0/0": 2})
    assert dict(table) == {"10.0.0.0/8": 1, "0.0.0.0/0": 2}
    assert "10.0.0.0/8" in table
    assert "10.0.0.0/9" not in table
    assert table.get("10.0.0.0/9") is None
    assert len(table) == 2
