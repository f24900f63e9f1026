"""What every single fault of a design costs, on paper: which pairs lose connectivity, which go another way, what remains. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import reduce
from itertools import combinations

from msgspec import Struct
from msgspec.structs import replace

from testbed.azure.control_plane import ControlPlane, converge
from testbed.azure.impairment import INTACT, Broken
from testbed.model.topology import Topology
from testbed.plan.broken_trace import BrokenTracer
from testbed.plan.trace import Tracer
from testbed.plan.types import Plan
from testbed.plan.walk import DELIVERED
from testbed.scenario import talkers
from testbed.scenario.elements import Element

PARTLY = "partly"
"""Some of the equal paths of a pair lead somewhere, others do not: which one a flow takes decides."""

LOST = "lost"
Pair = tuple[str, str]


class Fate(Struct, frozen=True):
    """What becomes of a pair's packets: delivered, lost or partly; the nodes of each way they may take; why they are lost."""

    verdict: str
    ways: tuple[tuple[str, ...], ...]
    reason: str = ""


class Outlook(Struct, frozen=True):
    """The prediction while some elements are broken: the control plane it settles into, and every pair's fate.

    ``otherwise``: what it may settle into instead, when it depends on the equal path that a tunnel's packets happen to take.
    """

    elements: tuple[Element, ...]
    broken: Broken
    control: ControlPlane
    fates: Mapping[Pair, Fate]
    before: Mapping[Pair, Fate]
    otherwise: Outlook | None = None

    @property
    def name(self) -> str:
        """The broken elements, for people."""
        return " + ".join(each.name for each in self.elements) or "nothing broken"

    @property
    def lost(self) -> tuple[Pair, ...]:
        """The pairs that were served before, and are not at all or not surely now."""
        return tuple(pair for pair in self.served_before if self.fates[pair].verdict != DELIVERED)

    @property
    def moved(self) -> tuple[Pair, ...]:
        """The pairs that are still served, by another way."""
        kept = (pair for pair in self.served_before if self.fates[pair].verdict == DELIVERED)
        return tuple(pair for pair in kept if set(self.fates[pair].ways) != set(self.before[pair].ways))

    @property
    def served_before(self) -> tuple[Pair, ...]:
        """The pairs that are served while nothing is broken."""
        return tuple(pair for pair, fate in self.before.items() if fate.verdict == DELIVERED)


class Forecast:
    """Predicts a design's faults: the topology and plan as they are, the control plane worked out anew for each fault."""

    def __init__(self, topology: Topology, plan: Plan) -> None:
        self.topology = topology
        self.plan = plan
        self.nodes = tuple(node.name for node in plan.nodes if node.kind in ("vm", "host"))
        self.pairs: tuple[Pair, ...] = tuple((one, other) for one in self.nodes for other in self.nodes if one != other)
        self._control = converge(topology)
        self.intact = Outlook((), INTACT, self._control, *(2 * (dict(self._fates(Tracer(plan, self._control))),)))

    def outlook(self, broken: Sequence[Element]) -> Outlook:
        """The prediction while these elements are broken, all at once, and with them the tunnels that nothing carries any more."""
        sum_of = reduce(Broken.__or__, (each.broken for each in broken), INTACT)
        while True:
            control = converge(self.topology, broken=sum_of)
            tracer = BrokenTracer(self.plan, control, self._control, sum_of)
            carried = {each.name: tracer.carries(each) for each in self.plan.tunnels if each.name not in sum_of.devices}
            if not (dead := _those(carried, False)):
                found = Outlook(tuple(broken), sum_of, control, dict(self._fates(tracer)), self.intact.fates)
                return self._either(found, _those(carried, True, False))
            sum_of |= Broken(devices=dead)

    def _either(self, found: Outlook, doubtful: frozenset[str]) -> Outlook:
        """The outlook with what else may be, if the flow of a tunnel's packets takes an equal path that leads nowhere."""
        if not doubtful:
            return found
        sum_of = found.broken | Broken(devices=doubtful)
        control = converge(self.topology, broken=sum_of)
        fates = dict(self._fates(BrokenTracer(self.plan, control, self._control, sum_of)))
        both = {pair: _either_way(fate, fates[pair]) for pair, fate in found.fates.items()}
        return replace(found, fates=both, otherwise=Outlook(found.elements, sum_of, control, both, found.before))

    def _fates(self, tracer: Tracer) -> Iterator[tuple[Pair, Fate]]:
        for source, target in self.pairs:
            walks = tracer.traces(source, talkers.port(self.plan, target).ip)
            failed = [walk for walk in walks if walk.verdict != DELIVERED]
            verdict = DELIVERED if not failed else LOST if len(failed) == len(walks) else PARTLY
            yield (source, target), Fate(verdict, tuple(dict.fromkeys(walk.visible for walk in walks)), failed[0].reason if failed else "")


def _either_way(one: Fate, other: Fate) -> Fate:
    return one if one.verdict == other.verdict else replace(one, verdict=PARTLY, reason=one.reason or other.reason)


def _those(carried: Mapping[str, frozenset[bool]], *answers: bool) -> frozenset[str]:
    return frozenset(name for name, found in carried.items() if found == frozenset(answers))


def combined(single: Sequence[Element], *, pairs: bool) -> tuple[tuple[Element, ...], ...]:
    """Every element alone and, with ``pairs``, any two that are not of one place."""
    alone = [(each,) for each in single]
    return (*alone, *((one, other) for one, other in combinations(single, 2) if pairs and one.place != other.place))


def worst(outlooks: Iterable[Outlook], count: int) -> tuple[Outlook, ...]:
    """The worst so many: most pairs lost, then most pairs moved; among equals in the order given."""
    return tuple(sorted(outlooks, key=lambda each: (-len(each.lost), -len(each.moved)))[:count])


def unexpected(outlook: Outlook, delivered: Mapping[Pair, bool]) -> tuple[str, ...]:
    """Where what was observed is not what was predicted, in words. A pair that may go either way is never unexpected."""
    lines = []
    for pair, through in delivered.items():
        fate = outlook.fates[pair]
        if fate.verdict != PARTLY and through != (fate.verdict == DELIVERED):
            why = f" ({fate.reason})" if fate.reason else ""
            lines.append(f"{pair[0]} → {pair[1]}: predicted {fate.verdict}{why}, observed {DELIVERED if through else LOST}")
    return tuple(lines)


def told(outlook: Outlook) -> dict[str, object]:
    """A prediction as JSON-ready data."""
    return {
        "fault": outlook.name,
        "lost": [f"{source} → {target}" for source, target in outlook.lost],
        "moved": [f"{source} → {target}" for source, target in outlook.moved],
        "served_before": len(outlook.served_before),
        "reasons": sorted({outlook.fates[pair].reason for pair in outlook.lost}),
    }
