"""The nouns of Azure's routing. Prefixes and addresses are canonical strings (``10.1.0.0/16``), as in Azure's own JSON."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

Prefix = str
Address = str


class NextHopType(StrEnum):
    """The next-hop types of an effective route, spelled as Azure spells them (E3, E4, P5)."""

    VNET_LOCAL = "VnetLocal"
    VNET_PEERING = "VNetPeering"
    VNET_GLOBAL_PEERING = "VNetGlobalPeering"
    INTERNET = "Internet"
    NONE = "None"
    VIRTUAL_APPLIANCE = "VirtualAppliance"
    VIRTUAL_NETWORK_GATEWAY = "VirtualNetworkGateway"


class RouteSource(StrEnum):
    """Where an effective route comes from."""

    DEFAULT = "Default"
    USER = "User"
    VIRTUAL_NETWORK_GATEWAY = "VirtualNetworkGateway"


class Row(Struct, frozen=True, cache_hash=True):
    """One effective route. ``name`` is the UDR's name; ``rule`` the rule by which an Invalid row lost (``E1``, ``E3``)."""

    prefix: Prefix
    next_hop_type: NextHopType
    source: RouteSource
    next_hops: tuple[Address, ...] = ()
    active: bool = True
    name: str = ""
    rule: str = ""


class Path(Struct, frozen=True):
    """A BGP path as it arrives: AS path without the receiver's own ASN, NEXT_HOP, communities as ``ASN:value`` or a name."""

    prefix: Prefix
    as_path: tuple[int, ...]
    next_hop: Address
    communities: tuple[str, ...] = ()
    origin: str = "igp"


class Session(Struct, frozen=True, order=True, cache_hash=True):
    """A BGP session of an Azure-side speaker: the Route Server or gateway, which of its two instances, and the peer's name.

    ``peer`` is a node's name: an NVA, a site, ``er1-0`` for a gateway instance, ``london-msee0`` for an MSEE.
    """

    server: str
    instance: int
    peer: str


class SessionUp(Struct, frozen=True, tag=True):
    """The session reached Established; ``capabilities`` as negotiated, for display."""

    session: Session
    hold_time: float = 0.0


class SessionDown(Struct, frozen=True, tag=True):
    """The session ended. ``reason``: ``closed`` (TCP closed by the peer), ``hold-timer``, ``notification``, ``max-prefix``, ``lost``."""

    session: Session
    reason: str


class Announced(Struct, frozen=True, tag=True):
    """A path was received on a session, before the receiver's own checks (pre-policy Adj-RIB-In)."""

    session: Session
    path: Path


class Withdrawn(Struct, frozen=True, tag=True):
    """A prefix was withdrawn on a session."""

    session: Session
    prefix: Prefix


Event = SessionUp | SessionDown | Announced | Withdrawn


class Received(Struct, frozen=True):
    """A path in an Adj-RIB-In and what became of it: ``dropped`` is empty, or the rule and reason (``RS8: 65515 in the AS path``)."""

    path: Path
    dropped: str = ""


class Candidate(Struct, frozen=True, order=True, cache_hash=True):
    """One usable next hop for a prefix and the session it came from."""

    next_hop: Address
    session: Session


Tier = tuple[Candidate, ...]
Ranked = tuple[Tier, ...]
"""Candidates best first: the paths of one tier tie (ECMP), a later tier is the backup of the earlier ones (RS10)."""


class Speaker(Struct, frozen=True):
    """One BGP-speaking instance on Azure's side: Route Server or gateway, 0 or 1, and its address."""

    server: str
    instance: int
    kind: str  # "route_server", "vpn", "expressroute"
    address: Address
    asn: int


class Hub(Struct, frozen=True):
    """A VNet that holds a Route Server, gateways or both, and what they serve.

    ``served`` are the VNets into which their routes are programmed (its own first; RS7, P2, GW1); ``advertised`` the prefixes
    that they originate towards their peers: whole address spaces of the served VNets (RS7). ``reflect_nva_routes`` is what
    chapter 7 leaves open: NVA routes sent on to other NVAs while branch-to-branch is on. So is ``unlearned``: the spaces inside
    which nothing that an NVA announces appears among the learned routes.
    """

    vnet: str
    route_server: str | None
    gateways: tuple[str, ...]
    speakers: tuple[Speaker, ...]
    preference: str
    branch_to_branch: bool
    served: tuple[str, ...]
    advertised: tuple[Prefix, ...]
    asn: int = 65515
    ecmp: int = 8
    routes_per_peer: int = 4000
    aspath_tie: str = "both"
    reflect_nva_routes: bool = False
    unlearned: tuple[Prefix, ...] = ()


class Domain(Struct, frozen=True, cache_hash=True):
    """A class of NICs with one set of effective routes: a VNet and at most one route table.

    ``hub`` is the VNet whose Route Server and gateways inject routes here, or None; ``protected`` are the address spaces of the
    VNet itself and of its connected peers (RS9, E2); ``system`` and ``user`` the rows that do not come from BGP.
    """

    id: int
    vnet: str
    route_table: str | None
    subnets: tuple[str, ...]
    propagate: bool
    hub: str | None
    protected: tuple[Prefix, ...]
    system: tuple[Row, ...]
    user: tuple[Row, ...]
