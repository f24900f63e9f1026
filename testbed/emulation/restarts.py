"""Starts daemons again that died without being asked; the topology says whether (``supervision.restart``)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from testbed.errors import TestbedError

MEMORY = 60.0
"""Seconds for which a restart counts against the next one of the same daemon."""

LONGEST = 30.0
"""Seconds that a daemon that dies again and again waits at most."""


@dataclass(frozen=True)
class Restart:
    """A daemon that was started again: which, when it ran (seconds since the epoch), how often lately; ``error`` why it did not."""

    node: str
    daemon: str
    at: float
    lately: int
    error: str = ""


class Restarts:
    """Starts daemons again: at once after the first death, later after each further one within a minute."""

    def __init__(self, start: Callable[[str, str], None]) -> None:
        """``start`` starts a daemon of a node, in a thread of its own; it raises TestbedError when that fails."""
        self.done: list[Restart] = []
        self._start = start

    def after_death(self, node: str, daemon: str) -> None:
        """Start it again when its turn has come."""
        lately = self._lately(node, daemon)
        timer = threading.Timer(delay(lately), self._again, (node, daemon, lately + 1))
        timer.daemon = True
        timer.start()

    def _lately(self, node: str, daemon: str) -> int:
        now = time.time()
        return sum((each.node, each.daemon) == (node, daemon) and now - each.at < MEMORY for each in self.done)

    def _again(self, node: str, daemon: str, lately: int) -> None:
        error = ""
        try:
            self._start(node, daemon)
        except TestbedError as problem:
            error = str(problem)
        self.done.append(Restart(node, daemon, time.time(), lately, error))
        if error:
            self.after_death(node, daemon)


def delay(lately: int) -> float:
    """Seconds until the next start of a daemon that was started so often lately: 0, 1, 2, 4, …, `LONGEST`."""
    return 0.0 if lately == 0 else min(LONGEST, 2.0 ** (lately - 1))
