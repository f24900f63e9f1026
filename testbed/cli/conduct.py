"""One scenario from start to end: up, act, expect, record, down; whatever happens, the lab goes and the record stays."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from testbed.cli.interrupts import interrupts
from testbed.emulation import client, evidence
from testbed.emulation.lab import STAGES
from testbed.errors import ExitCode, TestbedError
from testbed.measure.amounts import amount
from testbed.model.scenario_file import LoadedScenario
from testbed.plan.picture import dot
from testbed.plan.types import Choice
from testbed.report.progress import Progress
from testbed.report.record import emulation, record, write
from testbed.report.samples import save
from testbed.scenario.building import build
from testbed.scenario.live import LiveLab
from testbed.scenario.measured import Measured
from testbed.scenario.runner import CheckResult, StepResult, take

BUNDLE = "bundle"
"""The folder below a run's own with the state of a lab that failed."""


def conduct(
    loaded: LoadedScenario, folder: Path, *, lab_name: str | None, keep: bool, prompt_on_failure: bool, quiet: bool,
    choice: Choice | None = None, force: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Run a scenario and give back its record, which is also written to ``folder``/record.json.

    The record's ``verdict`` is passed, failed or error; its ``exit_code`` that of the command. An interruption tears down, then goes on.
    """
    started, begin = datetime.now(UTC), time.monotonic()
    if not quiet:
        click.echo(
            click.style(loaded.scenario.name, bold=True) + (f": {loaded.scenario.description}" if loaded.scenario.description else "")
        )
    steps: list[StepResult] = []
    stages: dict[str, float] = {}
    facts: dict[str, Any] = {"lab": lab_name or loaded.topology.topology.name, "unsupported": (), "error": "", "exit_code": ExitCode.OK}
    try:
        with _lab(loaded, lab_name, keep, stages, choice, force, folder / BUNDLE) as (lab, warnings):
            facts |= {"lab": lab.plan.lab, "unsupported": lab.plan.unsupported, "emulation": emulation(lab.plan)}
            _warn(warnings)
            lab.captures = folder
            try:
                steps = take(loaded.scenario, lab, _Teller(quiet))
            finally:
                facts |= _casualties(lab)
            if not all(step.ok for step in steps):
                facts["exit_code"] = ExitCode.EXPECTATION_FAILED
                evidence.collect(lab.plan, lab.client.paths, folder / BUNDLE)
                _prompt(lab, prompt_on_failure)
    except TestbedError as error:
        facts |= {"error": str(error), "exit_code": error.exit_code}
        click.echo(f"{click.style('error:', fg='red', bold=True)} {error}", err=True)
    made = _record(loaded, started, stages, steps, facts) | {"seconds": time.monotonic() - begin, "samples": save(folder, steps)}
    file = keep_record(folder, made)
    if not quiet:
        _conclude(made, file)
    return made


def keep_record(folder: Path, made: dict[str, Any]) -> Path:
    """Write record.json and, drawn from it, report.html; the report's path."""
    from testbed.report.html import page

    write(folder, "record.json", made)
    report = folder / "report.html"
    report.write_text(page([made]))
    return report


def _record(
    loaded: LoadedScenario, started: datetime, stages: dict[str, float], steps: list[StepResult], facts: dict[str, Any]
) -> dict[str, Any]:
    made = record(
        scenario=loaded.scenario.name,
        files=[loaded.file, Path(loaded.topology.file)],
        started=started,
        stages=stages,
        steps=steps,
        unsupported=facts["unsupported"],
        lab=facts["lab"],
        picture=dot(loaded.topology.topology),
        error=facts["error"],
    )
    return (
        made
        | {"description": loaded.scenario.description}
        | {key: facts[key] for key in ("exit_code", "deaths", "restarts") if key in facts}
        | (facts.get("emulation") or {})
    )


@contextmanager
def _lab(
    loaded: LoadedScenario,
    name: str | None,
    keep: bool,
    stages: dict[str, float],
    choice: Choice | None,
    force: bool,
    bundle: Path,
) -> Iterator[tuple[LiveLab, list[str]]]:
    title = name or loaded.topology.topology.name
    with Progress(title, STAGES) as progress:
        lab, warnings = build(Path(loaded.topology.file), progress, name, choice, force=force, evidence=bundle, when_up=interrupts.hold)
    try:
        interrupts.release()
        stages.update(progress.done)
        yield lab, warnings
    finally:
        interrupts.hold()
        if keep:
            click.echo(f"lab {lab.plan.lab} stays up; `testbed down {lab.plan.lab}` removes it", err=True)
        else:
            stages["down"] = client.down(lab.plan.lab)
        interrupts.release()


def _casualties(lab: LiveLab) -> dict[str, Any]:
    """Who died though nobody had asked for it, and who was started again."""
    with suppress(TestbedError, OSError):
        status = lab.client.status()
        return {"deaths": [death for death in status["deaths"] if not death["on_purpose"]], "restarts": status["restarts"]}
    return {}


def _prompt(lab: LiveLab, wanted: bool) -> None:
    if wanted:
        from testbed.emulation.mininet_lab import prompt

        click.echo("an expectation failed: Mininet's prompt on the live lab; leave it with `exit`", err=True)
        with interrupts.every():
            prompt(lab.plan, lab.client.paths)


class _Teller:
    """Prints each stage as its checks end."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._stage: StepResult | None = None

    def __call__(self, step: StepResult, what: CheckResult | Measured | str) -> None:
        if self._quiet:
            return
        if step is not self._stage:
            self._stage = step
            click.echo(f"  {click.style(step.stage, bold=True)}")
        if isinstance(what, str):
            click.echo(f"    → {what}")
            return
        if isinstance(what, Measured):
            _tell_figures(what)
            return
        mark = click.style("✓", fg="green") if what.ok else click.style("✗", fg="red")
        click.echo(f"    {mark} {what.expected}" + (f" ({what.seconds:.2f} s)" if what.seconds >= 0.1 else ""))
        if not what.ok:
            click.echo(f"      {what.reason}")


def _tell_figures(measured: Measured) -> None:
    """The figures of a measurement on a line or two; an invalid one says why."""
    figures = ", ".join(f"{figure.name} {amount(figure.measured, figure.unit)}" for figure in measured.figures)
    click.echo(f"    {click.style(measured.kind, fg='cyan')} {measured.title}")
    click.echo(f"      {figures}")
    if not measured.verdict.valid:
        click.echo(f"      {click.style('invalid:', fg='yellow')} {'; '.join(measured.verdict.reasons)}")


def _warn(warnings: list[str]) -> None:
    for warning in warnings:
        click.echo(f"{click.style('warning:', fg='yellow')} {warning}", err=True)


def _conclude(made: dict[str, Any], file: Path) -> None:
    checks = [check for step in made["steps"] for check in step["checks"]]
    held = sum(check["ok"] for check in checks)
    converged = max((seconds for stage, seconds in made["stages"].items() if stage != "down"), default=0.0)
    colour = "green" if made["verdict"] == "passed" else "red"
    for death in made.get("deaths", ()):
        words = "".join(f", last words: {line}" for line in death["last_words"].splitlines()[-1:])
        click.echo(f"{click.style('died unasked:', fg='red')} {death['node']}: {death['daemon']} ({death['how']}){words}", err=True)
    click.echo(
        f"{click.style(made['verdict'], fg=colour, bold=True)}: {held} of {len(checks)} expectations held; "
        f"up in {converged:.2f} s, down in {made['stages'].get('down', 0):.2f} s, {made['seconds']:.1f} s in all; {file}"
    )
    if (bundle := file.parent / BUNDLE).is_dir():
        click.echo(f"configurations, BGP tables, flows and logs of the lab: {bundle}")
