"""Walks a packet over a plan, as the fabric and the nodes' kernels would carry it; the oracle that the running lab is held to.

At a NIC the effective routes of its domain decide (one lookup, then peerings by P1 and P4, then E8); in a node its forwarding table.
Where equal-cost paths spread flows, there is a walk for each choice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

from msgspec import Struct
from msgspec.structs import replace

from testbed.azure.control_plane import ControlPlane, FibHop
from testbed.azure.effective_routes import NOTHING, Injected, Table
from testbed.azure.fib import FABRIC, INTERNET, LOCAL, UNREACHABLE, outer_addresses
from testbed.azure.lookup import PrefixMap, covers
from testbed.azure.networks import tunnel_name
from testbed.azure.types import Address, Domain, NextHopType, RouteSource, Row
from testbed.model.topology import Tunnel
from testbed.plan.fabric_index import FabricIndex, Hop
from testbed.plan.types import INTERNET as OUTSIDE
from testbed.plan.types import Nic, Plan, TunnelPlan
from testbed.plan.walk import DELIVERED, DROPPED, LOOPS, Header, Step, Walk

TTL = 64
MAX_WALKS = 64
MAX_DEPTH = 4
_LOCAL_TYPES = (NextHopType.VNET_LOCAL, NextHopType.VNET_PEERING, NextHopType.VNET_GLOBAL_PEERING)


class Packet(Struct, frozen=True):
    """A packet at a node: its headers outermost first, and the way it has come."""

    headers: tuple[Header, ...]
    ttl: int
    nodes: tuple[str, ...]
    steps: tuple[Step, ...] = ()
    seen: tuple[tuple[str, tuple[Header, ...], int], ...] = ()
    hidden: tuple[int, ...] = ()

    def told(self, step: Step, **changes: object) -> Packet:
        """The packet one step later, with what else changed."""
        return replace(self, steps=(*self.steps, step), **changes)


class Sent(Struct, frozen=True):
    """What the fabric did with a packet: ``nic`` is the label of the NIC that gets it, or empty; then ``reason`` says why, ``at`` where."""

    nic: str
    at: str
    reason: str = ""


class Tracer:
    """Traces packets over one plan and one converged control plane; make it once, ask often."""

    def __init__(self, plan: Plan, control: ControlPlane) -> None:
        self.plan = plan
        self.control = control
        self.index = FabricIndex(plan)
        self._kinds = {node.name: node.kind for node in plan.nodes}
        self._fibs: dict[str, PrefixMap[tuple[FibHop, ...]]] = {}
        self._tables: dict[tuple[int, int], Table] = {}

    def trace(self, source: str, destination: Address, ttl: int = TTL) -> Walk:
        """The walk of a packet that a node sends; under ECMP that of the first choice everywhere. Raises KeyError for an unknown node."""
        return next(self._walks(source, destination, ttl))

    def traces(self, source: str, destination: Address, ttl: int = TTL) -> tuple[Walk, ...]:
        """The walks of all choices of equal-cost paths, at most 64."""
        found = []
        for walk in self._walks(source, destination, ttl):
            found.append(walk)
            if len(found) == MAX_WALKS:
                break
        return tuple(found)

    def carries(self, tunnel: TunnelPlan) -> frozenset[bool]:
        """Whether a tunnel's own packets get to its far end in both directions; both answers where that depends on the equal path taken.

        True for what is carried by more than the design: a gateway's connection over the Internet, a site without an address.
        """
        declared = self._tunnels.get(tunnel.name)
        ends = [each for each in outer_addresses(self.control.topology, declared) if each] if declared is not None else []
        if len(ends) < 2:
            return frozenset((True,))
        answers = [
            {walk.verdict == DELIVERED for walk in self._node(node, Packet((Header(bound, far, tunnel.name),), TTL, (node,)), True)}
            for node, bound, far in zip(tunnel.nodes, tunnel.bound, reversed(ends), strict=True)
        ]
        return frozenset((False,)) if {False} in answers else frozenset[bool]().union(*answers)

    def sends(self, label: str, destination: Address, source: Address = "") -> tuple[Sent, ...]:
        """What the fabric does with a packet that a NIC sends, from its own address unless ``source`` says otherwise.

        The one decision of its effective routes, and what becomes of it on the way to the next NIC; one result for each choice of
        equal next hops. Raises KeyError for an unknown NIC.
        """
        nic = self.index.nics[label]
        outer = Header(source or nic.ip, destination)
        if (refusal := self._spoofed(nic, outer)) is not None:
            return (Sent("", label, refusal),)
        winner = self.table(nic).lookup(destination)
        outside = winner is not None and winner.next_hop_type is NextHopType.INTERNET
        return tuple(self._handed(nic, hop, outer, outside) for hop in self._hops(nic, winner, outer))

    def _handed(self, nic: Nic, hop: Nic | str, outer: Header, outside: bool) -> Sent:
        """What becomes of a packet on its way to a hop; ``outside`` when that way is the Internet."""
        if isinstance(hop, str):
            return Sent("", nic.label, hop)
        if outside:
            public = next((each.label for each in self.index.nics.values() if outer.destination in (each.public_ip, _outside(each))), "")
            return Sent(public, public or "internet", "" if public else f"E9: nothing on the Internet has {outer.destination}")
        refused = self._not_taken(nic, hop, outer)
        return Sent(hop.label, hop.label) if refused is None else Sent("", *refused)

    def table(self, nic: Nic) -> Table:
        """The effective routes of a NIC."""
        domain = self.index.domains[nic.domain]
        key = nic.domain, nic.home
        if key not in self._tables:
            self._tables[key] = Table(domain, self._injected(domain, nic.home))
        return self._tables[key]

    def _injected(self, domain: Domain, home: int) -> Injected:
        return self.control.injected(domain.hub, home) if domain.hub is not None else NOTHING

    def _walks(self, source: str, destination: Address, ttl: int) -> Iterator[Walk]:
        packet = Packet((Header(self._source(source, destination), destination),), ttl, (source,))
        yield from self._node(source, packet, originates=True)

    def _source(self, node: str, destination: Address) -> Address:
        """The address that a node's kernel sends from: by a site's own line to the Internet its public one (E9)."""
        line, hops = self.index.nics.get(node), self._fib(node).lookup(destination)
        return line.ip if line is not None and hops and hops[0].device == INTERNET else self._address(node)

    def _address(self, node: str) -> Address:
        if node in self._first_addresses:
            return self._first_addresses[node]
        for site in self.control.topology.sites.values():
            if node in site.hosts:
                return str(site.hosts[node])
        return _own_address(self._fib(node), node)

    @cached_property
    def _first_addresses(self) -> dict[str, Address]:
        """The address of each node's first NIC in a VNet."""
        return {nic.node: nic.ip for nic in reversed(self.plan.nics()) if nic.vnet != OUTSIDE}

    def _fib(self, node: str) -> PrefixMap[tuple[FibHop, ...]]:
        if node not in self._fibs:
            self._fibs[node] = PrefixMap(self.control.fib(node))
        return self._fibs[node]

    # --- in a node ---

    def _node(self, node: str, packet: Packet, originates: bool = False) -> Iterator[Walk]:
        """The node's kernel has the packet: deliver, decapsulate, or send it on."""
        outer = packet.headers[0]
        fib = self._fib(node)
        hops = fib.lookup(outer.destination)
        if hops is None or hops[0].device == UNREACHABLE:
            yield ended(packet, DROPPED, node, f"{node} has no route to {outer.destination}")
            return
        if hops[0].device == LOCAL:
            yield from self._arrived(node, packet)
            return
        if not originates and (refusal := self._forward(node, packet)) is not None:
            yield refusal
            return
        sent = packet if originates else _forwarded(node, packet, outer.tunnel in self._encrypted)
        matched = next(fib.matches(_number(outer.destination)), "")
        choices = tuple(map(_hop_text, hops))
        for hop in hops:
            step = Step(node, "kernel", "", packet.headers, sent.ttl, hop.device, _hop_text(hop), prefix=matched, choices=choices)
            yield from self._out(node, sent.told(step), hop)

    def _forward(self, node: str, packet: Packet) -> Walk | None:
        """Why a node does not forward a packet: it does not at all, it has had it before, or the TTL is used up."""
        if self._kinds.get(node) in ("vm", "host", "route_server"):
            return ended(packet, DROPPED, node, f"{node} does not forward, and {packet.headers[0].destination} is not its own")
        before = next((place for where, headers, place in packet.seen if (where, headers) == (node, packet.headers)), None)
        if before is not None:
            cycle = packet.nodes[before:-1]
            return ended(packet, LOOPS, node, f"TTL exceeded in the end: {' → '.join((*cycle, node))}", cycle)
        if packet.ttl <= 1:
            return ended(packet, DROPPED, node, "TTL exceeded")
        return None

    def _arrived(self, node: str, packet: Packet) -> Iterator[Walk]:
        """The outermost destination is the node's own: the end, or the end of a tunnel."""
        outer, *inner = packet.headers
        if not inner:
            yield ended(packet, DELIVERED, node, "")
            return
        step = Step(node, "decapsulate", "", packet.headers, packet.ttl, outer.tunnel, f"takes the packet out of {outer.tunnel}")
        yield from self._node(node, packet.told(step, headers=tuple(inner)))

    def _out(self, node: str, packet: Packet, hop: FibHop) -> Iterator[Walk]:
        """The packet leaves by one way of the forwarding table."""
        if hop.device == FABRIC:
            yield from self._fabric(self.index.nics[hop.nic], packet)
        elif hop.device == INTERNET:
            line = self.index.nics.get(node)
            refusal = self._spoofed(line, packet.headers[0]) if line is not None else None
            yield from self._internet(node, packet) if refusal is None else (ended(packet, DROPPED, node, refusal),)
        elif hop.device in self._tunnels:
            yield from self._encapsulate(node, packet, self._tunnels[hop.device])
        else:
            yield from self._link(node, packet, hop.device)

    @cached_property
    def _tunnels(self) -> dict[str, Tunnel]:
        return {tunnel_name(tunnel): tunnel for tunnel in self.control.topology.tunnels}

    @cached_property
    def _encrypted(self) -> frozenset[str]:
        return frozenset(name for name, tunnel in self._tunnels.items() if tunnel.type == "ipsec")

    def _encapsulate(self, node: str, packet: Packet, tunnel: Tunnel) -> Iterator[Walk]:
        """A new outer header, routed in turn from this node."""
        name = tunnel_name(tunnel)
        if any(header.tunnel == name for header in packet.headers) or len(packet.headers) > MAX_DEPTH:
            reason = f"the far end of {name} is reached through {name} itself; give {node} a host route to it"
            yield ended(packet, DROPPED, node, reason)
            return
        addresses = outer_addresses(self.control.topology, tunnel)
        end = tunnel.between.index(node)
        if not all(addresses):
            yield from self._outside(node, packet, tunnel)
            return
        # behind 1:1 translation the sender writes its private address; the translation shows in the next step
        bound = next(each.bound[end] for each in self.plan.tunnels if each.name == name)
        header = Header(bound, addresses[1 - end], name)
        text = f"puts the packet into {tunnel.type} {header.source} → {header.destination}"
        step = Step(node, "encapsulate", "", (header, *packet.headers), packet.ttl, name, text)
        yield from self._node(node, packet.told(step, headers=(header, *packet.headers)), originates=True)

    def _outside(self, node: str, packet: Packet, tunnel: Tunnel) -> Iterator[Walk]:
        """A tunnel with a site that has no address of its own: what carries it is not part of the design, and is taken to work."""
        name, target = tunnel_name(tunnel), tunnel.between[1 - tunnel.between.index(node)]
        step = Step(
            node, "encapsulate", "", packet.headers, packet.ttl, name, f"puts the packet into {tunnel.type} {name}, carried elsewhere"
        )
        yield from self._node(target, packet.told(step, nodes=(*packet.nodes, target)))

    def _link(self, node: str, packet: Packet, device: str) -> Iterator[Walk]:
        """A link outside the fabric: a circuit, a VPN connection, a site's LAN."""
        target = self._links.get((node, device), device)
        step = Step(node, "link", "", packet.headers, packet.ttl, target, f"over {device}" if device != target else "")
        yield from self._node(target, packet.told(step, nodes=(*packet.nodes, target)))

    @cached_property
    def _links(self) -> dict[tuple[str, str], str]:
        """The node at the other end of each device outside the fabric."""
        adjacencies = [each for each in self.control.layout.network.adjacencies if each.device and each.device not in self._tunnels]
        return {(a.router, each.device): b.router for each in adjacencies for a, b in ((each.a, each.b), (each.b, each.a))}

    # --- in the fabric ---

    def _fabric(self, nic: Nic, packet: Packet) -> Iterator[Walk]:
        """The one lookup: source guard, effective routes of the sending NIC, and what the winner leads to."""
        outer = packet.headers[0]
        if (refusal := self._spoofed(nic, outer)) is not None:
            yield ended(packet, DROPPED, nic.label, refusal)
            return
        table = self.table(nic)
        rows, winner = table.matches(outer.destination), table.lookup(outer.destination)
        step = Step(nic.node, "fabric", nic.label, packet.headers, packet.ttl, "", "", rows=rows, winner=winner)
        step = replace(step, withheld=table.withheld(outer.destination), rule=_rule(rows, winner), prefix=winner.prefix if winner else "")
        hops = self._hops(nic, winner, outer)
        names = tuple(_name(hop) for hop in hops)
        for hop, name in zip(hops, names, strict=True):
            taken = packet.told(replace(step, to=name, text=_row_text(winner), choices=names if len(names) > 1 else ()))
            if isinstance(hop, str):
                yield ended(taken, DROPPED, nic.label, hop)
            else:
                yield from self._deliver(nic, hop, taken)

    def _hops(self, nic: Nic, winner: Row | None, outer: Header) -> tuple[Nic | str, ...]:
        """The NICs among which the packet's flow is spread, or why there is none."""
        if winner is None:
            return ("E3: no effective route",)
        if winner.next_hop_type in _LOCAL_TYPES:
            return self._balanced(self.index.hop(nic.vnet, outer.destination))
        if winner.next_hop_type is NextHopType.NONE:
            return (f"E3: {winner.prefix} leads to None",)
        if winner.next_hop_type is NextHopType.INTERNET:
            return self._egress(nic, outer)
        found = [each for address in winner.next_hops for each in self._balanced(self.index.hop(nic.vnet, address))]
        return tuple(dict.fromkeys(found)) or (f"E4: {winner.prefix} has no next hop",)

    def _balanced(self, hop: Hop) -> tuple[Nic | str, ...]:
        if isinstance(hop, Nic | str):
            return (hop,)
        return tuple(self.index.nics[label] for label in hop.backends)

    def _egress(self, nic: Nic, outer: Header) -> tuple[Nic | str, ...]:
        """A row of type Internet: out by the NIC's public address, if it has one and the packet is its own (E9)."""
        if nic.public_ip is None or outer.source != nic.ip:
            return (f"E9: {nic.label} has no public address for {outer.source}",)
        return (nic,)

    def _deliver(self, nic: Nic, target: Nic, packet: Packet) -> Iterator[Walk]:
        """Over the peering if there is one (P4), to the NIC (E8), into its node."""
        outer = packet.headers[0]
        winner = packet.steps[-1].winner
        if winner is not None and winner.next_hop_type is NextHopType.INTERNET:
            yield from self._translated(nic, packet)
            return
        if (refusal := self._not_taken(nic, target, outer)) is not None:
            yield ended(packet, DROPPED, *refusal)
            return
        yield from self._node(target.node, replace(packet, nodes=(*packet.nodes, target.node)))

    def _spoofed(self, nic: Nic, outer: Header) -> str | None:
        """Why a NIC may not send from that source address, if so (E8)."""
        if nic.ip_forwarding or outer.source in (nic.ip, *self.index.frontends[nic.label]):
            return None
        return f"E8: {nic.label} may not send from {outer.source}: its IP forwarding is off"

    def _not_taken(self, nic: Nic, target: Nic, outer: Header) -> tuple[str, str] | None:
        """Where and why a packet does not get into the NIC it was sent to: its VNet (P4), or itself (E8)."""
        if target.vnet != nic.vnet and (refusal := self._refused(nic, target, outer)):
            return target.vnet, refusal
        if not target.ip_forwarding and outer.destination not in (target.ip, *self.index.frontends[target.label]):
            return target.label, f"E8: {target.label} receives only what is addressed to it: its IP forwarding is off"
        return None

    def _refused(self, nic: Nic, target: Nic, outer: Header) -> str:
        """Why the receiving VNet does not admit the packet (P4), or nothing."""
        end = self.index.ends_of[target.vnet][nic.vnet]
        if end.accept == "all" or nic.mac in self.index.transit_macs(target.vnet, nic.vnet):
            return ""
        if end.accept == "none":
            return f"P4: access between {nic.vnet} and {target.vnet} is not allowed"
        if any(covers(prefix, outer.source) for prefix in end.peer_space):
            return ""
        return (
            f"P4: {target.vnet} does not take forwarded traffic from {nic.vnet} (source {outer.source}): "
            f"its peering lacks allow_forwarded_traffic"
        )

    # --- on the Internet ---

    def _translated(self, nic: Nic, packet: Packet) -> Iterator[Walk]:
        """Out through the NIC's public address (E9)."""
        outer = replace(packet.headers[0], source=nic.public_ip or nic.ip)
        yield from self._internet(nic.node, replace(packet, headers=(outer, *packet.headers[1:])))

    def _internet(self, node: str, packet: Packet) -> Iterator[Walk]:
        """From a public address to a public address; at a NIC it becomes the private one again (E9)."""
        outer = packet.headers[0]
        for name, site in self.control.topology.sites.items():
            if str(site.public_ip) == outer.destination:
                step = Step(node, "internet", "", packet.headers, packet.ttl, name, "over the Internet", "E9")
                yield from self._node(name, packet.told(step, nodes=(*packet.nodes, name)))
                return
        target = next((each for each in self.index.nics.values() if each.public_ip == outer.destination), None)
        if target is None:
            yield ended(packet, DROPPED, "internet", f"E9: nothing on the Internet has the address {outer.destination}")
            return
        step = Step(node, "internet", target.label, packet.headers, packet.ttl, target.node, "over the Internet", "E9")
        headers = (replace(outer, destination=target.ip), *packet.headers[1:])
        yield from self._node(target.node, packet.told(step, headers=headers, nodes=(*packet.nodes, target.node)))


def _outside(nic: Nic) -> Address | None:
    """The address of a NIC that is plugged into the Internet itself."""
    return nic.ip if nic.vnet == OUTSIDE else None


def walk_nodes(plan: Plan, control: ControlPlane, source: str, destination: Address) -> tuple[str, ...]:
    """The nodes at which a packet from a node to an address can be seen, ends included (the first choice under ECMP)."""
    return Tracer(plan, control).trace(source, destination).visible


def _forwarded(node: str, packet: Packet, encrypted: bool) -> Packet:
    """The packet after the node took it on: its TTL one less, unless what is forwarded is a tunnel's own header."""
    ttl = packet.ttl if packet.headers[0].tunnel else packet.ttl - 1
    place = len(packet.nodes) - 1
    hidden = (*packet.hidden, place) if encrypted else packet.hidden
    return replace(packet, ttl=ttl, seen=(*packet.seen, (node, packet.headers, place)), hidden=hidden)


def walk_choices(plan: Plan, control: ControlPlane, source: str, destination: Address) -> tuple[tuple[str, ...], ...]:
    """As `walk_nodes`, for every choice of equal-cost paths: a real flow takes one of them."""
    return tuple(dict.fromkeys(walk.visible for walk in Tracer(plan, control).traces(source, destination)))


def ended(packet: Packet, verdict: str, at: str, reason: str, cycle: Sequence[str] = ()) -> Walk:
    """The walk of a packet that ends here, and why."""
    first = packet.steps[0].ttl if packet.steps else packet.ttl
    inner = packet.headers[-1]
    return Walk(
        packet.nodes[0], inner.destination, packet.nodes, packet.steps, verdict, at, reason, first - packet.ttl, tuple(cycle), packet.hidden
    )


def _rule(rows: Sequence[Row], winner: Row | None) -> str:
    """By which rule the winner won."""
    if winner is None:
        return "E3"
    rivals = [row for row in rows if row.prefix == winner.prefix and row != winner]
    if rivals:
        return "E1: equal prefix, user-defined before BGP before system"
    return "E1: longest prefix" if len(rows) > 1 else "E1: the only match"


def _row_text(row: Row | None) -> str:
    if row is None:
        return ""
    hops = f" {', '.join(row.next_hops)}" if row.next_hops else ""
    source = f"user-defined {row.name}" if row.source is RouteSource.USER else str(row.source)
    return f"{row.prefix} {row.next_hop_type}{hops} ({source})"


def _name(hop: Nic | str) -> str:
    return hop.label if isinstance(hop, Nic) else ""


def _hop_text(hop: FibHop) -> str:
    return f"{hop.device} via {hop.gateway}" if hop.gateway else hop.device


def _number(address: Address) -> int:
    a, b, c, d = map(int, address.split("."))
    return a << 24 | b << 16 | c << 8 | d


def _own_address(fib: PrefixMap[tuple[FibHop, ...]], node: str) -> Address:
    """The first address of its own that a node without a NIC has."""
    for prefix, hops in fib.items():
        if hops[0].device == LOCAL and prefix.endswith("/32"):
            return prefix.removesuffix("/32")
    raise KeyError(node)
