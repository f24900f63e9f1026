"""A figure is quoted only when the conditions held."""

from __future__ import annotations

from dataclasses import replace

import pytest

from testbed.measure.cpu import CpuUse, ProcessUse
from testbed.measure.pacing import Pacing
from testbed.measure.validity import Figure, Verdict, judge, summarise, unsettled

CALM = CpuUse(
    seconds=2.0, cores=2, busy=0.9, interrupts=0.1, foreign=0.1, steal=0.0, backlog_drops=0,
    processes=(ProcessUse(7, "ovs-vswitchd", 0.6, True), ProcessUse(9, "cc1", 0.1, False)),
)  # fmt: skip
EXACT = Pacing(1000, 1000.01, 1e-5, 1e-4, 9e-4, 0, 1e-7, 0.1, True)


def test_calm_conditions_are_valid() -> None:
    verdict = judge(cpu=CALM, pacing=EXACT)
    assert verdict.valid
    assert str(verdict) == "valid"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"foreign": 0.9}, "other processes used 45% of the machine's CPU, more than 15% (cc1 10% of a core)"),
        ({"steal": 0.2}, "the hypervisor took away 10%"),
        ({"backlog_drops": 3}, "3 packets dropped by the machine"),
    ],
)
def test_a_disturbed_machine_is_invalid_and_says_by_what(change: dict[str, float], words: str) -> None:
    verdict = judge(cpu=replace(CALM, **change), pacing=EXACT)  # type: ignore[arg-type]
    assert not verdict.valid
    assert words in str(verdict)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"achieved": 990.0}, "990.0 packets/s of 1000, off by 1.00%"),
        ({"p99": 0.004}, "1 % of the packets left 4.0 ms late"),
        ({"latest": 0.040}, "a packet left 40.0 ms late"),
        ({"clock_step": 0.2}, "clock was stepped by 200.0 ms"),
    ],
)
def test_a_sender_out_of_step_is_invalid(change: dict[str, float], words: str) -> None:
    assert words in str(judge(cpu=CALM, pacing=replace(EXACT, **change)))


def test_packets_that_the_device_refused_are_loss_and_no_disturbance() -> None:
    assert judge(pacing=replace(EXACT, refused=100)).valid


def test_all_reasons_are_given() -> None:
    verdict = judge(cpu=replace(CALM, foreign=1.0), pacing=replace(EXACT, latest=1.0), dropped=4, settled="session a is 2 s old")
    assert len(verdict.reasons) == 4
    assert "no room for 4 packets" in str(verdict)
    assert "not settled before the stimulus: session a is 2 s old" in str(verdict)


def test_the_gate_waits_for_calm_and_for_age() -> None:
    assert unsettled(100.0, {"hub1 flows": 90.0}, {"rs1-0 nva1": 80.0}) is None
    assert unsettled(100.0, {"hub1 flows": 90.0, "rs1 routes": 99.5}, {}) == "rs1 routes changed 0.5 s ago; 2 s without a change are needed"
    assert unsettled(100.0, {}, {"rs1-0 nva1": 80.0, "rs1-1 nva1": 98.0}) == "session rs1-1 nva1 is 2.0 s old; 10 s are needed"


def test_an_invalid_figure_has_no_value() -> None:
    good, bad = Figure("outage", "ms", 51.0, Verdict()), Figure("outage", "ms", 900.0, Verdict(("a hog",)))
    assert (good.value, bad.value) == (51.0, None)
    assert str(good) == "outage: 51 ms"
    assert str(bad) == "outage: invalid: a hog"


def test_a_summary_counts_valid_samples_only_and_keeps_all() -> None:
    samples = [Figure("outage", "ms", value, Verdict()) for value in (50.0, 52.0, 57.0)] + [
        Figure("outage", "ms", 900.0, Verdict(("hog",)))
    ]
    summary = summarise(samples)
    assert (summary.median, summary.least, summary.greatest, summary.invalid, len(summary.samples)) == (52.0, 50.0, 57.0, 1, 4)
    assert summary.deviation == pytest.approx(3.6056, abs=1e-3)


def test_without_a_valid_sample_there_is_no_median() -> None:
    summary = summarise([Figure("outage", "ms", 900.0, Verdict(("hog",)))])
    assert (summary.median, summary.least, summary.deviation) == (None, None, None)


def test_verdicts_combine_without_repeating_themselves() -> None:
    assert (Verdict(("a",)) & Verdict(("a", "b"))).reasons == ("a", "b")
