"""What bgpd says of a session that it ended itself: FRR 8.4 does not tell over BMP, its own command socket does (in half a millisecond)."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from testbed.azure.types import Address
from testbed.controller.bmp import ENDED_HERE, notification_reason

TIMEOUT = 0.5
MAX_ANSWER = 1 << 20
_NOTIFIED = ("BGP Notification send", "BGP Notification received")


def why_down(vty: Path, peer: Address) -> str:
    """Why bgpd's session with this peer ended, as a reason of `SessionDown`; ``local`` when it does not say or does not answer.

    ``vty`` is bgpd's command socket (``bgpd.vty``).
    """
    try:
        neighbours = json.loads(_ask(vty, f"show bgp neighbors {peer} json"))
    except (OSError, ValueError):
        return ENDED_HERE
    return reason_of(neighbours.get(peer, {}))


def reason_of(neighbour: dict[str, Any]) -> str:
    """The reason in what ``show bgp neighbors … json`` prints of one neighbour."""
    cause = str(neighbour.get("lastResetDueTo", ""))
    if cause in _NOTIFIED:
        codes = bytes.fromhex(str(neighbour.get("lastErrorCodeSubcode", "0000")))
        return notification_reason(codes[0], codes[1])
    if cause.startswith(("Admin", "Neighbor deleted", "User reset")):
        return "notification"
    return "closed" if cause == "Peer closed the session" else ENDED_HERE


def _ask(vty: Path, command: str) -> bytes:
    """One command's answer. The protocol: the command and a NUL; the answer, three NULs and the return code."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(TIMEOUT)
        connection.connect(str(vty))
        _exchange(connection, b"enable\0")
        return _exchange(connection, command.encode() + b"\0")


def _exchange(connection: socket.socket, request: bytes) -> bytes:
    connection.sendall(request)
    answer = b""
    while answer[-4:-1] != b"\0\0\0":
        chunk = connection.recv(65536)
        if not chunk or len(answer) > MAX_ANSWER:
            raise ConnectionError("bgpd closed its command socket")
        answer += chunk
    return answer[:-4]
