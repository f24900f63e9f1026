"""Nodes and links of a lab by their names: where one can be listened to, between regions, on a circuit, at a NIC, on a site's line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from testbed.errors import InputError
from testbed.model.scenario import Fault
from testbed.plan.types import INTERNET, Node, Plan, Wire

THE_INTERNET = "internet"
Places = dict[str, tuple[str, str | None]]
"""By a name for people: the namespace, and the device in it (None: all)."""


def node_called(plan: Plan, name: str) -> Node:
    """The node of that name. Raises InputError when there is none."""
    known = {node.name: node for node in plan.nodes}
    if name not in known:
        raise InputError(f"no node {name}", f"known: {', '.join(known)}")
    return known[name]


def places_of(plan: Plan, link: tuple[str, str]) -> Places:
    """The devices of a link: two VNets peered across regions, two nodes on a wire, a node and its VNet, or a site and ``internet``.

    A gateway stands for its instances, a circuit for its MSEEs: then the link is all wires between them. Raises InputError when there
    is no such link.
    """
    found: Places = {**dict(_peerings(plan, link)), **dict(_wires(plan, link)), **dict(_lines(plan, link))}
    if not found:
        hint = "two VNets peered across regions, two nodes on a circuit, a node and its VNet, or a site and `internet`"
        raise InputError(f"between {link[0]} and {link[1]} there is no link of its own", hint)
    return found


def links_of(plan: Plan, fault: Fault) -> list[dict[str, Any]]:
    """The links that a fault takes down, as labd names them: a tunnel, a peering across regions, or all wires between two nodes."""
    if fault.tunnel is not None:
        return [{"tunnel": fault.tunnel}]
    link = fault.link or ("", "")
    wires = [{"wire": list(wire.nodes)} for wire in wires_between(plan, link)]
    return wires or [{"peering": list(link)}]


def wires_between(plan: Plan, link: tuple[str, str]) -> tuple[Wire, ...]:
    """The wires between two nodes; a gateway stands for its instances, a circuit for its MSEEs."""

    def joins(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
        return (link[0] in one and link[1] in other) or (link[1] in one and link[0] in other)

    return tuple(wire for wire in plan.wires if joins(*map(called, wire.nodes)))


def _peerings(plan: Plan, link: tuple[str, str]) -> Iterator[tuple[str, tuple[str, str]]]:
    for peering in plan.peerings:
        if {end.peer_vnet for end in peering.ends} == set(link) and peering.kind == "veth":
            yield "fabric", (plan.fabric, peering.ends[0].id)


def _wires(plan: Plan, link: tuple[str, str]) -> Iterator[tuple[str, tuple[str, str]]]:
    ids = {node.name: node.id for node in plan.nodes}
    for wire in wires_between(plan, link):
        yield "-".join(wire.nodes), (ids[wire.nodes[0]], wire.names[0])


def called(node: str) -> tuple[str, ...]:
    """What a node may be called by: its name, and for an instance that of its Route Server, gateway or circuit."""
    head, _, tail = node.rpartition("-")
    return (node, head) if tail in ("0", "1", "msee0", "msee1") else (node,)


def _lines(plan: Plan, link: tuple[str, str]) -> Iterator[tuple[str, tuple[str, str]]]:
    for nic in plan.nics():
        if set(link) == {nic.node, THE_INTERNET if nic.vnet == INTERNET else nic.vnet}:
            yield nic.label, (plan.node(nic.node).id, nic.name)
