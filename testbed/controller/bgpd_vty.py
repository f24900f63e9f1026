"""What bgpd says of a session that it ended itself: FRR 8.4 does not tell over BMP, its own command socket does (in half a millisecond)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from testbed.azure.types import Address
from testbed.controller.bmp import ENDED_HERE, notification_reason
from testbed.errors import TestbedError
from testbed.vty import show
from testbed.wait import poll

BUDGET = 5.0
"""Seconds within which bgpd should know why; it tells BMP a moment before it writes the reason down, and the machine may be busy."""
_TAIL = 1 << 16
_NOTIFIED = ("BGP Notification send", "BGP Notification received")


def why_down(vty: Path, peer: Address, budget: float = BUDGET) -> str:
    """Why bgpd's session with this peer ended, as a reason of `SessionDown`; ``local`` when it does not say or does not answer.

    ``vty`` is bgpd's command socket (``bgpd.vty``).
    """
    found = ENDED_HERE

    def known() -> str | None:
        nonlocal found
        try:
            found = reason_of(show(vty, f"show bgp neighbors {peer} json").get(peer, {}))
        except (OSError, ValueError, TestbedError):
            return "bgpd does not answer"
        if found == ENDED_HERE:  # "Waiting for NHT" soon stands where the reason stood; the log keeps it
            found = logged(vty.with_name("bgpd.log"), peer)
        return None if found != ENDED_HERE else "bgpd does not say"

    poll(known, budget=budget, interval=0.02)
    return found


def logged(log: Path, peer: Address) -> str:
    """The reason in the last NOTIFICATION with this peer that bgpd's log has; ``local`` when there is none."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - _TAIL))
            text = stream.read().decode(errors="replace")
    except OSError:
        return ENDED_HERE
    codes = re.findall(rf"NOTIFICATION[^\n]* neighbor {re.escape(peer)} (\d+)/(\d+)", text)
    return notification_reason(int(codes[-1][0]), int(codes[-1][1])) if codes else ENDED_HERE


def reason_of(neighbour: dict[str, Any]) -> str:
    """The reason in what ``show bgp neighbors … json`` prints of one neighbour."""
    cause = str(neighbour.get("lastResetDueTo", ""))
    if cause in _NOTIFIED:
        codes = bytes.fromhex(str(neighbour.get("lastErrorCodeSubcode", "0000")))
        return notification_reason(codes[0], codes[1])
    if cause.startswith(("Admin", "Neighbor deleted", "User reset")):
        return "notification"
    return "closed" if cause == "Peer closed the session" else ENDED_HERE
