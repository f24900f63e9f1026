"""How long the analysis of a million samples takes (`testbed benchmark`)."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from testbed.measure import outage
from testbed.measure.batches import ARRIVAL
from testbed.measure.latency import latency

SAMPLES = 1_000_000


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def rows() -> list[tuple[str, str, str]]:
    """(what, measured, goal)."""
    generator = np.random.default_rng(1)
    sent = 1_795_000_000_000_000_000 + np.arange(SAMPLES, dtype=np.int64) * 1_000_000
    kept = np.flatnonzero(generator.random(SAMPLES) > 0.01)
    arrivals = np.zeros(len(kept), ARRIVAL)
    arrivals["sequence"], arrivals["sent"] = kept, sent[kept]
    arrivals["received"] = sent[kept] + generator.integers(100_000, 3_000_000, len(kept))
    goal = "≤ 2 s together"
    return [
        ("outage of 1,000,000 samples, 1 % lost, many reordered", f"{timed(lambda: outage.measure(sent, arrivals)):.3f} s", goal),
        ("loss over time in bins of 10 ms", f"{timed(lambda: outage.loss_over_time(sent, arrivals, 0.01)):.3f} s", goal),
        ("latency percentiles", f"{timed(lambda: latency(arrivals)):.3f} s", goal),
    ]


def measure() -> list[dict[str, str]]:
    """The rows as `testbed benchmark` takes them."""
    return [dict(zip(("what", "measured", "goal"), row, strict=True)) for row in rows()]
