"""Who speaks BGP with whom, from which address and by which policy: the sessions as both ends configure them."""

from __future__ import annotations

import re
from typing import NamedTuple

from msgspec import Struct

from testbed.azure.bgp import Adjacency, End, Exports, Imports
from testbed.azure.networks import EXPRESSROUTE, GATEWAY, VPN, Layout, tunnel_name
from testbed.azure.nva_policy import OVERLAY, ROUTE_SERVER, UNDERLAY
from testbed.azure.types import Address
from testbed.model.topology import Topology
from testbed.plan.types import BgpPeering

KINDS = {EXPRESSROUTE: "circuit", VPN: "site"}
"""How a kind of adjacency is called in the plan, where it is called otherwise."""

_NAME = re.compile(r"[^A-Za-z0-9_\-]")


class NeighborOf(Struct, frozen=True):
    """A BGP neighbour as one end sees it: ``role`` is what it is to this end, ``policy`` the name under which its route-maps go.

    ``update_source`` is given where the session does not run over a link of its own, ``multihop`` where it is eBGP besides.
    ``password`` is the place of the session's password, the same at both ends; Route Servers and gateways have none.
    """

    name: str
    role: str
    policy: str
    address: Address
    asn: int
    description: str
    imports: Imports
    exports: Exports
    update_source: Address | None = None
    multihop: int = 0
    bfd: bool = False
    passive: bool = False
    password: str = ""


class Sessions(NamedTuple):
    """The sessions that will come up, and the neighbours of each router as its configuration lists them."""

    peerings: tuple[BgpPeering, ...]
    neighbors: dict[str, tuple[NeighborOf, ...]]


def sessions(topology: Topology, plan: Layout) -> Sessions:
    """All BGP sessions of a design. A peer beyond a Route Server's limit is not configured there, so that TCP is refused (RS3, RS6)."""
    peerings: list[BgpPeering] = []
    neighbors: dict[str, list[NeighborOf]] = {name: [] for name in (*plan.network.routers, *topology.nvas)}
    bfd = _with_bfd(topology)
    for adjacency in plan.network.adjacencies:
        if not _refused(adjacency):
            neighbors[adjacency.a.router].append(_neighbor(topology, plan, adjacency, adjacency.a, adjacency.b, bfd))
        neighbors[adjacency.b.router].append(_neighbor(topology, plan, adjacency, adjacency.b, adjacency.a, bfd))
        if not adjacency.down or adjacency.down in plan.unmodelled.values():
            peerings.append(_peering(topology, plan, adjacency))
    return Sessions(tuple(peerings), {name: tuple(each) for name, each in neighbors.items()})


def _refused(adjacency: Adjacency) -> bool:
    return adjacency.kind == ROUTE_SERVER and adjacency.down.startswith(("RS3", "RS6"))


def _with_bfd(topology: Topology) -> set[frozenset[str]]:
    """The pairs of routers that run BFD between them."""
    tunnels = {frozenset(tunnel.between) for tunnel in topology.tunnels if tunnel.bfd}
    return tunnels | {frozenset(session.between) for session in topology.bgp_sessions if session.bfd}


def _peering(topology: Topology, plan: Layout, adjacency: Adjacency) -> BgpPeering:
    """An NVA comes before its Route Server; otherwise the ends are in the order of the design."""
    ends = (adjacency.b, adjacency.a) if adjacency.kind == ROUTE_SERVER else (adjacency.a, adjacency.b)
    first, second = ends
    asns = _asn(topology, plan, first.router), _asn(topology, plan, second.router)
    kind = KINDS.get(adjacency.kind, adjacency.kind)
    return BgpPeering(kind, (first.router, second.router), (first.address, second.address), asns)


def _asn(topology: Topology, plan: Layout, router: str) -> int:
    known = plan.network.routers.get(router)
    return known.asn if known is not None else topology.nvas[router].asn


def _neighbor(topology: Topology, plan: Layout, adjacency: Adjacency, own: End, other: End, bfd: set[frozenset[str]]) -> NeighborOf:
    """The other end as this one configures it. Azure's side waits to be called; its policies go by role, those of others by name."""
    azure = own.router in plan.speakers or own.router not in (*topology.nvas, *topology.sites)
    server = plan.speakers[other.router].server if other.router in plan.speakers else other.router
    apart = adjacency.kind in (ROUTE_SERVER, UNDERLAY, GATEWAY)
    return NeighborOf(
        name=server,
        role=own.role,
        policy=own.role if azure else server,
        address=other.address,
        asn=_asn(topology, plan, other.router),
        description=_description(adjacency, other),
        imports=own.imports,
        exports=own.exports,
        update_source=own.address if apart else None,
        multihop=_hops(adjacency, own, plan),
        bfd=adjacency.kind in (OVERLAY, UNDERLAY) and frozenset((own.router, other.router)) in bfd,
        passive=own.router in plan.speakers and adjacency.kind in (ROUTE_SERVER, GATEWAY) and own.role != ROUTE_SERVER,
        password=_password(topology, adjacency),
    )


BGP_PASSWORD = "{secret:bgp-"
"""How the place of a BGP password in a file begins."""


def password(name: str) -> str:
    """The place of a BGP password in a file, by the name of its tunnel or session: the emulation puts a random one of the lab there."""
    return f"{BGP_PASSWORD}{_NAME.sub('-', name)}}}"


def _password(topology: Topology, adjacency: Adjacency) -> str:
    ends = {adjacency.a.router, adjacency.b.router}
    if adjacency.kind == OVERLAY:
        tunnels = (each for each in topology.tunnels if tunnel_name(each) == adjacency.device)
        return next((password(tunnel_name(each)) for each in tunnels if each.bgp_password), "")
    sessions = (each for each in topology.bgp_sessions if adjacency.kind == UNDERLAY and set(each.between) == ends)
    return next((password(f"session-{'-'.join(each.between)}") for each in sessions if each.bgp_password), "")


def _hops(adjacency: Adjacency, own: End, plan: Layout) -> int:
    if adjacency.kind == ROUTE_SERVER:
        return 255 if own.router in plan.speakers else 2
    return 2 if adjacency.kind == UNDERLAY else 0


def _description(adjacency: Adjacency, other: End) -> str:
    if adjacency.kind == OVERLAY:
        return f"{other.router} in tunnel {adjacency.device}"
    return f"{other.router} without a tunnel" if adjacency.kind == UNDERLAY else other.router
