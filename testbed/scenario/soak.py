"""Random faults and heals for a while; after each heal the lab must be as before: routes, flows, packets, kernels, processes."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from testbed.emulation import enter
from testbed.measure.footprint import Footprint, Growth, footprints, growth, unbounded
from testbed.scenario.elements import Element, elements
from testbed.scenario.live import LiveLab
from testbed.scenario.sweep import Forecast
from testbed.scenario.trial import Observer, Trial, attempt
from testbed.wait import poll

Kernels = dict[str, frozenset[str]]
Told = Callable[[Trial], None]
_TOGETHER = 0.25  # how often two things break at once
PATIENCE = 15.0
"""Seconds that kernels have to get their routes back once packets, sessions and switches are as before."""

_STAY = 1.0  # seconds that something stays broken at most, once the lab has settled


@dataclass
class Soak:
    """What came of it: every trial in order, the processes' samples after each heal, what kernels had other routes afterwards."""

    seed: int
    seconds: float = 0.0
    trials: list[Trial] = field(default_factory=list)
    samples: list[dict[str, Footprint]] = field(default_factory=list)
    deaths: list[dict[str, Any]] = field(default_factory=list)

    @property
    def growth(self) -> tuple[Growth, ...]:
        """Every life of every process, the most grown first."""
        return growth(self.samples)

    @property
    def broken(self) -> tuple[str, ...]:
        """The invariants that did not hold, in words."""
        lines = [f"{trial.fault}: {line}" for trial in self.trials for line in (*trial.unexpected, *trial.left)]
        lines += [f"grows: {line}" for line in unbounded(self.growth)]
        return (*lines, *(f"died unasked: {death['node']}.{death['daemon']} ({death['how']})" for death in self.deaths))


def soak(lab: LiveLab, seconds: float, seed: int, tell: Told) -> Soak:
    """Break and mend until the time is over, then end with the round under way. The same seed breaks the same things in the same order.

    Stops after a round that left something behind: what follows would be blamed for it.
    """
    choose, forecast = random.Random(seed), Forecast(lab.topology, lab.plan)
    observer, everything, done = Observer(lab, forecast), elements(lab.plan), Soak(seed)
    start = time.monotonic()
    before = kernels(lab)
    while time.monotonic() - start < seconds:
        trial = attempt(observer, forecast.outlook(some(choose, everything)), timed=False, stay=choose.uniform(0.0, _STAY))
        trial.left += _settled(before, lab)
        done.trials.append(trial)
        done.samples.append(footprints(processes(lab)))
        tell(trial)
        if trial.left:
            break
    done.seconds = time.monotonic() - start
    done.deaths = [death for death in lab.client.status()["deaths"] if not death["on_purpose"]]
    return done


def _settled(before: Kernels, lab: LiveLab) -> tuple[str, ...]:
    """How the kernels still differ when zebra had its time: a daemon that came back tells it all again in its own time."""
    found: list[tuple[str, ...]] = [()]

    def check() -> str | None:
        found[0] = different(before, kernels(lab))
        return found[0][0] if found[0] else None

    poll(check, budget=PATIENCE, interval=0.2)
    return found[0]


def some(choose: random.Random, everything: tuple[Element, ...]) -> tuple[Element, ...]:
    """One element, or now and then two of different places."""
    first = choose.choice(everything)
    others = [each for each in everything if each.place != first.place]
    return (first, choose.choice(others)) if others and choose.random() < _TOGETHER else (first,)


def processes(lab: LiveLab) -> dict[str, int]:
    """The pid of every process of the lab by its name, labd included."""
    status = lab.client.status()
    found = {f"lab.{each['name']}": each["pid"] for each in status["processes"]}
    found |= {f"{node['name']}.{each['name']}": each["pid"] for node in status["nodes"] for each in node["daemons"]}
    return {"labd": int(status["labd"]), **found}


def kernels(lab: LiveLab) -> Kernels:
    """The routes in the kernel of every node that routes."""
    found = {}
    for node in lab.plan.nodes:
        if node.kind not in ("vm", "host"):
            printed = enter.run(lab.plan, lab.client.paths, node.name, ("ip", "-N", "-o", "route", "show", "table", "all")).stdout
            found[node.name] = frozenset(" ".join(_without_ids(line.split())) for line in printed.splitlines())
    return found


def _without_ids(words: list[str]) -> list[str]:
    """The words of a route without the number of its next-hop object, which every start of zebra deals anew."""
    return [word for place, word in enumerate(words) if word != "nhid" and words[max(0, place - 1)] != "nhid"]


def different(before: Kernels, after: Kernels) -> tuple[str, ...]:
    """Routes that a kernel has lost or has too much, in words."""
    lines = [f"{node} lacks the route {line}" for node in before for line in sorted(before[node] - after[node])]
    return (*lines, *(f"{node} has the route {line} too much" for node in before for line in sorted(after[node] - before[node])))
