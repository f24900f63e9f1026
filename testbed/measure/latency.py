"""One-way latency of the packets that arrived; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

_NS = 1e-9


@dataclass(frozen=True)
class Latency:
    """Percentiles of the one-way delay in seconds, from the sender's clock reading to the kernel's receive time at the target.

    Both are this machine's wall clock; the sending system call is part of it (some microseconds).
    """

    packets: int
    minimum: float
    median: float
    p90: float
    p99: float
    p999: float
    maximum: float


def latency(arrivals: npt.NDArray[Any]) -> Latency | None:
    """The delays of records with ``sent`` and ``received`` (ns); None when there are no packets."""
    if not len(arrivals):
        return None
    delays = (arrivals["received"] - arrivals["sent"]) * _NS
    minimum, median, p90, p99, p999, maximum = (float(value) for value in np.percentile(delays, (0, 50, 90, 99, 99.9, 100)))
    return Latency(len(arrivals), minimum, median, p90, p99, p999, maximum)
