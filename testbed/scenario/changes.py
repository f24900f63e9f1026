"""What an action does to the topology: the design as it stands afterwards; pure. Faults change the lab, not the design."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from testbed.errors import InputError
from testbed.model.scenario import Action, Announce, PeeringChange, Prepend, RouteChange, SetOverride
from testbed.model.topology import Nva, Topology, UserRoute


def changed(topology: Topology, action: Action) -> Topology:
    """The topology after an action; the same object when the action is a fault or its healing. Raises InputError for unknown names."""
    change = _CHANGES.get(action.verb)
    return change(topology, action.detail) if change else topology


def _nva(topology: Topology, name: str) -> Nva:
    if name not in topology.nvas:
        raise InputError(f"no NVA named {name}", f"known: {', '.join(topology.nvas) or 'none'}")
    return topology.nvas[name]


def _with_nva(topology: Topology, name: str, **fields: Any) -> Topology:
    nva = _nva(topology, name).model_copy(update=fields)
    return topology.model_copy(update={"nvas": topology.nvas | {name: nva}})


def _announce(topology: Topology, wanted: Announce) -> Topology:
    nva = _nva(topology, wanted.nva)
    if wanted.prefix in nva.advertise:
        raise InputError(f"{wanted.nva} announces {wanted.prefix} already")
    return _with_nva(topology, wanted.nva, advertise=(*nva.advertise, wanted.prefix), loopbacks=(*nva.loopbacks, wanted.prefix))


def _withdraw(topology: Topology, wanted: Announce) -> Topology:
    nva = _nva(topology, wanted.nva)
    if wanted.prefix not in nva.advertise:
        known = ", ".join(map(str, nva.advertise))
        raise InputError(f"{wanted.nva} does not announce {wanted.prefix}", f"it announces {known or 'nothing'}")
    return _with_nva(
        topology,
        wanted.nva,
        advertise=tuple(prefix for prefix in nva.advertise if prefix != wanted.prefix),
        loopbacks=tuple(prefix for prefix in nva.loopbacks if prefix != wanted.prefix),
    )


def _prepend(topology: Topology, wanted: Prepend) -> Topology:
    return _with_nva(topology, wanted.nva, prepend=wanted.count)


def _override(topology: Topology, wanted: SetOverride) -> Topology:
    return _with_nva(topology, wanted.nva, as_override=wanted.enabled)


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


def _route(topology: Topology, wanted: RouteChange) -> Topology:
    if wanted.table not in topology.route_tables:
        raise InputError(f"no route table named {wanted.table}", f"known: {', '.join(topology.route_tables) or 'none'}")
    table = topology.route_tables[wanted.table]
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
    "add_peering": _add_peering,
    "remove_peering": _remove_peering,
    "route": _route,
}
