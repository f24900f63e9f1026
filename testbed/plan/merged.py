"""Many tables seen as one: which prefixes contain an address in any of them, and in which combination of tables and next hops."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

from testbed.azure.lookup import MASKS, PrefixMap, contains, parse
from testbed.azure.types import Prefix


class Merged:
    """One map over tables: a prefix leads to the number of its combination of (table, next hops).

    Prefixes inside ``without`` are left out.
    """

    def __init__(self, tables: Iterable[Mapping[Prefix, Any]], without: Prefix) -> None:
        merged: dict[Prefix, list[tuple[int, Hashable]]] = {}
        for number, table in enumerate(tables):
            for prefix, value in table.items():
                merged.setdefault(prefix, []).append((number, value))
        numbers: dict[tuple[tuple[int, Hashable], ...], int] = {}
        self.prefixes: dict[Prefix, int] = {
            prefix: numbers.setdefault(tuple(values), len(numbers)) for prefix, values in merged.items() if not contains(without, prefix)
        }
        self.map = PrefixMap(self.prefixes)
        self._starts = sorted((*parse(prefix), prefix) for prefix in self.prefixes)

    def chain(self, address: int) -> tuple[tuple[int, int], ...]:
        """The prefixes that contain an address, longest first, as (length, number of the combination)."""
        return tuple((parse(prefix)[1], self.prefixes[prefix]) for prefix in self.map.matches(address))

    def anything_inside(self, prefix: Prefix) -> bool:
        """Whether a table has something more specific than ``prefix``."""
        network, length = parse(prefix)
        end = network | ~MASKS[length] & 0xFFFFFFFF
        place = bisect_right(self._starts, (network, length, "~"))
        return place < len(self._starts) and self._starts[place][0] <= end
