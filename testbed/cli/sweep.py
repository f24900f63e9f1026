"""`testbed sweep`: every single fault of a design, predicted and tried; `testbed soak`: random faults for a while."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from testbed.cli.common import json_option, need_root, print_json, table, topology_argument
from testbed.cli.interrupts import interrupts
from testbed.errors import ExitCode

if TYPE_CHECKING:
    from testbed.scenario.live import LiveLab
    from testbed.scenario.soak import Soak
    from testbed.scenario.sweep import Outlook
    from testbed.scenario.trial import Trial

_results_option = click.option(
    "--results", type=click.Path(path_type=Path, file_okay=False), default=Path("results"), help="Where records go [results]."
)
_name_option = click.option("--name", help="The lab's name; the topology's own when not given.")


@click.command()
@topology_argument
@click.option("--pairs", is_flag=True, help="Any two faults at once, too.")
@click.option("--live", type=click.IntRange(min=0), default=0, help="Try so many of the worst on a live lab [0].")
@click.option("--only", default="", help="Only faults with this in their name.")
@_name_option
@_results_option
@json_option
def sweep(topology: Path, pairs: bool, live: int, only: str, name: str | None, results: Path, as_json: bool) -> int:
    """Fail each element of TOPOLOGY alone: what each fault costs on paper, and with --live what the worst cost on a lab."""
    if live:
        need_root("sweep --live")
    from testbed.scenario.elements import elements
    from testbed.scenario.planning import compile_file
    from testbed.scenario.sweep import Forecast, combined, told, worst

    loaded, plan = compile_file(topology, name)
    forecast = Forecast(loaded.topology, plan)
    outlooks = [forecast.outlook(each) for each in combined(elements(plan), pairs=pairs)]
    outlooks = [each for each in outlooks if only in each.name]
    if not as_json:
        click.echo(_matrix(outlooks, len(forecast.intact.served_before)))
    trials = _tried(topology, name, worst(outlooks, live), as_json) if live else []
    made = {"kind": "sweep", "predicted": [told(each) for each in outlooks], "tried": [_trial(each) for each in trials]}
    file = _keep(results, topology, made)
    if as_json:
        print_json(made)
    else:
        _conclude(outlooks, trials, file)
    return ExitCode.OK if all(trial.as_predicted for trial in trials) else ExitCode.EXPECTATION_FAILED


def _tried(topology: Path, name: str | None, worst: tuple[Outlook, ...], quiet: bool) -> list[Trial]:
    """Each on a live lab, one after the other; a lab that does not come back as it was is replaced."""
    from testbed.scenario.sweep import Forecast
    from testbed.scenario.trial import Observer, attempt

    trials: list[Trial] = []
    while len(trials) < len(worst):
        with _lab(topology, name) as lab:
            observer = Observer(lab, Forecast(lab.topology, lab.plan))
            for outlook in worst[len(trials) :]:
                trials.append(attempt(observer, outlook, timed=True))
                if not quiet:
                    _tell(trials[-1])
                if trials[-1].left:
                    break
    return trials


@contextmanager
def _lab(topology: Path, name: str | None) -> Iterator[LiveLab]:
    from testbed.emulation import client
    from testbed.emulation.lab import STAGES
    from testbed.report.progress import Progress
    from testbed.scenario.building import build

    with Progress(name or topology.stem, STAGES) as progress:
        lab, warnings = build(topology, progress, name, when_up=interrupts.hold)
    try:
        interrupts.release()
        for warning in warnings:
            click.echo(f"{click.style('warning:', fg='yellow')} {warning}", err=True)
        yield lab
    finally:
        interrupts.hold()
        client.down(lab.plan.lab)
        interrupts.release()


def _matrix(outlooks: list[Outlook], served: int) -> str:
    rows = [
        (each.name, f"{len(each.lost)} of {served}", len(each.moved), _shortened([f"{a} → {b}" for a, b in each.lost])) for each in outlooks
    ]
    return table(("fault", "pairs lost", "moved", "which"), rows)


def _shortened(names: list[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "") or "-"


def _tell(trial: Trial) -> None:
    mark = click.style("✓", fg="green") if trial.as_predicted else click.style("✗", fg="red")
    click.echo(f"  {mark} {trial.fault}: {len(trial.observed_lost)} pairs lost, {len(trial.predicted_lost)} predicted; {_times(trial)}")
    for line in (*trial.unexpected[:4], *(f"after healing: {line}" for line in (*trial.left[:4], *trial.not_back[:4]))):
        click.echo(f"      {line}")


def _times(trial: Trial) -> str:
    parts = [f"settled after {trial.settled:.2f} s"] if trial.settled is not None else []
    if trial.outages:
        parts.append(f"{len(trial.outages)} survivors lost packets until {max(trial.outages.values()):.2f} s after")
    if trial.back:
        parts.append(f"back {max(trial.back.values()):.2f} s after healing")
    if trial.disturbed:
        parts.append(f"{len(trial.disturbed)} survivors lost packets until {max(trial.disturbed.values()):.2f} s after healing")
    return ", ".join(parts)


def _trial(trial: Trial) -> dict[str, Any]:
    return asdict(trial) | {"as_predicted": trial.as_predicted}


def _conclude(outlooks: list[Outlook], trials: list[Trial], file: Path) -> None:
    harmless = sum(not each.lost for each in outlooks)
    text = f"{len(outlooks)} faults predicted: {harmless} cost no pair"
    if trials:
        good = sum(trial.as_predicted for trial in trials)
        text += f"; {len(trials)} tried: {good} as predicted, {sum(bool(trial.left or trial.not_back) for trial in trials)} left something"
    click.echo(f"{text}; {file}")


@click.command()
@topology_argument
@click.option("--minutes", type=click.FloatRange(min=0.0, min_open=True), default=1.0, help="For how long [1].")
@click.option("--seed", type=int, default=1, help="The same seed breaks the same things in the same order [1].")
@_name_option
@_results_option
@json_option
def soak(topology: Path, minutes: float, seed: int, name: str | None, results: Path, as_json: bool) -> int:
    """Break and mend TOPOLOGY at random for a while; after each heal the lab must be as it was, and no process may grow."""
    need_root("soak")
    from testbed.scenario.soak import soak as run

    with _lab(topology, name) as lab:
        done = run(lab, minutes * 60, seed, (lambda trial: None) if as_json else _tell)
    made = _soaked(done)
    file = _keep(results, topology, made)
    if as_json:
        print_json(made)
    else:
        click.echo(_figures(made, file))
    return ExitCode.EXPECTATION_FAILED if done.broken else ExitCode.OK


def _soaked(done: Soak) -> dict[str, Any]:
    grown = done.growth
    return {
        "kind": "soak",
        "seed": done.seed,
        "seconds": done.seconds,
        "faults": len(done.trials),
        "survived": sum(trial.as_predicted for trial in done.trials),
        "left_traces": sum(bool(trial.left) for trial in done.trials),
        "slowest_heal": max((trial.mended or 0.0 for trial in done.trials), default=0.0),
        "memory": [{"process": "all", **_sum(done)}],
        "growth": [
            {"process": each.name, "samples": each.samples, "bytes": each.memory, "descriptors": each.descriptors} for each in grown
        ],
        "broken": list(done.broken),
        "trials": [_trial(trial) for trial in done.trials],
    }


def _sum(done: Soak) -> dict[str, int]:
    """Memory and descriptors of all processes together, after the first heal and after the last."""
    ends = (done.samples[0], done.samples[-1]) if done.samples else ({}, {})
    names = ("first", "last")
    return {
        f"{name}_{what}": sum(getattr(each, what) for each in sample.values())
        for name, sample in zip(names, ends, strict=True)
        for what in ("memory", "descriptors")
    }


def _figures(made: Mapping[str, Any], file: Path) -> str:
    memory, most = made["memory"][0], max(made["growth"], key=lambda each: each["bytes"], default=None)
    lines = [
        f"{made['faults']} faults in {made['seconds']:.0f} s: {made['survived']} survived as predicted, {made['left_traces']} left traces, "
        f"slowest heal {made['slowest_heal']:.2f} s",
        f"all processes: {memory['first_memory'] / 2**20:.1f} → {memory['last_memory'] / 2**20:.1f} MiB, "
        f"{memory['first_descriptors']} → {memory['last_descriptors']} file descriptors"
        + (f"; most grown: {most['process']} by {most['bytes'] / 2**20:.2f} MiB in {most['samples']} samples" if most else ""),
        *(f"  broken: {line}" for line in made["broken"]),
    ]
    return "\n".join([*lines, str(file)])


def _keep(results: Path, topology: Path, made: dict[str, Any]) -> Path:
    from testbed.report.record import digest, machine, write

    started = datetime.now(UTC)
    folder = results / f"{datetime.now():%Y%m%d-%H%M%S}-{made['kind']}-{topology.stem}"
    about = {"written": started.isoformat(), "files": {topology.name: digest(topology)}, "machine": machine()}
    return write(folder, f"{made['kind']}.json", about | made)
