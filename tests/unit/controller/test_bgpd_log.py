"""What a bgpd's log says of sessions that end, from the moment on that somebody watches it."""

from __future__ import annotations

import select
from pathlib import Path

import pytest

from testbed.controller.bgpd_log import LogWatch

LINE = "2026/11/28 01:30:40.917693 BGP: [PXVXG-TFNNT] %ADJCHANGE: neighbor {}({}) in vrf default {}\n"
CLOSED, HOLD = (
    LINE.format("10.1.0.4", "nva1", "Down Peer closed the session"),
    LINE.format("10.1.0.5", "nva1b", "Down BGP Notification send"),
)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "bgpd.log"
    path.write_text(CLOSED)
    return path


def said(log: Path, watch: LogWatch, text: str) -> dict[str, str]:
    with log.open("a") as file:
        file.write(text)
    assert select.select([watch], [], [], 5.0)[0]
    return watch.ended()


def test_an_end_is_told_with_its_reason_and_what_was_there_before_is_not(log: Path) -> None:
    watch = LogWatch(log)
    assert said(log, watch, HOLD) == {"10.1.0.5": "local"}
    assert said(log, watch, CLOSED + HOLD) == {"10.1.0.4": "closed", "10.1.0.5": "local"}
    watch.close()


def test_a_session_that_has_come_up_again_has_not_ended(log: Path) -> None:
    """The news must not be older than what BMP has said meanwhile."""
    watch = LogWatch(log)
    assert said(log, watch, CLOSED + LINE.format("10.1.0.4", "nva1", "Up")) == {}
    watch.close()


def test_a_line_that_is_not_whole_waits_and_other_lines_say_nothing(log: Path) -> None:
    watch = LogWatch(log)
    assert said(log, watch, "2026/11/28 01:30:41 BGP: something else\n" + CLOSED[:60]) == {}
    assert said(log, watch, CLOSED[60:]) == {"10.1.0.4": "closed"}
    watch.close()


def test_without_a_log_there_is_nothing_to_watch(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"bgpd\.log"):
        LogWatch(tmp_path / "bgpd.log")
