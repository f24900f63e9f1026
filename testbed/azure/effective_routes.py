"""The effective routes of the NICs of a routing domain: system, BGP and user-defined routes together (E1-E5, RS9).

`Table` answers everything without writing the table out: hundreds of VNets share one mapping of injected routes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

from msgspec.structs import replace

from testbed.azure.lookup import PrefixMap, parse, parse_address
from testbed.azure.system_routes import DEFAULT
from testbed.azure.types import Address, Domain, NextHopType, Prefix, RouteSource, Row

Injected = Mapping[Prefix, tuple[Address, ...]]
NOTHING: Injected = PrefixMap({})

_SECTIONS = {NextHopType.VNET_LOCAL: 0, NextHopType.VNET_PEERING: 1, NextHopType.INTERNET: 3, NextHopType.NONE: 4}
_BGP_SECTION, _USER_SECTION, _GLOBAL_SECTION = 2, 5, 6


class Static:
    """What a domain has whatever is injected: its rows by prefix and its protected spaces, indexed. See `static`."""

    def __init__(self, domain: Domain) -> None:
        self.domain = domain
        rows: dict[Prefix, list[Row]] = {}
        for row in (*domain.user, *domain.system):
            rows.setdefault(row.prefix, []).append(row)
        self.rows: PrefixMap[tuple[Row, ...]] = PrefixMap({prefix: tuple(some) for prefix, some in rows.items()})
        self.protected: PrefixMap[None] = PrefixMap(dict.fromkeys(domain.protected))
        self.none_prefixes = tuple(row.prefix for row in domain.system if row.next_hop_type is NextHopType.NONE)
        self.user_default = any(row.prefix == DEFAULT for row in domain.user)
        self.takes_bgp = domain.propagate and domain.hub is not None

    def programs(self, prefix: Prefix) -> bool:
        """Whether an injected route to ``prefix`` gets a row here.

        Not with propagation disabled (E5), nor without a hub, nor equal to or inside a protected space (RS9, E2); a supernet does.
        """
        return self.takes_bgp and self.protected.covering(prefix) is None


@lru_cache(maxsize=4096)
def static(domain: Domain) -> Static:
    """The index of a domain, made once."""
    return Static(domain)


def protected_by(domain: Domain, prefix: Prefix) -> Prefix | None:
    """The address space of the VNet or of a peer because of which a BGP route to ``prefix`` is never programmed here (RS9, E2)."""
    return static(domain).protected.covering(prefix)


def effective_routes(domain: Domain, injected: Injected) -> tuple[Row, ...]:
    """The complete table, active and invalid rows, in Azure's order: local, peered, BGP, Internet, None, user, globally peered."""
    return tuple(sorted(Table(domain, injected), key=_order))


def effective_at(domain: Domain, injected: Injected, prefix: Prefix) -> tuple[Row, ...]:
    """The rows of exactly ``prefix``: over all prefixes their union is the table. At most one of them is active, and it is first."""
    return Table(domain, injected).at(prefix)


def affected(domain: Domain, changed: Iterable[Prefix]) -> set[Prefix]:
    """The prefixes whose rows can differ after the injected routes to ``changed`` did.

    Those that are programmed here, and with 0.0.0.0/0 all with a None row (E3).
    """
    known = static(domain)
    found = {prefix for prefix in changed if known.programs(prefix)}
    if DEFAULT in found and not known.user_default:
        found.update(known.none_prefixes)
    return found


class Table:
    """The effective routes of a domain under what is injected, worked out row by row when asked.

    It keeps a reference to ``injected``, which may be shared by any number of tables; make it a `PrefixMap` so that these share
    its index for `lookup` as well.
    """

    def __init__(self, domain: Domain, injected: Injected) -> None:
        self.domain = domain
        self._static = static(domain)
        self._injected = injected if self._static.takes_bgp else NOTHING
        self._by_prefix: PrefixMap[tuple[Address, ...]] | None = self._injected if isinstance(self._injected, PrefixMap) else None
        self._bgp_default = bool(self._injected.get(DEFAULT)) and self._static.programs(DEFAULT)
        self._shows_none = not self._bgp_default and not self._static.user_default

    def __iter__(self) -> Iterator[Row]:
        for prefix in self._static.rows:
            yield from self.at(prefix)
        for prefix in self._injected:
            if prefix not in self._static.rows:
                yield from self.at(prefix)

    def at(self, prefix: Prefix) -> tuple[Row, ...]:
        """The rows of exactly ``prefix``, the active one first: user-defined before BGP before system (E1)."""
        standing = self._static.rows.get(prefix, ())
        hops = self._injected.get(prefix)
        if hops and self._static.programs(prefix):
            bgp = Row(prefix, NextHopType.VIRTUAL_NETWORK_GATEWAY, RouteSource.VIRTUAL_NETWORK_GATEWAY, hops)
            if not standing:
                return (bgp,)
            user = [row for row in standing if row.source is RouteSource.USER]
            rows = [*user, bgp, *(row for row in standing if row.source is not RouteSource.USER and self._shown(row))]
        else:
            rows = [row for row in standing if self._shown(row)]
        return (*rows[:1], *(replace(row, active=False, rule=_losing_rule(row)) for row in rows[1:]))

    def lookup(self, address: Address | int) -> Row | None:
        """The active row by which a packet to ``address`` is routed: longest prefix first (E1). None when there is none at all."""
        number = parse_address(address) if isinstance(address, str) else address
        for prefix in self._matching(number):
            rows = self.at(prefix)
            if rows:
                return rows[0]
        return None

    def matches(self, address: Address | int) -> tuple[Row, ...]:
        """All rows whose prefix contains ``address``, active and invalid, longest prefix first: what `lookup` chose from."""
        number = parse_address(address) if isinstance(address, str) else address
        return tuple(row for prefix in self._matching(number) for row in self.at(prefix))

    def withheld(self, address: Address | int) -> tuple[Prefix, ...]:
        """Injected prefixes that contain ``address`` and get no row because they are inside a protected space (RS9, E2)."""
        number = parse_address(address) if isinstance(address, str) else address
        return tuple(prefix for prefix in self._bgp().matches(number) if not self._static.programs(prefix))

    def _matching(self, number: int) -> Iterator[Prefix]:
        """The prefixes with a static row or an injected route that contain an address, longest first, each once."""
        found = {*self._static.rows.matches(number), *self._bgp().matches(number)}
        yield from sorted(found, key=_length, reverse=True)

    def _bgp(self) -> PrefixMap[tuple[Address, ...]]:
        if self._by_prefix is None:
            self._by_prefix = PrefixMap(self._injected)
        return self._by_prefix

    def _shown(self, row: Row) -> bool:
        """None rows vanish once 0.0.0.0/0 is overridden; the Internet row goes with BGP and stays, invalid, with a UDR (E3)."""
        if row.source is not RouteSource.DEFAULT:
            return True
        if row.next_hop_type is NextHopType.NONE:
            return self._shows_none
        return row.next_hop_type is not NextHopType.INTERNET or not self._bgp_default


def _length(prefix: Prefix) -> int:
    return parse(prefix)[1]


def _losing_rule(row: Row) -> str:
    return "E3" if row.next_hop_type is NextHopType.INTERNET and row.source is RouteSource.DEFAULT else "E1"


def _order(row: Row) -> tuple[int, int, int, bool]:
    if row.source is RouteSource.USER:
        section = _USER_SECTION
    elif row.source is RouteSource.VIRTUAL_NETWORK_GATEWAY:
        section = _BGP_SECTION
    else:
        section = _SECTIONS.get(row.next_hop_type, _GLOBAL_SECTION)
    return (section, *parse(row.prefix), not row.active)
