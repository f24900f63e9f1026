"""Readiness is a probe: a check returns None or the reason why not, and waiting polls it within a named budget."""

from __future__ import annotations

import time
from collections.abc import Callable

from testbed.errors import NotReady

Check = Callable[[], str | None]


def wait_until(check: Check, *, what: str, budget: float, interval: float = 0.01) -> float:
    """Poll ``check`` until it returns None; give back the seconds it took.

    ``what`` names the budget in the error, ``budget`` and ``interval`` are seconds. Raises NotReady with the last reason.
    """
    start = time.monotonic()
    while (reason := check()) is not None:
        if time.monotonic() - start > budget:
            raise NotReady(f"{what}: not ready after {budget:g} s: {reason}")
        time.sleep(interval)
    return time.monotonic() - start
