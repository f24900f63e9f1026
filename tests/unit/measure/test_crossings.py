"""Loops that packets of a stream met, read from arrays of arrivals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from testbed.measure.batches import ARRIVAL
from testbed.measure.crossings import detours, share


def seen(*rows: tuple[int, float, int], flow: int = 0) -> Any:
    """(sequence, seconds, TTL) of each arrival."""
    records = np.zeros(len(rows), ARRIVAL)
    for place, (sequence, at, ttl) in enumerate(rows):
        records[place] = (flow, sequence, sequence * 1_000_000, round(at * 1e9), ttl)
    return records


def test_a_straight_path_has_no_loop() -> None:
    assert detours({"nva1": seen((0, 1.0, 64), (1, 1.1, 64)), "nva2": seen((0, 1.01, 63))}) == ()
    assert detours({}) == ()


def test_a_copy_is_no_loop() -> None:
    assert detours({"nva1": seen((0, 1.0, 64), (0, 1.1, 64))}) == ()


def test_the_same_number_of_another_flow_is_another_packet() -> None:
    assert detours({"nva1": np.concatenate([seen((0, 1.0, 64)), seen((0, 1.1, 63), flow=1)])}) == ()


def test_a_packet_that_bounces_off_the_fabric() -> None:
    (loop,) = detours({"nva1": seen((0, 1.0, 64), (0, 1.001, 63), (0, 1.002, 62), (1, 1.001, 64), (1, 1.003, 63), (2, 1.004, 64))})
    assert (loop.cycle, loop.packets) == (("nva1",), 2)
    assert loop.duration == pytest.approx(0.003)


def test_a_loop_of_two_is_named_in_order_wherever_it_was_seen_first() -> None:
    one = seen((0, 1.0, 64), (0, 1.002, 62), (0, 1.004, 60))
    other = seen((0, 1.001, 63), (0, 1.003, 61))
    assert [loop.cycle for loop in detours({"nva2": one, "nva1": other})] == [("nva1", "nva2")]


def test_two_loops_apart_in_time_are_two() -> None:
    rows = [(number, at, ttl) for number, begin in enumerate((1.0, 2.0)) for at, ttl in ((begin, 64), (begin + 0.01, 63))]
    first, second = detours({"nva1": seen(*rows)})
    assert (first.begin, second.begin) == (pytest.approx(1.0), pytest.approx(2.0))
    assert first.packets == second.packets == 1


def test_who_passed_between_two_moments() -> None:
    assert share(seen(*((number, 9.0, 64) for number in range(10))), 0.002, 0.005) == 3
