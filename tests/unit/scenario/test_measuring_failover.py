"""A failover told from streams made up here: figures, timeline, loops on the way, bounds, and verdicts."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from testbed.measure.batches import ARRIVAL
from testbed.measure.cpu import CpuUse
from testbed.measure.pacing import Pacing
from testbed.measure.streams import Flow, Place, StreamResult
from testbed.measure.timeline import Fact
from testbed.model.measurement import Failover
from testbed.scenario.failing_over import Observation, Stimulus, caused, report

START = 1_000.0
"""The stimulus, seconds since 1970; streams run from half a second before to one and a half after, a packet a millisecond."""
CALM = CpuUse(2.0, 2, 0.5, 0.0, 0.0, 0.0, 0, ())
EXACT = Pacing(1000, 1000.0, 1e-5, 1e-4, 9e-4, 0, 0.0, 0.1, True)
NVA1, NVA1B = Place("nva1", "n1", "eth0"), Place("nva1b", "n2", "eth0")
WAYS = {NVA1: "nva1", NVA1B: "nva1b"}


def flow(number: int = 0, source: str = "vm11", target: str = "vm21") -> Flow:
    return Flow(number, source, target, "n", "eth0", "", "", "10.0.0.1", "10.0.0.2", source_port=40000 + number)


def sent() -> Any:
    return ((START - 0.5) * 1e9 + np.arange(2000) * 1e6).astype(np.int64)


def seen(numbers: Any, delay: float = 0.001, ttl: int = 62, of: int = 0) -> Any:
    records = np.zeros(len(numbers), ARRIVAL)
    records["flow"], records["sequence"], records["ttl"] = of, numbers, ttl
    records["sent"] = sent()[numbers]
    records["received"] = records["sent"] + round(delay * 1e9)
    return records


def observation(wanted: dict[str, Any] | None = None, *, lost: tuple[int, int] = (510, 560), **changes: Any) -> Observation:
    """One flow that loses the packets from ``lost[0]`` to ``lost[1]`` (sent at 10 and 60 ms) and then goes by nva1b."""
    arrived = np.concatenate([np.arange(lost[0]), np.arange(lost[1], 2000)])
    arrivals = {"vm21": seen(arrived), "nva1": seen(np.arange(lost[0])), "nva1b": seen(np.arange(lost[1], 2000), 0.0005)}
    result = StreamResult((flow(),), 1000.0, {0: sent()}, arrivals, 0, EXACT, CALM)
    facts = (
        Fact(START, "scenario", "stimulus", "fail"), Fact(START + 0.004, "rs1-0", "detected", "nva1: down"),
        Fact(START + 0.010, "controller", "withdrawn"), Fact(START + 0.012, "controller", "decided"),
        Fact(START + 0.013, "controller", "sent"), Fact(START + 0.018, "controller", "programmed", "a"),
        Fact(START + 0.020, "controller", "programmed", "b"), Fact(START + 1.4, "controller", "programmed", "much later"),
    )  # fmt: skip
    declared = Failover.model_validate({"from": "vm11", "to": "vm21", "observe": 1.5, **(wanted or {})})
    made = Observation(declared, result, Stimulus("fail nva1", START, START + 0.003), facts, WAYS, None, False)
    return replace(made, **changes)


def figures(told: Any) -> dict[str, float]:
    return {figure.name: figure.measured for figure in told.figures}


def test_the_outage_and_every_milestone_are_measured_from_the_stimulus() -> None:
    found = figures(report(observation()))
    assert found["outage"] == pytest.approx(0.050, abs=1e-6)
    assert (found["lost"], found["duplicated"], found["reordered"]) == (50, 0, 0)
    assert found["detected"] == pytest.approx(0.004, abs=1e-6)
    assert found["own overhead"] == pytest.approx(0.010, abs=1e-6)  # withdrawn to the last switch of the first round
    assert found["forwarding"] == pytest.approx(0.0605, abs=1e-4)
    assert found["recovered"] == pytest.approx(0.061, abs=1e-4)


def test_the_way_of_a_flow_is_told_before_and_after() -> None:
    (told,) = report(observation()).data["flows"]
    assert (told["before"], told["after"]) == (["nva1"], ["nva1b"])
    assert told["windows"] == [{"begin": pytest.approx(0.010, abs=1e-6), "end": pytest.approx(0.060, abs=1e-6), "lost": 50}]
    assert sum(lost for _, _, lost in told["loss"]) == 50


def test_the_data_are_json_and_the_samples_hold_every_packet() -> None:
    told = report(observation())
    assert json.loads(json.dumps(told.as_json()))["figures"][0]["name"] == "outage"
    assert len(told.samples["sent-0"]) == 2000
    assert len(told.samples["arrivals-vm21"]) == 1950


def test_packets_that_went_round_are_named_with_their_node_and_duration() -> None:
    made = observation()
    rounds = [seen(np.arange(500, 510)), *(seen(np.arange(500, 510), 0.001 + turn * 1e-4, 62 - turn) for turn in range(1, 4))]
    arrivals = made.result.arrivals | {"nva1": np.concatenate([seen(np.arange(500)), *rounds])}
    (loop,) = report(replace(made, result=replace(made.result, arrivals=arrivals))).data["loops"]
    assert (loop["cycle"], loop["packets"]) == (["nva1"], 10)
    assert loop["begin"] == pytest.approx(0.001, abs=1e-6)
    assert loop["duration"] == pytest.approx(0.009 + 3e-4, abs=1e-6)


def test_bounds_that_hold() -> None:
    wanted = {"outage_below": "51ms", "detected_below": 0.005, "programmed_below": "20ms", "lost_at_most": 50, "duplicated_at_most": 0}
    told = report(observation({**wanted, "recovers": True, "through": "nva1b"}))
    assert [held.reason for held in told.held] == [""] * 7
    assert all(held.ok for held in told.held)


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        ({"outage_below": "49ms"}, "measured 50 ms"),
        ({"lost_at_most": 49}, "measured 50 packets"),
        ({"programmed_below": "5ms"}, "measured 10 ms"),
        ({"through": "nva1"}, "vm11 → vm21 (port 40000) by nva1b"),
        ({"recovers": False}, "1 flows do"),
    ],
)
def test_a_bound_that_does_not_hold_says_what_was_measured(wanted: dict[str, Any], reason: str) -> None:
    (held,) = report(observation(wanted)).held
    assert not held.ok
    assert held.reason == reason


def test_a_flow_that_stays_lost_has_not_recovered() -> None:
    (held,) = report(observation({"recovers": True}, lost=(510, 2000))).held
    assert not held.ok
    assert "vm11 → vm21" in held.reason


def test_nobody_who_noticed_is_no_figure_and_fails_its_bound() -> None:
    made = observation({"detected_below": 1.0})
    told = report(replace(made, facts=made.facts[:1]))
    assert told.figure("detected") is None
    assert told.held[0].reason == "it could not be measured"
    assert "detected" in told.data["missing"]


def test_a_disturbed_machine_makes_the_figures_invalid_and_says_why() -> None:
    made = observation({"outage_below": "100ms"})
    disturbed = replace(made, result=replace(made.result, cpu=replace(CALM, foreign=1.0)))
    told = report(disturbed)
    assert not told.verdict.valid
    assert all(not figure.verdict.valid and figure.value is None for figure in told.figures)
    assert told.held[0].ok, "a disturbance only lengthens an outage: what keeps the bound keeps it"
    over = report(replace(disturbed, wanted=made.wanted.model_copy(update={"outage_below": 0.01})))
    assert "invalid: other processes used 50%" in over.held[0].reason


def test_a_sender_that_paused_gets_no_benefit_of_the_doubt() -> None:
    made = observation({"outage_below": "60ms"})
    paused = replace(made, result=replace(made.result, pacing=replace(EXACT, latest=0.02)))
    assert not report(paused).held[0].ok


def test_loss_before_the_stimulus_is_not_its_own() -> None:
    assert "10 packets were lost before the stimulus" in str(report(observation(lost=(100, 110))).verdict)


def test_an_unsettled_lab_makes_invalid() -> None:
    assert "not settled" in str(report(observation(settled="session rs1-0 - nva1 is 2.0 s old")).verdict)


def test_what_was_decided_before_the_route_server_spoke_is_no_milestone() -> None:
    facts = [Fact(1.0, "controller", "decided"), Fact(2.0, "controller", "withdrawn"), Fact(2.1, "controller", "decided")]
    assert [fact.what for fact in caused(facts)] == ["decided-before", "withdrawn", "decided"]
    assert caused(facts[:1]) == facts[:1]
