"""The routes of a node over its wires: the kernel forgets them when a wire goes down and does not put them back; pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from testbed.plan.types import Plan


def routes_over_wires(plan: Plan, name: str, down: Collection[str] = ()) -> tuple[str, ...]:
    """Lines for ``ip -batch`` that put the node's own routes over its wires back, as far as they lead by none that is ``down``.

    ``down`` are interfaces of the node. A route with several next hops gets those that are left.
    """
    gateways = dict(_gateways(plan, name))
    ends = [(wire.nodes, wire.names) for wire in plan.wires]
    usable = {device for nodes, devices in ends for node, device in zip(nodes, devices, strict=True) if node == name} - set(down)
    lines = []
    for line in plan.node(name).setup:
        if line.startswith("route add "):
            head, *hops = line.replace("route add", "route replace", 1).split(" nexthop ")
            left = [hop for hop in hops if gateways.get(hop.split()[1]) in usable]
            if left or (not hops and _device(head) in usable):
                lines.append(" nexthop ".join((head, *left)))
    return tuple(lines)


def _gateways(plan: Plan, name: str) -> Iterator[tuple[str, str]]:
    """The far ends of the node's wires, each with the interface that leads there."""
    for wire in plan.wires:
        for own in (0, 1):
            if wire.nodes[own] == name:
                yield wire.addresses[1 - own].partition("/")[0], wire.names[own]


def _device(line: str) -> str | None:
    words = line.split()
    return words[words.index("dev") + 1] if "dev" in words else None
