"""What tests need beside the switch on paper: routes put into it by hand, and a look for flows that contradict each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Network

from testbed.azure.effective_routes import effective_routes
from testbed.azure.types import Address, Candidate, Prefix, Ranked, Session
from testbed.plan.flows import route_flows, static_flows, static_groups
from testbed.plan.groups import hop_group
from testbed.plan.openflow import Flow, Group, ToGroup, Value
from testbed.plan.paper_switch import Fields, PaperBridge, PaperFabric
from testbed.plan.pipeline import table
from testbed.plan.types import Plan


class StrictBridge(PaperBridge):
    """Refuses what a switch or the declared pipeline would not have."""

    def apply(self, flows: Iterable[Flow], groups: Iterable[Group] = ()) -> None:
        known, added = tuple(flows), tuple(groups)
        numbers = {*self.groups, *(group.id for group in added)}
        for flow in known:
            _accept(flow, numbers)
        super().apply(known, added)


class FakeFabric(PaperFabric):
    """All bridges of a plan with its static flows installed."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self.bridges = {bridge.id: StrictBridge() for bridge in plan.bridges}
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


def ranked(*hops: Address) -> Ranked:
    """One tier of candidates, each from a session of its own."""
    return (tuple(Candidate(hop, Session("rs", 0, hop)) for hop in hops),)


def _accept(flow: Flow, groups: set[int]) -> None:
    declared = {*table(flow.table).matches, "eth_type"}
    undeclared = {name for name, _ in flow.match} - declared
    assert not undeclared, f"table {flow.table} does not declare {undeclared}: {flow}"
    assert flow.goto is None or flow.goto > flow.table, f"goto goes forward only: {flow}"
    for action in flow.actions:
        assert not isinstance(action, ToGroup) or action.id in groups, f"no such group: {flow}"


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
