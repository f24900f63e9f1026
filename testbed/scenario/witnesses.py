"""What others stamped while we measured: the controller's journal, the logs of BGP daemons, the lab's own notes, as facts.

The milestones, in causal order, are those of a failure (`FAILING`) and of its healing (`HEALING`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, tzinfo
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

from testbed.measure.timeline import Fact, read_journal

FAILING = ("stimulus", "detected", "withdrawn", "decided", "sent", "programmed", "forwarding", "recovered")
HEALING = ("stimulus", "established", "announced", "decided", "sent", "programmed", "forwarding", "recovered")
MEANING = {
    "stimulus": "the fault, or its healing",
    "detected": "a BGP speaker notices: TCP reset, BFD, hold timer, notification",
    "established": "the BGP session is up again",
    "withdrawn": "the routes are gone at the Route Server",
    "announced": "the Route Server has the routes",
    "decided": "the brain has decided",
    "sent": "the change is sent to the switches",
    "programmed": "a switch has acknowledged it",
    "forwarding": "the first packet through another NVA than before",
    "recovered": "the first packet arrives again",
}

_EVENTS = {"decided": "decided", "sent": "sent", "barrier": "programmed"}
_BATCHES = ("next-hops", "routes")
_LINE = re.compile(r"^(\d{4}/\d\d/\d\d \d\d:\d\d:\d\d(?:\.\d+)?) BGP: .*%ADJCHANGE: neighbor (\S+?)(?:\((\S+?)\))? .*? (Up|Down)\b ?(.*)$")
_STAMP = re.compile(r"^(\d{4}/\d\d/\d\d \d\d:\d\d:\d\d(?:\.\d+)?) ")
_COARSE = 1.0  # seconds; a daemon's stamps are whole seconds until it is told otherwise
_LOCALTIME = Path("/etc/localtime")


def journal_facts(lines: Iterable[str], healing: bool) -> list[Fact]:
    """The facts of the controller's journal; events that are no milestone have another name than any.

    A ``barrier`` or ``sent`` counts when it carries next hops or routes; groups that were rewritten count before prefixes that moved.
    """
    facts = [_milestone(fact, healing) for fact in read_journal(lines, "controller", {})]
    urgent = any(fact.what in ("sent", "programmed") and "what=next-hops" in fact.detail for fact in facts)
    return [Fact(fact.time, fact.observer, _detail_of(fact), fact.detail) if urgent else fact for fact in facts]


def _milestone(fact: Fact, healing: bool) -> Fact:
    what = fact.what
    if what == "session-down" or (what == "received" and " withdrawn=0" not in fact.detail):
        what = what if healing else "withdrawn"
    if fact.what == "received" and " announced=0" not in fact.detail and healing:
        what = "announced"
    if what in _EVENTS:
        relevant = " prefixes=0 " not in fact.detail if what == "decided" else any(f"what={batch}" in fact.detail for batch in _BATCHES)
        what = _EVENTS[what] if relevant else f"{what}-other"
    return Fact(fact.time, fact.observer, what, fact.detail)


def _detail_of(fact: Fact) -> str:
    """Where groups were rewritten, the prefixes that moved afterwards are details."""
    return f"{fact.what}-routes" if fact.what in ("sent", "programmed") and "what=routes" in fact.detail else fact.what


def bgpd_facts(node: str, lines: Iterable[str], healing: bool) -> list[Fact]:
    """Sessions that went down (or up) by a bgpd's own log."""
    facts = []
    for line in lines:
        if (match := _LINE.match(line)) is None:
            continue
        stamp, address, name, state, reason = match.groups()
        what = ("established" if healing else "session-up") if state == "Up" else ("session-lost" if healing else "detected")
        detail = f"{name or address}: {state.lower()}" + (f", {reason.strip()}" if reason.strip() else "")
        facts.append(Fact(_seconds(stamp), node, what, detail))
    return facts


_MARK = "time-lapse mark"
_MARKED = re.compile(rf"^(\S+ \S+) BGP: .*{_MARK} (\d+\.\d+)$")


def mark_command(now: float) -> str:
    """The command by which a bgpd whose clock runs fast writes into its log what time it really is (seconds since 1970)."""
    return f"logmsg informational {_MARK} {now:.6f}"


def real_times(facts: Sequence[Fact], lines: Iterable[str], time_lapse: float) -> list[Fact]:
    """Facts of a bgpd whose clock runs ``time_lapse`` times as fast, by the wall's clock; those that no mark is near to are left out.

    A daemon that is started again begins with the wall's time, far behind its predecessor's: marks hold for one life.
    """
    lives: list[list[tuple[float, float]]] = [[]]
    stamps: list[tuple[float, int]] = []
    last = float("-inf")
    for line in lines:
        if (stamped := _STAMP.match(line)) is None:
            continue
        now = _seconds(stamped[1])
        if now < last - _COARSE:
            lives.append([])
        last = now
        stamps.append((now, len(lives) - 1))
        if marked := _MARKED.match(line):
            lives[-1].append((now, float(marked[2])))
    life_of = dict(stamps)
    found = []
    for fact in facts:
        marks = lives[life_of[fact.time]]
        if marks:
            shown, real = min(marks, key=lambda mark: abs(mark[0] - fact.time))
            found.append(replace(fact, time=real + (fact.time - shown) / time_lapse))
    return found


def _seconds(stamp: str) -> float:
    form = "%Y/%m/%d %H:%M:%S.%f" if "." in stamp else "%Y/%m/%d %H:%M:%S"
    return datetime.strptime(stamp, form).replace(tzinfo=_zone()).timestamp()


@cache
def _zone() -> tzinfo:
    """The machine's zone, which the daemons write in, whatever the user's own is."""
    try:
        with _LOCALTIME.open("rb") as file:
            return ZoneInfo.from_file(file)
    except (OSError, ValueError):
        return ZoneInfo("UTC")


class Tail:
    """A file that grows: remembers where it ended, gives the lines written since."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = path.stat().st_size if path.exists() else 0

    def lines(self) -> Sequence[str]:
        """What was written since; nothing when the file is not there."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                return file.read().decode(errors="replace").splitlines()
        except OSError:
            return ()
