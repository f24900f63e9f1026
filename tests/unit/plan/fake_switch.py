"""Open vSwitch in pure Python, as far as the pipeline uses it: several bridges, flows, groups, resubmit, multipath, peering links."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network

from testbed.azure.effective_routes import effective_routes
from testbed.azure.types import Address, Candidate, Prefix, Ranked, Session
from testbed.plan.fabric_index import FabricIndex
from testbed.plan.flows import route_flows, static_flows, static_groups
from testbed.plan.groups import hop_group
from testbed.plan.openflow import Action, Flow, Group, Move, Multipath, Output, Resubmit, SetField, ToGroup, Value
from testbed.plan.pipeline import table
from testbed.plan.types import Plan

Fields = dict[str, Value]
_MAX_BRIDGES = 16


@dataclass(frozen=True)
class Outcome:
    """Where a packet ended: at a NIC (``nic`` its label), or dropped on the bridge of a VNet for a reason; ``fields`` as it was then."""

    nic: str | None
    vnet: str
    reason: str
    fields: Fields
    bridges: tuple[str, ...]


@dataclass
class Bridge:
    """One switch: its flows by identity and its groups."""

    flows: dict[object, Flow] = field(default_factory=dict)
    groups: dict[int, Group] = field(default_factory=dict)

    def apply(self, flows: Iterable[Flow], groups: Iterable[Group] = ()) -> None:
        self.groups.update({group.id: group for group in groups})
        for flow in flows:
            _accept(flow, self.groups)
            self.flows[flow.key] = flow

    def match(self, number: int, fields: Fields) -> Flow:
        """The flow of highest priority; every table has a miss flow, so there always is one."""
        hits = [flow for flow in self.flows.values() if flow.table == number and all(_matches(fields, *each) for each in flow.match)]
        return max(hits, key=lambda flow: flow.priority)


class FakeFabric:
    """All bridges of a plan with its static flows installed."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.index = FabricIndex(plan)
        self.bridges = {bridge.id: Bridge() for bridge in plan.bridges}
        self._vnet = {bridge.id: bridge.vnet for bridge in plan.bridges}
        self._nics = {(nic.bridge, nic.port): nic for nic in plan.nics()}
        self._far = {(a.bridge, a.port): b for link in plan.peerings for a, b in (link.ends, link.ends[::-1])}
        for bridge, (groups, slots) in static_groups(self.index).items():
            self.bridges[bridge].apply(slots, groups)
        for bridge, flows in static_flows(self.index).items():
            self.bridges[bridge].apply(flows)

    def program(self, injected: Mapping[str, Mapping[Prefix, tuple[Address, ...]]]) -> None:
        """Install what Route Servers inject: by hub VNet, next hops by prefix."""
        for domain in self.plan.domains:
            routes = injected.get(domain.hub or "", {})
            bridge = self.bridges[self.index.bridges[domain.vnet].id]
            for hops in routes.values():
                group, slots = hop_group(self.index, domain, None, ranked(*hops), hops)
                bridge.apply(slots, [group])
            candidates = {prefix: ranked(*hops) for prefix, hops in routes.items()}
            bridge.apply(route_flows(self.index, domain, effective_routes(domain, routes), candidates))

    def send(self, label: str, destination: Address, **fields: Value) -> Outcome:
        """A packet from a NIC, from its own address by UDP if nothing else is said."""
        nic = self.index.nics[label]
        packet: Fields = {
            "eth_type": 0x0800,
            "eth_src": nic.mac,
            "eth_dst": "12:34:56:78:9a:bc",
            "ipv4_src": nic.ip,
            "ipv4_dst": destination,
            "ip_proto": 17,
            "source_port": 1024,
            "destination_port": 9,
            **fields,
        }
        return self._through(nic.bridge, nic.port, packet, ())

    def _through(self, bridge: str, port: int, packet: Fields, passed: tuple[str, ...]) -> Outcome:
        passed = (*passed, self._vnet[bridge])
        assert len(passed) < _MAX_BRIDGES, f"the fabric itself loops: {passed}"
        walk = _Walk(self.bridges[bridge])
        walk.table(0, {**packet, "in_port": port})
        assert len(walk.sent) <= 1, "a packet was duplicated"
        if not walk.sent:
            return Outcome(None, self._vnet[bridge], walk.last.note, packet, passed)
        out, fields = walk.sent[0]
        if (far := self._far.get((bridge, out))) is not None:
            headers = {name: value for name, value in fields.items() if not name.startswith("reg") and name != "in_port"}
            return self._through(far.bridge, far.port, headers, passed)
        return Outcome(self._nics[bridge, out].label, self._vnet[bridge], walk.last.note, fields, passed)


class _Walk:
    """One packet on one bridge."""

    def __init__(self, bridge: Bridge) -> None:
        self.bridge = bridge
        self.sent: list[tuple[int, Fields]] = []

    def table(self, number: int | None, fields: Fields) -> None:
        while number is not None:
            self.last = self.bridge.match(number, fields)
            self.actions(self.last.actions, fields)
            number = self.last.goto if self.last.table == number else None

    def actions(self, actions: Iterable[Action], fields: Fields) -> None:
        flow = getattr(self, "last", None)
        for action in actions:
            match action:
                case SetField(name, value):
                    fields[name] = value
                case Move(source, target):
                    fields[target] = fields[source]
                case Output(port):
                    self.sent.append((port, dict(fields)))
                case Multipath(basis, links, register):
                    fields[register] = _hash(basis, fields) % links
                case ToGroup(number):
                    bucket = self.bridge.groups[number].actions
                    self.actions([each for each in bucket if not isinstance(each, Multipath)], dict(fields))  # ignored there, as by OVS
                case Resubmit(number):
                    self.table(number, fields)
        if flow is not None and not self.sent and not any(isinstance(each, Resubmit | ToGroup) for each in actions):
            self.last = flow


def ranked(*hops: Address) -> Ranked:
    """One tier of candidates, each from a session of its own."""
    return (tuple(Candidate(hop, Session("rs", 0, hop)) for hop in hops),)


def _accept(flow: Flow, groups: Mapping[int, Group]) -> None:
    """Refuse what a switch or the declared pipeline would not have."""
    declared = {*table(flow.table).matches, "eth_type"}
    undeclared = {name for name, _ in flow.match} - declared
    assert not undeclared, f"table {flow.table} does not declare {undeclared}: {flow}"
    assert flow.goto is None or flow.goto > flow.table, f"goto goes forward only: {flow}"
    for action in flow.actions:
        assert not isinstance(action, ToGroup) or action.id in groups, f"no such group: {flow}"


def _matches(fields: Fields, name: str, wanted: Value) -> bool:
    found = fields.get(name, 0)
    if name.startswith("ipv4_") and isinstance(wanted, str):
        return name in fields and IPv4Address(found) in IPv4Network(wanted)
    return found == wanted


def _hash(basis: int, fields: Fields) -> int:
    """Symmetric over the two directions of a flow, as symmetric_l3l4+udp is."""
    addresses = sorted((str(fields["ipv4_src"]), str(fields["ipv4_dst"])))
    ports = sorted((fields["source_port"], fields["destination_port"]), key=str)
    text = f"{basis} {addresses} {fields['ip_proto']} {ports}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def overlaps(flows: Iterable[Flow]) -> Iterator[tuple[Flow, Flow]]:
    """Pairs of flows of one table and priority that some packet matches both and that treat it differently."""
    by_level: dict[tuple[int, int], list[Flow]] = {}
    for flow in flows:
        by_level.setdefault((flow.table, flow.priority), []).append(flow)
    for level in by_level.values():
        for place, one in enumerate(level):
            for other in level[place + 1 :]:
                if (one.actions, one.goto) != (other.actions, other.goto) and _compatible(dict(one.match), dict(other.match)):
                    yield one, other


def _compatible(one: Fields, other: Fields) -> bool:
    return all(_meet(name, one[name], other[name]) for name in one.keys() & other.keys())


def _meet(name: str, one: Value, other: Value) -> bool:
    if name.startswith("ipv4_"):
        return IPv4Network(one).overlaps(IPv4Network(other))
    return one == other
