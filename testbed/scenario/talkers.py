"""Who talks in a measurement, and who belongs to the lab: flows, places to watch, and the lab's own processes, from its plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from testbed.emulation.paths import namespaces
from testbed.errors import InputError
from testbed.measure.cpu import processes_in
from testbed.measure.streams import PORT, Flow, Place
from testbed.plan.types import Node, Plan
from testbed.scenario.places import node_called

FABRIC_MAC = "12:34:56:78:9a:bc"
"""What the fabric answers every ARP request with (E7)."""

_FIRST_PORT = 40000


@dataclass(frozen=True)
class Port:
    """Where a node sends and receives: its namespace and device, its MAC and that of its gateway, its address."""

    label: str
    namespace: str
    device: str
    mac: str
    gateway_mac: str
    ip: str


def port(plan: Plan, name: str) -> Port:
    """The first port of a node: its NIC in the fabric, or its end of a link outside of it. Raises InputError when it has none."""
    node = node_called(plan, name)
    if node.nics:
        nic = node.nics[0]
        return Port(name, node.id, nic.name, nic.mac, FABRIC_MAC, nic.ip)
    for wire in plan.wires:
        if name in wire.nodes:
            end = wire.nodes.index(name)
            return Port(name, node.id, wire.names[end], wire.macs[end], wire.macs[1 - end], wire.addresses[end].partition("/")[0])
    raise InputError(f"{name} has nothing to send from")


def flows(plan: Plan, pairs: Iterable[tuple[str, str]], each: int = 1, protocol: str = "udp", size: int = 64) -> tuple[Flow, ...]:
    """``each`` flows for every (source, target); they differ in their source ports."""
    found: list[Flow] = []
    for source, target in pairs:
        one, other = port(plan, source), port(plan, target)
        for _ in range(each):
            number = len(found)
            found.append(
                Flow(
                    number, source, target, one.namespace, one.device, one.mac, one.gateway_mac, one.ip, other.ip,
                    source_port=_FIRST_PORT + number, target_port=PORT, protocol=protocol, size=size,
                )
            )  # fmt: skip
    return tuple(found)


def ends(plan: Plan, talking: Iterable[Flow]) -> tuple[Place, ...]:
    """Where the flows arrive."""
    names = dict.fromkeys(flow.target for flow in talking)
    return tuple(Place(name, port(plan, name).namespace, port(plan, name).device) for name in names)


def waypoints(plan: Plan) -> dict[Place, str]:
    """Where routers take packets in, and of which node each is: the NICs of NVAs, and the tunnel devices of theirs."""
    routers = {node.name: node for node in plan.nodes if node.kind == "nva"}
    found = {Place(nic.label, node.id, nic.name): name for name, node in routers.items() for nic in node.nics}
    for tunnel in plan.tunnels:
        for name, device in zip(tunnel.nodes, tunnel.device, strict=True):
            if name in routers:
                found[Place(f"{name}:{device}", routers[name].id, device)] = name
    return found


def own_processes(plan: Plan, status: Mapping[str, Any]) -> frozenset[int]:
    """The pids of the lab: all that live in its namespaces, its labd, and its processes outside; descendants come on top of them."""
    named = [process["pid"] for process in status.get("processes", ())]
    return processes_in(namespaces(plan)) | {int(status["labd"])} | {pid for pid in named if pid}


def speakers(plan: Plan) -> tuple[Node, ...]:
    """The nodes that run bgpd."""
    return tuple(node for node in plan.nodes if any(daemon.name == "bgpd" for daemon in node.daemons))


def addresses(plan: Plan) -> dict[str, str]:
    """Every address of the fabric and of the tunnels → the node that has it."""
    found = {nic.ip: nic.node for nic in plan.nics()}
    for tunnel in plan.tunnels:
        found |= dict(zip(tunnel.inner, tunnel.nodes, strict=True))
    return found


def names(pairs: Sequence[tuple[str, str]]) -> str:
    """Pairs for people: both directions of a pair are one."""
    seen = {frozenset(pair): f"{pair[0]} {'↔' if (pair[1], pair[0]) in pairs else '→'} {pair[1]}" for pair in reversed(pairs)}
    return ", ".join(reversed(seen.values()))
