"""Who speaks BGP with whom, from which address: the sessions as both ends configure them."""

from __future__ import annotations

from typing import NamedTuple

from testbed.azure.limits import ROUTE_SERVER_ASN
from testbed.azure.nva_policy import OVERLAY, ROUTE_SERVER, UNDERLAY, instances
from testbed.model.addresses import route_server_addresses
from testbed.model.topology import Topology
from testbed.plan.frr import NeighborOf, Peer
from testbed.plan.types import BgpPeering, Nic, TunnelPlan


class Sessions(NamedTuple):
    """The sessions that will come up, and each NVA's neighbours as its configuration lists them."""

    peerings: tuple[BgpPeering, ...]
    neighbors: dict[str, tuple[NeighborOf, ...]]


def sessions(topology: Topology, nics: dict[str, tuple[Nic, ...]], tunnels: tuple[TunnelPlan, ...]) -> Sessions:
    """All BGP sessions of the NVAs: to Route Servers (RS3), inside tunnels, and between NVAs without a tunnel."""
    peerings: list[BgpPeering] = []
    neighbors: dict[str, list[NeighborOf]] = {name: [] for name in topology.nvas}
    for rs, server in topology.route_servers.items():
        addresses = route_server_addresses(topology, rs)
        for nva in server.peers:
            own, asn = nics[nva][0].ip, topology.nvas[nva].asn
            for instance in instances(topology.nvas[nva], rs):
                node, address = f"{rs}-{instance}", addresses[instance]
                peerings.append(BgpPeering("route_server", (nva, node), (own, address), (asn, ROUTE_SERVER_ASN)))
                neighbors[nva].append(NeighborOf(rs, ROUTE_SERVER, address, ROUTE_SERVER_ASN, f"Route Server {node}", own))
    for declared, tunnel in zip(topology.tunnels, tunnels, strict=True):
        if tunnel.bgp:
            peerings.append(BgpPeering("overlay", tunnel.nodes, tunnel.inner, _asns(topology, tunnel.nodes)))
            _both(topology, neighbors, tunnel.nodes, tunnel.inner, OVERLAY, declared.bfd, f"in tunnel {tunnel.name}")
    for session in topology.bgp_sessions:
        ends = nics[session.between[0]][0].ip, nics[session.between[1]][0].ip
        peerings.append(BgpPeering("underlay", session.between, ends, _asns(topology, session.between)))
        _both(topology, neighbors, session.between, ends, UNDERLAY, session.bfd, "without a tunnel")
    return Sessions(tuple(peerings), {name: tuple(each) for name, each in neighbors.items()})


def route_server_peers(topology: Topology, rs: str, nics: dict[str, tuple[Nic, ...]]) -> tuple[Peer, ...]:
    """The NVAs configured at a Route Server, whether or not they peer with both instances (RS3)."""
    return tuple(Peer(nva, nics[nva][0].ip, topology.nvas[nva].asn) for nva in topology.route_servers[rs].peers)


def _asns(topology: Topology, nodes: tuple[str, str]) -> tuple[int, int]:
    return topology.nvas[nodes[0]].asn, topology.nvas[nodes[1]].asn


def _both(
    topology: Topology,
    neighbors: dict[str, list[NeighborOf]],
    nodes: tuple[str, str],
    addresses: tuple[str, str],
    role: str,
    bfd: bool,
    where: str,
) -> None:
    """Each end as the other's neighbour; without a tunnel the session is multihop, from the NVA's own address."""
    for end, other in ((0, 1), (1, 0)):
        source = addresses[end] if role == UNDERLAY else None
        name, asn = nodes[other], topology.nvas[nodes[other]].asn
        neighbors[nodes[end]].append(NeighborOf(name, role, addresses[other], asn, f"{name} {where}", source, bfd))
