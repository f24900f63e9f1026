"""Why a packet goes where it goes, in words: both directions of a pair, hop by hop, and what would have helped where it is lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct

from testbed.azure.control_plane import ControlPlane, converge
from testbed.azure.lookup import covers
from testbed.azure.types import Address, Domain
from testbed.errors import InputError
from testbed.model.topology import Topology
from testbed.plan.compile import compile_plan
from testbed.plan.templates import load_templates
from testbed.plan.trace import Tracer
from testbed.plan.types import Nic
from testbed.plan.walk import DELIVERED, LOOPS, Header, Step, Walk


class Direction(Struct, frozen=True):
    """One direction: the walks of all equal-cost choices (the first is shown in full), and hints where it is not delivered."""

    walks: tuple[Walk, ...]
    hints: tuple[str, ...] = ()

    @property
    def walk(self) -> Walk:
        """The walk of the first choice."""
        return self.walks[0]


class Explanation(Struct, frozen=True):
    """Both directions of a pair; ``back`` is None when the destination is an address that no node has."""

    there: Direction
    back: Direction | None
    notes: tuple[str, ...] = ()

    @property
    def symmetric(self) -> bool | None:
        """Whether both directions pass the same nodes; None where one of them does not arrive."""
        if self.back is None or {self.there.walk.verdict, self.back.walk.verdict} != {DELIVERED}:
            return None
        return self.there.walk.nodes == self.back.walk.nodes[::-1]

    def to_json(self) -> dict[str, Any]:
        """The explanation as plain data."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        found["symmetric"] = self.symmetric
        return found

    def text(self) -> str:
        """The explanation for people."""
        lines = list(_direction(self.there))
        if self.back is not None:
            lines += ["", *_direction(self.back)]
        if self.symmetric is not None:
            lines += ["", "both directions take the same way" if self.symmetric else "asymmetric: the two directions take different ways"]
        return "\n".join([*lines, *self.notes])


def explain_pair(topology: Topology, source: str, destination: str) -> Explanation:
    """How a packet travels from a NIC or node to a NIC, node or address, and back. Raises InputError for names that do not exist."""
    own = {f"user/{name}": "" for name, nva in topology.nvas.items() if nva.frr_config is not None}
    plan = compile_plan(topology, templates={**load_templates(), **own})
    control = converge(topology)
    tracer = Tracer(plan, control)
    node, address = _node(tracer, source), _address(tracer, topology, destination)
    notes = tuple(control.unmodelled.values())
    if not control.settled:
        notes += (f"does not settle: {', '.join(control.oscillating[:5])}",)
    target = _owner(tracer, topology, address)
    back = _explain(tracer, control, target, _address(tracer, topology, source)) if target is not None else None
    return Explanation(_explain(tracer, control, node, address), back, notes)


def _explain(tracer: Tracer, control: ControlPlane, node: str, address: Address) -> Direction:
    walks = tracer.traces(node, address)
    lost = next((walk for walk in walks if walk.verdict != DELIVERED), None)
    return Direction(walks, tuple(dict.fromkeys(hints(tracer, control, lost))) if lost is not None else ())


def _node(tracer: Tracer, name: str) -> str:
    if name in tracer.index.nics:
        return tracer.index.nics[name].node
    if name in _hosts(tracer.control.topology) or name in tracer.control.topology.sites:
        return name
    raise InputError(f"no NIC or node named {name}", f"known: {', '.join((*tracer.index.nics, *_hosts(tracer.control.topology)))}")


def _address(tracer: Tracer, topology: Topology, name: str) -> Address:
    if name in tracer.index.nics:
        return tracer.index.nics[name].ip
    if name in _hosts(topology):
        return _hosts(topology)[name]
    parts = name.split(".")
    if len(parts) == 4 and all(part.isascii() and part.isdigit() and int(part) < 256 for part in parts):
        return ".".join(str(int(part)) for part in parts)
    raise InputError(f"{name} is neither a NIC nor an IPv4 address", f"known: {', '.join((*tracer.index.nics, *_hosts(topology)))}")


def _hosts(topology: Topology) -> dict[str, Address]:
    return {host: str(address) for site in topology.sites.values() for host, address in site.hosts.items()}


def _owner(tracer: Tracer, topology: Topology, address: Address) -> str | None:
    nodes = {nic.ip: nic.node for nic in tracer.index.nics.values()}
    return nodes.get(address) or next((host for host, own in _hosts(topology).items() if own == address), None)


def hints(tracer: Tracer, control: ControlPlane, walk: Walk) -> Iterator[str]:
    """What took away a route that would have helped where a walk was lost: an AS path, a flag, a switch (RS8, P2, E5)."""
    step = next((step for step in reversed(walk.steps) if step.where == "fabric"), None)
    if step is None:
        return
    nic = tracer.index.nics[step.nic]
    domain, destination = tracer.index.domains[nic.domain], step.headers[0].destination
    if walk.verdict == LOOPS and step.winner is not None and nic.ip in step.winner.next_hops:
        remedy = "carry it in a tunnel, or give its subnet a UDR"
        yield f"E6: the route {step.winner.prefix} at {nic.label} points at {nic.label} itself: {remedy}"
    yield from _not_accepted(control, domain, destination)
    if domain.hub is not None and not domain.propagate:
        injected = [prefix for prefix in control.injected(domain.hub, nic.home) if covers(prefix, destination)]
        yield from (f"E5: {domain.route_table} keeps BGP routes out; {prefix} would be there" for prefix in injected)
    yield from _not_served(tracer, control, domain, nic, destination)


def _not_accepted(control: ControlPlane, domain: Domain, destination: Address) -> Iterator[str]:
    """Routes that the domain's Route Server or gateways received and dropped."""
    hub = next((hub for hub in control.hubs if hub.vnet == domain.hub), None)
    servers = {speaker.server for speaker in hub.speakers} if hub else set()
    for session in (each for each in control.sessions if each.server in servers):
        for received in control.received(session):
            if received.dropped and covers(received.path.prefix, destination):
                path = " ".join(map(str, received.path.as_path))
                yield f"{received.dropped}: {session.server} dropped {received.path.prefix} from {session.peer}, AS path {path}"


def _not_served(tracer: Tracer, control: ControlPlane, domain: Domain, nic: Nic, destination: Address) -> Iterator[str]:
    """VNets that no Route Server serves, at either end (P2)."""
    served = {vnet for hub in control.hubs for vnet in hub.served}
    if domain.hub is None and any(peer in {hub.vnet for hub in control.hubs} for peer in tracer.index.ends_of[nic.vnet]):
        flags = "it takes use_remote_gateways here and allow_gateway_transit at the hub"
        yield f"P2: {nic.vnet} gets no routes from a Route Server: {flags}"
    owner = next((bridge.vnet for bridge in tracer.plan.bridges for prefix in bridge.address_space if covers(prefix, destination)), None)
    if owner is not None and owner not in served:
        yield f"P2: no Route Server advertises {owner}: its peering with a hub lacks gateway transit"


def _direction(direction: Direction) -> Iterator[str]:
    walk = direction.walk
    way = " → ".join(walk.nodes)
    ttl = f", TTL down by {walk.ttl_down}" if walk.verdict == DELIVERED else ""
    yield f"{walk.source} → {walk.destination}: {walk.verdict}{ttl}: {way}"
    yield from (line for step in walk.steps for line in _step(step))
    if walk.verdict != DELIVERED:
        yield f"  {walk.verdict} at {walk.at}: {walk.reason}"
    for other in direction.walks[1:]:
        yield f"  or, for other flows: {other.verdict}: {' → '.join(other.nodes)}"
    yield from (f"  hint: {hint}" for hint in direction.hints)


def _step(step: Step) -> Iterator[str]:
    inside = f"  [{' in '.join(map(_header, reversed(step.headers)))}]" if len(step.headers) > 1 else ""
    spread = f"  (one of {', '.join(step.choices)})" if len(step.choices) > 1 else ""
    if step.where != "fabric":
        what = f"{step.prefix} → {step.text}" if step.where == "kernel" else step.text or f"to {step.to}"
        yield f"  {step.node:<12} {step.where:<11} {what}{spread}"
        return
    yield f"  {step.nic:<12} {'fabric':<11} {step.text or 'no route'} → {step.to or 'nowhere'}  {step.rule}{spread}{inside}"
    for row in step.rows:
        if row != step.winner:
            state = "also matches" if row.active else f"invalid by {row.rule}"
            hops = f" {', '.join(row.next_hops)}" if row.next_hops else ""
            yield f"  {'':<24} {state}: {row.prefix} {row.next_hop_type}{hops}"
    for prefix in step.withheld:
        yield f"  {'':<24} not programmed: {prefix} from BGP, inside the space of this VNet or a peer (RS9, E2)"


def _header(header: Header) -> str:
    return f"{header.source} > {header.destination}"
