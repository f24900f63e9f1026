"""What is broken in a design that runs, and what that does to its BGP sessions; the prediction of a fault converges without them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec import Struct
from msgspec.structs import replace

from testbed.azure.bgp import Adjacency, Network
from testbed.azure.networks import Layout, nva_nics, tunnel_name
from testbed.azure.types import Address
from testbed.model.topology import Gateway, RouteServer, Topology

Pair = frozenset[str]


class Broken(Struct, frozen=True):
    """What does not work, by name.

    ``silent``: nodes whose NICs and links carry nothing. ``mute``: nodes without BGP, which forward by what their kernel holds.
    ``stale``: nodes whose kernel keeps the routes that it had (nobody takes them out). ``devices``: tunnels, and links outside the
    VNets, that carry nothing; ``vanished`` those of them that are down, which a kernel's routes no longer use. ``peerings``: pairs
    of VNets whose link carries nothing. ``sessions``: pairs of routers whose BGP session is shut. ``frozen``: the switches stay as
    they are.
    """

    silent: frozenset[str] = frozenset()
    mute: frozenset[str] = frozenset()
    stale: frozenset[str] = frozenset()
    devices: frozenset[str] = frozenset()
    vanished: frozenset[str] = frozenset()
    peerings: frozenset[Pair] = frozenset()
    sessions: frozenset[Pair] = frozenset()
    frozen: bool = False

    def __or__(self, other: Broken) -> Broken:
        """Both at once."""
        return Broken(
            self.silent | other.silent,
            self.mute | other.mute,
            self.stale | other.stale,
            self.devices | other.devices,
            self.vanished | other.vanished,
            self.peerings | other.peerings,
            self.sessions | other.sessions,
            self.frozen or other.frozen,
        )


INTACT = Broken()


def impaired(plan: Layout, topology: Topology, broken: Broken) -> Layout:
    """The layout with the sessions down that cannot be up; each says why."""
    if broken == INTACT:
        return plan
    vnets = dict(_vnets(plan, topology))
    adjacencies = tuple(
        each if each.down else replace(each, down=_reason(each, topology, vnets, broken)) for each in plan.network.adjacencies
    )
    return replace(plan, network=Network(plan.network.routers, adjacencies))


def _reason(adjacency: Adjacency, topology: Topology, vnets: Mapping[Address, str], broken: Broken) -> str:
    """Why a session is down while these things are broken, or nothing."""
    for end in (adjacency.a, adjacency.b):
        if end.router in broken.silent:
            return f"{end.router} is silent"
        if end.router in broken.mute:
            return f"{end.router} does not speak BGP"
    if frozenset((adjacency.a.router, adjacency.b.router)) in broken.sessions:
        return "the session is shut"
    if adjacency.device in broken.devices:
        return f"{adjacency.device} is down"
    between = frozenset(vnets[address] for address in _outer(adjacency, topology) if address in vnets)
    return f"the link between {' and '.join(sorted(between))} is down" if between in broken.peerings else ""


def _outer(adjacency: Adjacency, topology: Topology) -> tuple[Address, ...]:
    """The addresses between which the session's packets travel in the fabric; none for what travels elsewhere."""
    tunnel = next((each for each in topology.tunnels if tunnel_name(each) == adjacency.device), None)
    if tunnel is None:
        return (adjacency.a.address, adjacency.b.address)
    if tunnel.over == "public" or not set(tunnel.between) <= topology.nvas.keys():
        return ()
    return tuple(str(topology.nvas[name].ip) for name in tunnel.between)


def _vnets(plan: Layout, topology: Topology) -> Iterator[tuple[Address, str]]:
    """The VNet of each address that speaks BGP in the fabric."""
    for name, nva in topology.nvas.items():
        for _, nic in nva_nics(name, nva):
            yield str(nic.ip), nic.subnet.partition("/")[0]
    homes: Mapping[str, RouteServer | Gateway] = {**topology.route_servers, **topology.gateways}
    for speaker in plan.speakers.values():
        yield speaker.address, homes[speaker.server].vnet
