"""Longest-prefix match over plain mappings, and the arithmetic of prefixes that everything else uses.

Dicts by prefix length: as fast as py-radix once addresses are integers (1.3 against 1.5 µs with 4,000 prefixes), without a compiled
dependency. They give the shorter matches too, which the filters need, and one index is shared by all VNets that a hub serves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Generic, TypeVar

from testbed.azure.types import Address, Prefix

V = TypeVar("V")
BITS = 32
MASKS: tuple[int, ...] = tuple((0xFFFFFFFF << (BITS - length)) & 0xFFFFFFFF for length in range(BITS + 1))


@lru_cache(maxsize=1 << 17)
def parse_address(address: Address) -> int:
    """``10.1.0.4`` as an integer. Raises ValueError when it is no IPv4 address."""
    parts = address.split(".")
    if len(parts) != 4 or not all(part.isascii() and part.isdigit() for part in parts):
        raise ValueError(f"{address!r} is not an IPv4 address")
    first, second, third, fourth = map(int, parts)
    if max(first, second, third, fourth) > 255:
        raise ValueError(f"{address!r} is not an IPv4 address")
    return first << 24 | second << 16 | third << 8 | fourth


@lru_cache(maxsize=1 << 17)
def parse(prefix: Prefix) -> tuple[int, int]:
    """``10.1.0.0/16`` as (network, length). Raises ValueError when it is no IPv4 prefix, or has host bits set."""
    address, slash, length = prefix.partition("/")
    if not slash or not length.isascii() or not length.isdigit() or int(length) > BITS:
        raise ValueError(f"{prefix!r} is not an IPv4 prefix")
    network = parse_address(address)
    if network & ~MASKS[int(length)] & 0xFFFFFFFF:
        raise ValueError(f"{prefix!r} has host bits set")
    return network, int(length)


def render(network: int, length: int) -> Prefix:
    """The inverse of `parse`."""
    return f"{network >> 24}.{network >> 16 & 255}.{network >> 8 & 255}.{network & 255}/{length}"


def contains(prefix: Prefix, other: Prefix) -> bool:
    """Whether ``other`` is equal to or inside ``prefix``."""
    network, length = parse(prefix)
    inner, inner_length = parse(other)
    return inner_length >= length and inner & MASKS[length] == network


def covers(prefix: Prefix, address: Address) -> bool:
    """Whether ``address`` is inside ``prefix``."""
    network, length = parse(prefix)
    return parse_address(address) & MASKS[length] == network


class PrefixMap(Mapping[Prefix, V], Generic[V]):
    """A read-only mapping by prefix with longest-prefix match.

    It refers to the mapping it was made from, which must not change afterwards; the index is built at the first match.
    """

    def __init__(self, items: Mapping[Prefix, V]) -> None:
        self._items = items
        self._by_length: tuple[tuple[int, int, dict[int, Prefix]], ...] | None = None

    def __getitem__(self, prefix: Prefix) -> V:
        return self._items[prefix]

    def __iter__(self) -> Iterator[Prefix]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, prefix: object) -> bool:
        return prefix in self._items

    def matches(self, address: int, longest: int = BITS) -> Iterator[Prefix]:
        """The prefixes that contain ``address``, longest first, none longer than ``longest``."""
        for length, mask, networks in self._index():
            if length <= longest:
                prefix = networks.get(address & mask)
                if prefix is not None:
                    yield prefix

    def lookup(self, address: Address) -> V | None:
        """The value at the longest prefix that contains ``address``, or None."""
        return next((self._items[prefix] for prefix in self.matches(parse_address(address))), None)

    def covering(self, prefix: Prefix) -> Prefix | None:
        """The longest prefix of this mapping that is equal to ``prefix`` or contains it, or None."""
        network, length = parse(prefix)
        return next(self.matches(network, longest=length), None)

    def _index(self) -> tuple[tuple[int, int, dict[int, Prefix]], ...]:
        if self._by_length is None:
            tables: dict[int, dict[int, Prefix]] = {}
            for prefix in self._items:
                network, length = parse(prefix)
                tables.setdefault(length, {})[network] = prefix
            self._by_length = tuple((length, MASKS[length], tables[length]) for length in sorted(tables, reverse=True))
        return self._by_length
