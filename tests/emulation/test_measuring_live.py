"""Measurements of a real lab: a failover told by those who saw it, the loop, faults that must cost nothing, a run with its report.

No figure is held to a time: the machine may be busy. What must be so on any machine is asserted: who saw what, in which order, and
that every packet is accounted for.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from testbed.azure.control_plane import converge
from testbed.cli import execute
from testbed.emulation import client
from testbed.model.loader import load_topology
from testbed.model.measurement import Measurement
from testbed.model.scenario import Action
from testbed.model.topology import Topology
from testbed.plan.compile import compile_plan
from testbed.plan.templates import load_templates
from testbed.scenario.live import LiveLab
from testbed.scenario.measured import Measured
from testbed.scenario.measuring import measure
from testbed.scenario.planning import compile_again
from testbed.scenario.witnesses import mark_command
from testbed.vty import Vty, show
from testbed.wait import poll

pytestmark = pytest.mark.root
TOPOLOGIES = Path(__file__).parents[2] / "topologies"


def built(design: str, name: str) -> tuple[LiveLab, Topology]:
    topology = load_topology(TOPOLOGIES / f"{design}.yaml").topology
    lab = client.up(compile_plan(topology, lab=name, templates=load_templates()), lambda stage, seconds: None)
    return LiveLab(lab, topology, compile_again), topology


@pytest.fixture
def standby(lab_name: str, down: Callable[[str], float]) -> Iterator[LiveLab]:
    yield built("active-standby", lab_name)[0]
    down(lab_name)


def take(lab: LiveLab, healing: bool, *actions: dict[str, Any], **wanted: Any) -> Measured:
    """Measure a failover between vm11 and vm21 while the actions happen, as a scenario does."""
    failover = {"from": "vm11", "to": "vm21", "settled": 2, "observe": 3, "rate": 500, **wanted}

    def act() -> Iterator[str]:
        for action in actions:
            lab.act(Action.model_validate(action))
            yield str(action)

    return lab.measure(Measurement.model_validate({"failover": failover}), act, healing)


def order(told: Measured) -> list[str]:
    return [milestone["name"] for milestone in told.data["milestones"]]


def observers(told: Measured, name: str) -> set[str]:
    return {fact["observer"] for each in told.data["milestones"] if each["name"] == name for fact in each["facts"]}


def accounted(told: Measured) -> None:
    """What the figures say is what the raw samples say."""
    for number, flow in enumerate(told.data["flows"]):
        arrivals = told.samples[f"arrivals-{flow['target']}"]
        got = np.unique(arrivals["sequence"][arrivals["flow"] == number])
        assert flow["sent"] == len(told.samples[f"sent-{number}"])
        assert flow["lost"] == flow["sent"] - len(got) == sum(lost for _, _, lost in flow["loss"])


def test_an_nva_whose_bgpd_dies_and_comes_back(standby: LiveLab) -> None:
    """Both ways end up at the other NVA, and every phase has been stamped by its own observer."""
    died = take(standby, False, {"fail": {"node": "nva1", "daemon": "bgpd"}}, through="nva1b", recovers=True)
    assert [held.reason for held in died.held] == ["", ""]
    assert all(set(flow["before"]) == {"nva1", "nva2"} for flow in died.data["flows"])
    assert all(set(flow["after"]) == {"nva1b", "nva2"} for flow in died.data["flows"])
    assert order(died)[:4] == ["stimulus", "detected", "withdrawn", "decided"]
    assert {"sent", "programmed", "forwarding"} <= set(order(died))
    assert {"rs1-0", "rs1-1", "nva2"} <= observers(died, "detected")
    assert observers(died, "withdrawn") == observers(died, "programmed") == {"controller"}
    assert any(fact["what"] == "process-ended" and fact["detail"].startswith("nva1.bgpd") for fact in died.data["facts"])
    accounted(died)

    back = take(standby, True, {"heal": {"node": "nva1", "daemon": "bgpd"}}, through="nva1", recovers=True)
    assert [held.reason for held in back.held] == ["", ""]
    assert order(back)[:5] == ["stimulus", "established", "announced", "decided", "sent"]
    accounted(back)


def test_silent_death_waits_for_the_hold_timer_and_a_shutdown_does_not(standby: LiveLab) -> None:
    shut = take(standby, False, {"fail": {"node": "nva1", "session": "rs1"}}, through="nva1b", recovers=True)
    assert [held.reason for held in shut.held] == ["", ""]
    assert any("otification" in fact["detail"] for fact in shut.data["facts"] if fact["what"] == "detected")
    standby.act(Action.model_validate({"heal": {"node": "nva1", "session": "rs1"}}))

    silent = take(standby, False, {"fail": {"node": "nva1", "power": True}}, observe=5.0, through="nva1b", recovers=True)
    assert [held.reason for held in silent.held] == ["", ""]
    withdrawn, hold = silent.figure("withdrawn"), 3.0
    assert withdrawn is not None
    assert withdrawn.measured > hold - 1.1, "the hold timer began with the last keepalive, a second before at most"
    (forward, _) = silent.data["flows"]
    assert forward["loss_derived"] > 1.5
    assert forward["windows"][0]["begin"] == pytest.approx(0.0, abs=0.5)
    accounted(silent)


def test_neither_an_instance_nor_the_controller_costs_a_packet(lab_name: str, down: Callable[[str], float]) -> None:
    """A slow stream: on a busy machine the switches lose packets of a fast one, whatever the controller does."""
    lab, _ = built("dual-region", lab_name)
    faults = ({"node": "rs1-0", "daemon": "bgpd"}, {"controller": True})
    for fault in faults:
        for verb in ("fail", "heal"):
            told = take(lab, verb == "heal", {verb: fault}, observe=2.0, rate=100, lost_at_most=0, duplicated_at_most=0)
            assert [held.reason for held in told.held] == ["", ""], f"{verb} {fault}"
            accounted(told)
    down(lab_name)


def test_the_loop_without_overlay_is_the_predicted_one(lab_name: str, down: Callable[[str], float]) -> None:
    lab, topology = built("no-overlay", lab_name)
    wanted = Measurement.model_validate({"loop": {"from": ["vm11", "vmh1"], "to": ["vm21", "vmh2"], "packets": 4}})
    told = measure(lab.client, wanted, ("vm11", "vm21", "vmh1", "vmh2"), converge(topology), list, False)
    assert [held.reason for held in told.held] == [""]
    found = {(pair["source"], pair["target"]): pair for pair in told.data["pairs"]}
    assert found["vm11", "vm21"]["cycle"] == found["vm11", "vm21"]["predicted"] == ["nva1"]
    assert found["vm11", "vm21"]["expired_at"] == "nva1"
    assert (found["vm11", "vm21"]["looped"], found["vm11", "vm21"]["turns"]) == (4, [63])
    assert found["vm11", "vm21"]["amplification"] == pytest.approx(64, abs=0.5)
    assert (found["vmh1", "vmh2"]["cycle"], found["vmh1", "vmh2"]["arrived"]) == ([], 4)
    down(lab_name)


def test_azures_own_timers_are_what_both_ends_agree_on(lab_name: str, tmp_path: Path, down: Callable[[str], float]) -> None:
    """`timers: {bgp: azure}`: 60 s and 180 s (RS4); the end of a process is noticed at once all the same (RS15)."""
    file = tmp_path / "slow.yaml"
    file.write_text((TOPOLOGIES / "active-standby.yaml").read_text() + "\ntimers: {bgp: azure}\n")
    lab = client.up(compile_plan(load_topology(file).topology, lab=lab_name, templates=load_templates()), lambda stage, seconds: None)
    sessions = lab.controller("GET", "/status")["sessions"]
    assert {session["hold_time"] for session in sessions} == {180.0}
    live = LiveLab(lab, load_topology(file).topology, compile_again)
    told = take(live, False, {"fail": {"node": "nva1", "daemon": "bgpd"}}, through="nva1b", recovers=True)
    assert [held.reason for held in told.held] == ["", ""]
    down(lab_name)


SCENARIO = """
name: carried
topology: {topology}
steps:
  - stage: the controller restarts
    do:
      - fail: {{controller: true}}
      - heal: {{controller: true}}
    measure:
      - failover: {{from: vmh1, to: vm11, settled: 1, observe: 3s, rate: 100, lost_at_most: 0}}
      - throughput: {{from: vmh1, to: vm11, seconds: 1, low: 200, high: 400, loss: 0.5}}
"""


def test_a_run_leaves_a_record_its_samples_a_page_and_junit(tmp_path: Path, lab_name: str) -> None:
    scenario = tmp_path / "carried.yaml"
    scenario.write_text(SCENARIO.format(topology=TOPOLOGIES / "dual-region.yaml"))
    told = ["--results", str(tmp_path / "results"), "--junit", str(tmp_path / "out" / "junit.xml")]
    assert execute(["run", str(scenario), "--name", lab_name, *told]) == 0
    (folder,) = (tmp_path / "results").iterdir()
    record = json.loads((folder / "record.json").read_text())
    (step,) = record["steps"]
    assert [measured["kind"] for measured in step["measurements"]] == ["failover", "throughput"]
    figures = {figure["name"]: figure["measured"] for measured in step["measurements"] for figure in measured["figures"]}
    assert figures["lost"] == 0
    assert figures["TCP goodput"] > 1e6
    assert figures["packet rate"] == pytest.approx(400, rel=0.5)
    assert record["samples"] == ["samples-1-1.npz"]
    with np.load(folder / "samples-1-1.npz") as samples:
        assert len(samples["sent-0"]) > 300
    page = (folder / "report.html").read_text()
    assert "<svg" in page
    assert "the controller restarts" in page
    assert "testcase" in (tmp_path / "out" / "junit.xml").read_text()
    assert execute(["report", str(folder), "-o", str(tmp_path / "again.html")]) == 0
    assert (tmp_path / "again.html").read_text() == page


@pytest.fixture
def lapse(lab_name: str, down: Callable[[str], float]) -> Iterator[LiveLab]:
    yield built("azure-timers", lab_name)[0]
    down(lab_name)
    left = [path.name for path in Path("/dev/shm").glob("*faketime*") if not Path("/proc", path.name.rpartition("_")[2]).exists()]
    assert left == [], "what killed daemons leave in shared memory goes with the lab"


def pace(lab: LiveLab, name: str) -> tuple[float, float]:
    """How fast a bgpd's clock runs, at least and at most: its own stamps of two moments, each known to lie between two readings of ours."""
    log = lab.client.paths.node(lab.plan.node(name)) / "bgpd.log"
    readings: list[tuple[float, float, float]] = []
    with Vty(log.with_name("bgpd.vty")) as vty:
        for command in ("configure terminal", "log timestamp precision 6", "end"):
            vty.run(command)
        start = time.time()
        for moment in (0.0, 2.0):
            poll(lambda since=start + moment: None if time.time() >= since else "not yet", budget=10.0, interval=0.01)
            before = time.time()
            vty.run(mark_command(before))
            after = time.time()
            vty.run("enable")  # what was logged is written once the daemon takes up something else
            line = next(line for line in reversed(log.read_text().splitlines()) if f"{before:.6f}" in line)
            shown = datetime.strptime(line[:26], "%Y/%m/%d %H:%M:%S.%f").replace(tzinfo=UTC).timestamp()
            readings.append((before, after, shown))
    (before, after, first), (later, latest, second) = readings
    return (second - first) / (latest - before), (second - first) / (later - after)


def test_a_time_lapse_runs_both_ends_of_every_session_at_one_pace(lapse: LiveLab) -> None:
    """Azure's 60/180 s, twenty times as fast: both ends agree on the timers, their clocks run alike, and both hold timers expire."""
    assert {session["hold_time"] for session in lapse.client.controller("GET", "/status")["sessions"]} == {180.0}
    for name in ("rs1-0", "nva1"):
        least, most = pace(lapse, name)
        assert least * 0.99 < 20 < most * 1.01, name
        peers = show(lapse.client.paths.node(lapse.plan.node(name)) / "bgpd.vty", "show bgp neighbors json")
        known = [peer for peer in peers.values() if "bgpState" in peer]
        timers = {(peer["bgpTimerHoldTimeMsecs"], peer["bgpTimerKeepAliveIntervalMsecs"]) for peer in known}
        assert timers == {(180_000, 60_000)}, name

    silent = take(lapse, False, {"fail": {"node": "nva1", "power": True}}, rate=100, observe=6.0, through="nva1b", recovers=True)
    assert [held.reason for held in silent.held] == ["", ""]
    assert {figure.name for figure in silent.figures} == {"detected (time-lapse 20×)", "withdrawn (time-lapse 20×)"}, (
        "nothing else is quoted"
    )
    ended = {fact["observer"]: 20 * fact["time"] for fact in silent.data["facts"] if fact["what"] == "detected"}
    assert {"rs1-0", "rs1-1", "nva1", "nva2"} <= ended.keys(), "the hold timers of both ends"
    assert all(seconds > 100 for seconds in ended.values()), f"the last keepalive was 60 s old at most, and half a second late: {ended}"
