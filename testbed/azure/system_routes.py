"""The routes that Azure itself puts into every subnet of a VNet (E3, P5)."""

from __future__ import annotations

from collections.abc import Iterable

from testbed.azure.lookup import contains
from testbed.azure.peering import Connections
from testbed.azure.types import NextHopType, Prefix, RouteSource, Row

DEFAULT: Prefix = "0.0.0.0/0"
RESERVED_SPACES: tuple[Prefix, ...] = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
"""The documented spaces with a route of type None (E3); Azure lists more of them, and others over the years."""


def protected_spaces(own: Iterable[Prefix], vnet: str, connected: Connections) -> tuple[Prefix, ...]:
    """The address spaces of ``vnet`` (``own``) and of its connected peers: no BGP route inside them is ever programmed (RS9, E2)."""
    return tuple(dict.fromkeys((*own, *(prefix for peering in connected.peers(vnet) for prefix in peering.peer_space))))


def system_routes(own: Iterable[Prefix], vnet: str, connected: Connections) -> tuple[Row, ...]:
    """The system routes of the VNet ``vnet`` with address space ``own`` (E3, P5).

    A reserved space that is equal to or inside one of the VNet's or its peers' ranges has no None row of its own: Azure gives
    that space the range's next-hop type instead. Of two equal prefixes the VNet's own comes before a peer's.
    """
    rows: dict[Prefix, Row] = {prefix: _row(prefix, NextHopType.VNET_LOCAL) for prefix in own}
    for peering in connected.peers(vnet):
        kind = NextHopType.VNET_GLOBAL_PEERING if peering.is_global else NextHopType.VNET_PEERING
        for prefix in peering.peer_space:
            rows.setdefault(prefix, _row(prefix, kind))
    nothing = [space for space in RESERVED_SPACES if not any(contains(prefix, space) for prefix in rows)]
    return (
        *rows.values(),
        _row(DEFAULT, NextHopType.INTERNET),
        *(_row(space, NextHopType.NONE) for space in nothing),
    )


def _row(prefix: Prefix, kind: NextHopType) -> Row:
    return Row(prefix, kind, RouteSource.DEFAULT)
