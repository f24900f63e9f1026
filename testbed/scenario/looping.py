"""Measures loops: a few packets of each pair, captured at every interface, held against the walk over the plan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from testbed.measure.loops import PacketLoop, amplification, episodes, find_loops, same_cycle
from testbed.measure.recorder import Frame, Recorder
from testbed.measure.stamp import MAGIC
from testbed.measure.streams import Flow, StreamResult, Streams
from testbed.measure.validity import Figure, Verdict
from testbed.model.measurement import Loop
from testbed.plan.types import Plan
from testbed.scenario import talkers
from testbed.scenario.measured import Held, Measured
from testbed.scenario.settling import Running

Predicted = Callable[[str, str], tuple[str, ...]]
"""(source, target) → the nodes of the predicted loop; nothing when the packet does not loop."""

_RATE = 50.0  # packets/s of each pair: a loop of 64 turns at every interface is seen whole
_ICMP, _PROTOCOL = 1, 23


@dataclass(frozen=True)
class PairLoop:
    """What became of one pair's packets: how many were sent, arrived and looped; the loop; bytes on links per byte offered."""

    flow: Flow
    sent: int
    arrived: int
    looped: tuple[PacketLoop, ...]
    amplification: float
    predicted: tuple[str, ...]

    @property
    def cycle(self) -> tuple[str, ...]:
        """The nodes of the loop most packets met."""
        return self.looped[0].cycle if self.looped else ()

    @property
    def expired_at(self) -> str | None:
        """Who sent the time exceeded."""
        return next((loop.expired_at for loop in self.looped if loop.expired_at), None)

    @property
    def agrees(self) -> bool:
        """Whether what was seen is what was predicted."""
        return all(same_cycle(loop.cycle, self.predicted) for loop in self.looped) if self.looped else not self.predicted


def measure(lab: Running, wanted: Loop, pairs: Sequence[tuple[str, str]], predicted: Predicted) -> Measured:
    """Send, capture everywhere, and name the loops. Raises LabError when a stream cannot run."""
    plan = lab.plan
    flows = talkers.flows(plan, pairs)
    places = {node.name: (node.id, None) for node in plan.nodes}
    with (
        Recorder(places, needle=MAGIC.to_bytes(4)) as recorder,
        Streams(flows, talkers.ends(plan, flows), rate=_RATE, count=max(2, wanted.packets), grace=0.5) as streams,
    ):
        pass
    found = [_pair(flow, recorder.frames, streams.result, plan, predicted(flow.source, flow.target)) for flow in flows]
    return report(wanted, found, recorder.dropped)


def _pair(flow: Flow, frames: Sequence[Frame], result: StreamResult, plan: Plan, predicted: tuple[str, ...]) -> PairLoop:
    mark = MAGIC.to_bytes(4) + flow.number.to_bytes(4)
    own = [frame for frame in frames if mark in frame.data]
    links = {(nic.node, nic.name) for nic in plan.nics()} | {end for wire in plan.wires for end in zip(wire.nodes, wire.names, strict=True)}
    carried = [frame for frame in own if (frame.node, frame.device) in links and frame.data[_PROTOCOL] != _ICMP]
    outage = result.outage(flow)
    return PairLoop(
        flow=flow,
        sent=outage.sent,
        arrived=outage.received,
        looped=find_loops(own, talkers.addresses(plan)),
        amplification=amplification(carried, outage.sent * len(flow.frame())),
        predicted=predicted,
    )


def report(wanted: Loop, found: Sequence[PairLoop], dropped: int) -> Measured:
    """Figures, bounds and data of what was seen; pure."""
    verdict = Verdict((f"the recorder had no room for {dropped} frames",)) if dropped else Verdict()
    turns = [loop.turns for pair in found for loop in pair.looped]
    figures = (
        Figure("looping packets", "packets", len(turns), verdict),
        Figure("turns", "turns", max(turns, default=0), verdict),
        Figure("amplification", "bytes per byte", max((pair.amplification for pair in found), default=0.0), verdict),
    )
    return Measured(
        kind="loop",
        title=talkers.names([(pair.flow.source, pair.flow.target) for pair in found]),
        verdict=verdict,
        figures=figures,
        held=tuple(_held(wanted, found)),
        data={"pairs": [_data(pair) for pair in found]},
    )


def _held(wanted: Loop, found: Sequence[PairLoop]) -> list[Held]:
    held = []
    if wanted.cycle is not None:
        text = f"loop {' → '.join(wanted.cycle)}" if wanted.cycle else "no loop"
        others = [_seen(pair) for pair in found if not same_cycle(pair.cycle, wanted.cycle)]
        held.append(Held(text, not others, "; ".join(others)))
    if wanted.expired_at is not None:
        others = [f"{_seen(pair)}, time exceeded from {pair.expired_at}" for pair in found if pair.expired_at != wanted.expired_at]
        held.append(Held(f"time exceeded from {wanted.expired_at}", not others, "; ".join(others)))
    if wanted.as_predicted:
        others = [f"{_seen(pair)}, predicted {_cycle(pair.predicted)}" for pair in found if not pair.agrees]
        held.append(Held("as predicted", not others, "; ".join(others)))
    return held


def _seen(pair: PairLoop) -> str:
    return f"{pair.flow.source} → {pair.flow.target}: {_cycle(pair.cycle)}"


def _cycle(nodes: Sequence[str]) -> str:
    return f"loop {' → '.join((*nodes, nodes[0]))}" if nodes else "no loop"


def _data(pair: PairLoop) -> dict[str, Any]:
    return {
        "source": pair.flow.source, "target": pair.flow.target, "sent": pair.sent, "arrived": pair.arrived,
        "looped": len(pair.looped), "cycle": list(pair.cycle), "expired_at": pair.expired_at,
        "turns": sorted({loop.turns for loop in pair.looped}), "amplification": pair.amplification,
        "predicted": list(pair.predicted), "agrees": pair.agrees,
        "first_ttl": max((loop.first_ttl for loop in pair.looped), default=None),
        "last_ttl": min((loop.last_ttl for loop in pair.looped), default=None),
        "duration": max((episode.duration for episode in episodes(pair.looped, quiet=1.0)), default=0.0),
    }  # fmt: skip
