"""What a fault of a lab breaks in the design, by name: the one place that says so, for predictions on paper and for live labs. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce

from testbed.azure.impairment import INTACT, Broken
from testbed.model.scenario import Fault
from testbed.plan.types import BgpPeering, Plan
from testbed.scenario.places import wires_between


def broken_by(plan: Plan, faults: Iterable[Fault]) -> Broken:
    """What does not work while all of these faults last."""
    return reduce(Broken.__or__, (_one(plan, fault) for fault in faults), INTACT)


def shut(plan: Plan, fault: Fault) -> tuple[BgpPeering, ...]:
    """The BGP sessions that a fault of the kind ``session`` shuts down: those of its node with a neighbour, or both its instances."""
    others = {fault.session, f"{fault.session}-0", f"{fault.session}-1"}
    return tuple(each for each in plan.sessions if fault.node in each.nodes and others & set(each.nodes) - {fault.node})


def _one(plan: Plan, fault: Fault) -> Broken:
    if fault.controller:
        return Broken(frozen=True)
    if fault.tunnel is not None:
        return _cut(fault.tunnel) if fault.mismatch is None else _disagreeing(plan, fault.tunnel, fault.mismatch)
    if fault.link is not None:
        wires = wires_between(plan, fault.link)
        return _cut(*("-".join(wire.nodes) for wire in wires)) if wires else Broken(peerings=frozenset((frozenset(fault.link),)))
    node = str(fault.node)
    if fault.session is not None:
        return Broken(sessions=frozenset(frozenset(each.nodes) for each in shut(plan, fault)))
    if fault.power:
        wires = tuple(wire for wire in plan.wires if node in wire.nodes)
        return Broken(silent=frozenset((node,))) | _cut(*("-".join(wire.nodes) for wire in wires))
    names = [daemon.name for daemon in plan.node(node).daemons]
    return reduce(Broken.__or__, (_without(plan, node, name) for name in names if fault.daemon in (None, name)), INTACT)


def _disagreeing(plan: Plan, tunnel: str, what: str) -> Broken:
    """Without the same key and proposals nothing is carried; without the same password only BGP is missing."""
    if what != "password":
        return Broken(devices=frozenset((tunnel,)))
    return Broken(sessions=frozenset(frozenset(each.nodes) for each in plan.tunnels if each.name == tunnel))


def _cut(*devices: str) -> Broken:
    """Devices that are down at both ends."""
    return Broken(devices=frozenset(devices), vanished=frozenset(devices))


def _without(plan: Plan, node: str, daemon: str) -> Broken:
    """What a single process takes with it: without zebra the kernel keeps its routes, without bgpd zebra takes BGP's out.

    bfdd's end costs sessions for a moment; they come back without BFD. Encryption ends with charon, in user space and in the kernel.
    """
    if daemon == "bgpd":
        return Broken(mute=frozenset((node,)))
    if daemon == "zebra":
        return Broken(stale=frozenset((node,)))
    if daemon == "charon":
        return Broken(devices=frozenset(each.name for each in plan.tunnels if each.type == "ipsec" and node in each.nodes))
    return INTACT
