"""BGP on paper: routers, sessions and policies as data, and the state in which they settle, found as FRR would find it.

What a prefix's fate depends on is who originates it and which lists of which policies name it. Prefixes that agree in all of
that form one class and share one computation, so the cost follows the number of classes, not of prefixes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

from msgspec import Struct

from testbed.azure.limits import is_private
from testbed.azure.lookup import covers, parse_address
from testbed.azure.types import Address, Prefix

DEFAULT_ROUTE: Prefix = "0.0.0.0/0"
LOCAL = "local"
NO_ADVERTISE = "no-advertise"
NO_EXPORT = "no-export"
WEIGHT_OF_LOCAL_ROUTES = 32768
ORIGINS = ("igp", "egp", "incomplete")


class Route(NamedTuple):
    """The attributes of a route on its way, whatever its prefix. A route that a router originates has no next hop yet."""

    as_path: tuple[int, ...] = ()
    next_hop: Address = ""
    communities: tuple[str, ...] = ()
    origin: str = "igp"
    local_pref: int = 100
    med: int = 0


class Imports(Struct, frozen=True):
    """What a router does with the routes it receives on a session: ``local_pref`` is set on eBGP routes (iBGP carries it along).

    ``refuse`` are prefixes that it does not take, and ``reason`` why.
    """

    local_pref: int = 100
    weight: int = 0
    allow_own_as: bool = False
    refuse: frozenset[Prefix] = frozenset()
    reason: str = ""


class Exports(Struct, frozen=True):
    """What a router sends on a session: routes learned from neighbours of the roles ``sources`` (`LOCAL`: its own), rewritten.

    ``only``, where given, limits the own routes; ``deny`` are prefixes never sent. ``next_hop`` is a third-party next hop.
    ``keep_next_hop`` leaves it as it is even on eBGP, ``next_hop_self`` not even on iBGP. ``reflect`` (iBGP) passes on what came by
    iBGP (RFC 4456). ``prepend_by_prefix`` goes before ``prepend``.
    """

    sources: frozenset[str] = frozenset({LOCAL})
    only: frozenset[Prefix] | None = None
    deny: frozenset[Prefix] = frozenset()
    as_override: bool = False
    exclude: frozenset[int] = frozenset()
    remove_private: bool = False
    prepend: int = 0
    prepend_by_prefix: Mapping[Prefix, int] = {}
    communities: tuple[str, ...] = ()
    next_hop: Address | None = None
    keep_next_hop: bool = False
    next_hop_self: bool = False
    reflect: bool = False


class Router(Struct, frozen=True):
    """A BGP speaker. What it ``originates`` need not be in its forwarding table. ``multipath_relax``: equal length is enough."""

    name: str
    asn: int
    router_id: Address
    originates: frozenset[Prefix] = frozenset()
    maximum_paths: int = 1
    multipath_relax: bool = True


class End(Struct, frozen=True):
    """One end of a session: the router, its address there, what its neighbour is to it (``role``), and its policies."""

    router: str
    address: Address
    role: str
    imports: Imports = Imports()
    exports: Exports = Exports()


class Adjacency(Struct, frozen=True):
    """A BGP session between two routers. ``down`` says why it cannot come up; ``shared`` is the subnet both ends are in, if any."""

    kind: str
    a: End
    b: End
    shared: Prefix | None = None
    device: str = ""
    down: str = ""


class Network(Struct, frozen=True):
    """Routers by name, and their sessions."""

    routers: Mapping[str, Router]
    adjacencies: tuple[Adjacency, ...]


class Flow(Struct, frozen=True):
    """One direction of a session that is up: what ``sender`` exports arrives in the Adj-RIB-In of ``receiver``.

    Flow 2i goes from end a to end b of adjacency i, flow 2i+1 the other way.
    """

    index: int
    sender: Router
    receiver: Router
    source: End
    target: End
    adjacency: Adjacency
    ibgp: bool
    router_id: int
    peer_address: int


class Candidate(NamedTuple):
    """A route that may become the best: ``flow`` is where it came from, None for the router's own."""

    route: Route
    flow: Flow | None
    weight: int = 0

    @property
    def source(self) -> str:
        """The role of the neighbour it came from, or `LOCAL`."""
        return self.flow.target.role if self.flow else LOCAL


class Learned(NamedTuple):
    """An entry of an Adj-RIB-In: the route as it arrived, the route after the import policy, or why it was dropped."""

    received: Route
    accepted: Candidate | None
    dropped: str = ""


class Outcome(Struct, frozen=True):
    """Where one class of prefixes settled.

    ``learned`` is by flow index; ``chosen`` by router: the best route first, then those used beside it (multipath).
    ``settled`` is False when routers still changed their minds after the allowed number of decisions.
    """

    prefixes: tuple[Prefix, ...]
    learned: Mapping[int, Learned]
    chosen: Mapping[str, tuple[Candidate, ...]]
    settled: bool


def decide(candidates: Sequence[Candidate], maximum_paths: int = 1, relax: bool = True) -> tuple[Candidate, ...]:
    """The best route and those that share the load with it, by FRR's decision process.

    Weight, local preference, own routes, AS path length, origin, MED (between routes of one neighbouring AS), eBGP before iBGP;
    what is equal up to here may be used together (with ``relax`` whatever the AS paths hold), each next hop once and the lowest ones
    first; then router id and peer address.
    """
    if len(candidates) < 2:
        return tuple(candidates)
    best = min(map(_preference, candidates))
    tied = _lowest_med([c for c in candidates if _preference(c) == best])
    nearest = min(_is_ibgp(c) for c in tied)
    tied = sorted((c for c in tied if _is_ibgp(c) == nearest), key=_tie_break)
    if not relax:
        tied = [c for c in tied if c.route.as_path == tied[0].route.as_path]
    if tied[0].flow is None or maximum_paths < 2:
        return (tied[0],)
    beside = {c.route.next_hop: c for c in reversed(tied) if c.route.next_hop != tied[0].route.next_hop}
    return (tied[0], *(beside[hop] for hop in sorted(beside, key=parse_address)))[:maximum_paths]


def _preference(candidate: Candidate) -> tuple[int, int, bool, int, int]:
    route = candidate.route
    return -candidate.weight, -route.local_pref, candidate.flow is not None, len(route.as_path), ORIGINS.index(route.origin)


def _lowest_med(tied: list[Candidate]) -> list[Candidate]:
    lowest: dict[int, int] = {}
    for candidate in tied:
        neighbor = candidate.route.as_path[0] if candidate.route.as_path else 0
        lowest[neighbor] = min(candidate.route.med, lowest.get(neighbor, candidate.route.med))
    return [c for c in tied if c.route.med == lowest[c.route.as_path[0] if c.route.as_path else 0]]


def _is_ibgp(candidate: Candidate) -> bool:
    return candidate.flow is not None and candidate.flow.ibgp


def _tie_break(candidate: Candidate) -> tuple[int, int]:
    flow = candidate.flow
    return (flow.router_id, flow.peer_address) if flow else (0, 0)


def receive(flow: Flow, route: Route, prefix: Prefix) -> Learned:
    """What becomes of ``route`` in the Adj-RIB-In that ``flow`` leads to: loop detection, then the import policy."""
    policy, receiver = flow.target.imports, flow.receiver
    if receiver.asn in route.as_path and not policy.allow_own_as:
        return Learned(route, None, f"its own ASN {receiver.asn} in the AS path")
    if route.next_hop == flow.target.address:
        return Learned(route, None, f"the next hop {route.next_hop} is itself")
    if prefix in policy.refuse:
        return Learned(route, None, policy.reason)
    accepted = route if flow.ibgp else route._replace(local_pref=policy.local_pref)
    return Learned(route, Candidate(accepted, flow, policy.weight))


def export(flow: Flow, best: Candidate, prefix: Prefix) -> Route | None:
    """What ``flow`` carries when its sender's best route is ``best``: None, or the rewritten route."""
    if not _may_send(flow, best, prefix):
        return None
    route, policy = best.route, flow.source.exports
    communities = (*route.communities, *(c for c in policy.communities if c not in route.communities))
    next_hop = policy.next_hop or _next_hop(flow, best)
    if flow.ibgp:
        return route._replace(next_hop=next_hop, communities=communities)
    path = _rewritten(route.as_path, flow, prefix)
    return Route(as_path=path, next_hop=next_hop, communities=communities, origin=route.origin)


def _may_send(flow: Flow, best: Candidate, prefix: Prefix) -> bool:
    policy, communities = flow.source.exports, best.route.communities
    if best.flow is not None and best.flow.index == flow.index ^ 1:
        return False  # FRR does not send a route back to the peer it came from
    if best.source not in policy.sources or prefix in policy.deny or NO_ADVERTISE in communities:
        return False
    if best.flow is None and policy.only is not None and prefix not in policy.only:
        return False
    if flow.ibgp:
        return policy.reflect or not _is_ibgp(best)
    return NO_EXPORT not in communities


def _next_hop(flow: Flow, best: Candidate) -> Address:
    """The sender's own address; what arrived stays where iBGP keeps it, and on eBGP when all three are in one subnet."""
    inherited = best.route.next_hop
    if not inherited or (flow.ibgp and flow.source.exports.next_hop_self):
        return flow.source.address
    if flow.ibgp or flow.source.exports.keep_next_hop:
        return inherited
    shared = flow.adjacency.shared
    return inherited if shared is not None and covers(shared, inherited) else flow.source.address


def _rewritten(as_path: tuple[int, ...], flow: Flow, prefix: Prefix) -> tuple[int, ...]:
    """The AS path on eBGP, in FRR's order: remove-private-AS, as-override, exclude, prepend, and the sender's own ASN first."""
    policy, own, theirs = flow.source.exports, flow.sender.asn, flow.receiver.asn
    path: Iterable[int] = as_path
    if policy.remove_private:
        path = (asn for asn in path if not is_private(asn))
    if policy.as_override:
        path = (own if asn == theirs else asn for asn in path)
    if policy.exclude:
        path = (asn for asn in path if asn not in policy.exclude)
    return (own,) * (1 + policy.prepend_by_prefix.get(prefix, policy.prepend)) + tuple(path)


class Simulation:
    """A network made ready for computation. Pure: `converge` may be called any number of times."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.flows: dict[int, Flow] = {flow.index: flow for flow in _flows(network)}
        self._outgoing: dict[str, tuple[Flow, ...]] = {}
        self._incoming: dict[str, tuple[int, ...]] = {}
        for name in network.routers:
            self._outgoing[name] = tuple(f for f in self.flows.values() if f.sender.name == name)
            self._incoming[name] = tuple(f.index for f in self.flows.values() if f.receiver.name == name)

    @cached_property
    def classes(self) -> tuple[tuple[Prefix, ...], ...]:
        """All originated prefixes, those with one fate together; in the order in which the routers list them."""
        marks: dict[Prefix, list[tuple[int, int]]] = {}
        for router in self.network.routers.values():
            for prefix in sorted(router.originates):
                marks.setdefault(prefix, [])
        for number, listed in enumerate(_lists(self.network)):
            for prefix, value in listed.items():
                if prefix in marks:
                    marks[prefix].append((number, value))
        classes: dict[tuple[tuple[int, int], ...], list[Prefix]] = {}
        for prefix, mark in marks.items():
            classes.setdefault(tuple(mark), []).append(prefix)
        return tuple(map(tuple, classes.values()))

    def converge(self, max_rounds: int = 64) -> tuple[Outcome, ...]:
        """Where each class of prefixes settles. A router that decided ``max_rounds`` times about one class is taken to oscillate."""
        return tuple(self.settle(prefixes, max_rounds) for prefixes in self.classes)

    def settle(self, prefixes: tuple[Prefix, ...], max_rounds: int = 64) -> Outcome:
        """The fixpoint of one class: routers decide in turn, and whoever receives something new decides again."""
        prefix = prefixes[0]
        learned: dict[int, Learned] = {}
        chosen: dict[str, tuple[Candidate, ...]] = {}
        decisions = dict.fromkeys(self.network.routers, 0)
        queue = deque(router.name for router in self.network.routers.values() if prefix in router.originates)
        while queue:
            name = queue.popleft()
            decisions[name] += 1
            if decisions[name] > max_rounds:
                return Outcome(prefixes, learned, chosen, False)
            before, chosen[name] = chosen.get(name), self._choose(name, prefix, learned)
            if before is not None and before[:1] == chosen[name][:1]:
                continue  # only the best route is sent
            for flow in self._announce(name, prefix, chosen[name], learned):
                if flow.receiver.name not in queue:
                    queue.append(flow.receiver.name)
        return Outcome(prefixes, learned, chosen, True)

    def _choose(self, name: str, prefix: Prefix, learned: Mapping[int, Learned]) -> tuple[Candidate, ...]:
        router = self.network.routers[name]
        heard = (learned[index].accepted for index in self._incoming[name] if index in learned)
        candidates = [candidate for candidate in heard if candidate is not None]
        if prefix in router.originates:
            candidates.append(Candidate(Route(), None, WEIGHT_OF_LOCAL_ROUTES))
        return decide(candidates, router.maximum_paths, router.multipath_relax)

    def _announce(self, name: str, prefix: Prefix, chosen: tuple[Candidate, ...], learned: dict[int, Learned]) -> Iterator[Flow]:
        """Update the Adj-RIBs-In of the neighbours; yields the flows on which something changed."""
        best = chosen[0] if chosen else None
        for flow in self._outgoing[name]:
            sent = export(flow, best, prefix) if best is not None else None
            before = learned.get(flow.index)
            if sent == (before.received if before else None):
                continue
            if sent is None:
                del learned[flow.index]
            else:
                learned[flow.index] = receive(flow, sent, prefix)
            yield flow


def _flows(network: Network) -> Iterator[Flow]:
    for number, adjacency in enumerate(network.adjacencies):
        if not adjacency.down:
            for direction, (source, target) in enumerate(((adjacency.a, adjacency.b), (adjacency.b, adjacency.a))):
                sender, receiver = network.routers[source.router], network.routers[target.router]
                yield Flow(
                    index=2 * number + direction,
                    sender=sender,
                    receiver=receiver,
                    source=source,
                    target=target,
                    adjacency=adjacency,
                    ibgp=sender.asn == receiver.asn,
                    router_id=parse_address(sender.router_id),
                    peer_address=parse_address(source.address),
                )


def _lists(network: Network) -> Iterator[Mapping[Prefix, int]]:
    """Every list of prefixes that the fate of a prefix may depend on, each once."""
    seen: set[object] = set()
    for router in network.routers.values():
        yield dict.fromkeys(router.originates, 1)
    for adjacency in network.adjacencies:
        for end in (adjacency.a, adjacency.b):
            for listed in (end.exports.only or frozenset(), end.exports.deny, end.imports.refuse):
                if listed and listed not in seen:
                    seen.add(listed)
                    yield dict.fromkeys(listed, 1)
            prepends = end.exports.prepend_by_prefix
            if prepends and frozenset(prepends.items()) not in seen:
                seen.add(frozenset(prepends.items()))
                yield prepends
