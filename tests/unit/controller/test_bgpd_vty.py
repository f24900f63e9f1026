"""Why a session ended, in bgpd's own words."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path

import pytest

from testbed.controller.bgpd_vty import reason_of, why_down


@pytest.mark.parametrize(
    ("neighbour", "reason"),
    [
        ({"lastResetDueTo": "BGP Notification send", "lastErrorCodeSubcode": "0400"}, "hold-timer"),
        ({"lastResetDueTo": "BGP Notification send", "lastErrorCodeSubcode": "0601"}, "max-prefix"),
        ({"lastResetDueTo": "BGP Notification received", "lastErrorCodeSubcode": "0602"}, "notification"),
        ({"lastResetDueTo": "Admin. shutdown", "lastErrorCodeSubcode": "0400"}, "notification"),
        ({"lastResetDueTo": "Peer closed the session"}, "closed"),
        ({"lastResetDueTo": "Waiting for NHT"}, "local"),
        ({}, "local"),
    ],
)
def test_reasons(neighbour: dict[str, str], reason: str) -> None:
    assert reason_of(neighbour) == reason


def bgpd(path: Path, answer: bytes) -> None:
    """A command socket that gives one answer to each command, in two pieces."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, listener:
            for reply in (b"\0\0\0\0", answer):
                connection.recv(4096)
                connection.sendall(reply[:5])
                connection.sendall(reply[5:])

    threading.Thread(target=serve, daemon=True).start()


def test_bgpd_is_asked(tmp_path: Path) -> None:
    text = json.dumps({"10.1.0.4": {"lastResetDueTo": "BGP Notification send", "lastErrorCodeSubcode": "0400"}})
    bgpd(tmp_path / "bgpd.vty", text.encode() + b"\0\0\0\0")
    assert why_down(tmp_path / "bgpd.vty", "10.1.0.4") == "hold-timer"


def test_no_answer_and_nonsense_are_no_reason(tmp_path: Path) -> None:
    assert why_down(tmp_path / "nobody.vty", "10.1.0.4", budget=0) == "local"
    bgpd(tmp_path / "bgpd.vty", b"% unknown command\0\0\0\1")
    assert why_down(tmp_path / "bgpd.vty", "10.1.0.4", budget=0) == "local"


def test_the_log_keeps_the_reason_when_bgpd_has_gone_on(tmp_path: Path) -> None:
    bgpd(tmp_path / "bgpd.vty", json.dumps({"10.1.0.4": {"lastResetDueTo": "Waiting for NHT"}}).encode() + b"\0\0\0\0")
    (tmp_path / "bgpd.log").write_text(
        "BGP: %NOTIFICATION: sent to neighbor 10.1.0.40 6/2 (Cease/Administrative Shutdown) 0 bytes\n"
        "BGP: %NOTIFICATION: sent to neighbor 10.1.0.4 4/0 (Hold Timer Expired) 0 bytes\n"
    )
    assert why_down(tmp_path / "bgpd.vty", "10.1.0.4", budget=0) == "hold-timer"
