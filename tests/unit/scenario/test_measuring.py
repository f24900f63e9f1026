"""What a step declares to measure, whom it concerns, and how a scenario's run takes it; loops and throughput told."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from pydantic import ValidationError

from testbed.measure.amounts import amount
from testbed.measure.cpu import CpuUse, ProcessUse
from testbed.measure.iperf import Goodput
from testbed.measure.latency import Latency
from testbed.measure.loops import PacketLoop
from testbed.measure.streams import Flow
from testbed.measure.throughput import Throughput as Found
from testbed.measure.throughput import Trial
from testbed.measure.validity import Figure, Verdict
from testbed.model.measurement import Loop, Measurement, Throughput
from testbed.model.scenario import Action, Scenario
from testbed.scenario import carrying, looping
from testbed.scenario.carrying import Carried
from testbed.scenario.looping import PairLoop
from testbed.scenario.measured import Held, Measured, at_least, at_most
from testbed.scenario.measuring import pairs_of
from testbed.scenario.runner import StepResult, take
from testbed.scenario.talkers import names

CALM = CpuUse(2.0, 2, 1.0, 0.1, 0.0, 0.0, 0, (ProcessUse(7, "ovs-vswitchd", 0.95, True),))
BUSY = CpuUse(2.0, 2, 1.9, 0.1, 0.9, 0.0, 0, (ProcessUse(9, "cc1", 0.9, False),))


# --- what is declared ---


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"failover": {"from": "a", "to": "b", "outage_below": "5s"}}, "must be longer than outage_below"),
        ({"throughput": {"from": "a", "to": "b", "tcp": False, "packets": False}}, "measure something"),
        ({"throughput": {"from": "a", "to": "b", "low": 1000, "high": 1000}}, "low must be below high"),
        ({"loop": {"from": "a", "to": "b"}, "failover": {"from": "a", "to": "b"}}, "exactly one"),
        ({"failover": {"from": "a", "to": "b", "outage": "5s"}}, "Extra inputs"),
    ],
)
def test_what_cannot_be_measured_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Measurement.model_validate(given)


def scenario(*steps: dict[str, Any]) -> Scenario:
    return Scenario.model_validate({"name": "x", "topology": "x.yaml", "steps": list(steps)})


FAILOVER = {"failover": {"from": "vm1", "to": "vm2"}}
KILL = {"fail": {"node": "nva1", "daemon": "bgpd"}}


def test_a_step_has_one_failover_at_most() -> None:
    with pytest.raises(ValidationError, match="one failover"):
        scenario({"stage": "twice", "measure": [FAILOVER, FAILOVER]})


@pytest.mark.parametrize(
    "fault",
    [
        {"session": "rs1"}, {"node": "nva1", "session": "rs1", "power": True}, {"node": "nva1", "link": ["hub1", "hub2"]},
        {"link": ["hub1", "hub2"], "daemon": "bgpd"}, {},
    ],
)  # fmt: skip
def test_a_fault_names_one_thing(fault: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="name one thing"):
        Action.model_validate({"fail": fault})


def test_pairs_are_of_different_nodes_and_each_once() -> None:
    assert pairs_of(["all"], ["vm2"], ["vm1", "vm2", "vm3"], both_ways=False) == (("vm1", "vm2"), ("vm3", "vm2"))
    assert pairs_of(["vm1"], ["vm1", "vm2"], ["vm1", "vm2"], both_ways=True) == (("vm1", "vm2"), ("vm2", "vm1"))
    assert pairs_of(["vm1"], ["vm1"], ["vm1"], both_ways=True) == ()


def test_pairs_in_words() -> None:
    assert names([("a", "b"), ("b", "a"), ("a", "c")]) == "a ↔ b, a → c"


# --- how a run takes it ---


class FakeLab:
    """Notes the order in which things are done to it."""

    def __init__(self) -> None:
        self.log: list[str] = []

    def act(self, action: Action) -> None:
        self.log.append(action.verb)

    def measure(self, wanted: Measurement, act: Callable[[], Iterable[str]], healing: bool) -> Measured:
        self.log.append(f"begin {wanted.verb}{' healing' if healing else ''}")
        if wanted.failover:
            list(act())
        self.log.append(f"end {wanted.verb}")
        return Measured(wanted.verb, "told", Verdict(), (Figure("lost", "packets", 3, Verdict()),), (Held("none lost", False, "3 lost"),))

    def controlled(self) -> bool:
        return True

    def unpredictable(self) -> str:
        return "not of interest here"

    def end_captures(self) -> tuple[()]:
        return ()


def run(*steps: dict[str, Any]) -> tuple[FakeLab, list[StepResult], list[object]]:
    lab, heard = FakeLab(), []
    results = take(scenario(*steps), lab, lambda _, what: heard.append(what))  # type: ignore[arg-type]
    return lab, results, heard


def test_the_actions_happen_while_a_failover_is_measured_and_before_anything_else() -> None:
    loop = {"loop": {"from": "vm1", "to": "vm2"}}
    lab, _, _ = run({"stage": "a", "do": [KILL], "measure": [loop, FAILOVER]}, {"stage": "b", "do": [KILL], "measure": [loop]})
    assert lab.log == ["begin failover", "fail", "end failover", "begin loop", "end loop", "fail", "begin loop", "end loop"]


def test_a_bound_that_does_not_hold_fails_its_step() -> None:
    _, (result,), heard = run({"stage": "a", "do": [KILL], "measure": [FAILOVER]})
    assert not result.ok
    assert [(check.expected, check.reason) for check in result.checks] == [("none lost", "3 lost")]
    assert [type(what).__name__ for what in heard] == ["str", "Measured", "CheckResult"]


def test_what_mends_is_a_healing_and_what_breaks_is_not() -> None:
    heal = {"heal": {"node": "nva1", "daemon": "bgpd"}}
    assert "begin failover healing" in run({"stage": "a", "do": [heal], "measure": [FAILOVER]})[0].log
    assert "begin failover" in run({"stage": "a", "do": [heal, KILL], "measure": [FAILOVER]})[0].log
    assert "begin failover" in run({"stage": "a", "measure": [FAILOVER]})[0].log


# --- bounds and amounts ---


def test_a_bound_on_a_doubtful_figure() -> None:
    bad = Verdict(("a reason",))
    assert at_most("x", Figure("outage", "s", 0.09, bad), 0.1).ok
    assert not at_most("x", Figure("outage", "s", 0.09, bad), 0.1, doubt=0.02).ok
    assert at_most("x", Figure("outage", "s", 0.2, bad), 0.1).reason == "measured 200 ms, invalid: a reason"
    assert at_least("x", Figure("TCP", "bit/s", 2e6, bad), 1e6).ok
    assert at_least("x", Figure("TCP", "bit/s", 5e5, Verdict()), 1e6).reason == "measured 500 kbit/s"
    assert not at_least("x", None, 1).ok


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0124, "s", "12.4 ms"), (2.895, "s", "2.9 s"), (157.6, "s", "158 s"), (4.2e-5, "s", "42 µs"), (0.0, "s", "0 s"),
        (3.7e8, "bit/s", "370 Mbit/s"), (14541.3, "packets/s", "14,541 packets/s"), (0.5, "packets", "0.5 packets"), (3.0, "", "3"),
    ],
)  # fmt: skip
def test_amounts_as_people_write_them(value: float, unit: str, text: str) -> None:
    assert amount(value, unit) == text


# --- loops ---


def pair(cycle: tuple[str, ...] = ("nva1",), predicted: tuple[str, ...] = ("nva1",), by: str | None = "nva1") -> PairLoop:
    flow = Flow(0, "vm1", "vm2", "n", "eth0", "", "", "10.0.0.1", "10.0.0.2")
    loop = PacketLoop(("10.0.0.1", "10.0.0.2", 1, b""), cycle, 63, 64, 1, 5.0, 5.1, by)
    return PairLoop(flow, 10, 0 if cycle else 10, (loop,) * 10 if cycle else (), 64.0 if cycle else 1.0, predicted)


def held(wanted: dict[str, Any], found: PairLoop) -> dict[str, str]:
    declared = Loop.model_validate({"from": "vm1", "to": "vm2", **wanted})
    return {each.expected: each.reason for each in looping.report(declared, [found], 0).held}


def test_the_predicted_loop_is_confirmed() -> None:
    assert held({"cycle": ["nva1"], "expired_at": "nva1"}, pair()) == {"loop nva1": "", "time exceeded from nva1": "", "as predicted": ""}


def test_a_cycle_is_the_same_wherever_it_begins() -> None:
    assert held({"cycle": ["nva2", "nva1"]}, pair(("nva1", "nva2"), ("nva2", "nva1"))) == {"loop nva2 → nva1": "", "as predicted": ""}


def test_another_loop_than_expected_or_predicted_is_named() -> None:
    assert held({"cycle": []}, pair(predicted=())) == {
        "no loop": "vm1 → vm2: loop nva1 → nva1",
        "as predicted": "vm1 → vm2: loop nva1 → nva1, predicted no loop",
    }
    assert held({"cycle": ["nva1"]}, pair(())) == {
        "loop nva1": "vm1 → vm2: no loop",
        "as predicted": "vm1 → vm2: no loop, predicted loop nva1 → nva1",
    }
    assert held({"expired_at": "nva2", "as_predicted": False}, pair()) == {
        "time exceeded from nva2": "vm1 → vm2: loop nva1 → nva1, time exceeded from nva1"
    }


def test_frames_that_were_missed_make_it_invalid() -> None:
    told = looping.report(Loop.model_validate({"from": "vm1", "to": "vm2"}), [pair()], 5)
    assert "no room for 5 frames" in str(told.verdict)
    assert {figure.name: figure.measured for figure in told.figures} == {"looping packets": 10, "turns": 63, "amplification": 64.0}


# --- throughput ---


def trial(rate: float, loss: float, cpu: CpuUse = CALM) -> Trial:
    return Trial(rate, rate, rate * (1 - loss), loss, None, cpu, Verdict())


def carried(tcp_cpu: CpuUse = CALM, best: Trial | None = None, seconds: float = 3.0) -> Carried:
    found = Found(best, "loss", (trial(1000, 0.2),), Verdict())
    delay = Latency(500, 1e-4, 2e-4, 3e-4, 4e-4, 5e-4, 6e-4)
    return Carried("vm1", "vm2", "vxlan", Goodput(3e8, seconds, 12, 0, 0, tcp_cpu), found, delay, Verdict())


def throughput(one: Carried, **wanted: Any) -> Measured:
    return carrying.report(Throughput.model_validate({"from": "vm1", "to": "vm2", **wanted}), [one])


def test_a_path_is_told_with_what_limits_it() -> None:
    told = throughput(carried(best=trial(8000, 0.0)), goodput_above="200mbit")
    assert {figure.name: figure.measured for figure in told.figures} == {
        "TCP goodput": 3e8, "packet rate": 8000, "median delay": 2e-4, "99 % delay": 4e-4,
    }  # fmt: skip
    assert told.held[0].ok
    assert "ovs-vswitchd" in told.data["paths"][0]["tcp"]["bottleneck"]
    assert told.title == "vxlan: vm1 → vm2"


def test_no_rate_that_gets_through_is_no_figure() -> None:
    told = throughput(carried())
    assert told.figure("packet rate") is None
    assert told.data["paths"][0]["packets"]["best"] is None


def test_a_transfer_that_stood_still_says_nothing_about_the_path() -> None:
    assert throughput(carried(seconds=3.2)).verdict.valid
    assert throughput(carried(seconds=4.7)).verdict.reasons == (
        "TCP goodput: the last data came 1.7 s after the sender had stopped: TCP stood still",
    )


def test_one_disturbed_figure_makes_the_measurement_invalid_and_is_named() -> None:
    told = throughput(carried(BUSY))
    assert [reason.partition(":")[0] for reason in told.verdict.reasons] == ["TCP goodput"]
    delay = told.figure("median delay")
    assert delay is not None
    assert delay.verdict.valid
