"""The settle gate before a stimulus: no route and no flow changes any more, no BGP session is young, none is still to come or to end."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

from testbed.emulation import readiness
from testbed.emulation.paths import LabPaths
from testbed.errors import TestbedError
from testbed.measure.validity import DEFAULT_LIMITS, unsettled
from testbed.plan.types import Plan
from testbed.scenario.standing import Standing
from testbed.wait import poll

SPARE = 20.0
"""Seconds that calm may take beyond the age that sessions need."""

QUIET_AFTER = 1.0
"""Seconds without a change after which a lab that was disturbed counts as calm again."""


class Running(Protocol):
    """A lab that is up."""

    @property
    def plan(self) -> Plan:
        """Its plan."""

    @property
    def paths(self) -> LabPaths:
        """Its folder."""

    def controller(self, method: str, target: str, timeout: float = 30.0, **parameters: Any) -> Any:
        """Call its controller."""


class Gate:
    """A check: the lab is calm. ``age``: seconds that every established session must have; ``expected``: which must be up, which down."""

    def __init__(self, lab: Running, age: float, expected: Standing, quiet: float = DEFAULT_LIMITS.quiet) -> None:
        self._lab = lab
        self._expected = expected
        self._limits = replace(DEFAULT_LIMITS, age=age, quiet=quiet)
        self._received: dict[str, int] = {}
        self._changes: dict[str, float] = {}

    def __call__(self) -> str | None:
        """None when all is calm, else what is not, and for how long."""
        now = time.monotonic()
        since: dict[str, float] = {}
        wrong: list[str] = []
        for state in readiness.session_states(self._lab.plan, self._lab.paths):
            name = " - ".join(state.peering.nodes)
            if self._received.setdefault(name, state.received) != state.received:
                self._received[name], self._changes[f"what {name} carries"] = state.received, now
            if self._expected.get(frozenset(state.peering.nodes), state.up) != state.up:
                wrong.append(f"session {name} is {'still up' if state.up else f'not up yet ({state.state})'}")
            if state.up:
                since[name] = now - state.uptime
        return next(iter(wrong), None) or self._controller(now) or unsettled(now, self._changes, since, self._limits)

    def _controller(self, now: float) -> str | None:
        try:
            status = self._lab.controller("GET", "/status")
        except TestbedError:
            return None  # a controller that was killed on purpose changes nothing
        self._changes["a flow or group"] = now - (status["now"] - status["changed"])
        return None if status["ready"] else str(status["reason"])


def settle(lab: Running, age: float, expected: Callable[[], Standing] = dict) -> str | None:
    """Wait until the lab is calm; None, or what is still not when the time is over."""
    return poll(Gate(lab, age, expected(), min(DEFAULT_LIMITS.quiet, age)), budget=age + SPARE, interval=0.1)


def calm_again(lab: Running, expected: Callable[[], Standing], budget: float) -> str | None:
    """Wait until what was done to the lab has had its effects; None, or what still changes after ``budget`` seconds."""
    return poll(Gate(lab, 0.0, expected(), QUIET_AFTER), budget=budget, interval=0.1)
