"""By which route each NIC sends to each of many addresses: whole tables at once, for a prover that asks about all pairs.

Injected routes are shared by all NICs of a hub, so what they say about the addresses is worked out once; a table of its own then paints
its few other routes over it, the shortest first (E1). The result is what `Table.lookup` answers address by address.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from testbed.azure.control_plane import ControlPlane
from testbed.azure.effective_routes import Table, static
from testbed.azure.lookup import MASKS, PrefixMap, parse
from testbed.azure.types import Address, Domain, NextHopType, Prefix, RouteSource, Row

NO_ROUTE = 0
_NOTHING: PrefixMap[tuple[Address, ...]] = PrefixMap({})
Decision = tuple[NextHopType, RouteSource, tuple[Address, ...], int]


class _Shared(NamedTuple):
    """What one set of injected routes says about each address: the decision, and the length of the prefix (-1: none)."""

    decisions: list[int]
    lengths: list[int]


class Decisions:
    """Numbers decisions (next-hop type, source, next hops, length of the prefix): equal numbers, equal decisions. `NO_ROUTE`: no row."""

    def __init__(self, control: ControlPlane, addresses: Iterable[int]) -> None:
        self._control = control
        self._addresses: Sequence[int] = sorted(set(addresses))
        self._numbers: dict[Decision, int] = {}
        self._shared: dict[tuple[str, int], _Shared] = {}
        self._vectors: dict[tuple[int, int], list[int]] = {}

    def place(self, address: int) -> int:
        """Where an address stands in every vector."""
        return bisect_left(self._addresses, address)

    def of(self, domain: Domain, home: int) -> list[int]:
        """The decisions of the NICs of a domain homed on one instance, one for each address."""
        key = domain.id, home
        if key not in self._vectors:
            self._vectors[key] = self._painted(domain, home)
        return self._vectors[key]

    def _painted(self, domain: Domain, home: int) -> list[int]:
        known = static(domain)
        hub = domain.hub if known.takes_bgp else None
        injected = self._control.injected(hub, home) if hub is not None else _NOTHING
        table, shared = Table(domain, injected), self._of_injected(hub or "", home, injected)
        decisions, lengths = list(shared.decisions), list(shared.lengths)
        protected = set(domain.protected)
        for prefix in sorted(known.rows, key=_length):
            rows = table.at(prefix)
            if rows:
                self._paint(prefix, self._number(rows[0]), decisions, lengths, everything=prefix in protected)
        return decisions

    def _paint(self, prefix: Prefix, decision: int, decisions: list[int], lengths: list[int], everything: bool) -> None:
        """Let a route decide about the addresses in its prefix: where no longer one does, inside a protected space always (RS9, E2)."""
        network, length = parse(prefix)
        first = bisect_left(self._addresses, network)
        last = bisect_right(self._addresses, network | ~MASKS[length] & 0xFFFFFFFF)
        for place in range(first, last):
            if everything or lengths[place] <= length:
                decisions[place], lengths[place] = decision, length

    def _of_injected(self, hub: str, home: int, injected: PrefixMap[tuple[Address, ...]]) -> _Shared:
        key = hub, home
        if key not in self._shared:
            found = [next(injected.matches(address), None) for address in self._addresses]
            self._shared[key] = _Shared(
                [NO_ROUTE if prefix is None else self._number(_injected_row(prefix, injected[prefix])) for prefix in found],
                [-1 if prefix is None else _length(prefix) for prefix in found],
            )
        return self._shared[key]

    def _number(self, row: Row) -> int:
        decision = row.next_hop_type, row.source, row.next_hops, _length(row.prefix)
        return self._numbers.setdefault(decision, len(self._numbers) + 1)


def _length(prefix: Prefix) -> int:
    return parse(prefix)[1]


def _injected_row(prefix: Prefix, hops: tuple[Address, ...]) -> Row:
    return Row(prefix, NextHopType.VIRTUAL_NETWORK_GATEWAY, RouteSource.VIRTUAL_NETWORK_GATEWAY, hops)
