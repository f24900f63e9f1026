"""Measures what a path carries: TCP goodput, the highest packet rate at no more than a given loss, delay, and what limits it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from testbed.measure.iperf import Goodput, goodput
from testbed.measure.latency import Latency, latency
from testbed.measure.streams import Streams
from testbed.measure.throughput import Throughput as Found
from testbed.measure.throughput import Trial, search, stream_trial
from testbed.measure.validity import Figure, Verdict, judge
from testbed.model.measurement import Throughput
from testbed.scenario import talkers
from testbed.scenario.failing_over import Lab, cpu_data
from testbed.scenario.measured import Held, Measured, at_least

Overlay = Callable[[str, str], str]
"""(source, target) → what carries their packets, in words: ``none``, ``vxlan``, ``ipsec``."""

_TRIAL, _IDLE = 0.5, 1.0  # seconds of one trial of the search, and of the stream that measures delay
_IDLE_RATE = 500.0
_RESOLUTION = 0.05
_GRACE = 0.3
_STALLED = 0.5
"""Seconds between the end of the sending and the last data; with a path's queues full it is some tens of milliseconds."""
_WITHOUT_DIGITS = str.maketrans("", "", "0123456789.,")


@dataclass(frozen=True)
class Carried:
    """What one path carried; what was not measured is None."""

    source: str
    target: str
    label: str
    tcp: Goodput | None
    rate: Found | None
    idle: Latency | None
    idle_verdict: Verdict


def measure(lab: Lab, wanted: Throughput, pairs: Sequence[tuple[str, str]], overlay: Overlay) -> Measured:
    """Measure each pair in turn, alone. Raises LabError when a stream or iperf3 cannot run, MachineError without iperf3."""
    own = talkers.own_processes(lab.plan, lab.status())
    return report(wanted, [_carried(lab, wanted, pair, wanted.label or overlay(*pair), own) for pair in pairs])


def _carried(lab: Lab, wanted: Throughput, pair: tuple[str, str], label: str, own: frozenset[int]) -> Carried:
    plan = lab.plan
    client, server = (talkers.port(plan, name) for name in pair)
    probe = talkers.flows(plan, [pair])
    with Streams(probe, talkers.ends(plan, probe), rate=_IDLE_RATE, count=round(_IDLE * _IDLE_RATE), grace=_GRACE, own=own) as idle:
        pass
    tcp = goodput(client.namespace, server.namespace, server.ip, seconds=wanted.seconds, own=tuple(own)) if wanted.tcp else None
    flows = talkers.flows(plan, [pair], size=wanted.size)
    places = talkers.ends(plan, flows)

    def trial(rate: float) -> Trial:
        return stream_trial(flows, places, rate=rate, seconds=_TRIAL, grace=_GRACE, own=own)

    found = search(trial, low=wanted.low, high=wanted.high, loss=wanted.loss, resolution=_RESOLUTION) if wanted.packets else None
    delay = latency(idle.result.at(pair[1], probe[0].number))
    return Carried(*pair, label, tcp, found, delay, idle.result.verdict())


def report(wanted: Throughput, carried: Sequence[Carried]) -> Measured:
    """Figures, bounds and data of what was measured; pure."""
    figures = tuple(figure for each in carried for figure in _figures(each, wanted, several=len(carried) > 1))
    verdict = _together(figures)
    labels = ", ".join(dict.fromkeys(each.label for each in carried))
    return Measured(
        kind="throughput",
        title=f"{labels}: {talkers.names([(each.source, each.target) for each in carried])}",
        verdict=verdict,
        figures=figures,
        held=tuple(_held(wanted, figures)),
        data={"paths": [_data(each, wanted) for each in carried]},
    )


def _together(figures: Sequence[Figure]) -> Verdict:
    """Why any of the figures is invalid; what is said of several with other numbers is said once."""
    reasons: dict[str, str] = {}
    for figure in figures:
        for reason in figure.verdict.reasons:
            reasons.setdefault(reason.translate(_WITHOUT_DIGITS).partition("%")[0], f"{figure.name}: {reason}")
    return Verdict(tuple(reasons.values()))


def _of_tcp(tcp: Goodput, asked: float) -> Verdict:
    """A transfer that goes on long after its sender stopped stood still: TCP waited for its retransmission timer (RFC 6298)."""
    late = tcp.seconds - asked
    stalled = (f"the last data came {late:.1f} s after the sender had stopped: TCP stood still",) if late > _STALLED else ()
    return judge(cpu=tcp.cpu) & Verdict(stalled)


def _figures(each: Carried, wanted: Throughput, *, several: bool) -> list[Figure]:
    of = f" {each.source} → {each.target}" if several else ""
    found = []
    if each.tcp:
        found.append(Figure(f"TCP goodput{of}", "bit/s", each.tcp.bits_per_second, _of_tcp(each.tcp, wanted.seconds)))
    if each.rate and each.rate.best:
        found.append(Figure(f"packet rate{of}", "packets/s", each.rate.best.received, each.rate.verdict))
    if each.idle:
        found.append(Figure(f"median delay{of}", "s", each.idle.median, each.idle_verdict))
        found.append(Figure(f"99 % delay{of}", "s", each.idle.p99, each.idle_verdict))
    return found


def _held(wanted: Throughput, figures: Sequence[Figure]) -> list[Held]:
    if wanted.goodput_above is None:
        return []
    text = f"goodput at least {wanted.goodput_above / 1e6:g} Mbit/s"
    return [at_least(f"{figure.name}: {text}", figure, wanted.goodput_above) for figure in figures if figure.name.startswith("TCP")]


def _data(each: Carried, wanted: Throughput) -> dict[str, Any]:
    found: dict[str, Any] = {"source": each.source, "target": each.target, "label": each.label, "size": wanted.size, "loss": wanted.loss}
    if each.tcp:
        found["tcp"] = {
            "bits_per_second": each.tcp.bits_per_second, "seconds": each.tcp.seconds, "retransmits": each.tcp.retransmits,
            "bottleneck": each.tcp.cpu.bottleneck, "cpu": cpu_data(each.tcp.cpu),
        }  # fmt: skip
    if each.rate:
        busiest = each.rate.best or each.rate.trials[0]
        found["packets"] = {
            "limit": each.rate.limit, "trials": [_trial(trial) for trial in each.rate.trials],
            "best": _trial(each.rate.best) if each.rate.best else None,
            "bottleneck": busiest.cpu.bottleneck if busiest.cpu else "", "cpu": cpu_data(busiest.cpu) if busiest.cpu else None,
        }  # fmt: skip
    if each.idle:
        found["delay"] = asdict(each.idle)
    return found


def _trial(trial: Trial) -> dict[str, Any]:
    return {
        "asked": trial.asked, "offered": trial.offered, "received": trial.received, "loss": trial.loss,
        "delay": asdict(trial.latency) if trial.latency else None, "valid": trial.verdict.valid,
    }  # fmt: skip
