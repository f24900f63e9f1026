"""Daemons are started again at once, later when they keep dying, and a start that fails is tried again."""

from __future__ import annotations

import threading

from testbed.emulation.restarts import LONGEST, Restarts, delay
from testbed.errors import LabError
from testbed.wait import wait_until


def test_who_keeps_dying_waits_longer_each_time() -> None:
    assert [delay(lately) for lately in (0, 1, 2, 3, 4)] == [0.0, 1.0, 2.0, 4.0, 8.0]
    assert delay(50) == LONGEST


def test_a_daemon_is_started_again_at_once_and_a_failure_is_told_and_tried_again() -> None:
    started = threading.Semaphore(0)
    fails = [True, False]

    def start(node: str, daemon: str) -> None:
        if fails.pop(0):
            raise LabError("no memory")
        started.release()

    restarts = Restarts(start)
    restarts.after_death("nva1", "bgpd")
    wait_until(lambda: None if len(restarts.done) == 2 else "not yet", what="second try", budget=5.0)
    assert started.acquire(blocking=False)
    assert [(each.node, each.daemon, each.lately, each.error) for each in restarts.done] == [
        ("nva1", "bgpd", 1, "no memory"),
        ("nva1", "bgpd", 2, ""),
    ]
