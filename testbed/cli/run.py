"""`testbed run`: scenarios from start to end; `testbed benchmark`: the testbed's own times."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from testbed.cli.common import choice_options, force_option, json_option, need_root, print_json, table
from testbed.errors import ExitCode

if TYPE_CHECKING:
    from testbed.plan.types import Choice


@click.command()
@click.argument("scenarios", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--name", help="The lab's name; the topology's own when not given.")
@click.option("--keep", is_flag=True, help="Leave the lab up afterwards.")
@click.option("--repeat", type=click.IntRange(1, 1000), default=1, help="Run each scenario so often: median, spread and all samples.")
@click.option("--junit", type=click.Path(path_type=Path, dir_okay=False), help="Write the results as JUnit XML, too.")
@click.option("--cli-on-error", is_flag=True, help="Open Mininet's prompt on the live lab when an expectation fails.")
@choice_options
@force_option
@click.option("--results", type=click.Path(path_type=Path, file_okay=False), default=Path("results"), help="Where records go [results].")
@json_option
def run(
    scenarios: tuple[Path, ...], name: str | None, keep: bool, repeat: int, junit: Path | None, cli_on_error: bool, results: Path,
    choice: Choice, force: bool, as_json: bool,
) -> int:  # fmt: skip
    """Run scenarios: bring the lab up, act, measure, assert, record, tear down."""
    need_root("run")
    from testbed.cli.repeating import conduct_repeatedly
    from testbed.model.scenario_file import load_scenario
    from testbed.scenario.changes import rehearse

    loaded = [load_scenario(path) for path in scenarios]  # all files are checked before anything is built
    for each in loaded:
        rehearse(each.scenario, each.topology.topology)
    records = []
    for each in loaded:
        folder = results / f"{datetime.now():%Y%m%d-%H%M%S}-{each.scenario.name}"
        made = conduct_repeatedly(
            each, folder, repeat, quiet=as_json, lab_name=name, keep=keep, prompt_on_failure=cli_on_error,
            choice=choice, force=force,
        )  # fmt: skip
        records.append(made)
    if junit is not None:
        _write_junit(junit, records)
    if as_json:
        print_json(records)
    elif len(records) > 1:
        click.echo(_summary(records))
    return ExitCode.OK if all(record["verdict"] == "passed" for record in records) else _worst(records)


def _write_junit(file: Path, records: list[dict[str, Any]]) -> None:
    from testbed.report import junit

    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(junit.junit(records))


def _summary(records: list[dict[str, Any]]) -> str:
    rows = []
    for record in records:
        checks = [check for step in record["steps"] for check in step["checks"]]
        held = sum(check["ok"] for check in checks)
        rows.append((record["scenario"], record["verdict"], f"{held}/{len(checks)}", f"{record['seconds']:.1f} s"))
    return table(("scenario", "verdict", "expectations", "time"), rows)


def _worst(records: list[dict[str, Any]]) -> int:
    return int(max(record["exit_code"] for record in records))


@click.command()
@click.argument("only", default="")
@json_option
def benchmark(only: str, as_json: bool) -> None:
    """Time the testbed itself on this machine; ONLY those of benchmarks/ whose names start so (bring_up, measure, …)."""
    need_root("benchmark")
    from testbed.report.benchmark import measure_all

    found = measure_all(only)
    if as_json:
        print_json(found)
    else:
        click.echo(table(("what", "measured", "goal"), [(row["what"], row["measured"], row["goal"]) for row in found]))
