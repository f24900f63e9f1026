"""What a flow lost, on made-up arrivals whose answer is known."""

from __future__ import annotations

import time

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.measure.batches import ARRIVAL
from testbed.measure.outage import MOST_WINDOWS, first_arrival, loss_over_time, measure

START = 1_795_000_000_000_000_000
MS = 1_000_000


def sent(count: int) -> npt.NDArray[np.int64]:
    return START + np.arange(count, dtype=np.int64) * MS


def arrived(sequences: list[int], times: npt.NDArray[np.int64], delay: int = 200_000) -> npt.NDArray[np.void]:
    """These packets in this order, each received ``delay`` ns after it was sent, or just after the one before it if that is later."""
    records = np.zeros(len(sequences), ARRIVAL)
    records["sequence"] = sequences
    records["sent"] = times[sequences] if sequences else 0
    records["received"] = np.maximum.accumulate(records["sent"] + delay) + np.arange(len(sequences))
    return records


def test_a_perfect_run_has_no_outage() -> None:
    outage = measure(sent(100), arrived(list(range(100)), sent(100)))
    assert (outage.lost, outage.duplicated, outage.reordered, outage.windows, outage.recovered) == (0, 0, 0, (), True)
    assert outage.loss_derived == 0
    assert outage.longest_gap == pytest.approx(0.001, abs=1e-6)


def test_a_gap_of_fifty_milliseconds_is_measured_three_ways() -> None:
    times = sent(1000)
    outage = measure(times, arrived([n for n in range(1000) if not 300 <= n < 350], times))
    (window,) = outage.windows
    assert (outage.lost, window.first, window.last) == (50, 300, 349)
    assert outage.loss_derived == pytest.approx(0.050, abs=1e-6)
    assert window.duration == pytest.approx(0.050, abs=1e-6)
    assert window.begin == pytest.approx(START / 1e9 + 0.3, abs=1e-6)
    assert outage.longest_gap == pytest.approx(0.051, abs=1e-6)
    assert outage.gap_begin == pytest.approx(START / 1e9 + 0.2992, abs=1e-6)


def test_two_gaps_add_up_in_the_loss_derived_outage_and_the_longest_is_named() -> None:
    times = sent(1000)
    outage = measure(times, arrived([n for n in range(1000) if not 100 <= n < 110 and not 500 <= n < 530], times))
    assert outage.loss_derived == pytest.approx(0.040, abs=1e-6)
    assert outage.longest is not None
    assert (outage.longest.first, outage.longest.last, outage.runs) == (500, 529, 2)


def test_copies_and_late_packets_are_told_apart_from_loss() -> None:
    times = sent(6)
    outage = measure(times, arrived([0, 1, 3, 2, 2, 5, 5], times))
    assert (outage.lost, outage.duplicated, outage.reordered) == (1, 2, 1)


def test_an_outage_that_does_not_end_says_so() -> None:
    times = sent(100)
    outage = measure(times, arrived(list(range(60)), times))
    assert (outage.recovered, outage.lost, outage.windows[0].last) == (False, 40, 99)
    assert outage.windows[0].duration == pytest.approx(0.040, abs=1e-6)


def test_nothing_arrived_at_all() -> None:
    outage = measure(sent(100), arrived([], sent(100)))
    assert (outage.lost, outage.received, outage.longest_gap, outage.runs) == (100, 0, 0.0, 1)
    assert outage.loss == 1


def test_packets_of_another_run_are_strays() -> None:
    times = sent(10)
    records = arrived(list(range(10)), times)
    records["sent"][3] -= 1
    records["sequence"][4] = 4000
    outage = measure(times, records)
    assert (outage.strays, outage.lost) == (2, 2)


def test_the_first_and_the_last_loss_are_kept_among_many() -> None:
    times = sent(10_000)
    lost = {n for n in range(10_000) if n % 100 == 7 or 5000 < n % 6000 < 5030}
    outage = measure(times, arrived([n for n in range(10_000) if n not in lost], times))
    assert len(outage.windows) <= MOST_WINDOWS
    assert outage.runs > 90
    assert outage.first_lost is not None
    assert outage.last_lost is not None
    assert (outage.first_lost.first, outage.last_lost.last) == (7, 9907)


@given(st.lists(st.integers(0, 49), max_size=120))
def test_counts_agree_with_the_definition(sequences: list[int]) -> None:
    times = sent(50)
    outage = measure(times, arrived(sequences, times))
    firsts = list(dict.fromkeys(sequences))
    assert outage.lost == 50 - len(firsts)
    assert outage.duplicated == len(sequences) - len(firsts)
    assert outage.reordered == sum(number < max(firsts[: place + 1]) for place, number in enumerate(firsts))
    assert outage.lost + outage.received == outage.sent
    if outage.runs <= MOST_WINDOWS - 2:
        assert sum(window.last - window.first + 1 for window in outage.windows) == outage.lost


def test_loss_over_time_counts_per_bin() -> None:
    times = sent(300)
    bins = loss_over_time(times, arrived([n for n in range(300) if not 120 <= n < 130], times), 0.1)
    assert [(count, lost) for _, count, lost in bins] == [(100, 0), (100, 10), (100, 0)]


def test_the_first_packet_at_a_standby_after_the_stimulus() -> None:
    times = sent(10)
    records = arrived(list(range(10)), times)
    assert first_arrival(records, START / 1e9 + 0.0045) == pytest.approx(START / 1e9 + 0.0052, abs=1e-6)
    assert first_arrival(records, START / 1e9 + 1) is None


def test_a_million_samples_are_analysed_in_two_seconds() -> None:
    times = sent(1_000_000)
    generator = np.random.default_rng(1)
    kept = np.flatnonzero(generator.random(1_000_000) > 0.01)
    records = np.zeros(len(kept), ARRIVAL)
    records["sequence"], records["sent"] = kept, times[kept]
    records["received"] = times[kept] + generator.integers(100_000, 3_000_000, len(kept))
    before = time.process_time()
    outage = measure(times, records)
    assert time.process_time() - before < 2
    assert outage.lost == 1_000_000 - len(kept)
    assert outage.reordered > 0
