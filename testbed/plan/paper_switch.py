"""Open vSwitch on paper, as far as the pipeline uses it: bridges, flows, groups, resubmit, multipath, peering links.

It knows nothing of routes: what a packet meets is what flows and groups say. So it can be held against those who know routes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from testbed.azure.lookup import MASKS, parse, parse_address
from testbed.azure.types import Address
from testbed.plan.fabric_index import FabricIndex
from testbed.plan.openflow import Action, Flow, Group, Move, Multipath, Output, Resubmit, SetField, ToGroup, Value
from testbed.plan.pipeline import ETH_IPV4, FABRIC_MAC
from testbed.plan.types import Plan

Fields = dict[str, Value]
Choose = Callable[[Multipath, Fields], int]
Form = tuple[tuple[str, int | None], ...]
"""The fields that a flow matches, addresses with their mask."""

MAX_BRIDGES = 16
UDP = 17


@dataclass(frozen=True)
class Outcome:
    """Where a packet ended: at a NIC (``nic`` its label), or dropped on the bridge of a VNet by the last flow it met.

    ``reason`` is that flow's note, ``table`` its table; ``fields`` are the packet's as it was then, ``bridges`` the VNets it passed.
    """

    nic: str | None
    vnet: str
    reason: str
    fields: Fields
    bridges: tuple[str, ...]
    table: int = 0


class _Shape:
    """Flows of one table that match the same fields, addresses by prefixes of the same lengths."""

    def __init__(self, form: Form) -> None:
        self.form = form
        self.highest = 0
        self.flows: dict[tuple[Value, ...], Flow] = {}

    def add(self, flow: Flow) -> None:
        key = tuple(_wanted(name, value) for name, value in flow.match)
        if key not in self.flows or self.flows[key].priority < flow.priority:
            self.flows[key] = flow
        self.highest = max(self.highest, flow.priority)

    def find(self, fields: Fields) -> Flow | None:
        key = [_masked(fields, name, mask) if mask is not None else fields.get(name, 0) for name, mask in self.form]
        return self.flows.get(tuple(key))


class _Lookup:
    """The flows of one table by shape: a packet costs a dictionary access for each shape."""

    def __init__(self, flows: Iterable[Flow]) -> None:
        shapes: dict[Form, _Shape] = {}
        for flow in flows:
            form = tuple((name, _mask(name, value)) for name, value in flow.match)
            shapes.setdefault(form, _Shape(form)).add(flow)
        self._shapes = sorted(shapes.values(), key=lambda shape: -shape.highest)

    def best(self, fields: Fields) -> Flow | None:
        best: Flow | None = None
        for shape in self._shapes:
            if best is not None and best.priority >= shape.highest:
                break
            found = shape.find(fields)
            if found is not None and (best is None or found.priority > best.priority):
                best = found
        return best


@dataclass
class PaperBridge:
    """One switch: its flows by identity and its groups."""

    flows: dict[object, Flow] = field(default_factory=dict)
    groups: dict[int, Group] = field(default_factory=dict)
    _tables: dict[int, _Lookup] | None = None

    def apply(self, flows: Iterable[Flow], groups: Iterable[Group] = ()) -> None:
        """Add flows and groups, or replace those of the same identity."""
        self.groups.update({group.id: group for group in groups})
        self.flows.update({flow.key: flow for flow in flows})
        self._tables = None

    def match(self, number: int, fields: Fields) -> Flow:
        """The flow of highest priority that a packet meets in a table. Raises LookupError where a table has no miss flow."""
        if self._tables is None:
            by_table: dict[int, list[Flow]] = {}
            for flow in self.flows.values():
                by_table.setdefault(flow.table, []).append(flow)
            self._tables = {table: _Lookup(flows) for table, flows in by_table.items()}
        table = self._tables.get(number)
        found = table.best(fields) if table is not None else None
        if found is None:
            raise LookupError(f"table {number} has no flow for {fields}")
        return found


class PaperFabric:
    """All bridges of a plan, empty at first: fill ``bridges`` (by id) with `PaperBridge.apply`."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.index = FabricIndex(plan)
        self.bridges = {bridge.id: PaperBridge() for bridge in plan.bridges}
        self._vnet = {bridge.id: bridge.vnet for bridge in plan.bridges}
        self._nics = {(nic.bridge, nic.port): nic for nic in plan.nics()}
        self._far = {(a.bridge, a.port): b for link in plan.peerings for a, b in (link.ends, link.ends[::-1])}

    def send(self, label: str, destination: Address, **fields: Value) -> Outcome:
        """A packet from a NIC, from its own address by UDP if nothing else is said; among equal next hops its 5-tuple chooses."""
        return self._send(label, destination, by_hash, fields)

    def outcomes(self, label: str, destination: Address, **fields: Value) -> Iterator[Outcome]:
        """Where such a packet can end: once for every choice among equal next hops."""
        pending: list[tuple[int, ...]] = [()]
        while pending:
            odometer = _Odometer(pending.pop())
            yield self._send(label, destination, odometer, fields)
            pending += odometer.others()

    def _send(self, label: str, destination: Address, choose: Choose, fields: Mapping[str, Value]) -> Outcome:
        nic = self.index.nics[label]
        packet: Fields = {
            "eth_type": ETH_IPV4,
            "eth_src": nic.mac,
            "eth_dst": FABRIC_MAC,
            "ipv4_src": nic.ip,
            "ipv4_dst": destination,
            "ip_proto": UDP,
            "source_port": 1024,
            "destination_port": 9,
            **fields,
        }
        return self._through(nic.bridge, nic.port, packet, (), choose)

    def _through(self, bridge: str, port: int, packet: Fields, passed: tuple[str, ...], choose: Choose) -> Outcome:
        passed = (*passed, self._vnet[bridge])
        if len(passed) >= MAX_BRIDGES:
            raise RuntimeError(f"the fabric itself loops: {passed}")
        walk = _Walk(self.bridges[bridge], choose)
        walk.table(0, {**packet, "in_port": port})
        if len(walk.sent) > 1:
            raise RuntimeError(f"a packet was duplicated: {walk.sent}")
        if not walk.sent:
            return Outcome(None, self._vnet[bridge], walk.last.note, packet, passed, walk.last.table)
        out, fields = walk.sent[0]
        if (far := self._far.get((bridge, out))) is not None:
            headers = {name: value for name, value in fields.items() if not name.startswith("reg") and name != "in_port"}
            return self._through(far.bridge, far.port, headers, passed, choose)
        return Outcome(self._nics[bridge, out].label, self._vnet[bridge], walk.last.note, fields, passed, walk.last.table)


class _Odometer:
    """Chooses as told, then always the first; afterwards it knows which other series of choices there are."""

    def __init__(self, told: tuple[int, ...]) -> None:
        self._told = told
        self._links: list[int] = []

    def __call__(self, action: Multipath, fields: Fields) -> int:
        self._links.append(action.links)
        place = len(self._links) - 1
        return self._told[place] if place < len(self._told) else 0

    def others(self) -> list[tuple[int, ...]]:
        """The series that differ from this one first at a choice of which it was not told."""
        told = self._told
        padding = [told + (0,) * (place - len(told)) for place in range(len(told), len(self._links))]
        return [(*start, other) for start in padding for other in range(1, self._links[len(start)])]


class _Walk:
    """One packet on one bridge."""

    def __init__(self, bridge: PaperBridge, choose: Choose) -> None:
        self.bridge = bridge
        self.sent: list[tuple[int, Fields]] = []
        self._choose = choose
        self.last: Flow

    def table(self, number: int | None, fields: Fields) -> None:
        while number is not None:
            flow = self.last = self.bridge.match(number, fields)
            self.actions(flow.actions, fields)
            number = flow.goto

    def actions(self, actions: Iterable[Action], fields: Fields) -> None:
        for action in actions:
            match action:
                case SetField(name, value):
                    fields[name] = value
                case Move(source, target):
                    fields[target] = fields[source]
                case Output(port):
                    self.sent.append((port, dict(fields)))
                case Multipath(_, _, register):
                    fields[register] = self._choose(action, fields)
                case ToGroup(number):
                    bucket = self.bridge.groups[number].actions
                    self.actions([each for each in bucket if not isinstance(each, Multipath)], dict(fields))  # ignored there, as by OVS
                case Resubmit(number):
                    self.table(number, fields)


def by_hash(action: Multipath, fields: Fields) -> int:
    """A choice by the 5-tuple: symmetric over the two directions of a flow, as symmetric_l3l4+udp is."""
    addresses = sorted((str(fields["ipv4_src"]), str(fields["ipv4_dst"])))
    ports = sorted((fields["source_port"], fields["destination_port"]), key=str)
    text = f"{action.basis} {addresses} {fields['ip_proto']} {ports}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") % action.links


def _mask(name: str, value: Value) -> int | None:
    if not name.startswith("ipv4_"):
        return None
    return MASKS[parse(str(value))[1]] if "/" in str(value) else MASKS[32]


def _wanted(name: str, value: Value) -> Value:
    if name.startswith("ipv4_"):
        return parse(str(value))[0] if "/" in str(value) else parse_address(str(value))
    return value


def _masked(fields: Fields, name: str, mask: int) -> int:
    return parse_address(fields[name]) & mask if name in fields else -1
