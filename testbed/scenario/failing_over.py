"""Measures what a fault, or its healing, costs the traffic: streams while it happens, and the timeline of who did what when."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np

from testbed.errors import TestbedError
from testbed.measure.crossings import detours, share
from testbed.measure.latency import latency
from testbed.measure.outage import Outage, first_arrival, loss_over_time
from testbed.measure.streams import Flow, Place, StreamResult, Streams
from testbed.measure.timeline import Fact, Milestone, Timeline, timeline
from testbed.measure.validity import Figure, Verdict
from testbed.model.measurement import Failover
from testbed.scenario import talkers
from testbed.scenario.lapse import in_routers_time, labelled
from testbed.scenario.measured import Held, Measured, at_least, at_most
from testbed.scenario.settling import Running, calm_again, settle
from testbed.scenario.standing import Standing
from testbed.scenario.witnesses import FAILING, HEALING, Tail, bgpd_facts, journal_facts, mark_command, real_times
from testbed.vty import Vty
from testbed.wait import poll

BIN = 0.01
"""Seconds of a bin of the loss over time."""

PATIENCE = 20.0
"""Seconds beyond ``observe`` that a busy machine gets until the lab is calm again; the streams go on so long."""

_TOLD = ("sent", "received", "lost", "duplicated", "reordered", "loss_derived", "longest_gap", "runs", "recovered")
_ANSWERS = ("decided", "sent", "programmed")
_LAST = ("forwarding", "recovered")  # reached when the last flow has
_GRACE = 0.5  # seconds that a packet may take at most: twice the longest link delay that designs have
_BEFORE, _AFTER = 0.3, 0.3  # seconds before the stimulus, and at the end, by which a flow's way is told


class Lab(Running, Protocol):
    """What a failover needs of a lab."""

    def status(self) -> dict[str, Any]:
        """labd's status."""


@dataclass(frozen=True)
class Stimulus:
    """What was done: in words, and the wall-clock seconds just before and just after."""

    text: str
    begin: float
    end: float


@dataclass(frozen=True)
class Observation:
    """All that was seen of one failover."""

    wanted: Failover
    result: StreamResult
    stimulus: Stimulus
    facts: tuple[Fact, ...]
    waypoints: Mapping[Place, str]
    settled: str | None
    healing: bool
    time_lapse: float = 1.0


def measure(
    lab: Lab,
    wanted: Failover,
    pairs: Sequence[tuple[str, str]],
    act: Callable[[], Iterable[str]],
    healing: bool,
    expected: Callable[[], Standing] = dict,
) -> Measured:
    """Wait until the lab is calm, start the streams, act, watch until it is calm again, and tell what came of it.

    ``act`` does the actions of the step and gives back what they are in words; ``healing``: they mend something, so sessions come up.
    ``expected``: the sessions that should be up as things stand now. Raises LabError when a stream cannot run, and what ``act`` raises.
    """
    flows = talkers.flows(lab.plan, pairs, wanted.flows, wanted.protocol)
    ways = talkers.waypoints(lab.plan)
    settled = settle(lab, wanted.settled, expected)
    tails = _tails(lab)
    stamp_finely(lab)
    own = talkers.own_processes(lab.plan, lab.status())
    places = [*talkers.ends(lab.plan, flows), *ways]
    with Streams(flows, places, rate=wanted.rate, grace=_GRACE, own=own) as streams:
        _pause(wanted.lead)
        begin = time.time()
        done = tuple(act())
        stimulus = Stimulus("; ".join(done), begin, time.time())
        _pause(wanted.observe - (stimulus.end - begin))
        calm_again(lab, expected, PATIENCE)
    stamp_finely(lab)
    facts = [Fact(begin, "scenario", "stimulus", stimulus.text), *_deaths(lab, begin), *caused(_told(tails, healing, lab.plan.time_lapse))]
    return report(Observation(wanted, streams.result, stimulus, tuple(facts), ways, settled, healing, lab.plan.time_lapse))


def _pause(seconds: float) -> None:
    poll(lambda: "not yet", budget=max(0.0, seconds), interval=0.01)


def stamp_finely(lab: Running) -> None:
    """Have the BGP daemons write microseconds into their logs, and in a time-lapse the real time; one that does not run cannot."""
    for node in talkers.speakers(lab.plan):
        try:
            with Vty(lab.paths.node(node) / "bgpd.vty") as vty:
                for command in ("configure terminal", "log timestamp precision 6", "end"):
                    vty.run(command)
                if lab.plan.time_lapse != 1.0:
                    vty.run(mark_command(time.time()))
                    vty.run("enable")  # a daemon writes what it logged once it takes up something else
        except (OSError, TestbedError):
            continue


def _tails(lab: Running) -> dict[str, Tail]:
    logs = {node.name: Tail(lab.paths.node(node) / "bgpd.log") for node in talkers.speakers(lab.plan)}
    return {"": Tail(lab.paths.logs / "journal.jsonl"), **logs}


def _told(tails: Mapping[str, Tail], healing: bool, time_lapse: float) -> list[Fact]:
    """What the controller and the BGP daemons wrote since."""
    facts = journal_facts(tails[""].lines(), healing)
    for node, tail in tails.items():
        if node:
            lines = tail.lines()
            found = bgpd_facts(node, lines, healing)
            facts += found if time_lapse == 1.0 else real_times(found, lines, time_lapse)
    return facts


def _deaths(lab: Lab, since: float) -> list[Fact]:
    return [
        Fact(death["at"], "labd", "process-ended", f"{death['node']}.{death['daemon']}: {death['how']}")
        for death in lab.status()["deaths"]
        if death["at"] >= since
    ]


def caused(facts: Sequence[Fact]) -> list[Fact]:
    """What the controller did before it heard of the routes was the answer to something else, and is no milestone of this one."""
    heard = min((fact.time for fact in facts if fact.what in ("withdrawn", "announced")), default=None)
    if heard is None:
        return list(facts)
    early = [fact.what in _ANSWERS and fact.time < heard for fact in facts]
    return [
        Fact(fact.time, fact.observer, f"{fact.what}-before", fact.detail) if before else fact
        for fact, before in zip(facts, early, strict=True)
    ]


# --- what was seen, told; pure from here on ---


def report(seen: Observation) -> Measured:
    """Figures, bounds and data of what was observed."""
    result, wanted = seen.result, seen.wanted
    outages = {flow.number: result.outage(flow) for flow in result.flows}
    line = timeline([*seen.facts, *_arrivals(seen, outages)], names=HEALING if seen.healing else FAILING)
    verdict = result.verdict(settled=seen.settled) & _calm_before(outages.values(), seen.stimulus)
    figures: tuple[Figure, ...] = (*_figures(outages.values(), verdict), *_phases(line, verdict))
    figures = in_routers_time(figures, seen.time_lapse)
    doubt = result.pacing.latest
    told = Measured("failover", _title(seen), verdict, figures)
    return Measured(
        kind="failover",
        title=told.title,
        verdict=verdict,
        figures=figures,
        held=tuple(_held(wanted, told, doubt, seen)),
        data=_data(seen, outages, line),
        samples=_samples(result),
    )


def _title(seen: Observation) -> str:
    return f"{seen.stimulus.text or 'nothing done'}: {talkers.names([(flow.source, flow.target) for flow in seen.result.flows])}"


def _calm_before(outages: Iterable[Outage], stimulus: Stimulus) -> Verdict:
    """Loss before anything was done is not the stimulus's."""
    early = sum(window.last - window.first + 1 for each in outages for window in each.windows if window.end < stimulus.begin)
    return Verdict((f"{early} packets were lost before the stimulus",)) if early else Verdict()


def _figures(outages: Iterable[Outage], verdict: Verdict) -> tuple[Figure, ...]:
    all_flows = tuple(outages)
    return (
        Figure("outage", "s", max(each.loss_derived for each in all_flows), verdict),
        Figure("longest gap", "s", max(each.longest_gap for each in all_flows), verdict),
        Figure("lost", "packets", sum(each.lost for each in all_flows), verdict),
        Figure("duplicated", "packets", sum(each.duplicated for each in all_flows), verdict),
        Figure("reordered", "packets", sum(each.reordered for each in all_flows), verdict),
    )


def _phases(line: Timeline, verdict: Verdict) -> tuple[Figure, ...]:
    """Seconds from the stimulus to each milestone (for packets: until the last flow was there).

    ``own overhead`` is what the testbed itself took, from the Route Server's word to the last switch.
    """
    reached = {milestone.name: milestone for milestone in line.milestones}
    if "stimulus" not in reached:
        return ()
    start = reached["stimulus"].first
    moments = {name: each.last if name in _LAST else each.first for name, each in reached.items() if name != "stimulus"}
    found = [Figure(name, "s", moment - start, verdict) for name, moment in moments.items()]
    heard = reached.get("withdrawn") or reached.get("announced")
    if heard and "programmed" in reached:
        found.append(Figure("own overhead", "s", _first_round(reached["programmed"], heard) - heard.first, verdict))
    return tuple(found)


def _first_round(programmed: Milestone, heard: Milestone) -> float:
    """When the last switch of the first round had acknowledged: those within a second of the first word."""
    return max((fact.time for fact in programmed.facts if fact.time - heard.first < 1.0), default=programmed.last)


def _arrivals(seen: Observation, outages: Mapping[int, Outage]) -> list[Fact]:
    """The first packet of each flow through an NVA that it did not pass before, and at its target after its last loss."""
    facts = []
    begin = seen.stimulus.begin
    for flow in seen.result.flows:
        before = _way(seen, flow, final=False)
        for place, node in seen.waypoints.items():
            arrivals = seen.result.at(place.label, flow.number)
            if node not in before and (at := first_arrival(arrivals, begin)) is not None:
                facts.append(Fact(at, place.label, "forwarding", f"first packet {_named(flow)} through {node}"))
        outage = outages[flow.number]
        if outage.last_lost and outage.recovered and outage.last_lost.end >= begin:
            at = first_arrival(seen.result.at(flow.target, flow.number), outage.last_lost.end)
            facts.append(Fact(at or outage.last_lost.end, flow.target, "recovered", f"{_named(flow)} arrives again"))
    return facts


def _named(flow: Flow) -> str:
    return f"{flow.source} → {flow.target} (port {flow.source_port})"


def _held(wanted: Failover, told: Measured, doubt: float, seen: Observation) -> Iterable[Held]:
    bounds = (
        ("outage", wanted.outage_below, "outage below", doubt),
        ("detected", wanted.detected_below, "detected within", 0.0),
        ("withdrawn", wanted.withdrawn_below, "withdrawn within", 0.0),
        ("own overhead", wanted.programmed_below, "switches changed within", 0.0),
        ("lost", wanted.lost_at_most, "lost packets at most", 0.0),
        ("duplicated", wanted.duplicated_at_most, "duplicated packets at most", 0.0),
    )
    for name, bound, text, slack in bounds:
        if bound is not None:
            figure = told.figure(labelled(name, seen.time_lapse))
            yield at_most(f"{text} {bound:g}{' s' if name not in ('lost', 'duplicated') else ''}", figure, bound, slack)
    for name, bound in (("detected", wanted.detected_above), ("withdrawn", wanted.withdrawn_above)):
        if bound is not None:
            yield at_least(f"{name} not before {bound:g} s", told.figure(labelled(name, seen.time_lapse)), bound)
    if wanted.recovers is not None:
        yield _recovery(wanted.recovers, seen.result)
    if wanted.through is not None:
        yield _passage(wanted.through, seen)


def _recovery(expected: bool, result: StreamResult) -> Held:
    """Whether each flow got anything through in the last moments."""
    flows = result.flows
    ends = {flow: float(result.sent[flow.number][-1]) * 1e-9 for flow in flows}
    still = [_named(flow) for flow, end in ends.items() if not share(result.at(flow.target, flow.number), end - _AFTER, end + 1.0)]
    if expected:
        return Held("every flow gets through in the end", not still, f"still lost: {', '.join(still[:4])}" if still else "")
    return Held("no flow gets through in the end", len(still) == len(flows), f"{len(flows) - len(still)} flows do")


def _passage(node: str, seen: Observation) -> Held:
    sources = {flow.source for flow in seen.result.flows} if "all" in seen.wanted.from_ else set(seen.wanted.from_)
    others = [
        f"{_named(flow)} by {', '.join(way) or 'no NVA'}"
        for flow in seen.result.flows
        if flow.source in sources and node not in (way := _way(seen, flow, final=True))
    ]
    return Held(f"in the end every flow passes through {node}", not others, "; ".join(others[:4]))


def _way(seen: Observation, flow: Flow, *, final: bool) -> tuple[str, ...]:
    """The NVAs that a flow passed just before the stimulus, or at the end, in no particular order."""
    sent = seen.result.sent[flow.number]
    last = float(sent[-1]) * 1e-9
    begin, end = (last - _AFTER, last) if final else (seen.stimulus.begin - _BEFORE, seen.stimulus.begin - 0.01)
    passed = [node for place, node in seen.waypoints.items() if share(seen.result.at(place.label, flow.number), begin, end)]
    return tuple(dict.fromkeys(passed))


def _data(seen: Observation, outages: Mapping[int, Outage], line: Timeline) -> dict[str, Any]:
    """Everything, with times in seconds from the stimulus."""
    start = seen.stimulus.begin
    result = seen.result
    return {
        "stimulus": {"text": seen.stimulus.text, "wall": start, "took": seen.stimulus.end - start, "healing": seen.healing},
        "time_lapse": seen.time_lapse,
        "rate": result.rate,
        "begin": float(min(sent[0] for sent in result.sent.values())) * 1e-9 - start,
        "end": float(max(sent[-1] for sent in result.sent.values())) * 1e-9 - start,
        "bin": BIN,
        "flows": [_flow_data(seen, flow, outages[flow.number]) for flow in result.flows],
        "milestones": [
            {
                "name": each.name,
                "first": each.first - start,
                "last": each.last - start,
                "facts": [_fact(fact, start) for fact in each.facts],
            }
            for each in line.milestones
        ],
        "phases": [asdict(phase) | {"begin": phase.begin - start} for phase in line.phases],
        "missing": list(line.missing),
        "facts": [_fact(fact, start) for fact in line.facts],
        "loops": [
            {"cycle": list(each.cycle), "begin": each.begin - start, "duration": each.duration, "packets": each.packets}
            for each in detours(_by_node(seen))
        ],
        "pacing": asdict(result.pacing),
        "cpu": cpu_data(result.cpu),
    }


def cpu_data(use: Any) -> dict[str, Any]:
    """Who used the processors, the busiest ten by name."""
    return asdict(use) | {"processes": [asdict(process) for process in use.processes[:10]]}


def _fact(fact: Fact, start: float) -> dict[str, Any]:
    return {"time": fact.time - start, "observer": fact.observer, "what": fact.what, "detail": fact.detail}


def _by_node(seen: Observation) -> dict[str, Any]:
    gathered: dict[str, list[Any]] = {}
    for place, node in seen.waypoints.items():
        gathered.setdefault(node, []).append(seen.result.arrivals[place.label])
    return {node: np.concatenate(found) for node, found in gathered.items()}


def _flow_data(seen: Observation, flow: Flow, outage: Outage) -> dict[str, Any]:
    start = seen.stimulus.begin
    arrivals = seen.result.at(flow.target, flow.number)
    delay = latency(arrivals)
    bins = loss_over_time(seen.result.sent[flow.number], arrivals, BIN)
    return {
        "source": flow.source, "target": flow.target, "source_port": flow.source_port, "protocol": flow.protocol,
        **{name: getattr(outage, name) for name in _TOLD},
        "gap_begin": outage.gap_begin - start if outage.gap_begin else None,
        "windows": [{"begin": each.begin - start, "end": each.end - start, "lost": each.last - each.first + 1} for each in outage.windows],
        "loss": [[round(at - start, 6), sent, lost] for at, sent, lost in bins if lost],
        "delay": asdict(delay) if delay else None,
        "before": list(_way(seen, flow, final=False)),
        "after": list(_way(seen, flow, final=True)),
    }  # fmt: skip


def _samples(result: StreamResult) -> dict[str, Any]:
    """Send times by flow and arrivals by place: what every figure can be computed from again."""
    sent = {f"sent-{number}": times for number, times in result.sent.items()}
    return sent | {f"arrivals-{place.replace('/', '_').replace(':', '_')}": records for place, records in result.arrivals.items()}
