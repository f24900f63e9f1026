"""The tables of hundreds of NICs that share thousands of injected rows: written out in pieces, or counted, never held all at once."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cached_property, lru_cache
from typing import Any

import msgspec
from msgspec import Struct

from testbed.azure.control_plane import ControlPlane
from testbed.azure.domains import home
from testbed.azure.effective_routes import NOTHING, Injected, effective_routes, static
from testbed.azure.json_shapes import effective_json
from testbed.azure.lookup import MASKS, parse
from testbed.azure.predict_json import nic_subnets, predict_json
from testbed.azure.types import Address, Domain, NextHopType, Prefix, RouteSource, Row

_Key = tuple[int, int]
_ROW_DEPTH = 4


def json_pieces(plane: ControlPlane, nics: Iterable[str] | None = None) -> Iterator[str]:
    """The text of `predict_json`, indented by two, in pieces; joined they are what ``json.dumps(…, indent=2)`` gives."""
    labels = list(nic_subnets(plane.topology) if nics is None else nics)
    whole = predict_json(plane, ())
    yield "{\n"
    for number, (key, value) in enumerate(whole.items()):
        yield ",\n" if number else ""
        if key == "effectiveRoutes" and labels:
            yield '  "effectiveRoutes": {\n'
            yield from _effective(plane, labels)
            yield "\n  }"
        else:
            yield f"  {_text(key)}: {_indented(value, 1)}"
    yield "\n}"


def _effective(plane: ControlPlane, labels: list[str]) -> Iterator[str]:
    for number, (label, domain, shared) in enumerate(_tables(plane, labels)):
        yield ",\n" if number else ""
        yield f'    {_text(label)}: {{\n      "value": [\n'
        yield from shared.rows(domain)
        yield "\n      ]\n    }"


def _tables(plane: ControlPlane, labels: Iterable[str]) -> Iterator[tuple[str, Domain, _Shared]]:
    subnets = nic_subnets(plane.topology)
    domain_of = {subnet: domain for domain in plane.domains for subnet in domain.subnets}
    shared: dict[tuple[str, int], _Shared] = {}
    for label in labels:
        domain = domain_of[subnets[label]]
        key = (domain.hub or "", home(label))
        if key not in shared:
            shared[key] = _Shared(plane.injected(*key) if domain.hub is not None else NOTHING)
        yield label, domain, shared[key]


class Bulk(Struct, frozen=True):
    """Injected rows of a table with the same next hops: how many, and the first prefix."""

    next_hops: tuple[Address, ...]
    count: int
    first: Prefix


def summaries(plane: ControlPlane, labels: Iterable[str]) -> Iterator[tuple[str, tuple[Row, ...], tuple[Bulk, ...]]]:
    """For each NIC its rows that are not from BGP (or share their prefix with such a one), and the rest by next hops."""
    for label, domain, shared in _tables(plane, labels):
        yield label, effective_routes(domain, shared.near(domain)), shared.bulk(domain)


class _Shared:
    """What one hub injects into the NICs of one home, in order, made once."""

    def __init__(self, injected: Injected) -> None:
        self._injected = injected
        ordered = sorted((parse(prefix), prefix) for prefix in injected)
        self._keys: list[_Key] = [key for key, _ in ordered]
        self._prefixes: list[Prefix] = [prefix for _, prefix in ordered]

    @cached_property
    def _texts(self) -> list[str]:
        made: list[str] = []
        for prefix in self._prefixes:
            before, after = _around_prefix(self._injected[prefix])
            made.append(f"{before}{prefix}{after}")
        return made

    @cached_property
    def _joined(self) -> str:
        return ",\n".join(self._texts)

    def near(self, domain: Domain) -> dict[Prefix, tuple[Address, ...]]:
        """The injected routes for which the domain has rows of its own."""
        return {prefix: self._injected[prefix] for prefix in static(domain).rows if prefix in self._injected}

    def bulk(self, domain: Domain) -> tuple[Bulk, ...]:
        """The other injected routes of the domain's table, by next hops."""
        if not static(domain).takes_bgp:
            return ()
        left_out = self._left_out(domain, self.near(domain))
        counts = Counter(self._all)
        counts.subtract(self._injected[self._prefixes[place]] for place in left_out)
        found = []
        for hops, places in self._by_hops.items():
            if counts[hops] > 0:
                first = next(place for place in places if place not in left_out)
                found.append(Bulk(hops, counts[hops], self._prefixes[first]))
        return tuple(found)

    @cached_property
    def _by_hops(self) -> dict[tuple[Address, ...], list[int]]:
        found: dict[tuple[Address, ...], list[int]] = {}
        for place, prefix in enumerate(self._prefixes):
            found.setdefault(self._injected[prefix], []).append(place)
        return found

    @cached_property
    def _all(self) -> dict[tuple[Address, ...], int]:
        return {hops: len(places) for hops, places in self._by_hops.items()}

    def rows(self, domain: Domain) -> Iterator[str]:
        """The rows of a domain's table in Azure's order as JSON, separated by commas; what many tables share is not copied."""
        near = self.near(domain)
        rows = effective_routes(domain, near)
        before = [row for row in rows if row.next_hop_type in (NextHopType.VNET_LOCAL, NextHopType.VNET_PEERING) and _is_system(row)]
        own = [row for row in rows if row.source is RouteSource.VIRTUAL_NETWORK_GATEWAY]
        after = rows[len(before) + len(own) :]
        flag = not domain.propagate
        parts = [*(_row_text(row, flag) for row in before), self._section(domain, near, own), *(_row_text(row, flag) for row in after)]
        for number, part in enumerate(filter(None, parts)):
            if number:
                yield ",\n"
            yield part

    def _left_out(self, domain: Domain, near: Injected) -> set[int]:
        """The places of what has rows of its own in a domain, or is never programmed there (RS9)."""
        left_out = {bisect_left(self._keys, parse(prefix)) for prefix in near}
        left_out.update(place for space in domain.protected for place in self._inside(space))
        return left_out

    def _section(self, domain: Domain, near: Injected, own: list[Row]) -> str:
        """The rows from BGP: all that is injected, but for what this domain has system or user rows for."""
        if not static(domain).takes_bgp:
            return ""
        left_out = self._left_out(domain, near)
        if not left_out and not own:
            return self._joined
        kept = [(key, text) for place, (key, text) in enumerate(zip(self._keys, self._texts, strict=True)) if place not in left_out]
        if own:
            kept = sorted([*kept, *((parse(row.prefix), _row_text(row)) for row in own)])
        return ",\n".join(text for _, text in kept)

    def _inside(self, space: Prefix) -> range:
        """The places of what is equal to or inside a space."""
        network, length = parse(space)
        end = network | ~MASKS[length] & 0xFFFFFFFF
        return range(bisect_left(self._keys, (network, length)), bisect_right(self._keys, (end, 33)))


def _is_system(row: Row) -> bool:
    return row.source is RouteSource.DEFAULT


@lru_cache(maxsize=1024)
def _around_prefix(hops: tuple[Address, ...]) -> tuple[str, str]:
    """The text of an injected row with these next hops, before and after its prefix."""
    row = Row("0.0.0.0/32", NextHopType.VIRTUAL_NETWORK_GATEWAY, RouteSource.VIRTUAL_NETWORK_GATEWAY, hops)
    before, _, after = _row_text(row).partition(row.prefix)
    return before, after


@lru_cache(maxsize=1 << 14)
def _row_text(row: Row, propagation_off: bool = False) -> str:
    pad = "  " * _ROW_DEPTH
    return pad + _indented(effective_json([row], propagation_off)["value"][0], _ROW_DEPTH)


def _indented(value: Any, depth: int) -> str:
    text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    return text.replace("\n", "\n" + "  " * depth)


def _text(value: str) -> str:
    return msgspec.json.encode(value).decode()
