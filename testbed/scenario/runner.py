"""Take the steps of a scenario on a lab that is up, and record how each expectation went."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from testbed.errors import TestbedError
from testbed.model.scenario import Action, Scenario, Step
from testbed.scenario.expectations import check, describe
from testbed.scenario.lab_view import LabView
from testbed.wait import poll


@dataclass(frozen=True)
class CheckResult:
    """One expectation: what was expected, whether it held, the reason if not, and the seconds until it did (or the budget ran out)."""

    expected: str
    ok: bool
    reason: str
    seconds: float


@dataclass
class StepResult:
    """One step: what was done, and how its expectations went."""

    stage: str
    actions: list[str] = field(default_factory=list)
    checks: list[CheckResult] = field(default_factory=list)
    error: str = ""

    @property
    def ok(self) -> bool:
        """Whether all of it went well."""
        return not self.error and all(result.ok for result in self.checks)


Listener = Callable[[StepResult, CheckResult | str], None]


def take(scenario: Scenario, lab: LabView, tell: Listener) -> list[StepResult]:
    """Take every step, also after a failure: all failures are reported. ``tell`` hears of each action and each check as it ends.

    A step whose action fails skips its own expectations (they would speak of another state) and the scenario goes on.
    """
    return [_step(step, lab, tell) for step in scenario.steps]


def _step(step: Step, lab: LabView, tell: Listener) -> StepResult:
    result = StepResult(step.stage)
    try:
        for action in step.do:
            result.actions.append(describe_action(action))
            tell(result, result.actions[-1])
            lab.act(action)
    except TestbedError as error:
        result.error = str(error)
        tell(result, CheckResult(result.actions[-1], False, result.error, 0.0))
        return result
    for expectation in step.expect:
        start = time.monotonic()
        try:
            reason = poll(lambda e=expectation: check(lab, e), budget=step.within, interval=0.05)  # type: ignore[misc]
        except TestbedError as error:
            reason = str(error)
        outcome = CheckResult(describe(expectation), reason is None, reason or "", time.monotonic() - start)
        result.checks.append(outcome)
        tell(result, outcome)
    return result


def describe_action(action: Action) -> str:
    """One line for people: what is done."""
    detail = action.detail.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
    return (
        f"{action.verb.replace('_', ' ')} " + " ".join(f"{key} {value}" for key, value in detail.items() if key != "sides") + _sides(action)
    )


def _sides(action: Action) -> str:
    sides = getattr(action.detail, "sides", None)
    return f"{sides[0].from_} ↔ {sides[0].to}" if sides else ""
