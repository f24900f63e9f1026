"""Does the model agree with itself? Every NIC's verdict by its effective routes against a packet through the computed flows.

The flows are walked by a switch on paper that knows no routes, so a packet's way is found twice, by different means. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property

from msgspec import Struct

from testbed.azure.control_plane import ControlPlane, converge
from testbed.azure.fib import FABRIC, LOCAL, UNREACHABLE, Fib, FibHop
from testbed.azure.fib import INTERNET as ONLINE
from testbed.azure.lookup import MASKS, parse, parse_address, render
from testbed.azure.types import Address, Prefix
from testbed.model.topology import Topology
from testbed.plan.compile import compile_plan
from testbed.plan.paper_switch import Outcome, PaperFabric
from testbed.plan.templates import load_templates
from testbed.plan.trace import MAX_WALKS, Sent, Tracer
from testbed.plan.types import INTERNET, Nic, Plan, TunnelPlan
from testbed.plan.walk import DELIVERED, DROPPED, LOOPS
from testbed.scenario.switch_agreement import expected_tables

UNICAST = (("1.0.0.0/8", "126.0.0.0/8"), ("128.0.0.0/8", "223.0.0.0/8"))
"""From the first to the last /8 with addresses that a packet may have."""

_CAUSE = re.compile(r"\b(E8|E9|P4|P1|None|no next hop|no effective route)\b")
_HOP = "hop"
"""The cause of a drop in a group: its note says where it leads, not why nobody is there."""


class Disagreement(Struct, frozen=True):
    """Two sides that should say the same of something, and what each of them says; or both in ``words``."""

    what: str
    model: str = ""
    found: str = ""
    words: str = ""

    def __str__(self) -> str:
        sides = f"the model says {self.model or 'nothing'}, found {self.found or 'nothing'}"
        return f"{self.what}: {self.words or sides}"


class Paper:
    """A design worked out on paper: its plan, its control plane, its packets, and the switches with all their flows."""

    def __init__(self, topology: Topology, plan: Plan | None = None) -> None:
        """``plan`` is that of a lab; without one the design is compiled here, without the texts of any configuration."""
        self.topology = topology
        self.plan = plan or compile_plan(topology, templates=dict.fromkeys(load_templates(), ""))
        self.control = converge(topology)
        self.tracer = Tracer(self.plan, self.control)

    @cached_property
    def fabric(self) -> PaperFabric:
        """The switches on paper with the flows and groups that follow from the control plane."""
        fabric = PaperFabric(self.plan)
        for bridge, table in expected_tables(self.plan, self.control).items():
            fabric.bridges[bridge].apply(table.flows.values(), table.groups.values())
        return fabric

    @cached_property
    def nics(self) -> tuple[Nic, ...]:
        """All NICs in VNets."""
        return tuple(nic for nic in self.plan.nics() if nic.vnet != INTERNET)

    @cached_property
    def senders(self) -> tuple[str, ...]:
        """All nodes that send from a NIC in a VNet, and the hosts of sites."""
        hosts = (host for site in self.topology.sites.values() for host in site.hosts)
        return tuple(dict.fromkeys((*(nic.node for nic in self.nics), *hosts)))

    @cached_property
    def classes(self) -> tuple[Address, ...]:
        """One address of every class of destinations that anything in the design tells apart."""
        return representatives(self._prefixes())

    def _prefixes(self) -> Iterator[Prefix]:
        for domain in self.plan.domains:
            yield from domain.protected
            yield from (row.prefix for row in (*domain.system, *domain.user))
        for hub in self.control.hubs:
            yield from (prefix for home in (0, 1) for prefix in self.control.injected(hub.vnet, home))
        for node in self.plan.nodes:
            yield from self.control.fib(node.name)
        yield from (f"{nic.ip}/32" for nic in self.plan.nics())
        yield from (f"{nic.public_ip}/32" for nic in self.plan.nics() if nic.public_ip is not None)
        yield from (f"{balancer.ip}/32" for balancer in self.plan.load_balancers)


def representatives(prefixes: Iterable[Prefix]) -> tuple[Address, ...]:
    """The first address of every range that the prefixes divide the unicast addresses into."""
    edges: set[int] = set()
    for prefix in (*prefixes, *(edge for ends in UNICAST for edge in ends)):
        network, length = parse(prefix)
        edges |= {network, network + (1 << (32 - length))}
    limits = [(parse(first)[0], parse(last)[0] | ~MASKS[8] & 0xFFFFFFFF) for first, last in UNICAST]
    return tuple(render(edge, 32).removesuffix("/32") for edge in sorted(edges) if any(low <= edge <= high for low, high in limits))


def disagreements(paper: Paper) -> Iterator[Disagreement]:
    """All that the sides of one design on paper do not agree in; nothing where all is well."""
    yield from choice_differences(paper.control)
    yield from decision_differences(paper)
    yield from walk_differences(paper)


def choice_differences(control: ControlPlane) -> Iterator[Disagreement]:
    """What Route Servers inject against what BGP chose in them; where gateways take part, or the limit of next hops, these may differ."""
    for hub in control.hubs:
        if hub.route_server is None or hub.gateways:
            continue
        for home in (0, 1):
            chosen = {
                prefix: tuple(route.path.next_hop for route in routes if route.used)
                for prefix, routes in control.rib(f"{hub.route_server}-{home}").items()
                if prefix not in hub.advertised
            }
            injected = {prefix: hops for prefix, hops in control.injected(hub.vnet, home).items() if prefix not in hub.advertised}
            for prefix in sorted(chosen.keys() | injected.keys()):
                best, used = chosen.get(prefix, ()), injected.get(prefix, ())
                if set(best) != set(used) and max(len(best), len(used)) < hub.ecmp:
                    yield Disagreement(f"{hub.route_server} instance {home}, {prefix}", ", ".join(best), ", ".join(used))


def decision_differences(paper: Paper) -> Iterator[Disagreement]:
    """For every NIC and every class of destinations: what its effective routes decide, against what its switch does."""
    for nic in paper.nics:
        for address in paper.classes:
            model, found = paper.tracer.sends(nic.label, address), tuple(paper.fabric.outcomes(nic.label, address))
            if not same_decision(model, found):
                yield Disagreement(f"{nic.label} to {address}", _model_text(model), _found_text(found))


def same_decision(model: Iterable[Sent], found: Iterable[Outcome]) -> bool:
    """Whether the same NICs get the packet, and where nobody does, for the same causes."""
    expected = {each.nic or cause(each.reason) for each in model}
    seen = {each.nic or cause(each.reason) for each in found}
    if _HOP in seen and expected & {"P1", "P4"}:
        seen = seen - {_HOP} | expected & {"P1", "P4"}
    return expected == seen


def cause(reason: str) -> str:
    """Why a packet was dropped in one word, from the tracer's reason or a flow's note: the rule, or the next-hop type."""
    match = _CAUSE.search(reason)
    if match is None:
        return _HOP
    return {"no effective route": "E3", "no next hop": "E4"}.get(match[1], match[1])


def _model_text(sent: Iterable[Sent]) -> str:
    return " or ".join(dict.fromkeys(each.nic or f"dropped ({each.reason})" for each in sent))


def _found_text(found: Iterable[Outcome]) -> str:
    return " or ".join(dict.fromkeys(each.nic or f"dropped in {each.vnet} ({each.reason})" for each in found))


# --- whole ways ---

Headers = tuple[tuple[Address, Address, str], ...]
"""Source, destination and tunnel of each header, outermost last."""

Ways = set[tuple[str, tuple[str, ...]]]
"""Verdicts, each with the nodes that the packet visits."""


def walk_differences(paper: Paper, sources: Iterable[str] | None = None) -> Iterator[Disagreement]:
    """For every sender (or ``sources``) and every class: the tracer's walks, against packets through the flows."""
    walker = Walker(paper)
    for node in paper.senders if sources is None else sources:
        for address in paper.classes:
            traced = paper.tracer.traces(node, address)
            model, found = {(walk.verdict, walk.nodes) for walk in traced}, walker.ways(node, address)
            if model != found and max(len(traced), len(found)) < MAX_WALKS:
                yield Disagreement(f"the way from {node} to {address}", _ways_text(model - found), _ways_text(found - model))


class Walker:
    """Sends packets through the flows and the kernels' tables, from node to node, until they end."""

    def __init__(self, paper: Paper) -> None:
        self._fabric = paper.fabric
        self._control = paper.control
        self._kinds = {node.name: node.kind for node in paper.plan.nodes}
        self._node_of = {nic.label: nic.node for nic in paper.plan.nics()}
        self._first = {nic.node: nic.ip for nic in reversed(paper.nics)}
        self._first |= {host: str(address) for site in paper.topology.sites.values() for host, address in site.hosts.items()}
        self._links: dict[tuple[str, str], str] = {}
        for each in paper.control.layout.network.adjacencies:
            for near, far in ((each.a, each.b), (each.b, each.a)):
                self._links[near.router, each.device] = far.router
        self._tunnels: dict[str, TunnelPlan] = {tunnel.name: tunnel for tunnel in paper.plan.tunnels}
        self._tables: dict[str, list[tuple[int, int, tuple[FibHop, ...]]]] = {}

    def ways(self, node: str, destination: Address) -> Ways:
        """All ways of a packet that a node sends, by every choice of equal paths; at most `MAX_WALKS`."""
        found: Ways = set()
        headers: Headers = ((self._first[node], destination, ""),)
        self._at(node, headers, (node,), frozenset(), True, found)
        return found

    def _at(
        self, node: str, headers: Headers, nodes: tuple[str, ...], seen: frozenset[tuple[str, Headers]], sends: bool, found: Ways
    ) -> None:
        """The kernel of a node has the packet; ``sends`` when it comes from the node itself."""
        if len(found) >= MAX_WALKS:
            return
        hops = self._lookup(node, headers[-1][1])
        if not hops or hops[0].device == UNREACHABLE:
            found.add((DROPPED, nodes))
        elif hops[0].device == LOCAL and len(headers) > 1:
            self._at(node, headers[:-1], nodes, seen, False, found)
        elif hops[0].device == LOCAL:
            found.add((DELIVERED, nodes))
        elif not sends and self._kinds[node] in ("vm", "host", "route_server"):
            found.add((DROPPED, nodes))
        elif not sends and (node, headers) in seen:
            found.add((LOOPS, nodes))
        else:
            been = seen if sends else seen | {(node, headers)}
            for hop in hops:
                self._out(node, hop, headers, nodes, been, found)

    def _out(
        self, node: str, hop: FibHop, headers: Headers, nodes: tuple[str, ...], seen: frozenset[tuple[str, Headers]], found: Ways
    ) -> None:
        tunnel = self._tunnels.get(hop.device)
        if tunnel is not None:
            if any(name == tunnel.name for _, _, name in headers):
                found.add((DROPPED, nodes))
                return
            end = tunnel.nodes.index(node)
            outer = tunnel.bound[end] or tunnel.outer[end], tunnel.outer[1 - end], tunnel.name
            self._at(node, (*headers, outer), nodes, seen, True, found)
            return
        if hop.device not in (FABRIC, ONLINE):
            there = self._links.get((node, hop.device), hop.device)
            self._at(there, headers, (*nodes, there), seen, False, found)
            return
        source, destination, name = headers[-1]
        for outcome in self._fabric.outcomes(hop.nic or node, destination, ipv4_src=source):
            if outcome.nic is None:
                found.add((DROPPED, nodes))
            else:
                there = self._node_of[outcome.nic]
                arrived = (*headers[:-1], (str(outcome.fields["ipv4_src"]), str(outcome.fields["ipv4_dst"]), name))
                self._at(there, arrived, (*nodes, there), seen, False, found)

    def _lookup(self, node: str, address: Address) -> tuple[FibHop, ...]:
        """The longest prefix of the node's table, by going through all of them."""
        if node not in self._tables:
            self._tables[node] = _sorted(self._control.fib(node))
        number = parse_address(address)
        return next((hops for network, mask, hops in self._tables[node] if number & mask == network), ())


def _sorted(fib: Fib | Mapping[Prefix, tuple[FibHop, ...]]) -> list[tuple[int, int, tuple[FibHop, ...]]]:
    rows = [(*parse(prefix), hops) for prefix, hops in fib.items()]
    return [(network, MASKS[length], hops) for network, length, hops in sorted(rows, key=lambda row: -row[1])]


def _ways_text(ways: Ways) -> str:
    return " or ".join(f"{verdict} {' → '.join(nodes)}" for verdict, nodes in sorted(ways))
