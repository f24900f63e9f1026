"""How well a sender kept its schedule; pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from testbed.errors import LabError

_NS = 1e-9


@dataclass(frozen=True)
class Pacing:
    """Packets/s a flow asked for and achieved, lateness of packets against the schedule (seconds), and CPU seconds the sender used.

    ``refused`` counts packets its own device did not take (queue full, link down: they count as lost); ``clock_step`` is by how many
    seconds the wall clock was set meanwhile; ``realtime`` whether it ran with a real-time priority.
    """

    rate: float
    achieved: float
    median: float
    p99: float
    latest: float
    refused: int
    clock_step: float
    processor: float
    realtime: bool

    @property
    def rate_error(self) -> float:
        """By what part the achieved rate misses the one asked for."""
        return abs(self.achieved - self.rate) / self.rate


def pacing(
    start: int, times: npt.NDArray[np.int64], rate: float, flows: int, *, refused: int, clock_step: int, processor: int, realtime: bool
) -> Pacing:
    """Compare real send times with the schedule: packet ``n`` of all flows' is due at ``start + n / (rate × flows)``.

    ``start``, ``times``, ``clock_step`` and ``processor`` in nanoseconds, ``rate`` in packets/s of each flow. Raises LabError for fewer
    than two packets.
    """
    if len(times) < 2:
        raise LabError(f"only {len(times)} packets were sent: too few to say anything")
    late = (times - start) - (np.arange(len(times)) * (1e9 / (rate * flows))).astype(np.int64)
    median, p99 = np.percentile(late, (50, 99))
    return Pacing(
        rate=rate,
        achieved=(len(times) - 1) / (float(times[-1] - times[0]) * _NS) / flows,
        median=float(median) * _NS,
        p99=float(p99) * _NS,
        latest=float(late.max()) * _NS,
        refused=refused,
        clock_step=clock_step * _NS,
        processor=processor * _NS,
        realtime=realtime,
    )
