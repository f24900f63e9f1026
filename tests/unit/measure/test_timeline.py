"""Facts of several observers become phases; what nobody saw is said, not invented."""

from __future__ import annotations

import pytest

from testbed.measure.timeline import Fact, read_journal, timeline

FACTS = [
    Fact(10.000, "runner", "stimulus", "kill -9 bgpd on nva1"),
    Fact(10.004, "rs1-0", "detected", "TCP reset"),
    Fact(10.006, "rs1-1", "detected", "TCP reset"),
    Fact(10.007, "rs1-0", "withdrawn"),
    Fact(10.009, "controller", "decided"),
    Fact(10.012, "hub1", "programmed"),
    Fact(10.031, "spoke1", "programmed"),
    Fact(10.014, "nva2", "forwarding"),
]


def test_phases_follow_each_other_from_stimulus_to_the_first_packet() -> None:
    told = timeline(reversed(FACTS))
    assert [(phase.ends_with, round(phase.duration, 6)) for phase in told.phases] == [
        ("detected", 0.004), ("withdrawn", 0.003), ("decided", 0.002), ("programmed", 0.003), ("forwarding", 0.002),
    ]  # fmt: skip
    assert told.missing == ()
    assert told.total == pytest.approx(0.014)


def test_a_milestone_on_several_switches_has_a_first_and_a_last() -> None:
    programmed = next(stage for stage in timeline(FACTS).milestones if stage.name == "programmed")
    assert (programmed.first, programmed.last, [fact.observer for fact in programmed.facts]) == (10.012, 10.031, ["hub1", "spoke1"])


def test_an_unobserved_milestone_is_named_in_the_phase_that_contains_it() -> None:
    told = timeline(fact for fact in FACTS if fact.what not in ("withdrawn", "decided"))
    phase = next(phase for phase in told.phases if phase.ends_with == "programmed")
    assert (phase.begins_with, phase.unobserved, round(phase.duration, 6)) == ("detected", ("withdrawn", "decided"), 0.008)
    assert told.missing == ("withdrawn", "decided")


def test_what_came_before_the_stimulus_or_after_the_window_is_left_out() -> None:
    told = timeline([Fact(9.0, "hub1", "programmed"), *FACTS, Fact(99.0, "nva1", "detected")], until=50)
    assert next(stage for stage in told.milestones if stage.name == "programmed").first == 10.012
    assert all(10 <= fact.time < 50 for fact in told.facts)


def test_a_later_milestone_seen_first_shows_as_a_negative_duration() -> None:
    early = timeline([*FACTS[:5], Fact(10.02, "hub1", "programmed"), Fact(10.01, "nva2", "forwarding")])
    assert early.phases[-1].duration == pytest.approx(-0.01)


def test_without_a_stimulus_there_are_phases_but_no_total() -> None:
    told = timeline(FACTS[1:])
    assert told.total is None
    assert told.phases[0].begins_with == "detected"
    assert timeline([]).total is None


def test_a_journal_is_read_and_its_torn_last_line_left_out() -> None:
    lines = [
        '{"t": 1.0, "wall": 10.009, "event": "decision", "domain": "spoke1"}',
        '{"t": 1.1, "wall": 10.01, "event": "connected"}',
        "[1]",
        '{"t": 1.2, "wall": 10.0',
    ]
    assert read_journal(lines, "controller", {"decision": "decided"}) == [
        Fact(10.009, "controller", "decided", "decision domain=spoke1"),
        Fact(10.01, "controller", "connected", "connected"),
    ]
