"""A failover told in phases: the facts that several observers stamped, each by its own clock reading, put in one order; pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

MILESTONES = ("stimulus", "detected", "withdrawn", "decided", "programmed", "forwarding")
"""In causal order: the fault; the first to notice (BFD, TCP reset, hold timer); the route gone at the Route Server; the brain's decision;
the group changed on the switches; the first packet through the standby."""


@dataclass(frozen=True, order=True)
class Fact:
    """Something that one observer saw: wall-clock seconds, who, what (a milestone's name, or anything else), and details for people."""

    time: float
    observer: str
    what: str
    detail: str = ""


@dataclass(frozen=True)
class Milestone:
    """A stage reached: when first, when last (a change on several switches takes a while), and the facts that say so."""

    name: str
    first: float
    last: float
    facts: tuple[Fact, ...]


@dataclass(frozen=True)
class Phase:
    """The way from one milestone to the next that was observed: when it began, seconds until the next one's first fact.

    ``unobserved`` names the milestones in between that nobody stamped: their time is part of this phase. A negative duration means
    that the later milestone was seen first, e.g. a packet through the standby while the group on other switches was still unchanged.
    """

    begins_with: str
    ends_with: str
    begin: float
    duration: float
    unobserved: tuple[str, ...] = ()


@dataclass(frozen=True)
class Timeline:
    """All of it. ``missing``: milestones without a fact. ``facts``: everything within the window, also what is no milestone."""

    milestones: tuple[Milestone, ...]
    phases: tuple[Phase, ...]
    missing: tuple[str, ...]
    facts: tuple[Fact, ...]

    @property
    def total(self) -> float | None:
        """Seconds from the stimulus to the last milestone observed; None when there is no stimulus, or nothing after it."""
        if not self.milestones or self.milestones[0].name != MILESTONES[0] or len(self.milestones) < 2:
            return None
        return self.milestones[-1].first - self.milestones[0].first


def timeline(facts: Iterable[Fact], *, until: float = float("inf"), names: Sequence[str] = MILESTONES) -> Timeline:
    """Merge facts into phases. What lies before the (first) stimulus or after ``until`` is left out.

    Without a stimulus every fact counts, and the phases begin with the first milestone there is.
    """
    ordered = sorted(facts)
    start = next((fact.time for fact in ordered if fact.what == names[0]), float("-inf"))
    window = tuple(fact for fact in ordered if start <= fact.time <= until)
    reached = {name: tuple(fact for fact in window if fact.what == name) for name in names}
    milestones = tuple(Milestone(name, found[0].time, found[-1].time, found) for name, found in reached.items() if found)
    return Timeline(
        milestones=milestones,
        phases=tuple(_phase(before, after, names) for before, after in pairwise(milestones)),
        missing=tuple(name for name, found in reached.items() if not found),
        facts=window,
    )


def _phase(before: Milestone, after: Milestone, names: Sequence[str]) -> Phase:
    between = tuple(names[names.index(before.name) + 1 : names.index(after.name)])
    return Phase(before.name, after.name, before.first, after.first - before.first, between)


def read_journal(lines: Iterable[str], observer: str, milestones: Mapping[str, str]) -> list[Fact]:
    """The facts of a journal of JSON lines with ``wall`` (seconds), ``event`` and anything more.

    ``milestones`` maps an event's name to a milestone; other events keep their own name. A half-written last line is left out.
    """
    facts = []
    for line in lines:
        try:
            entry = json.loads(line)
            time, event = float(entry.pop("wall")), str(entry.pop("event"))
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
        entry.pop("t", None)
        detail = " ".join(f"{key}={value}" for key, value in entry.items())
        facts.append(Fact(time, observer, milestones.get(event, event), f"{event} {detail}".strip()))
    return facts
