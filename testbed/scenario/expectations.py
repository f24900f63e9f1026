"""One function an expectation: it looks at the lab and returns None, or what was observed instead of what was expected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from testbed.azure.types import Row
from testbed.measure.reachability import Delivery
from testbed.model import scenario as declared
from testbed.scenario.lab_view import LabView

Verdict = str | None
_SHOWN = 6


def check(lab: LabView, expectation: declared.Expectation) -> Verdict:
    """Look once: None when the expectation holds, else the reason why not, in words (expected against observed)."""
    return _CHECKS[expectation.verb](lab, expectation.detail)


def describe(expectation: declared.Expectation) -> str:
    """One line for people: what is expected."""
    return _DESCRIPTIONS[expectation.verb](expectation.detail)


def _several(reasons: Sequence[str]) -> Verdict:
    if not reasons:
        return None
    more = f" (and {len(reasons) - _SHOWN} more)" if len(reasons) > _SHOWN else ""
    return "; ".join(reasons[:_SHOWN]) + more


def _pick(names: Sequence[str], every: Sequence[str]) -> tuple[str, ...]:
    return tuple(every) if "all" in names else tuple(names)


def pairs_of(lab: LabView, sources: Sequence[str], targets: Sequence[str], both_ways: bool) -> tuple[tuple[str, str], ...]:
    """All ordered pairs of two different VMs, one from each list (``all`` stands for every VM), and their reverse if asked for."""
    vms = lab.vms()
    forward = [(a, b) for a in _pick(sources, vms) for b in _pick(targets, vms) if a != b]
    return tuple(dict.fromkeys(forward + [(b, a) for a, b in forward] if both_ways else forward))


def _sessions(lab: LabView, wanted: declared.Sessions) -> Verdict:
    rows = [row for row in lab.sessions() if wanted.kind in ("all", row.kind)]
    up = [row for row in rows if row.up]
    if wanted.established is not None and len(up) != wanted.established:
        return (
            f"expected {wanted.established} established, observed {len(up)}: {_several([str(row) for row in rows if not row.up]) or 'none'}"
        )
    if wanted.established is None and (not rows or len(up) < len(rows)):
        return _several([str(row) for row in rows if not row.up]) or f"the plan has no session of kind {wanted.kind}"
    return None


def _learned(lab: LabView, wanted: declared.Learned) -> Verdict:
    rows = [row for row in lab.learned(wanted.route_server, wanted.peer) if row.prefix == str(wanted.prefix)]
    reasons = []
    for instance in wanted.instances:
        found = [row for row in rows if row.instance == instance]
        accepted = [row for row in found if not row.dropped]
        if wanted.absent:
            reasons += [f"expected nothing, observed {row}" for row in accepted]
        elif wanted.dropped is not None:
            if not any(wanted.dropped in row.dropped for row in found):
                reasons.append(f"instance {instance}: expected it dropped ({wanted.dropped}), observed {_rows(found)}")
        elif not any(wanted.as_path is None or row.as_path == wanted.as_path for row in accepted):
            path = f" with AS path {'-'.join(map(str, wanted.as_path))}" if wanted.as_path else ""
            reasons.append(f"instance {instance}: expected {wanted.prefix}{path}, observed {_rows(found)}")
    return _several(reasons)


def _rows(rows: Iterable[object]) -> str:
    return ", ".join(str(row) for row in rows) or "nothing"


def _effective(lab: LabView, wanted: declared.EffectiveRoute) -> Verdict:
    return _several([reason for nic in _pick(wanted.nic, lab.nics()) if (reason := _effective_at(lab, nic, wanted))])


def _effective_at(lab: LabView, nic: str, wanted: declared.EffectiveRoute) -> Verdict:
    rows = [row for row in lab.effective(nic) if row.active and row.prefix == str(wanted.prefix)]
    matching = [row for row in rows if wanted.next_hop_type in (None, row.next_hop_type)]
    if wanted.next_hops is not None:
        hops = sorted(map(str, wanted.next_hops))
        matching = [row for row in matching if sorted(row.next_hops) == hops]
    if wanted.absent and matching:
        return f"{nic}: expected no such route, observed {_rows(map(_row, matching))}"
    if not wanted.absent and not matching:
        return f"{nic}: expected {_wanted_route(wanted)}, observed {_rows(map(_row, rows))}"
    return None


def _row(row: Row) -> str:
    return f"{row.prefix} {row.next_hop_type}" + (f" {','.join(row.next_hops)}" if row.next_hops else "")


def _wanted_route(wanted: declared.EffectiveRoute) -> str:
    hops = f" {','.join(map(str, wanted.next_hops))}" if wanted.next_hops is not None else ""
    return f"{wanted.prefix}{' ' + wanted.next_hop_type if wanted.next_hop_type else ''}{hops}"


def _delivered(lab: LabView, wanted: declared.Delivered) -> Verdict:
    found = lab.probe(pairs_of(lab, wanted.from_, wanted.to, wanted.both_ways))
    if not found:
        return "no pair to try"
    lost = [_outcome(row) for row in found if not row.delivered]
    ttl = [
        f"{row.source} → {row.target}: TTL down by {row.ttl_down}, expected {wanted.ttl_down}"
        for row in found
        if row.delivered and wanted.ttl_down not in (None, row.ttl_down)
    ]
    return _several(lost + ttl)


def _outcome(row: Delivery) -> str:
    at = f", TTL exceeded sent by {row.loop_at}" if row.loop_at else ""
    return f"{row.source} → {row.target}: {row.result}{at}"


def _fails(result: str) -> Callable[[LabView, declared.NotDelivered], Verdict]:
    def look(lab: LabView, wanted: declared.NotDelivered) -> Verdict:
        found = lab.probe(pairs_of(lab, wanted.from_, wanted.to, wanted.both_ways))
        if not found:
            return "no pair to try"
        return _several(
            [
                f"{_outcome(row)}, expected {result}{f' at {wanted.at}' if wanted.at else ''}"
                for row in found
                if row.result != result or wanted.at not in (None, row.loop_at)
            ]
        )

    return look


def _path(lab: LabView, wanted: declared.PathTaken) -> Verdict:
    journey, predicted = lab.trace(wanted.from_, wanted.to), lab.predicted_path(wanted.from_, wanted.to)
    expected = (wanted.from_, *wanted.through, wanted.to)
    if journey.nodes != expected:
        return f"expected {' → '.join(expected)}, observed {' → '.join(journey.nodes) or 'nothing'} ({journey.result})"
    if journey.nodes != predicted:
        return f"observed {' → '.join(journey.nodes)}, but the walk over the plan is {' → '.join(predicted)}"
    return None


def _only_on_link(lab: LabView, wanted: declared.OnlyOnLink) -> Verdict:
    pairs = pairs_of(lab, wanted.from_, wanted.to, both_ways=True)
    results: list[Delivery] = []
    seen = lab.on_link(wanted.link, lambda: results.extend(lab.probe(pairs)))
    lost = [_outcome(row) for row in results if not row.delivered]
    kinds = Counter(packet[0].carries for packet in seen if packet)
    others = [f"{count} packets of {kind}" for kind, count in sorted(kinds.items()) if kind not in wanted.kinds]
    missing = [f"no packet of {kind} was seen" for kind in wanted.kinds if not kinds[kind]]
    return _several(lost + others + missing)


def _agreement(lab: LabView, wanted: declared.Agreement) -> Verdict:
    reasons = []
    for nic in _pick(wanted.nics, lab.nics()):
        observed, predicted = set(map(_whole, lab.effective(nic))), set(map(_whole, lab.predicted_effective(nic)))
        reasons += [f"{nic}: predicted and not observed: {row}" for row in sorted(predicted - observed)]
        reasons += [f"{nic}: observed and not predicted: {row}" for row in sorted(observed - predicted)]
    return _several(reasons)


def _whole(row: Row) -> str:
    return f"{row.prefix} {row.next_hop_type} {','.join(sorted(row.next_hops))} {row.source} {'Active' if row.active else 'Invalid'}"


_CHECKS: dict[str, Callable[[LabView, Any], Verdict]] = {
    "sessions": _sessions,
    "learned": _learned,
    "effective_route": _effective,
    "delivered": _delivered,
    "looping": _fails("loop"),
    "dropped": _fails("dropped"),
    "path": _path,
    "only_on_link": _only_on_link,
    "agreement": _agreement,
}


def _names(names: Sequence[str]) -> str:
    return ", ".join(names)


def _pairs_text(detail: Any) -> str:
    return f"{_names(detail.from_)} {'↔' if detail.both_ways else '→'} {_names(detail.to)}"


def _describe_learned(detail: declared.Learned) -> str:
    verb = "does not learn" if detail.absent else f"drops ({detail.dropped})" if detail.dropped else "learns"
    path = f" with AS path {'-'.join(map(str, detail.as_path))}" if detail.as_path else ""
    return f"{detail.route_server} {verb} {detail.prefix} from {detail.peer}{path}"


_DESCRIPTIONS: dict[str, Callable[[Any], str]] = {
    "sessions": lambda d: f"BGP sessions ({d.kind}): {'all' if d.established is None else d.established} established",
    "learned": _describe_learned,
    "effective_route": lambda d: f"{_names(d.nic)}: {'no ' if d.absent else ''}{_wanted_route(d)}",
    "delivered": lambda d: f"delivered: {_pairs_text(d)}" + (f", TTL down by {d.ttl_down}" if d.ttl_down is not None else ""),
    "looping": lambda d: f"loops: {_pairs_text(d)}" + (f", TTL exceeded from {d.at}" if d.at else ""),
    "dropped": lambda d: f"dropped: {_pairs_text(d)}",
    "path": lambda d: f"path: {' → '.join((d.from_, *d.through, d.to))}, as predicted",
    "only_on_link": lambda d: f"between {d.link[0]} and {d.link[1]} only {', '.join(d.kinds)}",
    "agreement": lambda d: f"prediction and switches agree: effective routes of {'every NIC' if 'all' in d.nics else _names(d.nics)}",
}
