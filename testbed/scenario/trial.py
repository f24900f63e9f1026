"""Breaks things in a live lab as predicted on paper, mends them, and compares: who is lost meanwhile, for how long, what stays lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

from testbed.azure.types import Address, Prefix
from testbed.emulation import readiness
from testbed.errors import TestbedError
from testbed.measure.outage import Outage
from testbed.measure.streams import Flow, Streams
from testbed.scenario import talkers
from testbed.scenario.convergence import differences, expected_injection, injection
from testbed.scenario.failing_over import Lab
from testbed.scenario.kernels import different, kernels
from testbed.scenario.live import LiveLab
from testbed.scenario.sweep import Forecast, Outlook, Pair, unexpected
from testbed.scenario.table_agreement import session_differences
from testbed.wait import poll

RATE = 100.0
"""Packets a second of every pair that is served while nothing is broken: times are known to 10 ms."""

STEADY = 1.2
"""Seconds for which the lab must look as predicted without a break, so that what is still on its way is not taken for the end."""

BUDGET = 20.0
"""Seconds beyond three hold times after which a lab that is not as predicted is reported."""

_LEAD = 0.3
_SHORT = 0.05  # seconds; a shorter run of loss is the machine's, not the fault's
_GRACE = 0.5


@dataclass
class Trial:
    """One fault on a live lab. Seconds are None where nothing was measured; pairs are in words.

    ``settled``: until all was as predicted; ``mended``: the same after healing. ``outages``: of pairs that were to survive, from the
    fault to the end of their loss. ``back``: of the others, from the beginning of the healing until they got through again;
    ``disturbed``: of the survivors, the same, when the healing cost them packets.
    ``unexpected``: differences from the prediction while it was broken; ``left``: what is not as before after healing.
    """

    fault: str
    predicted_lost: tuple[str, ...] = ()
    observed_lost: tuple[str, ...] = ()
    settled: float | None = None
    mended: float | None = None
    outages: dict[str, float] = field(default_factory=dict)
    back: dict[str, float] = field(default_factory=dict)
    disturbed: dict[str, float] = field(default_factory=dict)
    not_back: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    left: tuple[str, ...] = ()

    @property
    def as_predicted(self) -> bool:
        """Whether what was seen is what was predicted, and nothing was left over."""
        return not (self.unexpected or self.left or self.not_back)


class Observer:
    """Looks at one lab again and again, and says how it differs from an outlook. Made while nothing is broken."""

    def __init__(self, lab: LiveLab, forecast: Forecast) -> None:
        self.lab = lab
        self.forecast = forecast
        self.delivered: dict[Pair, bool] = {}
        self._kernels = kernels(lab.client, lab.plan)
        self.budget = BUDGET + 3 * forecast.topology.timers.bgp.hold

    def settle(self, outlook: Outlook, *, whole: bool) -> tuple[float, tuple[str, ...]]:
        """Wait until the lab has been as predicted for `STEADY` seconds: when it began to be (seconds from now), what still differs.

        ``whole``: flows and groups of the switches and routes of the kernels must be as they should, too.
        """
        self.delivered = {}
        start = time.monotonic()
        since: list[float] = []
        found: list[tuple[str, ...]] = [()]

        def check() -> str | None:
            looked = time.monotonic()
            found[0] = self.look(outlook, whole=whole)
            if found[0]:
                since.clear()
                return found[0][0]
            since.append(looked)
            return None if looked - since[0] >= STEADY else "as predicted, but not for long"

        if poll(check, budget=self.budget, interval=0.1) is not None and found[0]:
            found[0] = tuple(dict.fromkeys((*found[0], *self.probe(outlook))))
        return (since[0] if since else time.monotonic()) - start, found[0]

    def look(self, outlook: Outlook, *, whole: bool) -> tuple[str, ...]:
        """What differs from the outlook now, in words: injected routes, packets and, with ``whole``, flows, groups and kernels.

        Of two outlooks between which chance decides, the nearer one counts.
        """
        lines = self._look(outlook, whole=whole)
        return min(lines, self._look(outlook.otherwise, whole=whole), key=len) if lines and outlook.otherwise is not None else lines

    def _look(self, outlook: Outlook, *, whole: bool) -> tuple[str, ...]:
        lines = list(self._routes(outlook)) if not outlook.broken.frozen else []
        lines += self._sessions(outlook)
        if whole and not lines:
            lines += self._switches()
            lines += different(self._kernels, kernels(self.lab.client, self.lab.plan))
        if not lines or not self.delivered:
            lines += self.probe(outlook)
        return tuple(lines)

    def probe(self, outlook: Outlook) -> tuple[str, ...]:
        """One probe a pair, and where its fate is not the predicted one."""
        answers = self.lab.probe(self.forecast.pairs)
        self.delivered = {(answer.source, answer.target): answer.delivered for answer in answers}
        return unexpected(outlook, self.delivered)

    def _routes(self, outlook: Outlook) -> tuple[str, ...]:
        expected = expected_injection(outlook.control)
        try:
            found: Mapping[tuple[str, int], Mapping[Prefix, tuple[Address, ...]]]
            found = injection(self.lab.client, sorted({hub for hub, _ in expected}))
        except (TestbedError, OSError) as error:
            return (f"controller: {error}",)
        return differences(expected, found)

    def _sessions(self, outlook: Outlook) -> tuple[str, ...]:
        """BGP sessions that are up and should not be, or the other way round."""
        return session_differences(outlook.control, readiness.session_states(self.lab.plan, self.lab.client.paths))

    def _switches(self) -> tuple[str, ...]:
        try:
            return self.lab.switch_differences()
        except (TestbedError, OSError) as error:
            return (f"switches: {error}",)


def attempt(observer: Observer, outlook: Outlook, *, timed: bool, stay: float = 0.0, meanwhile: Callable[[], object] = bool) -> Trial:
    """Break what the outlook says, compare, mend it, compare with the intact lab.

    ``timed``: streams between all pairs tell how long each was lost; ``stay``: seconds to leave it broken; ``meanwhile`` is called then.
    """
    lab, forecast = observer.lab, observer.forecast
    trial = Trial(outlook.name, predicted_lost=_words(outlook.lost))
    flows = talkers.flows(lab.plan, forecast.intact.served_before) if timed else ()
    with _streams(lab.client, flows) as streams:
        _pause(_LEAD if timed else 0.0)
        broken_at = time.time()
        order = sorted(outlook.elements, key=lambda each: not each.broken.frozen)  # switches that stay as they are, first
        for element in order:
            lab.act(element.fail)
        acted = time.time() - broken_at
        waited, trial.unexpected = observer.settle(outlook, whole=False)
        trial.settled = acted + waited
        trial.observed_lost = _words([pair for pair in forecast.intact.served_before if not observer.delivered.get(pair, True)])
        _pause(stay)
        meanwhile()
        mended_at = time.time()
        for element in reversed(order):
            lab.act(element.heal)
        acted = time.time() - mended_at
        waited, trial.left = observer.settle(forecast.intact, whole=True)
        trial.mended = acted + waited
        _pause(_LEAD if timed else 0.0)
    if streams is not None:
        _time(trial, outlook, {flow: streams.result.outage(flow) for flow in flows}, broken_at, mended_at)
    return trial


def _streams(lab: Lab, flows: tuple[Flow, ...]) -> Any:
    """Packets of every flow while the block runs; nothing when there is no flow."""
    if not flows:
        return nullcontext()
    own = talkers.own_processes(lab.plan, lab.status())
    return Streams(flows, talkers.ends(lab.plan, flows), rate=RATE, grace=_GRACE, own=own)


def _time(trial: Trial, outlook: Outlook, outages: Mapping[Flow, Outage], broken_at: float, mended_at: float) -> None:
    lost = set(outlook.lost)
    for flow, outage in outages.items():
        pair, name = (flow.source, flow.target), f"{flow.source} → {flow.target}"
        if pair in lost:
            trial.back[name] = _end_of_loss(outage, mended_at, float("inf"))
        else:
            if (end := _end_of_loss(outage, broken_at, mended_at)) > 0:
                trial.outages[name] = end
            if (end := _end_of_loss(outage, mended_at, float("inf"))) > 0:
                trial.disturbed[name] = end
        if not outage.recovered and outage.last_lost is not None and outage.last_lost.duration >= _SHORT:
            trial.not_back = (*trial.not_back, name)


def _end_of_loss(outage: Outage, begin: float, end: float) -> float:
    """Seconds from ``begin`` to the end of the last run of loss that touches the time until ``end``; 0 when there is none."""
    ends = [window.end for window in outage.windows if window.duration >= _SHORT and window.end > begin and window.begin < end]
    return max((min(each, end) for each in ends), default=begin) - begin


def _words(pairs: tuple[Pair, ...] | list[Pair]) -> tuple[str, ...]:
    return tuple(f"{source} → {target}" for source, target in pairs)


def _pause(seconds: float) -> None:
    if seconds > 0:
        poll(lambda: "not yet", budget=seconds, interval=min(seconds, 0.05))
