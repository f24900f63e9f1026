"""Expectations of packets: delivered, looping, dropped, their way, what a link carries, whom they touch, how they are explained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from testbed.measure.reachability import Delivery
from testbed.model import scenario as declared
from testbed.plan.walk import Walk
from testbed.scenario.lab_view import LabView
from testbed.scenario.places import called
from testbed.scenario.verdict import Verdict, listed, pick, several

Pairs = tuple[tuple[str, str], ...]
_IN_WALKS = {"delivered": "delivered", "loop": "loops", "dropped": "dropped"}
_REPEATED = 3


def pairs_of(lab: LabView, sources: Sequence[str], targets: Sequence[str], both_ways: bool) -> Pairs:
    """All ordered pairs of two different VMs, one from each list (``all`` stands for every VM), and their reverse if asked for."""
    vms = lab.vms()
    forward = [(a, b) for a in pick(sources, vms) for b in pick(targets, vms) if a != b]
    return tuple(dict.fromkeys(forward + [(b, a) for a, b in forward] if both_ways else forward))


def delivered(lab: LabView, wanted: declared.Delivered) -> Verdict:
    """Every pair gets through, with the TTL wanted, and as predicted."""
    found = lab.probe(pairs_of(lab, wanted.from_, wanted.to, wanted.both_ways))
    if not found:
        return "no pair to try"
    lost = [outcome(row) for row in found if not row.delivered]
    ttl = [
        f"{row.source} → {row.target}: TTL down by {row.ttl_down}, expected {wanted.ttl_down}"
        for row in found
        if row.delivered and wanted.ttl_down not in (None, row.ttl_down)
    ]
    return several(lost + ttl) or several(_unlike_the_walks(lab, found))


def outcome(row: Delivery) -> str:
    """What became of a probe, in words."""
    at = f", TTL exceeded sent by {row.loop_at}" if row.loop_at else ""
    return f"{row.source} → {row.target}: {row.result}{at}"


def fails(result: str) -> Callable[[LabView, declared.NotDelivered], Verdict]:
    """The check that every pair ends with this result: ``loop`` or ``dropped``, as predicted."""

    def look(lab: LabView, wanted: declared.NotDelivered) -> Verdict:
        found = lab.probe(pairs_of(lab, wanted.from_, wanted.to, wanted.both_ways))
        if not found:
            return "no pair to try"
        at = f" at {wanted.at}" if wanted.at else ""
        wrong = [row for row in found if row.result != result or wanted.at not in (None, row.loop_at)]
        return several([f"{outcome(row)}, expected {result}{at}" for row in wrong]) or several(_unlike_the_walks(lab, found))

    return look


def _unlike_the_walks(lab: LabView, found: Sequence[Delivery]) -> list[str]:
    """The pairs with which something else happened than in every walk over the plan."""
    if lab.unpredictable():
        return []
    wrong = []
    for row in found:
        walks = lab.predicted_walks(row.source, row.target)
        fitting = [walk for walk in walks if walk.verdict == _IN_WALKS[row.result]]
        if not any(row.ttl_down in (None, walk.ttl_down) for walk in fitting):
            down = f", TTL down by {row.ttl_down}" if row.delivered else ""
            wrong.append(f"observed {outcome(row)}{down}, but the walk over the plan: {listed(dict.fromkeys(map(_walk, walks)))}")
    return wrong


def _walk(walk: Walk) -> str:
    return f"{walk.verdict} {' → '.join(walk.nodes)}"


def path(lab: LabView, wanted: declared.PathTaken) -> Verdict:
    """A marked probe takes the way wanted, and that is a way predicted."""
    journey = lab.trace(wanted.from_, wanted.to)
    expected = (wanted.from_, *wanted.through, wanted.to)
    if len(journey.nodes) != len(expected) or any(name not in called(node) for name, node in zip(expected, journey.nodes, strict=True)):
        return f"expected {' → '.join(expected)}, observed {' → '.join(journey.nodes) or 'nothing'} ({journey.result})"
    if lab.unpredictable():
        return None
    walks = {walk.visible for walk in lab.predicted_walks(wanted.from_, wanted.to)}
    if journey.nodes not in walks:
        return f"observed {' → '.join(journey.nodes)}, but the walk over the plan is {listed(' → '.join(walk) for walk in sorted(walks))}"
    return None


def traceroute(lab: LabView, wanted: declared.Traceroute) -> Verdict:
    """The addresses that answer are those wanted, or one that repeats."""
    found = lab.hops(wanted.from_, wanted.to)
    shown = " ".join(hop or "*" for hop in found) or "nothing"
    if wanted.hops is not None and found != tuple(map(str, wanted.hops)):
        return f"expected {' '.join(map(str, wanted.hops))}, observed {shown}"
    if wanted.repeats is not None and found.count(str(wanted.repeats)) < _REPEATED:
        return f"expected {wanted.repeats} at least {_REPEATED} times, observed {shown}"
    return None


def round_trip(lab: LabView, wanted: declared.RoundTrip) -> Verdict:
    """The fastest of several echoes between each pair takes as long as wanted."""
    reasons = []
    for source, target in pairs_of(lab, wanted.from_, wanted.to, both_ways=False):
        found = lab.round_trip(source, target)
        if not found:
            reasons.append(f"{source} → {target}: no answer")
        elif min(found) < wanted.above or (wanted.below is not None and min(found) > wanted.below):
            reasons.append(f"{source} → {target}: {1000 * min(found):.1f} ms")
    return several(reasons)


def spread(lab: LabView, wanted: declared.Spread) -> Verdict:
    """Flows pass all the routers wanted and no other, none is lost, and some come back another way if that is wanted."""
    flows = lab.spread(wanted.from_, wanted.to, wanted.flows)
    share = Counter(node for flow in flows for node in flow.there)
    text = ", ".join(f"{node} {count}" for node, count in sorted(share.items())) or "nothing"
    reasons = (
        [f"{sum(not flow.arrived for flow in flows)} of {len(flows)} flows did not arrive"] if not all(f.arrived for f in flows) else []
    )
    reasons += [f"no flow through {node} of {len(flows)} ({text})" for node in wanted.over if not share[node]]
    missing = sum(not set(flow.there) & set(wanted.over) for flow in flows)
    if missing:
        reasons.append(f"{missing} flows pass none of {', '.join(wanted.over)} ({text})")
    if wanted.asymmetric and all(set(flow.there) == set(flow.back) for flow in flows):
        reasons.append("every flow came back through the routers by which it went")
    return several(reasons)


def untouched(lab: LabView, wanted: declared.Untouched) -> Verdict:
    """The pairs get through and no packet of theirs is seen at the NVAs."""
    pairs = pairs_of(lab, wanted.from_, wanted.to, both_ways=True)
    results: list[Delivery] = []
    seen = lab.seen_at(wanted.nva, lambda: results.extend(lab.probe(pairs)))
    lost = [outcome(row) for row in results if not row.delivered]
    return several(lost + [f"{count} packets at {name}, expected none" for name, count in seen.items() if count])


def explained(lab: LabView, wanted: declared.Explained) -> Verdict:
    """The explanation on paper has this verdict, place and reason."""
    there = lab.explained(wanted.from_, wanted.to).there
    wrong = [walk for walk in there.walks if walk.verdict != wanted.verdict or wanted.at not in (None, walk.at)]
    if wrong:
        return several([f"on paper: {_walk(walk)}, {walk.verdict} at {walk.at}: {walk.reason}" for walk in wrong])
    reasons = [*(walk.reason for walk in there.walks), *there.hints]
    if wanted.because is not None and not any(wanted.because in reason for reason in reasons):
        return f"expected a reason with {wanted.because}, found {'; '.join(reasons) or 'none'}"
    return None
