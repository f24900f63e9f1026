"""Everything of a design that can fail alone: what to do to a live lab, and what of the design does not work then."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from testbed.azure.impairment import Broken
from testbed.model.scenario import Action, Fault
from testbed.plan.types import Plan
from testbed.scenario.breakage import broken_by

Named = tuple[str, str, Fault]
"""A fault with its name for people, and what it is part of."""

_ROUTERS = ("nva", "vpn", "expressroute", "msee")
"""Kinds of nodes whose kernel forwards: what it holds stays when zebra is killed."""


class Element(Struct, frozen=True):
    """One thing that can fail: its name for people, the fault that a lab takes, and what that breaks.

    ``place`` is what it is part of: two faults of one place are not tried together.
    """

    name: str
    place: str
    fault: Fault
    broken: Broken

    @property
    def fail(self) -> Action:
        """What breaks it."""
        return Action(fail=self.fault)

    @property
    def heal(self) -> Action:
        """What mends it."""
        return Action(heal=self.fault)


def elements(plan: Plan) -> tuple[Element, ...]:
    """All single faults of a design: NVAs, Route Server and gateway instances, MSEEs, tunnels, links, processes, the controller."""
    faults = (*_nodes(plan), *_tunnels(plan), *_links(plan), *_daemons(plan), ("controller", "controller", Fault(controller=True)))
    return tuple(Element(name, place, fault, broken_by(plan, (fault,))) for name, place, fault in faults)


def _nodes(plan: Plan) -> Iterator[Named]:
    """Nodes that speak BGP: all their processes die, or they lose power."""
    for node in plan.nodes:
        if node.kind in (*_ROUTERS, "route_server"):
            yield f"{node.name}: all processes", node.name, Fault(node=node.name)
            yield f"{node.name}: power", node.name, Fault(node=node.name, power=True)


def _tunnels(plan: Plan) -> Iterator[Named]:
    for tunnel in plan.tunnels:
        yield f"tunnel {tunnel.name}", tunnel.name, Fault(tunnel=tunnel.name)


def _links(plan: Plan) -> Iterator[Named]:
    """Links between regions, and circuits; a site's own LAN is not part of the design."""
    for peering in plan.peerings:
        vnets = peering.ends[1].peer_vnet, peering.ends[0].peer_vnet
        if peering.kind == "veth":
            yield f"link {vnets[0]} - {vnets[1]}", " ".join(vnets), Fault(link=vnets)
    hosts = {node.name for node in plan.nodes if node.kind == "host"}
    for wire in plan.wires:
        if not hosts & set(wire.nodes):
            name = "-".join(wire.nodes)
            yield f"circuit {name}", name, Fault(link=wire.nodes)


def _daemons(plan: Plan) -> Iterator[Named]:
    """Single processes of nodes that have several."""
    for node in plan.nodes:
        for daemon in node.daemons if len(node.daemons) > 1 and node.kind in _ROUTERS else ():
            yield f"{node.name}: {daemon.name}", node.name, Fault(node=node.name, daemon=daemon.name)
