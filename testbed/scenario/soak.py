"""Random faults and heals for a while; after each heal the lab must be as before: routes, flows, packets, kernels, processes."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from testbed.measure.footprint import Footprint, Growth, footprints, growth, unbounded
from testbed.scenario.elements import Element, elements
from testbed.scenario.live import LiveLab
from testbed.scenario.sweep import Forecast
from testbed.scenario.trial import Observer, Trial, attempt

Told = Callable[[Trial], None]
_TOGETHER = 0.25  # how often two things break at once
_STAY = 1.0  # seconds that something stays broken at most, once the lab has settled


@dataclass
class Soak:
    """What came of it: every trial in order, the processes' samples after each heal."""

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
    while time.monotonic() - start < seconds:
        trial = attempt(observer, forecast.outlook(some(choose, everything)), timed=False, stay=choose.uniform(0.0, _STAY))
        done.trials.append(trial)
        done.samples.append(footprints(processes(lab)))
        tell(trial)
        if trial.left:
            break
    done.seconds = time.monotonic() - start
    done.deaths = [death for death in lab.client.status()["deaths"] if not death["on_purpose"]]
    return done


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
