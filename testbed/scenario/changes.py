"""What an action does to the topology: the design as it stands afterwards; pure. Faults change the lab, not the design."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Network
from itertools import islice
from typing import Any

from testbed.errors import InputError
from testbed.model.scenario import (
    Action,
    Announce,
    BranchToBranch,
    NeighborChange,
    PeerChange,
    PeeringChange,
    Preference,
    Prepend,
    Propagation,
    RouteChange,
    Scenario,
    SetOverride,
    Strip,
)
from testbed.model.topology import Neighbor, Nva, RouteServer, RouteTable, Topology, UserRoute


def changed(topology: Topology, action: Action) -> Topology:
    """The topology after an action; the same object when the action is a fault or its healing. Raises InputError for unknown names."""
    change = _CHANGES.get(action.verb)
    return change(topology, action.detail) if change else topology


def rehearse(scenario: Scenario, topology: Topology) -> None:
    """Go through the changes of a scenario on paper. Raises InputError with the first that will not be possible when its turn comes."""
    for step in scenario.steps:
        for action in step.do:
            try:
                topology = changed(topology, action)
            except InputError as error:
                raise InputError(f"{scenario.name}, stage {step.stage!r}: {error.message}", error.hint) from None


def _nva(topology: Topology, name: str) -> Nva:
    if name not in topology.nvas:
        raise InputError(f"no NVA named {name}", f"known: {', '.join(topology.nvas) or 'none'}")
    return topology.nvas[name]


def _with_nva(topology: Topology, name: str, **fields: Any) -> Topology:
    nva = _nva(topology, name).model_copy(update=fields)
    return topology.model_copy(update={"nvas": topology.nvas | {name: nva}})


def prefixes_of(wanted: Announce) -> tuple[IPv4Network, ...]:
    """The prefixes of an announcement: so many of one length, one after the other. Raises InputError when the space ends before."""
    first = wanted.prefix
    size = first.num_addresses
    if int(first.network_address) + size * wanted.count > 1 << 32:
        raise InputError(f"there are no {wanted.count} prefixes from {first} on")
    return tuple(IPv4Network((int(first.network_address) + size * number, first.prefixlen)) for number in range(wanted.count))


def _announce(topology: Topology, wanted: Announce) -> Topology:
    nva, prefixes = _nva(topology, wanted.nva), prefixes_of(wanted)
    if both := sorted(set(prefixes) & set(nva.advertise)):
        raise InputError(f"{wanted.nva} announces {both[0]} already")
    return _with_nva(topology, wanted.nva, advertise=(*nva.advertise, *prefixes), loopbacks=(*nva.loopbacks, *prefixes))


def _withdraw(topology: Topology, wanted: Announce) -> Topology:
    nva, gone = _nva(topology, wanted.nva), set(prefixes_of(wanted))
    if missing := sorted(gone - set(nva.advertise)):
        known = ", ".join(map(str, islice(nva.advertise, 8)))
        raise InputError(f"{wanted.nva} does not announce {missing[0]}", f"it announces {known or 'nothing'}")
    kept = {name: tuple(each for each in getattr(nva, name) if each not in gone) for name in ("advertise", "loopbacks")}
    return _with_nva(topology, wanted.nva, **kept)


def _prepend(topology: Topology, wanted: Prepend) -> Topology:
    if wanted.neighbor is None:
        return _with_nva(topology, wanted.nva, prepend=wanted.count)
    settings = _nva(topology, wanted.nva).neighbors.get(wanted.neighbor, Neighbor())
    return _with_neighbor(topology, wanted.nva, wanted.neighbor, settings.model_copy(update={"prepend": wanted.count}))


def _override(topology: Topology, wanted: SetOverride) -> Topology:
    return _with_nva(topology, wanted.nva, as_override=wanted.enabled)


def _strip(topology: Topology, wanted: Strip) -> Topology:
    return _with_nva(topology, wanted.nva, as_path_exclude=wanted.asns)


def _neighbor(topology: Topology, wanted: NeighborChange) -> Topology:
    return _with_neighbor(topology, wanted.nva, wanted.neighbor, wanted.settings)


def _with_neighbor(topology: Topology, nva: str, neighbor: str, settings: Neighbor) -> Topology:
    known = (*topology.route_servers, *topology.nvas, *topology.sites)
    if neighbor not in known:
        raise InputError(f"no neighbour named {neighbor}", f"known: {', '.join(known)}")
    return _with_nva(topology, nva, neighbors=_nva(topology, nva).neighbors | {neighbor: settings})


def _add_peering(topology: Topology, wanted: PeeringChange) -> Topology:
    known = topology.vnets()
    for side in wanted.sides:
        if missing := {side.from_, side.to} - set(known):
            raise InputError(f"no VNet named {min(missing)}", f"known: {', '.join(known)}")
    kept = _without(topology, wanted)
    return topology.model_copy(update={"peerings": (*kept, *wanted.sides)})


def _remove_peering(topology: Topology, wanted: PeeringChange) -> Topology:
    kept = _without(topology, wanted)
    if len(kept) == len(topology.peerings):
        raise InputError(f"{wanted.sides[0].from_} and {wanted.sides[0].to} are not peered")
    return topology.model_copy(update={"peerings": kept})


def _without(topology: Topology, wanted: PeeringChange) -> tuple[Any, ...]:
    gone = {(side.from_, side.to) for side in wanted.sides}
    return tuple(side for side in topology.peerings if (side.from_, side.to) not in gone)


def _add_peer(topology: Topology, wanted: PeerChange) -> Topology:
    server, _ = _route_server(topology, wanted.route_server), _nva(topology, wanted.nva)
    if wanted.nva in server.peers:
        raise InputError(f"{wanted.nva} is a peer of {wanted.route_server} already")
    if len(server.peers) >= topology.limits.peers:
        raise InputError(f"{wanted.route_server} has {len(server.peers)} peers, as many as it may have (RS6)")
    return _with_server(topology, wanted.route_server, peers=(*server.peers, wanted.nva))


def _remove_peer(topology: Topology, wanted: PeerChange) -> Topology:
    server = _route_server(topology, wanted.route_server)
    if wanted.nva not in server.peers:
        raise InputError(f"{wanted.nva} is no peer of {wanted.route_server}", f"its peers: {', '.join(server.peers) or 'none'}")
    return _with_server(topology, wanted.route_server, peers=tuple(peer for peer in server.peers if peer != wanted.nva))


def _branch_to_branch(topology: Topology, wanted: BranchToBranch) -> Topology:
    return _with_server(topology, wanted.route_server, allow_branch_to_branch=wanted.enabled)


def _preference(topology: Topology, wanted: Preference) -> Topology:
    return _with_server(topology, wanted.route_server, hub_routing_preference=wanted.value)


def _route_server(topology: Topology, name: str) -> RouteServer:
    if name not in topology.route_servers:
        raise InputError(f"no Route Server named {name}", f"known: {', '.join(topology.route_servers) or 'none'}")
    return topology.route_servers[name]


def _with_server(topology: Topology, name: str, **fields: Any) -> Topology:
    server = _route_server(topology, name).model_copy(update=fields)
    return topology.model_copy(update={"route_servers": topology.route_servers | {name: server}})


def _route_table(topology: Topology, name: str) -> RouteTable:
    if name not in topology.route_tables:
        raise InputError(f"no route table named {name}", f"known: {', '.join(topology.route_tables) or 'none'}")
    return topology.route_tables[name]


def _propagation(topology: Topology, wanted: Propagation) -> Topology:
    table = _route_table(topology, wanted.table).model_copy(update={"disable_bgp_route_propagation": not wanted.enabled})
    return topology.model_copy(update={"route_tables": topology.route_tables | {wanted.table: table}})


def _route(topology: Topology, wanted: RouteChange) -> Topology:
    table = _route_table(topology, wanted.table)
    routes = {name: route for name, route in table.routes.items() if name != wanted.route}
    if wanted.next_hop_type is not None:
        if wanted.prefix is None:
            raise InputError(f"route {wanted.route} needs a prefix")
        routes[wanted.route] = UserRoute(prefix=wanted.prefix, next_hop_type=wanted.next_hop_type, next_hop_ip=wanted.next_hop_ip)
    elif wanted.route not in table.routes:
        raise InputError(f"route table {wanted.table} has no route {wanted.route}", f"it has {', '.join(table.routes) or 'none'}")
    return topology.model_copy(update={"route_tables": topology.route_tables | {wanted.table: table.model_copy(update={"routes": routes})}})


_CHANGES: dict[str, Callable[[Topology, Any], Topology]] = {
    "announce": _announce,
    "withdraw": _withdraw,
    "prepend": _prepend,
    "as_override": _override,
    "strip": _strip,
    "neighbor": _neighbor,
    "add_peering": _add_peering,
    "remove_peering": _remove_peering,
    "add_peer": _add_peer,
    "remove_peer": _remove_peer,
    "route": _route,
    "propagation": _propagation,
    "branch_to_branch": _branch_to_branch,
    "preference": _preference,
}
