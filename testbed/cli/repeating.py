"""`testbed run --repeat`: the same scenario several times, each in a lab of its own, and what the figures say together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from testbed.cli.common import table
from testbed.cli.conduct import conduct, keep_record
from testbed.errors import ExitCode
from testbed.measure.amounts import amount
from testbed.model.scenario_file import LoadedScenario
from testbed.report.repeats import summaries


def conduct_repeatedly(loaded: LoadedScenario, folder: Path, count: int, *, quiet: bool, **options: Any) -> dict[str, Any]:
    """Run a scenario ``count`` times and give back the record of the last run with ``repeats``: median, spread, all samples.

    The records of all runs are below ``folder``/run-1, run-2, …; the verdict is the worst of theirs. One run is just a run.
    Keeping the lab is refused for more than one, since the next needs its name.
    """
    if count == 1:
        return conduct(loaded, folder, quiet=quiet, **options)
    if options.get("keep"):
        raise click.UsageError("--keep and --repeat do not go together: every run builds the lab anew")
    records = []
    for number in range(1, count + 1):
        if not quiet:
            click.echo(f"run {number} of {count}")
        records.append(conduct(loaded, folder / f"run-{number}", quiet=quiet, **options))
    made = merged(records)
    file = keep_record(folder, made)
    if not quiet:
        click.echo(_spread(made["repeats"]["summaries"]))
        click.echo(f"{count} runs: {made['verdict']}; {file}")
    return made


def merged(records: list[dict[str, Any]]) -> dict[str, Any]:
    """The last record, with the worst verdict of all and the sum of their figures."""
    worst = max(records, key=lambda record: (record["verdict"] != "passed", record["verdict"] == "error", record["exit_code"]))
    runs = [f"run-{number}/record.json" for number in range(1, len(records) + 1)]
    repeats = {"count": len(records), "runs": runs, "verdicts": [record["verdict"] for record in records], "summaries": summaries(records)}
    seconds = sum(record["seconds"] for record in records)
    shown = next((record for record in reversed(records) if record["exit_code"] == ExitCode.OK), records[-1])
    return shown | {"verdict": worst["verdict"], "exit_code": worst["exit_code"], "repeats": repeats, "seconds": seconds}


def _spread(entries: list[dict[str, Any]]) -> str:
    rows = []
    for entry in entries:
        unit = entry["unit"]
        values = [entry[name] for name in ("median", "least", "greatest", "deviation")]
        cells = ["-" if value is None else amount(value, unit) for value in values]
        rows.append((entry["stage"], entry["name"], *cells, f"{len(entry['samples']) - entry['invalid']}/{len(entry['samples'])}"))
    return table(("stage", "figure", "median", "least", "greatest", "deviation", "valid"), rows)
