"""Which VNets are connected to which, what each admits over a peering, and whose gateways serve it (P1-P5)."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from testbed.azure.types import Prefix
from testbed.model.topology import Peering, Topology

Accept = Literal["all", "direct", "none"]


class Connected(Struct, frozen=True):
    """A connected peering seen from ``vnet``: ``local`` is the side this VNet declared, ``remote`` the side of ``peer`` (P1)."""

    vnet: str
    peer: str
    is_global: bool
    peer_space: tuple[Prefix, ...]
    local: Peering
    remote: Peering

    @property
    def access(self) -> bool:
        """Whether traffic passes at all: either side can forbid it, and the peering still counts as connected (P4)."""
        return self.local.allow_virtual_network_access and self.remote.allow_virtual_network_access

    @property
    def uses_remote_gateways(self) -> bool:
        """Whether both flags of gateway transit are set, the local side being the spoke (P2)."""
        return self.local.use_remote_gateways and self.remote.allow_gateway_transit


class Connections:
    """All connected peerings of a topology; built by `connections`."""

    def __init__(self, peers: dict[str, dict[str, Connected]], hubs: frozenset[str], transit_assumed: bool) -> None:
        self._peers = peers
        self._hubs = hubs
        self._transit_assumed = transit_assumed

    def peers(self, vnet: str) -> tuple[Connected, ...]:
        """The connected peerings of ``vnet``, in the order of the topology (P1)."""
        return tuple(self._peers.get(vnet, {}).values())

    def between(self, vnet: str, peer: str) -> Connected | None:
        """The peering of ``vnet`` with ``peer``, or None when they are not directly connected (P1: not transitive)."""
        return self._peers.get(vnet, {}).get(peer)

    def reaches(self, vnet: str, peer: str) -> bool:
        """Whether a next hop in ``peer`` is usable from ``vnet``: the same VNet or a directly peered one (P1)."""
        return vnet == peer or self.between(vnet, peer) is not None

    def accept(self, vnet: str, from_vnet: str) -> Accept:
        """What ``vnet`` admits of the packets that arrive over its peering with ``from_vnet`` (P4).

        ``none``: not connected, or a side forbids access. ``direct``: only packets whose source is in the peer's address space.
        ``all``: forwarded packets too, because this VNet's own side allows it or the topology assumes that transit needs no flag.
        Packets sent by gateways that serve ``vnet`` need no permission: see `admits_gateways_of`.
        """
        peering = self.between(vnet, from_vnet)
        if peering is None or not peering.access:
            return "none"
        return "all" if peering.local.allow_forwarded_traffic or self._transit_assumed else "direct"

    def admits_gateways_of(self, vnet: str, from_vnet: str) -> bool:
        """Whether packets sent by the gateways in ``from_vnet`` are admitted whatever their source: gateway transit needs no flag (P4)."""
        peering = self.between(vnet, from_vnet)
        return peering is not None and peering.access and self.gateway_vnet(vnet) == from_vnet

    def gateway_vnet(self, vnet: str) -> str | None:
        """The VNet whose Route Server and gateways serve ``vnet``, or None (P2, P3).

        A VNet with its own serves itself; another is served by the peer whose gateways it uses, if that peer has any and allows it.
        """
        if vnet in self._hubs:
            return vnet
        return next((p.peer for p in self.peers(vnet) if p.uses_remote_gateways and p.peer in self._hubs), None)

    def served_by(self, hub: str) -> tuple[str, ...]:
        """The VNets that the Route Server and gateways of ``hub`` serve: its own first, then its spokes with gateway transit (P2, RS7)."""
        if hub not in self._hubs:
            return ()
        return (hub, *(p.peer for p in self.peers(hub) if self.gateway_vnet(p.peer) == hub))


def connections(topology: Topology) -> Connections:
    """The connected peerings of ``topology``: those of which both sides are declared (P1).

    A VNet peered with itself or with a VNet that is not declared is left out, and of a side declared twice the first counts.
    """
    vnets = topology.vnets()
    sides: dict[tuple[str, str], Peering] = {}
    for side in topology.peerings:
        if side.from_ in vnets and side.to in vnets and side.from_ != side.to:
            sides.setdefault((side.from_, side.to), side)
    region = {vnet: name for name, declared in topology.regions.items() for vnet in declared.vnets}
    space = {name: tuple(str(prefix) for prefix in vnet.address_space) for name, vnet in vnets.items()}
    peers: dict[str, dict[str, Connected]] = {}
    for (vnet, peer), local in sides.items():
        remote = sides.get((peer, vnet))
        if remote is not None:
            is_global = region[vnet] != region[peer]
            peers.setdefault(vnet, {})[peer] = Connected(vnet, peer, is_global, space[peer], local, remote)
    hubs = frozenset((*(rs.vnet for rs in topology.route_servers.values()), *(gw.vnet for gw in topology.gateways.values())))
    return Connections(peers, hubs, topology.assumptions.transit_without_allow_forwarded_traffic)
