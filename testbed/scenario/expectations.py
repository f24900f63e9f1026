"""One function an expectation: it looks at the lab and returns None, or what was observed instead of what was expected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from testbed.model import scenario as declared
from testbed.scenario import control_checks as control
from testbed.scenario import packet_checks as packets
from testbed.scenario import wire_checks as wires
from testbed.scenario.lab_view import LabView
from testbed.scenario.packet_checks import pairs_of
from testbed.scenario.verdict import Verdict, path_text

__all__ = ["Verdict", "check", "describe", "pairs_of"]


def check(lab: LabView, expectation: declared.Expectation) -> Verdict:
    """Look once: None when the expectation holds, else the reason why not, in words (expected against observed)."""
    return _CHECKS[expectation.verb](lab, expectation.detail)


def describe(expectation: declared.Expectation) -> str:
    """One line for people: what is expected."""
    return _DESCRIPTIONS[expectation.verb](expectation.detail)


_CHECKS: dict[str, Callable[[LabView, Any], Verdict]] = {
    "sessions": control.sessions,
    "session": control.session,
    "refused": control.refused,
    "learned": control.learned,
    "advertised": control.advertised,
    "table": control.table,
    "effective_route": control.effective_route,
    "delivered": packets.delivered,
    "looping": packets.fails("loop"),
    "dropped": packets.fails("dropped"),
    "path": packets.path,
    "traceroute": packets.traceroute,
    "round_trip": packets.round_trip,
    "spread": packets.spread,
    "only_on_link": wires.only_on_link,
    "nothing_in_clear": wires.nothing_in_clear,
    "comes_back": wires.comes_back,
    "mtu": wires.mtu,
    "tcp": wires.tcp,
    "untouched": packets.untouched,
    "explained": packets.explained,
    "agreement": control.agreement,
}


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(names)


def _pairs(detail: Any) -> str:
    return f"{_names(detail.from_)} {'↔' if detail.both_ways else '→'} {_names(detail.to)}"


def _session(detail: declared.OneSession) -> str:
    state = "up" if detail.up else f"down{f' ({detail.reason})' if detail.reason else ''}"
    return f"BGP {detail.between[0]} ↔ {detail.between[1]}: {state}"


def _learned(detail: declared.Learned) -> str:
    verb = "does not learn" if detail.absent else f"drops ({detail.dropped})" if detail.dropped else "learns"
    hop = f" via {detail.next_hop}" if detail.next_hop else ""
    only = "" if len(detail.instances) == 2 else f" (instance {detail.instances[0]})"
    return f"{detail.route_server} {verb} {detail.prefix} from {detail.peer}{hop}{path_text(detail.as_path)}{only}"


def _advertised(detail: declared.Advertised) -> str:
    verb = "does not advertise" if detail.absent else "advertises"
    return f"{detail.route_server} {verb} {detail.prefix} to {detail.peer}{path_text(detail.as_path)}"


def _table(detail: declared.TableEntry) -> str:
    used = f", {detail.used} paths in use" if detail.used is not None else ""
    return f"BGP table of {detail.node}: {'no ' if detail.absent else ''}{detail.prefix}{path_text(detail.as_path)}{used}"


def _traceroute(detail: declared.Traceroute) -> str:
    shown = f"{detail.repeats} again and again" if detail.repeats else " ".join(map(str, detail.hops or ()))
    return f"traceroute {detail.from_} → {detail.to}: {shown}"


def _round_trip(detail: declared.RoundTrip) -> str:
    most = f" and at most {1000 * detail.below:g}" if detail.below is not None else ""
    return f"round trip {_names(detail.from_)} ↔ {_names(detail.to)}: at least {1000 * detail.above:g}{most} ms"


def _explained(detail: declared.Explained) -> str:
    where = f" at {detail.at}" if detail.at else ""
    why = f", because of {detail.because}" if detail.because else ""
    return f"on paper {detail.from_} → {detail.to} is {detail.verdict}{where}{why}"


def _nothing_in_clear(detail: declared.NothingInClear) -> str:
    fate = "get through" if detail.delivered else "are lost"
    return f"{_names(detail.from_)} ↔ {_names(detail.to)} {fate}; in clear between {detail.link[0]} and {detail.link[1]}: nothing"


def _mtu(detail: declared.Mtu) -> str:
    by = f", says {detail.refused_by}" if detail.refused_by else ""
    return f"{detail.from_} → {detail.to}: packets of {detail.bytes} bytes and no larger ones{by}"


_DESCRIPTIONS: dict[str, Callable[[Any], str]] = {
    "sessions": lambda d: f"BGP sessions ({d.kind}): {'all' if d.established is None else d.established} established",
    "session": _session,
    "refused": lambda d: f"{d.route_server} refuses BGP with {d.nva}",
    "learned": _learned,
    "advertised": _advertised,
    "table": _table,
    "effective_route": lambda d: f"{_names(d.nic)}: {'no ' if d.absent else ''}{control.route_text(d)}",
    "delivered": lambda d: f"delivered: {_pairs(d)}" + (f", TTL down by {d.ttl_down}" if d.ttl_down is not None else ""),
    "looping": lambda d: f"loops: {_pairs(d)}" + (f", TTL exceeded from {d.at}" if d.at else ""),
    "dropped": lambda d: f"dropped: {_pairs(d)}",
    "path": lambda d: f"path: {' → '.join((d.from_, *d.through, d.to))}, as predicted",
    "traceroute": _traceroute,
    "round_trip": _round_trip,
    "spread": lambda d: f"{d.flows} flows {d.from_} ↔ {d.to} over {_names(d.over)}{', not symmetric' if d.asymmetric else ''}",
    "only_on_link": lambda d: f"between {d.link[0]} and {d.link[1]} only {', '.join(d.kinds)}",
    "nothing_in_clear": _nothing_in_clear,
    "comes_back": lambda d: f"{d.node} gets its own packets back: {_names(d.kinds)}",
    "mtu": _mtu,
    "tcp": lambda d: f"TCP {d.from_} → {d.to}: {d.bytes} bytes{f', segments of {d.mss} bytes' if d.mss else ''}",
    "untouched": lambda d: f"{_names(d.from_)} ↔ {_names(d.to)} get through and touch neither of {_names(d.nva)}",
    "explained": _explained,
    "agreement": lambda d: (
        "prediction, controller and switches agree" + ("" if "all" in d.nics else f": effective routes of {_names(d.nics)}")
    ),
}
