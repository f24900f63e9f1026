"""What an NVA originates and sends to whom: the declared settings as BGP policies, as the template ``frr-configs/nva.conf.j2`` has them."""

from __future__ import annotations

from testbed.azure.bgp import DEFAULT_ROUTE, LOCAL, Exports, Router
from testbed.azure.types import Address, Prefix
from testbed.model.topology import Neighbor, Nva

ROUTE_SERVER = "route_server"
OVERLAY = "overlay"
UNDERLAY = "underlay"
SITE = "site"
MAXIMUM_PATHS = 8
_FROM_OVERLAY = frozenset({LOCAL, OVERLAY, UNDERLAY, SITE})
ONE_SERVER = frozenset({ROUTE_SERVER})
_WELL_KNOWN = {"65535:65281": "no-export", "65535:65282": "no-advertise", "65535:65283": "local-AS", "65535:65284": "no-peer"}


def router(name: str, nva: Nva, address: Address) -> Router:
    """The NVA as a BGP router: it originates what it advertises and spreads load over paths of equal length."""
    return Router(
        name=name,
        asn=nva.asn,
        router_id=address,
        originates=originated(nva),
        maximum_paths=MAXIMUM_PATHS,
    )


def exports(nva: Nva, neighbor: str, role: str, servers: frozenset[str] = ONE_SERVER) -> Exports:
    """What the NVA sends to the neighbour of that name; ``role`` is what the neighbour is to it, ``servers`` its Route Servers' roles.

    Towards a Route Server: its own routes and those from other NVAs, sites and Route Servers, from that one itself only if
    ``filter_route_server_routes`` is off; its ``as_override`` and ``as_path_exclude`` apply there (RS8). To everyone else it sends all
    it has, to one of its own ASN (iBGP) with itself as next hop: the addresses of a Route Server are out of reach there. Settings of
    one neighbour go before those of the NVA.
    """
    settings = nva.neighbors.get(neighbor, Neighbor())
    to_route_server = role in servers
    override = settings.as_override if settings.as_override is not None else nva.as_override and to_route_server
    exclude = settings.as_path_exclude or (nva.as_path_exclude if to_route_server else ())
    prepend, by_prefix = _prepends(nva, settings)
    return Exports(
        sources=_FROM_OVERLAY | (servers - {role} if nva.filter_route_server_routes else servers),
        deny=originated(nva) - _own(nva, settings),
        as_override=override,
        exclude=frozenset(exclude),
        prepend=prepend,
        prepend_by_prefix=by_prefix,
        communities=tuple(map(community, settings.communities)),
        next_hop=str(settings.next_hop) if settings.next_hop is not None else None,
        next_hop_self=True,
    )


def instances(nva: Nva, route_server: str) -> tuple[int, ...]:
    """The Route Server instances that the NVA peers with (RS3)."""
    return tuple(nva.neighbors[route_server].instances) if route_server in nva.neighbors else (0, 1)


def originated(nva: Nva) -> frozenset[Prefix]:
    """All prefixes that the NVA sends to somebody as its own."""
    return _to_everyone(nva).union(*(map(str, settings.advertise or ()) for settings in nva.neighbors.values()))


def community(text: str) -> str:
    """A community as everything here writes it: well-known ones by name, whether given by name or by number (RS12)."""
    names = {name.lower(): name for name in _WELL_KNOWN.values()}
    return _WELL_KNOWN.get(text) or names.get(text.lower(), text)


def _to_everyone(nva: Nva) -> frozenset[Prefix]:
    return frozenset(map(str, nva.advertise)) | (frozenset({DEFAULT_ROUTE}) if nva.default_originate else frozenset())


def _own(nva: Nva, settings: Neighbor) -> frozenset[Prefix]:
    """Those of its own prefixes that a neighbour gets."""
    return _to_everyone(nva) if settings.advertise is None else frozenset(map(str, settings.advertise))


def _prepends(nva: Nva, settings: Neighbor) -> tuple[int, dict[Prefix, int]]:
    wanted = settings.prepend if settings.prepend is not None else nva.prepend
    if isinstance(wanted, int):
        return wanted, {}
    return 0, {str(prefix): count for prefix, count in wanted.items()}
