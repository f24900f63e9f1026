"""Take the steps of a scenario on a lab that is up, and record how each expectation went."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from testbed.errors import LabError, TestbedError
from testbed.model.scenario import Action, Agreement, Expectation, Scenario, Step
from testbed.scenario.expectations import check, describe
from testbed.scenario.lab_view import LabView
from testbed.scenario.measured import Measured
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
    measurements: list[Measured] = field(default_factory=list)
    error: str = ""

    @property
    def ok(self) -> bool:
        """Whether all of it went well."""
        return not self.error and all(result.ok for result in self.checks)


_MENDS = ("heal", "announce", "add_peering", "add_peer")
Listener = Callable[[StepResult, CheckResult | Measured | str], None]


def take(scenario: Scenario, lab: LabView, tell: Listener) -> list[StepResult]:
    """Take every step, also after a failure: all failures are reported. ``tell`` hears of each action, each measurement and each check.

    Before the first step's expectations and after the actions of every step, prediction, controller and switches must agree: what a
    step expects is then looked at in the state it speaks of. A step whose action fails skips its own expectations (they would speak
    of another state) and the scenario goes on.
    """
    return [_step(scenario, number, lab, tell) for number in range(len(scenario.steps))]


def _step(scenario: Scenario, number: int, lab: LabView, tell: Listener) -> StepResult:
    step = scenario.steps[number]
    result = StepResult(step.stage)
    try:
        _do_and_measure(step, result, lab, tell)
    except TestbedError as error:
        result.error = str(error)
        tell(result, CheckResult(result.actions[-1] if result.actions else step.stage, False, result.error, 0.0))
    else:
        for expectation in _expected(step, number, lab):
            result.checks.append(_check(expectation, scenario.seconds(step), step.budget, lab))
            tell(result, result.checks[-1])
    lab.end_captures()
    return result


def _do_and_measure(step: Step, result: StepResult, lab: LabView, tell: Listener) -> None:
    """The step's actions, while a failover is measured if there is one, then its other measurements."""

    def act() -> list[str]:
        for action in step.do:
            result.actions.append(describe_action(action))
            tell(result, result.actions[-1])
            lab.act(action)
        return result.actions

    if not any(each.failover for each in step.measure):
        act()
    for wanted in sorted(step.measure, key=lambda each: each.failover is None):
        measured = lab.measure(wanted, act, heals(step.do))
        result.measurements.append(measured)
        tell(result, measured)
        for held in measured.held:
            result.checks.append(CheckResult(held.expected, held.ok, held.reason, 0.0))
            tell(result, result.checks[-1])


def heals(actions: Sequence[Action]) -> bool:
    """Whether the actions mend something, so that sessions and routes come rather than go."""
    return bool(actions) and all(action.verb in _MENDS for action in actions)


def _expected(step: Step, number: int, lab: LabView) -> tuple[Expectation, ...]:
    """The step's expectations, after the agreement that nobody has to write down."""
    if (number and not step.do) or lab.unpredictable():
        return step.expect
    return (Expectation(agreement=Agreement()), *(each for each in step.expect if each.agreement != Agreement()))


def _check(expectation: Expectation, seconds: float, budget: str | None, lab: LabView) -> CheckResult:
    start = time.monotonic()

    def look() -> str | None:
        try:
            return check(lab, expectation)
        except LabError as error:  # somebody does not answer yet
            return str(error)

    try:
        reason = poll(look, budget=seconds, interval=0.05)
    except TestbedError as error:
        reason = str(error)
    if reason is not None and budget is not None:
        reason = f"{reason} (budget {budget}: {seconds:g} s)"
    return CheckResult(describe(expectation), reason is None, reason or "", time.monotonic() - start)


def describe_action(action: Action) -> str:
    """One line for people: what is done."""
    detail = action.detail.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
    words = " ".join(key if value is True else f"{key} {_value(value)}" for key, value in detail.items() if key != "sides")
    return f"{action.verb.replace('_', ' ')} {words}{_sides(action)}"


def _value(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_value(each)}" for key, each in value.items()) or "as by default"
    if isinstance(value, list):
        return " ".join(map(_value, value)) or "none"
    return str(value)


def _sides(action: Action) -> str:
    sides = getattr(action.detail, "sides", None)
    return f"{sides[0].from_} ↔ {sides[0].to}" if sides else ""
