"""Whether a figure may be believed: the conditions it was measured under, held against limits; pure.

A condition that fails makes the figure invalid, with the reason; no figure is corrected for what disturbed it.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from testbed.measure.cpu import CpuUse
from testbed.measure.pacing import Pacing


@dataclass(frozen=True)
class Limits:
    """What is tolerated. ``foreign`` and ``steal``: part of the machine's CPU. ``rate_error``: relative. Lateness and steps: seconds.

    ``quiet``: seconds without a change, and ``age``: seconds that the youngest session must have, before a stimulus.
    """

    foreign: float = 0.15
    steal: float = 0.05
    rate_error: float = 0.001
    lateness_p99: float = 0.001
    latest: float = 0.005
    clock_step: float = 0.0005
    quiet: float = 2.0
    age: float = 10.0


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True)
class Verdict:
    """``reasons`` why not; none means valid."""

    reasons: tuple[str, ...] = ()

    @property
    def valid(self) -> bool:
        """Whether the figure may be believed."""
        return not self.reasons

    def __and__(self, other: Verdict) -> Verdict:
        return Verdict(tuple(dict.fromkeys(self.reasons + other.reasons)))

    def __str__(self) -> str:
        return "valid" if self.valid else "invalid: " + "; ".join(self.reasons)


def judge(
    *,
    cpu: CpuUse | None = None,
    pacing: Pacing | None = None,
    dropped: int = 0,
    settled: str | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Verdict:
    """Hold the conditions against the limits.

    ``dropped``: packets the receivers had no room for; ``settled``: what `unsettled` said before the stimulus.
    """
    reasons = [f"not settled before the stimulus: {settled}"] if settled else []
    if cpu:
        reasons += _of_cpu(cpu, limits)
    if pacing:
        reasons += _of_pacing(pacing, limits)
    if dropped:
        reasons.append(f"the receivers had no room for {dropped} packets")
    return Verdict(tuple(reasons))


def _of_cpu(cpu: CpuUse, limits: Limits) -> list[str]:
    reasons = []
    if (foreign := cpu.foreign / cpu.cores) > limits.foreign:
        strangers = [process for process in cpu.processes if not process.own][:2]
        names = ", ".join(f"{process.name} {process.cores:.0%} of a core" for process in strangers) or "processes that are gone"
        reasons.append(f"other processes used {foreign:.0%} of the machine's CPU, more than {limits.foreign:.0%} ({names})")
    if (steal := cpu.steal / cpu.cores) > limits.steal:
        reasons.append(f"the hypervisor took away {steal:.0%} of the CPU, more than {limits.steal:.0%}")
    if cpu.backlog_drops:
        reasons.append(f"the kernel's packet backlog overflowed: {cpu.backlog_drops} packets dropped by the machine, not by the network")
    return reasons


def _of_pacing(pacing: Pacing, limits: Limits) -> list[str]:
    reasons = []
    if pacing.rate_error > limits.rate_error:
        reasons.append(f"the sender made {pacing.achieved:.1f} packets/s of {pacing.rate:g}, off by {pacing.rate_error:.2%}")
    if pacing.p99 > limits.lateness_p99:
        reasons.append(f"1 % of the packets left {pacing.p99 * 1e3:.1f} ms late or later, more than {limits.lateness_p99 * 1e3:g} ms")
    if pacing.latest > limits.latest:
        reasons.append(f"a packet left {pacing.latest * 1e3:.1f} ms late, more than {limits.latest * 1e3:g} ms")
    if pacing.clock_step > limits.clock_step:
        reasons.append(f"the wall clock was stepped by {pacing.clock_step * 1e3:.1f} ms")
    return reasons


def unsettled(now: float, changes: Mapping[str, float], sessions: Mapping[str, float], limits: Limits = DEFAULT_LIMITS) -> str | None:
    """The settle gate, to be polled before a stimulus: None when all is calm, else the reason why not.

    ``changes``: what can change (a switch's flows, a Route Server's routes) → when it last did; ``sessions``: session → since when it is
    established. Times in seconds of the clock that ``now`` is of.
    """
    restless = [(now - time, what) for what, time in changes.items() if now - time < limits.quiet]
    young = [(now - since, name) for name, since in sessions.items() if now - since < limits.age]
    if restless:
        age, what = min(restless)
        return f"{what} changed {age:.1f} s ago; {limits.quiet:g} s without a change are needed"
    if young:
        age, name = min(young)
        return f"session {name} is {age:.1f} s old; {limits.age:g} s are needed"
    return None


@dataclass(frozen=True)
class Figure:
    """One measured number with its verdict. ``measured`` is for the record; quote ``value``, which an invalid figure does not have."""

    name: str
    unit: str
    measured: float
    verdict: Verdict

    @property
    def value(self) -> float | None:
        """The number, or None when it is invalid."""
        return self.measured if self.verdict.valid else None

    def __str__(self) -> str:
        return f"{self.name}: {self.measured:g} {self.unit}" if self.verdict.valid else f"{self.name}: {self.verdict}"


@dataclass(frozen=True)
class Summary:
    """Repeated figures: median and spread (least, greatest, sample standard deviation) of the valid ones; all samples are kept."""

    name: str
    unit: str
    samples: tuple[Figure, ...]
    median: float | None
    least: float | None
    greatest: float | None
    deviation: float | None

    @property
    def invalid(self) -> int:
        """How many samples were invalid."""
        return sum(not sample.verdict.valid for sample in self.samples)


def summarise(samples: Iterable[Figure]) -> Summary:
    """Sum up repetitions of the same figure (at least one); without a valid one there is no median."""
    figures: Sequence[Figure] = tuple(samples)
    values = [figure.measured for figure in figures if figure.verdict.valid]
    return Summary(
        name=figures[0].name,
        unit=figures[0].unit,
        samples=tuple(figures),
        median=statistics.median(values) if values else None,
        least=min(values, default=None),
        greatest=max(values, default=None),
        deviation=statistics.stdev(values) if len(values) > 1 else None,
    )
