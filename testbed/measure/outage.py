"""What a flow lost, how long, and when: read from the send times and the arrivals of one stream; pure.

The words are those of RFC 6412 (loss-derived loss of connectivity), RFC 4737 (reordering) and RFC 5560 (duplication).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int64]
_NS = 1e-9
MOST_WINDOWS = 32


@dataclass(frozen=True)
class Window:
    """A run of consecutive lost packets: the first and last number, when the first was sent, and when the next that arrived was (s)."""

    first: int
    last: int
    begin: float
    end: float

    @property
    def duration(self) -> float:
        """Seconds from the first packet lost to the first one after it that got through, by their send times."""
        return self.end - self.begin


@dataclass(frozen=True)
class Outage:
    """One flow's losses. Times are wall-clock seconds, durations seconds.

    ``loss_derived``: lost packets × sending interval (RFC 6412 3.5.4: all losses of the flow together, wherever they were).
    ``longest_gap``: the longest time between two arrivals. ``windows``: runs of loss in order of time: the first, the last, and the
    longest in between (at most 32); ``runs`` counts them all.
    ``duplicated``: extra copies; ``reordered``: packets that came after one with a higher number; ``strays``: of another run, not counted.
    ``recovered``: false when the last packets of the run are missing, so that the true outage is longer than what was measured.
    """

    sent: int
    received: int
    lost: int
    duplicated: int
    reordered: int
    strays: int
    interval: float
    loss_derived: float
    longest_gap: float
    gap_begin: float
    windows: tuple[Window, ...]
    runs: int
    recovered: bool

    @property
    def longest(self) -> Window | None:
        """The longest run of loss."""
        return max(self.windows, key=lambda window: window.duration, default=None)

    @property
    def first_lost(self) -> Window | None:
        """The first run of loss."""
        return self.windows[0] if self.windows else None

    @property
    def last_lost(self) -> Window | None:
        """The last run of loss."""
        return self.windows[-1] if self.windows else None

    @property
    def loss(self) -> float:
        """The part of the packets that was lost."""
        return self.lost / self.sent


def measure(sent: Numbers, arrivals: npt.NDArray[Any]) -> Outage:
    """One flow's outage.

    ``sent``: its send times by sequence number (wall-clock ns, at least two). ``arrivals``: records with ``sequence``, ``sent`` and
    ``received`` (ns) of this flow, in any order; one whose own send time is not that of the packet of this number is a stray.
    """
    sequences = arrivals["sequence"].astype(np.int64)
    ours = sequences < len(sent)
    ours &= sent[np.where(ours, sequences, 0)] == arrivals["sent"]
    order = np.argsort(arrivals["received"][ours], kind="stable")
    received, sequences = arrivals["received"][ours][order], sequences[ours][order]
    copies = np.bincount(sequences, minlength=len(sent))
    delivered = copies > 0
    gap, gap_begin = _longest_gap(received)
    interval = float(sent[-1] - sent[0]) / (len(sent) - 1) * _NS
    windows, runs = _windows(sent, delivered, interval)
    lost = int(len(sent) - np.count_nonzero(delivered))
    return Outage(
        sent=len(sent),
        received=int(np.count_nonzero(delivered)),
        lost=lost,
        duplicated=int(len(sequences) - np.count_nonzero(delivered)),
        reordered=_reordered(sequences),
        strays=int(len(arrivals) - len(sequences)),
        interval=interval,
        loss_derived=lost * interval,
        longest_gap=gap,
        gap_begin=gap_begin,
        windows=windows,
        runs=runs,
        recovered=bool(delivered[-1]),
    )


def _reordered(sequences: Numbers) -> int:
    """First copies that came after a higher number (RFC 4737, type-P-reordered)."""
    _, first = np.unique(sequences, return_index=True)
    firsts = sequences[np.sort(first)]
    return int(np.count_nonzero(firsts < np.maximum.accumulate(firsts))) if len(firsts) else 0


def _longest_gap(received: Numbers) -> tuple[float, float]:
    if len(received) < 2:
        return 0.0, 0.0
    gaps = np.diff(received)
    longest = int(np.argmax(gaps))
    return float(gaps[longest]) * _NS, float(received[longest]) * _NS


def _windows(sent: Numbers, delivered: npt.NDArray[np.bool_], interval: float) -> tuple[tuple[Window, ...], int]:
    edges = np.diff(np.concatenate([[1], delivered.view(np.int8), [1]]).astype(np.int8))
    first, after = np.flatnonzero(edges == -1), np.flatnonzero(edges == 1)
    begin = sent[first]
    end = np.where(after < len(sent), sent[np.minimum(after, len(sent) - 1)], sent[-1] + round(interval / _NS))
    longest = np.argsort(begin - end, kind="stable")[: MOST_WINDOWS - 2]
    kept = np.unique(np.concatenate([longest, [0, len(first) - 1]])) if len(first) else longest
    windows = tuple(
        Window(int(first[run]), int(after[run]) - 1, float(begin[run]) * _NS, float(begin[run]) * _NS + float(end[run] - begin[run]) * _NS)
        for run in kept
    )
    return windows, len(first)


def loss_over_time(sent: Numbers, arrivals: npt.NDArray[Any], bin_width: float) -> list[tuple[float, int, int]]:
    """(wall-clock seconds of the bin's begin, packets sent in it, of these lost) for each ``bin_width`` seconds of the run."""
    sequences = arrivals["sequence"].astype(np.int64)
    delivered = np.zeros(len(sent), np.bool_)
    delivered[sequences[sequences < len(sent)]] = True
    bins = (sent - sent[0]) // round(bin_width / _NS)
    total = np.bincount(bins)
    lost = np.bincount(bins, weights=~delivered).astype(np.int64)
    start = float(sent[0]) * _NS
    return [(start + number * bin_width, int(count), int(lost[number])) for number, count in enumerate(total)]


def first_arrival(arrivals: npt.NDArray[Any], after: float) -> float | None:
    """When the first of these packets arrived that were received after ``after`` (wall-clock seconds); None when none was.

    At a standby's device it is the end of a failover: the first packet through the standby.
    """
    late = arrivals["received"][arrivals["received"] > round(after / _NS)]
    return float(late.min()) * _NS if len(late) else None
