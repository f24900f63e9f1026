"""Times of a time-lapse: stamps of fast clocks brought to the wall's, figures brought to the routers', and nothing else quoted."""

from __future__ import annotations

import pytest

from testbed.measure.timeline import Fact
from testbed.measure.validity import Figure, Verdict
from testbed.scenario.lapse import in_routers_time
from testbed.scenario.witnesses import bgpd_facts, mark_command, real_times

DOWN = "2026/11/28 02:{} BGP: [N9HHH-F8H1M] %ADJCHANGE: neighbor 10.1.0.4(nva1) in vrf default {}"
MARK = "2026/11/28 02:{} BGP: time-lapse mark {}"


def told(*lines: str) -> list[Fact]:
    return real_times(bgpd_facts("rs1-0", lines, healing=False), lines, 20.0)


def test_a_stamp_is_brought_to_the_walls_time_by_the_nearest_mark() -> None:
    lines = (MARK.format("00:00.000000", "1000.0"), DOWN.format("02:20.000000", "Down Hold timer"), MARK.format("03:20.000000", "1010.0"))
    (fact,) = told(*lines)
    assert fact.time == pytest.approx(1007.0)
    assert (fact.what, fact.detail) == ("detected", "nva1: down, Hold timer")


def test_a_restarted_daemons_clock_begins_anew_and_has_marks_of_its_own() -> None:
    lines = (
        MARK.format("30:00.000000", "1000.0"), DOWN.format("30:10.000000", "Down Peer closed the session"),
        DOWN.format("10:05.000000", "Up"), MARK.format("10:25.000000", "1004.0"),
    )  # fmt: skip
    assert [fact.time for fact in told(*lines)] == [pytest.approx(1000.5), pytest.approx(1003.0)]


def test_without_a_mark_in_its_life_a_fact_is_left_out() -> None:
    lines = (MARK.format("30:00.000000", "1000.0"), DOWN.format("10:05.000000", "Up"))
    assert told(*lines) == []


def test_the_mark_that_is_written_is_the_mark_that_is_read() -> None:
    words = mark_command(1234.5).partition("informational ")[2]
    assert told(f"2026/11/28 02:00:00.000000 BGP: {words}", DOWN.format("00:20.000000", "Down"))[0].time == pytest.approx(1235.5)


def test_only_what_the_routers_clocks_decide_is_quoted_and_it_is_labelled() -> None:
    names = ("outage", "lost", "detected", "withdrawn", "decided", "programmed", "recovered", "own overhead")
    figures = [Figure(name, "s", 7.0, Verdict()) for name in names]
    assert [(each.name, each.measured) for each in in_routers_time(figures, 20.0)] == [
        ("detected (time-lapse 20×)", 140.0),
        ("withdrawn (time-lapse 20×)", 140.0),
    ]
    assert in_routers_time(figures, 1.0) == tuple(figures)
