"""Everything of a design that can fail alone: what to do to a live lab, and what of the design does not work then."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from testbed.azure.impairment import Broken
from testbed.model.scenario import Action, Fault
from testbed.plan.types import Node, Plan

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
    return (*_nodes(plan), *_tunnels(plan), *_links(plan), *_daemons(plan), _element("controller", "controller", Broken(frozen=True)))


def _element(name: str, place: str, broken: Broken, **fault: Any) -> Element:
    return Element(name, place, Fault(**(fault or {"controller": True})), broken)


def _nodes(plan: Plan) -> Iterator[Element]:
    """Nodes that speak BGP: all their processes die, or they lose power (where all their links end in the fabric)."""
    wired = {name for wire in plan.wires for name in wire.nodes}
    for node in plan.nodes:
        if node.kind not in (*_ROUTERS, "route_server"):
            continue
        dead = Broken(mute=frozenset((node.name,)), devices=_ipsec(plan, node))
        if node.kind in _ROUTERS:
            dead |= Broken(stale=frozenset((node.name,)))
        yield _element(f"{node.name}: all processes", node.name, dead, node=node.name)
        if node.nics and node.name not in wired:
            yield _element(f"{node.name}: power", node.name, Broken(silent=frozenset((node.name,))), node=node.name, power=True)


def _tunnels(plan: Plan) -> Iterator[Element]:
    for tunnel in plan.tunnels:
        yield _element(f"tunnel {tunnel.name}", tunnel.name, _cut(tunnel.name), tunnel=tunnel.name)


def _links(plan: Plan) -> Iterator[Element]:
    """Links between regions, and circuits; a site's own LAN is not part of the design."""
    for peering in plan.peerings:
        vnets = peering.ends[1].peer_vnet, peering.ends[0].peer_vnet
        if peering.kind == "veth":
            yield _element(f"link {vnets[0]} - {vnets[1]}", " ".join(vnets), Broken(peerings=frozenset((frozenset(vnets),))), link=vnets)
    hosts = {node.name for node in plan.nodes if node.kind == "host"}
    for wire in plan.wires:
        if not hosts & set(wire.nodes):
            name = "-".join(wire.nodes)
            yield _element(f"circuit {name}", name, _cut(name), link=wire.nodes)


def _cut(device: str) -> Broken:
    """A device that is down at both ends."""
    return Broken(devices=frozenset((device,)), vanished=frozenset((device,)))


def _daemons(plan: Plan) -> Iterator[Element]:
    """Single processes of nodes that have several."""
    for node in plan.nodes:
        for daemon in node.daemons if len(node.daemons) > 1 and node.kind in _ROUTERS else ():
            yield _element(f"{node.name}: {daemon.name}", node.name, _without(plan, node, daemon.name), node=node.name, daemon=daemon.name)


def _without(plan: Plan, node: Node, daemon: str) -> Broken:
    """What a single process takes with it: without zebra the kernel keeps its routes, without bgpd zebra takes BGP's out.

    bfdd's end costs sessions for a moment; they come back without BFD. Other processes decide nothing about packets.
    """
    if daemon == "bgpd":
        return Broken(mute=frozenset((node.name,)))
    if daemon == "zebra":
        return Broken(stale=frozenset((node.name,)))
    return Broken(devices=_ipsec(plan, node)) if daemon == "charon" else Broken()


def _ipsec(plan: Plan, node: Node) -> frozenset[str]:
    """The tunnels that nobody carries when the node's charon is dead: encryption in user space ends with it, the kernel's does not."""
    if plan.capabilities.ipsec != "libipsec":
        return frozenset()
    return frozenset(tunnel.name for tunnel in plan.tunnels if tunnel.type == "ipsec" and node.name in tunnel.nodes)
