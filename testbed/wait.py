"""Readiness is a probe: a check returns None or the reason why not, and waiting polls it within a named budget.

On a machine that emulates another one in software everything takes many times longer: TESTBED_PATIENCE multiplies all budgets.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from testbed.errors import NotReady

Check = Callable[[], str | None]


def patience(text: str) -> float:
    """The factor that TESTBED_PATIENCE asks for; 1 for what is no number above it."""
    try:
        return max(1.0, float(text))
    except ValueError:
        return 1.0


_PATIENCE = patience(os.environ.get("TESTBED_PATIENCE", ""))


def poll(check: Check, *, budget: float, interval: float = 0.01) -> str | None:
    """Poll ``check`` until it returns None or ``budget`` seconds are over; give back the last reason, None when it holds."""
    deadline = time.monotonic() + budget * _PATIENCE
    while (reason := check()) is not None:
        if time.monotonic() >= deadline:
            return reason
        time.sleep(interval)
    return None


def wait_until(check: Check, *, what: str, budget: float, interval: float = 0.01) -> float:
    """Poll ``check`` until it returns None; give back the seconds it took.

    ``what`` names the budget in the error, ``budget`` and ``interval`` are seconds. Raises NotReady with the last reason.
    """
    start = time.monotonic()
    if (reason := poll(check, budget=budget, interval=interval)) is not None:
        raise NotReady(f"{what}: not ready after {budget * _PATIENCE:g} s: {reason}")
    return time.monotonic() - start
