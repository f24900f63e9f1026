"""From what the brain decided to what every bridge should hold, and the operations in between; pure but for its own memory.

A session's end takes two steps. `urgent` rewrites the groups in which its next hops sit: one message a group and at most eight slots,
however many prefixes use them (prefix-independent convergence). `program` then moves the prefixes to the groups of their new candidates.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from msgspec import Struct

from testbed.azure import route_server as brain
from testbed.azure.effective_routes import Table as Routes
from testbed.azure.effective_routes import affected, effective_routes
from testbed.azure.types import Address, Domain, NextHopType, Prefix, Ranked, RouteSource, Row, Session
from testbed.controller.tables import Operations, Table, order
from testbed.plan.fabric_index import FabricIndex
from testbed.plan.flows import route_flows, static_flows, static_groups
from testbed.plan.groups import balancer_groups, group_id, hop_group
from testbed.plan.openflow import Flow, Group

HOMES = (0, 1)


class _Entry(Struct, frozen=True):
    """What one prefix of one domain put on its bridge."""

    flows: tuple[Flow, ...] = ()
    groups: tuple[int, ...] = ()


class _Owned(Struct, frozen=True):
    """A group by what it was made of, and the slots it has now."""

    domain: Domain
    home: int | None
    ranked: Ranked
    group: Group
    slots: tuple[Flow, ...]


class Injection:
    """What one hub injects into the NICs of one home instance: candidates and live next hops by prefix."""

    def __init__(self) -> None:
        self.ranked: dict[Prefix, Ranked] = {}
        self.hops: dict[Prefix, tuple[Address, ...]] = {}

    def update(self, state: brain.State, candidates: Mapping[Prefix, Ranked], prefixes: Iterable[Prefix]) -> None:
        """Take over what the brain now says of these prefixes."""
        for prefix in prefixes:
            ranked = candidates.get(prefix, ())
            hops = brain.live(state, ranked)
            if hops:
                self.ranked[prefix], self.hops[prefix] = ranked, hops
            else:
                self.ranked.pop(prefix, None)
                self.hops.pop(prefix, None)


class Programmer:
    """What every bridge should hold (``tables``, by bridge id), kept in step with the brain's state."""

    def __init__(self, index: FabricIndex, state: brain.State, healthy: Mapping[str, Sequence[str]] | None = None) -> None:
        """``healthy``: the backends in use of load balancers, by name; all of one that is not there."""
        self.index = index
        self._healthy = dict(healthy or {})
        self.tables: dict[str, Table] = {}
        self._injected: dict[tuple[str, int], Injection] = {}
        self._entries: dict[tuple[int, Prefix], _Entry] = {}
        self._owned: dict[int, _Owned] = {}
        self._users: Counter[int] = Counter()
        self._by_session: dict[Session, set[int]] = defaultdict(set)
        self._homes = self._homes_of_domains()
        self._routes: dict[tuple[int, int], Routes] = {}
        self._rendered: set[int] = set()
        self._build(state)

    def injected(self, hub: str, home: int) -> Injection:
        """What a hub injects into the NICs of one home instance, as far as it has been programmed."""
        return self._injected[hub, home]

    def urgent(self, state: brain.State, sessions: Collection[Session]) -> Operations:
        """The groups whose candidates came over these sessions, which have ended or come up, rewritten to who is alive now."""
        operations: Operations = defaultdict(list)
        self._rendered.clear()
        for number in sorted({number for session in sessions for number in self._by_session.get(session, ())}):
            self._render(state, number, operations)
        return _in_order(operations)

    def program(self, state: brain.State, changed: Mapping[str, Collection[Prefix]]) -> Operations:
        """What it takes to bring these prefixes, by hub, to what the brain now says of them."""
        operations: Operations = defaultdict(list)
        self._rendered.clear()
        for hub, prefixes in changed.items():
            self._inject(state, hub, prefixes)
            for domain in self.index.domains.values():
                if domain.hub == hub:
                    for prefix in sorted(affected(domain, prefixes)):
                        self._route(state, domain, prefix, operations)
        return _in_order(operations)

    def balance(self, name: str, healthy: Sequence[str]) -> Operations:
        """What it takes to have a load balancer use these backends and no others."""
        balancer = next(each for each in self.index.plan.load_balancers if each.name == name)
        before = balancer_groups(self.index, balancer, self._healthy.get(name, balancer.backends))
        self._healthy[name] = healthy
        operations: Operations = defaultdict(list)
        for bridge, (group, slots) in balancer_groups(self.index, balancer, healthy).items():
            kept = {flow.key for flow in slots}
            operations[bridge] += self.tables[bridge].put(slots, (group,))
            operations[bridge] += self.tables[bridge].drop([flow for flow in before[bridge][1] if flow.key not in kept])
        return _in_order(operations)

    def effective(self, domain: Domain, home: int) -> tuple[Row, ...]:
        """The effective routes of the NICs of a domain with this home instance, as programmed."""
        return tuple(effective_routes(domain, self._hops(domain, home)))

    def _homes_of_domains(self) -> dict[int, tuple[int, ...]]:
        homes: dict[int, set[int]] = defaultdict(set)
        for nic in self.index.nics.values():
            homes[nic.domain].add(nic.home)
        return {number: tuple(sorted(homes.get(number, {0}))) for number in self.index.domains}

    def _build(self, state: brain.State) -> None:
        """All from the beginning."""
        groups, flows = static_groups(self.index, self._healthy), static_flows(self.index)
        for bridge in flows:
            some_groups, slots = groups.get(bridge, ((), ()))
            self.tables[bridge] = Table((*flows[bridge], *slots), some_groups)
        for hub in self.index.hubs:
            everything = {prefix for home in HOMES for prefix in brain.candidates(state, hub, home)}
            self._injected.update({(hub, home): Injection() for home in HOMES})
            self._inject(state, hub, everything)
        nowhere: Operations = defaultdict(list)
        for domain in self.index.domains.values():
            for home in self._homes[domain.id]:
                self._routes[domain.id, home] = Routes(domain, self._hops(domain, home))
            rows = [row for home in self._homes[domain.id] for row in effective_routes(domain, self._hops(domain, home))]
            for prefix in dict.fromkeys(row.prefix for row in rows):
                self._route(state, domain, prefix, nowhere)

    def _inject(self, state: brain.State, hub: str, prefixes: Iterable[Prefix]) -> None:
        for home in HOMES:
            self._injected[hub, home].update(state, brain.candidates(state, hub, home), prefixes)
        self._routes.update(
            ((domain.id, home), Routes(domain, self._hops(domain, home)))
            for domain in self.index.domains.values()
            if domain.hub == hub
            for home in self._homes[domain.id]
        )

    def _hops(self, domain: Domain, home: int) -> dict[Prefix, tuple[Address, ...]]:
        return self._injected[domain.hub, home].hops if domain.hub is not None else {}

    def _ranked(self, domain: Domain, home: int, prefix: Prefix) -> Ranked:
        return self._injected[domain.hub, home].ranked.get(prefix, ()) if domain.hub is not None else ()

    def _route(self, state: brain.State, domain: Domain, prefix: Prefix, operations: Operations) -> None:
        """Bring one prefix of one domain up to date: new groups and flows in, old ones out."""
        entry, table = self._wanted(domain, prefix), self.tables[self.index.bridges[domain.vnet].id]
        bridge = operations[self.index.bridges[domain.vnet].id]
        old = self._entries.get((domain.id, prefix), _Entry())
        self._users.update(entry.groups)
        for number in entry.groups:
            self._render(state, number, operations)
        bridge += table.put(entry.flows)
        kept = {flow.key for flow in entry.flows}
        bridge += table.drop([flow for flow in old.flows if flow.key not in kept])
        self._users.subtract(old.groups)
        for number in old.groups:
            if not self._users[number]:
                self._forget(number, operations)
        if entry.flows:
            self._entries[domain.id, prefix] = entry
        else:
            self._entries.pop((domain.id, prefix), None)

    def _wanted(self, domain: Domain, prefix: Prefix) -> _Entry:
        """The flows of one prefix: one for all NICs of the domain, or one for each home where the homes differ (chapter 7)."""
        views = [self._view(domain, home, prefix) for home in self._homes[domain.id]]
        if all(view[1:] == views[0][1:] for view in views):
            views = [(None, *views[0][1:])]  # type: ignore[list-item]
        flows: list[Flow] = []
        groups: list[int] = []
        for home, rows, ranked in views:
            flows += route_flows(self.index, domain, rows, {prefix: ranked}, home)
            if any(_by_bgp(row) for row in rows):
                groups.append(self._own(domain, home, ranked))
        return _Entry(tuple(flows), tuple(groups))

    def _view(self, domain: Domain, home: int, prefix: Prefix) -> tuple[int, tuple[Row, ...], Ranked]:
        """The rows of one prefix as NICs of one home have them; candidates only where they decide, so that equal routes are one flow."""
        rows = self._routes[domain.id, home].at(prefix)
        return home, rows, self._ranked(domain, home, prefix) if any(map(_by_bgp, rows)) else ()

    def _own(self, domain: Domain, home: int | None, ranked: Ranked) -> int:
        number = group_id(domain.id, home, ranked)
        if number not in self._owned:
            self._owned[number] = _Owned(domain, home, ranked, Group(number), ())
            for tier in ranked:
                for candidate in tier:
                    self._by_session[candidate.session].add(number)
        return number

    def _render(self, state: brain.State, number: int, operations: Operations) -> None:
        """Bring one group up to date with the sessions that are alive; once a call is enough, however many prefixes use it."""
        if number in self._rendered:
            return
        self._rendered.add(number)
        owned = self._owned[number]
        group, slots = hop_group(self.index, owned.domain, owned.home, owned.ranked, brain.live(state, owned.ranked))
        bridge = self.index.bridges[owned.domain.vnet].id
        table = self.tables[bridge]
        kept = {flow.key for flow in slots}
        operations[bridge] += table.put(slots, (group,))
        operations[bridge] += table.drop([flow for flow in owned.slots if flow.key not in kept])
        self._owned[number] = _Owned(owned.domain, owned.home, owned.ranked, group, slots)

    def _forget(self, number: int, operations: Operations) -> None:
        """Delete a group that no flow points at any more."""
        self._rendered.discard(number)
        owned = self._owned.pop(number)
        del self._users[number]
        for tier in owned.ranked:
            for candidate in tier:
                self._by_session[candidate.session].discard(number)
        bridge = self.index.bridges[owned.domain.vnet].id
        operations[bridge] += self.tables[bridge].drop(owned.slots, (owned.group,))


def _by_bgp(row: Row) -> bool:
    return row.active and row.source is RouteSource.VIRTUAL_NETWORK_GATEWAY and row.next_hop_type is NextHopType.VIRTUAL_NETWORK_GATEWAY


def _in_order(operations: Operations) -> Operations:
    """Each bridge's operations in sending order; bridges without any are left out.

    Of several operations on one flow or group the last one counts; the earlier are dropped, so that equals may be sent in any order.
    """
    result: Operations = {}
    for bridge, some in operations.items():
        last = {_subject(each): each for each in some}
        if last:
            result[bridge] = sorted(last.values(), key=order)
    return result


def _subject(operation: object) -> tuple[str, object]:
    """What an operation is about: a flow by its key, or a group by its number."""
    flow = getattr(operation, "flow", None)
    return ("flow", flow.key) if flow is not None else ("group", operation.group.id)  # type: ignore[attr-defined]
