"""The most packets/s that a path carries at no more than a given loss: RFC 2544's search, with our own streams as trials."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from testbed.measure.cpu import CpuUse
from testbed.measure.latency import Latency, latency
from testbed.measure.streams import Flow, Place, Streams
from testbed.measure.validity import DEFAULT_LIMITS, Limits, Verdict

_SHORT_OF_RATE = 0.01


@dataclass(frozen=True)
class Trial:
    """Packets/s of all flows together: asked for, really offered, and received; the part lost; the delay; who used the CPU."""

    asked: float
    offered: float
    received: float
    loss: float
    latency: Latency | None
    cpu: CpuUse | None
    verdict: Verdict

    @property
    def sender_fell_short(self) -> bool:
        """Whether the sender could not offer what was asked."""
        return self.offered < self.asked * (1 - _SHORT_OF_RATE)


@dataclass(frozen=True)
class Throughput:
    """The end of a search: the best trial (None: even the lowest rate lost too much), what stopped it, all trials, and the verdict.

    ``limit`` is ``loss`` (the path), ``sender`` (it could not offer more: the path carries at least this) or ``range`` (the highest
    rate asked for went through).
    """

    best: Trial | None
    limit: str
    trials: tuple[Trial, ...]
    verdict: Verdict


def search(run: Callable[[float], Trial], *, low: float, high: float, loss: float = 0.0, resolution: float = 0.02) -> Throughput:
    """Bisect for the highest rate in ``low``..``high`` (packets/s) at which no more than ``loss`` (a part) is lost (RFC 2544 26.1).

    It ends when the rates that pass and fail are within ``resolution`` (a part) of each other. The figure's verdict is that of the two
    trials which set its bounds.
    """
    trials = [run(high)]
    if _passes(trials[0], loss):
        return Throughput(trials[0], "range", tuple(trials), trials[0].verdict)
    best, worst = None, trials[0]
    below, above = low, high
    rate = low
    while True:
        trials.append(run(rate))
        if _passes(trials[-1], loss):
            best, below = trials[-1], rate
        else:
            worst, above = trials[-1], rate
        if best is None and above <= low:
            return Throughput(None, _limit(worst, loss), tuple(trials), worst.verdict)
        if (above - below) / above <= resolution:
            break
        rate = (below + above) / 2
    verdict = best.verdict & worst.verdict if best else worst.verdict
    return Throughput(best, _limit(worst, loss), tuple(trials), verdict)


def _passes(trial: Trial, loss: float) -> bool:
    return trial.loss <= loss and not trial.sender_fell_short


def _limit(trial: Trial, loss: float) -> str:
    return "loss" if trial.loss > loss else "sender"


def stream_trial(
    flows: Sequence[Flow],
    places: Sequence[Place],
    *,
    rate: float,
    seconds: float = 1.0,
    grace: float = 0.2,
    own: Collection[int] = (),
    limits: Limits = DEFAULT_LIMITS,
) -> Trial:
    """Send all flows for ``seconds`` at ``rate`` packets/s together and count what arrives at their targets (each a label of a place).

    Lateness is not held against it: at these rates packets leave in small groups, and what counts is how many.
    """
    each = rate / len(flows)
    with Streams(flows, places, rate=each, count=max(2, round(each * seconds)), realtime=False, grace=grace, own=own) as streams:
        pass
    result = streams.result
    outages = [result.outage(flow) for flow in flows]
    sent, received = sum(outage.sent for outage in outages), sum(outage.received for outage in outages)
    offered = result.pacing.achieved * len(flows)
    patient = replace(limits, rate_error=float("inf"), lateness_p99=float("inf"), latest=float("inf"))
    return Trial(
        asked=rate,
        offered=offered,
        received=offered * received / sent,
        loss=1 - received / sent,
        latency=latency(result.arrivals[flows[0].target]),
        cpu=result.cpu,
        verdict=result.verdict(patient),
    )
