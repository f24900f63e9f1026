"""The settle gate before a stimulus: no route and no flow changes any more, and no BGP session is young."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any, Protocol

from testbed.emulation import readiness
from testbed.emulation.paths import LabPaths
from testbed.errors import TestbedError
from testbed.measure.validity import DEFAULT_LIMITS, unsettled
from testbed.plan.types import Plan
from testbed.wait import poll

SPARE = 20.0
"""Seconds that calm may take beyond the age that sessions need."""


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
    """A check: the lab is calm. ``age``: seconds that every established session must have."""

    def __init__(self, lab: Running, age: float) -> None:
        self._lab = lab
        self._limits = replace(DEFAULT_LIMITS, age=age, quiet=min(DEFAULT_LIMITS.quiet, age))
        self._received: dict[str, int] = {}
        self._changes: dict[str, float] = {}

    def __call__(self) -> str | None:
        """None when all is calm, else what is not, and for how long."""
        now = time.monotonic()
        since: dict[str, float] = {}
        for state in readiness.session_states(self._lab.plan, self._lab.paths):
            name = " - ".join(state.peering.nodes)
            if self._received.setdefault(name, state.received) != state.received:
                self._received[name], self._changes[f"what {name} carries"] = state.received, now
            if state.up:
                since[name] = now - state.uptime
        try:
            status = self._lab.controller("GET", "/status")
        except TestbedError:
            status = None  # a controller that was killed on purpose changes nothing
        if status is not None:
            self._changes["a flow or group"] = now - (status["now"] - status["changed"])
            if not status["ready"]:
                return str(status["reason"])
        return unsettled(now, self._changes, since, self._limits)


def settle(lab: Running, age: float) -> str | None:
    """Wait until the lab is calm; None, or what is still not when the time is over."""
    return poll(Gate(lab, age), budget=age + SPARE, interval=0.1)
