"""The settle gate, with made-up sessions: what must be up is waited for, what must end as well, and changes start the wait anew."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from testbed.emulation import readiness
from testbed.emulation.readiness import SessionState
from testbed.errors import LabError
from testbed.scenario.settling import Gate

PAIR = frozenset(("rs1-0", "nva1"))


class FakeLab:
    """A lab of one session; ``changed`` is how long ago a flow was."""

    plan: Any = None
    paths: Any = None

    def __init__(self, state: str = "Established", uptime: float = 60.0, changed: float = 60.0, received: int = 3) -> None:
        self.state, self.uptime, self.changed, self.received = state, uptime, changed, received
        self.dead = False

    def controller(self, method: str, target: str, timeout: float = 30.0, **parameters: Any) -> Any:
        if self.dead:
            raise LabError("no controller")
        return {"now": 1000.0, "changed": 1000.0 - self.changed, "ready": True, "reason": ""}

    def states(self) -> tuple[SessionState, ...]:
        peering: Any = SimpleNamespace(nodes=("rs1-0", "nva1"))
        return (SessionState(peering, self.state, self.uptime, self.received),)


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> FakeLab:
    made = FakeLab()
    monkeypatch.setattr(readiness, "session_states", lambda plan, paths: made.states())
    return made


def test_a_calm_lab_passes(lab: FakeLab) -> None:
    assert Gate(lab, 10.0, {PAIR: True})() is None


def test_a_session_that_should_be_up_is_waited_for(lab: FakeLab) -> None:
    """Otherwise a fault just after a healing hits a session that is not there yet, and nobody sees it end."""
    lab.state = "Active"
    assert Gate(lab, 10.0, {PAIR: True})() == "session rs1-0 - nva1 is not up yet (Active)"
    assert Gate(lab, 10.0, {PAIR: False})() is None
    assert Gate(lab, 10.0, {})() is None


def test_a_session_that_cannot_last_is_waited_for_as_well(lab: FakeLab) -> None:
    assert Gate(lab, 10.0, {PAIR: False})() == "session rs1-0 - nva1 is still up"


def test_a_young_session_and_a_late_flow_are_reasons(lab: FakeLab) -> None:
    lab.uptime = 4.0
    assert "session rs1-0 - nva1 is 4.0 s old" in str(Gate(lab, 10.0, {})())
    lab.uptime, lab.changed = 60.0, 0.5
    assert "a flow or group changed 0.5 s ago" in str(Gate(lab, 10.0, {})())


def test_another_number_of_routes_is_a_change(lab: FakeLab) -> None:
    gate = Gate(lab, 10.0, {})
    assert gate() is None
    lab.received = 4
    assert "what rs1-0 - nva1 carries changed" in str(gate())


def test_a_dead_controller_changes_nothing(lab: FakeLab) -> None:
    lab.dead = True
    assert Gate(lab, 10.0, {PAIR: True})() is None
