"""Walks every class of packets of a design, and so proves where packets loop, are lost, or go and come by different ways.

Not samples: each pair of classes (see `testbed.plan.classes`) is walked, under equal-cost paths all choices. Subnets without a NIC get an
imagined VM, sites without a host an imagined host, so that a design without machines is proved as well.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from ipaddress import IPv4Address

from msgspec import Struct

from testbed.azure.control_plane import ControlPlane, converge
from testbed.azure.fib import LOCAL, FibHop
from testbed.azure.lookup import PrefixMap
from testbed.azure.types import Address
from testbed.model.addresses import FIRST_USABLE, GATEWAY_SUBNET, ROUTE_SERVER_SUBNET
from testbed.model.topology import Topology, Vm
from testbed.plan.classes import Classes, Endpoint, Target
from testbed.plan.compile import compile_plan
from testbed.plan.templates import load_templates
from testbed.plan.trace import Tracer
from testbed.plan.walk import DELIVERED, DROPPED, LOOPS, Walk

MAX_QUESTIONS = 100_000_000
"""Pairs of classes that are looked at: half a minute's work. Those alike in all that matters are walked once."""


class Pair(Struct, frozen=True):
    """The walks from a sender to a destination, one for each choice of equal-cost paths; ``back`` those of the answer.

    ``owned``: somebody has the destination address. ``back`` is None where no NIC or host answers.
    """

    source: Endpoint
    target: Endpoint | Target
    walks: tuple[Walk, ...]
    back: tuple[Walk, ...] | None
    owned: bool

    @property
    def to(self) -> str:
        """The destination for people."""
        return self.target.name if isinstance(self.target, Endpoint) else self.target.prefix

    def of(self, verdict: str) -> Walk | None:
        """The first walk with that verdict, or None."""
        return next((walk for walk in self.walks if walk.verdict == verdict), None)

    @property
    def delivered(self) -> bool:
        """Whether the packet arrives by every choice."""
        return all(walk.verdict == DELIVERED for walk in self.walks)


class Proof(Struct, frozen=True):
    """What was walked. ``classes`` counts classes of senders, ``destinations`` of destinations; ``complete`` is False when there were
    too many pairs to walk them all.
    """

    tracer: Tracer
    pairs: tuple[Pair, ...]
    classes: int
    destinations: int
    complete: bool

    def loops(self) -> tuple[Pair, ...]:
        """The pairs whose packets loop by some choice."""
        return tuple(pair for pair in self.pairs if pair.of(LOOPS) is not None)

    def black_holes(self) -> tuple[Pair, ...]:
        """The pairs whose packets are lost by some choice, although somebody has the address."""
        return tuple(pair for pair in self.pairs if pair.owned and pair.of(DROPPED) is not None)

    def asymmetric(self) -> tuple[Pair, ...]:
        """The pairs of VMs and hosts both of whose directions arrive, each by one sequence of NVAs, and not by the same."""
        return tuple(pair for pair in self._conversations() if self._ways(pair.walks) != {way[::-1] for way in self._ways(pair.back or ())})

    def spread(self) -> tuple[Pair, ...]:
        """The pairs of VMs and hosts whose flows are spread over several NVAs by equal-cost routes, not by a load balancer."""
        return tuple(pair for pair in self._conversations(spread=True))

    def nvas(self, walk: Walk) -> tuple[str, ...]:
        """The NVAs on a way, in order."""
        return tuple(node for node in walk.nodes[1:-1] if node in self.tracer.control.topology.nvas)

    def choices(self, pair: Pair) -> tuple[str, ...]:
        """The NVAs that a pair's flows meet or do not meet, by choice."""
        ways = [set(self.nvas(walk)) for walk in (*pair.walks, *(pair.back or ()))]
        return tuple(sorted({nva for way in ways for nva in way if not all(nva in other for other in ways)}))

    def _ways(self, walks: tuple[Walk, ...]) -> set[tuple[str, ...]]:
        return {self.nvas(walk) for walk in walks}

    def _conversations(self, spread: bool = False) -> Iterator[Pair]:
        for pair in self.pairs:
            if pair.back is None or "nva" in (pair.source.kind, getattr(pair.target, "kind", "")):
                continue
            every = (*pair.walks, *pair.back)
            if any(walk.verdict != DELIVERED for walk in every) or any(_balanced(walk) for walk in every):
                continue
            if (max(len(self._ways(pair.walks)), len(self._ways(pair.back))) > 1) is spread:
                yield pair


def _balanced(walk: Walk) -> bool:
    """Whether a load balancer chose on the way."""
    return any(len(step.choices) > 1 and step.winner is not None and len(step.winner.next_hops) == 1 for step in walk.steps)


def inhabited(topology: Topology) -> Topology:
    """The topology with a VM in every subnet that has no NIC, and a host at every site that has none.

    Their addresses are the last usable ones, and none that a route names as its next hop.
    """
    taken = {str(route.next_hop_ip) for table in topology.route_tables.values() for route in table.routes.values()}
    taken |= {str(settings.next_hop) for nva in topology.nvas.values() for settings in nva.neighbors.values()}
    taken |= {str(balancer.ip) for balancer in topology.load_balancers.values()}
    used = {vm.subnet for vm in topology.vms.values()} | {nva.subnet for nva in topology.nvas.values()}
    used |= {nic.subnet for nva in topology.nvas.values() for nic in nva.extra_nics}
    vms = dict(topology.vms)
    for vnet, declared in topology.vnets().items():
        for name, subnet in declared.subnets.items():
            reference = f"{vnet}/{name}"
            address = _free(int(subnet.network_address) + FIRST_USABLE, int(subnet.broadcast_address) - 1, taken)
            if reference not in used and name not in (ROUTE_SERVER_SUBNET, GATEWAY_SUBNET) and address is not None:
                vms[f"any VM in {reference}"] = Vm(subnet=reference, ip=address)
    sites = dict(topology.sites)
    for name, site in topology.sites.items():
        prefix = next((each for each in site.prefixes if each.num_addresses > 1), None)
        if not site.hosts and prefix is not None:
            sites[name] = site.model_copy(update={"hosts": {f"any host at {name}": prefix.network_address + 1}})
    return topology.model_copy(update={"vms": vms, "sites": sites})


def _free(first: int, last: int, taken: set[str]) -> IPv4Address | None:
    for number in range(last, max(first, last - 64) - 1, -1):
        if str(IPv4Address(number)) not in taken:
            return IPv4Address(number)
    return None


def prove(topology: Topology, control: ControlPlane | None = None) -> Proof:
    """Walk all classes of ``topology`` (as `inhabited` made it); ``control`` is its converged control plane, if it is there already."""
    plane = control or converge(topology)
    own = {f"user/{name}": "" for name, nva in topology.nvas.items() if nva.frr_config is not None}
    tracer = Tracer(compile_plan(topology, templates={**load_templates(), **own}), plane)
    return _Prover(tracer).proof()


def _neighbours(members: list[Endpoint]) -> Iterator[tuple[Endpoint, Endpoint]]:
    """Two of one class in one VNet, which need not be the VNet of the first of the class."""
    first: dict[str, Endpoint] = {}
    for member in members:
        if member.vnet in first and first[member.vnet].node != member.node:
            yield first[member.vnet], member
            return
        first.setdefault(member.vnet, member)


class _Receivers:
    """Two receivers of each class and all destinations without a NIC, in columns: nearly all pairs are like one that was asked before."""

    def __init__(self, classes: Classes) -> None:
        self._classes = classes
        self._members = [member for members in classes.groups.values() for member in members[:2]]
        self._columns = [(classes.sender(each), classes.places[each.address], classes.decisions(each)) for each in self._members]
        self._targets = [(each, classes.places[each.address], classes.receiver(each)) for each in classes.targets]
        self._asked: set[tuple[int, ...]] = set()

    def unlike(self, source: Endpoint) -> Iterator[tuple[Endpoint, Endpoint | Target]]:
        """The receivers in other VNets, and the destinations, of which no sender like this one was asked with the same decisions."""
        sender, own, here = self._classes.sender(source), self._classes.decisions(source), self._classes.places[source.address]
        for member, (receiver, place, theirs) in zip(self._members, self._columns, strict=True):
            key = sender, own[place], receiver, theirs[here]
            if key not in self._asked and member.node != source.node and (not source.vnet or member.vnet != source.vnet):
                self._asked.update((key, (receiver, theirs[here], sender, own[place])))
                yield source, member
                yield member, source
        for target, place, receiver in self._targets:
            question = sender, own[place], receiver
            if question not in self._asked:
                self._asked.add(question)
                yield source, target


class _Prover:
    """Walks each pair of classes once."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._classes = Classes(tracer.control, tracer.index)
        self._fibs: dict[str, PrefixMap[tuple[FibHop, ...]]] = {}
        self._known: dict[tuple[str, Address], tuple[Walk, ...]] = {}
        self._owned: dict[Address, bool] = {}

    def proof(self) -> Proof:
        pairs: dict[Hashable, Pair] = {}
        for source, target in self._questions():
            key = self._classes.conversation(source, target)
            if key not in pairs:
                pairs[key] = self._pair(source, target)
        groups = len(self._classes.groups)
        return Proof(self._tracer, tuple(pairs.values()), groups, groups + len(self._classes.targets), len(self._sources()) == groups)

    def _sources(self) -> list[Endpoint]:
        """One sender of each class, as many as there is time for."""
        sources = [members[0] for members in self._classes.groups.values()]
        return sources[: MAX_QUESTIONS // (2 * len(sources) + len(self._classes.targets) + 1)]

    def _questions(self) -> Iterator[tuple[Endpoint, Endpoint | Target]]:
        """A pair for each kind of conversation; some are there twice."""
        groups = self._classes.groups
        receivers = _Receivers(self._classes)
        for source in self._sources():
            for key, members in groups.items() if source.vnet else ():
                if members[0].vnet == source.vnet or self._alike(source, key):
                    yield from self._near_and_far(source, members)
            yield from receivers.unlike(source)
        for members in groups.values():
            yield from _neighbours(members)

    def _near_and_far(self, source: Endpoint, members: list[Endpoint]) -> Iterator[tuple[Endpoint, Endpoint]]:
        """Of a class of receivers like the sender: one in the sender's own VNet, and one in another; in both directions."""
        near = next((each for each in members if each.vnet == source.vnet and each.node != source.node), None)
        far = next((each for each in members if each.vnet != source.vnet), None)
        for target in (each for each in (near, far) if each is not None):
            yield source, target
            yield target, source

    def _alike(self, source: Endpoint, key: Hashable) -> bool:
        return isinstance(key, tuple) and source.kind == "vm" and key[0] == self._classes.kind_of(source.vnet)

    def _pair(self, source: Endpoint, target: Endpoint | Target) -> Pair:
        walks = self._walks(source.node, target.address)
        if isinstance(target, Endpoint):
            return Pair(source, target, walks, self._walks(target.node, source.address), True)
        return Pair(source, target, walks, None, self._somebody_has(target.address))

    def _walks(self, node: str, address: Address) -> tuple[Walk, ...]:
        key = (node, address)
        if key not in self._known:
            self._known[key] = self._tracer.traces(node, address)
        return self._known[key]

    def _somebody_has(self, address: Address) -> bool:
        if address not in self._owned:
            found = (self._fib(node).lookup(address) for node in self._tracer.control.nodes)
            self._owned[address] = any(hops is not None and hops[0].device == LOCAL for hops in found)
        return self._owned[address]

    def _fib(self, node: str) -> PrefixMap[tuple[FibHop, ...]]:
        if node not in self._fibs:
            self._fibs[node] = PrefixMap(self._tracer.control.fib(node))
        return self._fibs[node]
