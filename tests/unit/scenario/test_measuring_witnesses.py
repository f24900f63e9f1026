"""What the controller's journal and the BGP daemons' logs say, as milestones of a failure and of its healing."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from testbed.scenario import witnesses
from testbed.scenario.witnesses import Tail, bgpd_facts, journal_facts

JOURNAL = [
    {"wall": 10.0, "event": "session-down", "server": "rs1", "instance": 0, "peer": "nva1", "reason": "closed"},
    {"wall": 10.1, "event": "decided", "events": 1, "prefixes": 2, "ms": 0.3},
    {"wall": 10.2, "event": "sent", "bridge": "b1", "batch": 6, "what": "next-hops", "groups": 1},
    {"wall": 10.3, "event": "barrier", "bridge": "b1", "batch": 6, "what": "next-hops", "ms": 1.0},
    {"wall": 10.4, "event": "sent", "bridge": "b1", "batch": 7, "what": "routes", "flows": 2},
    {"wall": 10.5, "event": "barrier", "bridge": "b1", "batch": 7, "what": "routes", "ms": 1.0},
    {"wall": 10.6, "event": "sent", "bridge": "b1", "batch": 8, "what": "sweep"},
    {"wall": 10.7, "event": "received", "sessions": [], "announced": 2, "withdrawn": 0},
    {"wall": 10.8, "event": "decided", "events": 2, "prefixes": 0, "ms": 0.1},
]


def lines(*numbers: int) -> list[str]:
    return [json.dumps(JOURNAL[number]) for number in numbers or range(len(JOURNAL))]


def whats(*numbers: int, healing: bool = False) -> list[str]:
    return [fact.what for fact in journal_facts(lines(*numbers), healing)]


def test_a_failure_is_told_by_its_groups_not_by_the_prefixes_that_moved_later() -> None:
    found = whats()
    assert found[:6] == ["withdrawn", "decided", "sent", "programmed", "sent-routes", "programmed-routes"]
    assert not {"decided", "sent", "programmed"} & set(found[6:]), "a sweep, and a decision about nothing, are no milestones"


def test_without_groups_the_prefixes_are_what_counts() -> None:
    assert whats(0, 1, 4, 5) == ["withdrawn", "decided", "sent", "programmed"]


def test_a_healing_begins_with_routes_that_are_announced() -> None:
    assert whats(7, 1, 4, 5, healing=True) == ["announced", "decided", "sent", "programmed"]
    assert whats(0, healing=True) == ["session-down"]


def test_a_prefix_withdrawn_while_the_session_lives_counts_too() -> None:
    line = json.dumps({"wall": 1.0, "event": "received", "announced": 0, "withdrawn": 3})
    assert [fact.what for fact in journal_facts([line], False)] == ["withdrawn"]


def test_a_half_written_line_is_left_out() -> None:
    assert journal_facts(['{"wall": 1.0, "eve'], False) == []


@pytest.fixture
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(witnesses, "_zone", lambda: UTC)


DOWN = "2026/11/22 20:46:07.123456 BGP: [M59KS-A3ZXZ] %ADJCHANGE: neighbor 10.1.0.4(nva1) in vrf default Down Peer closed the session"
UP = "2026/11/22 20:46:08 BGP: [M59KS-A3ZXZ] %ADJCHANGE: neighbor 198.18.0.1 in vrf default Up"


@pytest.mark.usefixtures("utc")
def test_bgpd_says_when_and_why_a_session_ended() -> None:
    (fact,) = bgpd_facts("rs1-0", [DOWN, "2026/11/22 20:46:07 BGP: something else"], False)
    assert fact.time == datetime(2026, 11, 22, 20, 46, 7, 123456, UTC).timestamp()
    assert (fact.observer, fact.what, fact.detail) == ("rs1-0", "detected", "nva1: down, Peer closed the session")


@pytest.mark.usefixtures("utc")
def test_bgpd_says_when_a_session_is_up_again() -> None:
    (fact,) = bgpd_facts("nva1", [UP], True)
    assert (fact.what, fact.detail) == ("established", "198.18.0.1: up")
    assert bgpd_facts("nva1", [UP], False)[0].what == "session-up"
    assert bgpd_facts("nva1", [DOWN], True)[0].what == "session-lost"


def test_a_tail_gives_what_was_written_since(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_text("old\n")
    tail, missing = Tail(file), Tail(tmp_path / "none")
    with file.open("a") as more:
        more.write("new\nnewer\n")
    assert tail.lines() == ["new", "newer"]
    assert missing.lines() == ()
