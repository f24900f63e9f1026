"""The converged control plane of a design, on paper: who learned what from whom, what is injected where, and every table (RS, GW)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cached_property

from msgspec import Struct
from msgspec.structs import replace

from testbed.azure import fib as forwarding
from testbed.azure import route_server as brain
from testbed.azure.bgp import Network, Outcome, Route, Simulation
from testbed.azure.domains import domains
from testbed.azure.fib import Fib, FibHop
from testbed.azure.hubs import hubs
from testbed.azure.impairment import INTACT, Broken, impaired
from testbed.azure.lookup import PrefixMap
from testbed.azure.networks import Layout, layout
from testbed.azure.nva_policy import ROUTE_SERVER
from testbed.azure.peering import connections
from testbed.azure.types import Address, Announced, Domain, Event, Hub, Path, Prefix, Received, Session, SessionDown, SessionUp, Speaker
from testbed.model.topology import Topology

__all__ = ["ControlPlane", "Fib", "FibHop", "RibRoute", "converge"]

MAX_ROUNDS = 64


class RibRoute(Struct, frozen=True):
    """A route in a node's BGP table. ``peer`` is the neighbour it came from, empty for the node's own.

    ``best`` is the one sent on, ``used`` says whether packets follow it (the best and those used beside it); ``dropped`` why it
    was not accepted.
    """

    path: Path
    peer: str
    best: bool = False
    used: bool = False
    dropped: str = ""


class ControlPlane:
    """What a design settles into; made by `converge`, not to be changed. Tables are worked out when they are first asked for.

    ``settled`` is False when routers went on changing their minds; ``oscillating`` are the prefixes concerned.
    """

    def __init__(
        self, topology: Topology, found: tuple[Hub, ...], plan: Layout, simulation: Simulation, outcomes: tuple[Outcome, ...]
    ) -> None:
        self.topology = topology
        self.hubs = found
        self.layout = plan
        self.outcomes = outcomes
        self.oscillating: tuple[Prefix, ...] = tuple(prefix for each in outcomes if not each.settled for prefix in each.prefixes)
        self.settled = not self.oscillating
        self._simulation = simulation
        self._flow_of = {session: flow for flow, session in plan.sessions()}
        self._injected: dict[tuple[str, int], PrefixMap[tuple[Address, ...]]] = {}
        self._fibs: dict[str, Fib] = {}

    @cached_property
    def domains(self) -> tuple[Domain, ...]:
        """The routing domains of the design."""
        return domains(self.topology)

    @cached_property
    def state(self) -> brain.State:
        """The brain of the Route Servers and gateways after all they received."""
        return brain.step(brain.initial(self.hubs), tuple(self._events()), 0.0)[0]

    @property
    def sessions(self) -> tuple[Session, ...]:
        """All sessions of Azure-side speakers, up or down, in order."""
        return tuple(sorted(self._flow_of))

    @property
    def unmodelled(self) -> Mapping[str, str]:
        """NVAs whose BGP is not modelled, with the reason; their sessions count as down."""
        return self.layout.unmodelled

    @property
    def nodes(self) -> tuple[str, ...]:
        """All BGP routers."""
        return tuple(self.layout.network.routers)

    def down(self, session: Session) -> str:
        """Why a session cannot be up, or nothing. Raises KeyError when there is no such session."""
        return self.layout.network.adjacencies[self._flow_of[session] // 2].down

    def speaker_of(self, node: str) -> Speaker | None:
        """The Azure-side instance that a node is, or None."""
        return self.layout.speakers.get(node)

    def address(self, session: Session) -> Address:
        """The address of the Azure-side instance (RS1)."""
        return self.layout.speakers[f"{session.server}-{session.instance}"].address

    def peer_address(self, session: Session) -> Address:
        """The peer's address on a session."""
        flow = self._flow_of[session]
        adjacency = self.layout.network.adjacencies[flow // 2]
        return (adjacency.b if flow % 2 else adjacency.a).address

    def received(self, session: Session) -> tuple[Received, ...]:
        """The Adj-RIB-In of a session: what arrived, dropped or not (RS8). Empty while the session is down."""
        return tuple(brain.received(self.state, session).values())

    def advertised(self, session: Session) -> tuple[Path, ...]:
        """What the Route Server or gateway sends on a session (RS7, RS12, RS13, GW2-GW5). Raises KeyError as `down`."""
        return tuple(_path(prefix, each) for each, prefixes in self._on(self._flow_of[session] ^ 1) for prefix in prefixes)

    def injected(self, hub_vnet: str, home: int) -> PrefixMap[tuple[Address, ...]]:
        """The next hops of every prefix that a hub injects into the NICs homed on instance ``home``."""
        key = hub_vnet, home
        if key not in self._injected:
            self._injected[key] = PrefixMap(brain.injected(self.state, hub_vnet, home))
        return self._injected[key]

    def rib(self, node: str) -> Mapping[Prefix, tuple[RibRoute, ...]]:
        """The BGP table of a router: its own routes and all it received, the best one first. Raises KeyError when there is none."""
        flows = [index for index, flow in self._simulation.flows.items() if flow.receiver.name == node]
        router = self.layout.network.routers[node]
        table: dict[Prefix, tuple[RibRoute, ...]] = {}
        for outcome in self.outcomes:
            own = outcome.prefixes[0] in router.originates
            if own or any(index in outcome.learned for index in flows):
                for prefix in outcome.prefixes:
                    table[prefix] = tuple(_entries(outcome, node, flows, prefix, own, self._simulation))
        return table

    def fib(self, node: str) -> Fib:
        """The forwarding table of a node: VMs, NVAs, instances, MSEEs, sites. Raises KeyError when there is no such node."""
        if node not in self._fibs:
            kernel = forwarding.kernel_routes(self.topology, self.layout, node)
            self._fibs[node] = forwarding.fib(kernel, node, self.outcomes)
        return self._fibs[node]

    def _on(self, flow: int) -> Iterator[tuple[Route, tuple[Prefix, ...]]]:
        for outcome in self.outcomes:
            learned = outcome.learned.get(flow)
            if learned is not None:
                yield learned.received, outcome.prefixes

    def _events(self) -> Iterator[Event]:
        hold = self.topology.timers.bgp.hold
        for session, flow in sorted(self._flow_of.items()):
            down = self.layout.network.adjacencies[flow // 2].down
            if down:
                yield SessionDown(session, "max-prefix" if down.startswith(OVER_LIMIT) else "lost")
                continue
            yield SessionUp(session, hold)
            for route, prefixes in self._on(flow):
                for prefix in prefixes:
                    yield Announced(session, _path(prefix, route))


OVER_LIMIT = "RS6: over the limit"


def converge(topology: Topology, *, max_rounds: int = MAX_ROUNDS, broken: Broken = INTACT) -> ControlPlane:
    """The state in which the control plane of ``topology`` (addresses filled in) settles, while what is ``broken`` does not work.

    A router that decides more than ``max_rounds`` times about one prefix counts as oscillating. A session that exceeds the limit of
    routes of its Route Server is taken down, and the rest converges without it (RS6).
    """
    connected = connections(topology)
    found = hubs(topology, connected)
    plan = impaired(layout(topology, found, connected), topology, broken)
    while True:
        simulation = Simulation(plan.network)
        outcomes = simulation.converge(max_rounds)
        over = _over_limit(topology, simulation, outcomes)
        if not over:
            return ControlPlane(topology, found, plan, simulation, outcomes)
        adjacencies = tuple(
            replace(each, down=over[number]) if number in over else each for number, each in enumerate(plan.network.adjacencies)
        )
        plan = replace(plan, network=Network(plan.network.routers, adjacencies))


def _over_limit(topology: Topology, simulation: Simulation, outcomes: tuple[Outcome, ...]) -> dict[int, str]:
    """The sessions, by number of adjacency, on which an NVA sends more routes than its Route Server takes (RS6), dropped ones included."""
    counts: Counter[int] = Counter()
    for outcome in outcomes:
        counts.update(dict.fromkeys(outcome.learned, len(outcome.prefixes)))
    limit = topology.limits.routes_per_peer
    return {
        index // 2: f"{OVER_LIMIT}: {count} routes from {simulation.flows[index].sender.name}, {limit} are allowed"
        for index, count in counts.items()
        if count > limit and simulation.flows[index].adjacency.kind == ROUTE_SERVER and simulation.flows[index].target.role == "nva"
    }


def _path(prefix: Prefix, route: Route) -> Path:
    return Path(prefix, route.as_path, route.next_hop, route.communities, route.origin)


def _entries(outcome: Outcome, node: str, flows: list[int], prefix: Prefix, own: bool, simulation: Simulation) -> Iterator[RibRoute]:
    chosen = outcome.chosen.get(node, ())
    origins = [candidate.flow.index if candidate.flow else None for candidate in chosen]
    if own:
        yield RibRoute(_path(prefix, Route()), "", best=origins[:1] == [None], used=None in origins)
    known = [index for index in flows if index in outcome.learned]
    for index in sorted(known, key=lambda each: (origins.index(each) if each in origins else len(origins), each)):
        learned = outcome.learned[index]
        peer = simulation.flows[index].sender.name
        yield RibRoute(_path(prefix, learned.received), peer, origins[:1] == [index], index in origins, learned.dropped)
