"""`testbed fuzz`: random designs, on paper or on real labs, until sides of one disagree."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import click

from testbed.cli.common import json_option, need_root, print_json
from testbed.errors import ExitCode


@click.command()
@click.option("--count", type=click.IntRange(1), default=100, show_default=True, help="How many designs.")
@click.option("--seed", type=int, default=0, show_default=True, help="Which series of designs; the same seed gives the same.")
@click.option("--first", type=click.IntRange(0), default=0, show_default=True, help="The number of the first design in its series.")
@click.option("--live", is_flag=True, help="Build each design, and hold routers, controller, switches, kernels and packets to the model.")
@click.option("--output", type=click.Path(path_type=Path, file_okay=False), default=Path("results/fuzz"), help="Where failing designs go.")
@json_option
def fuzz(count: int, seed: int, first: int, live: bool, output: Path, as_json: bool) -> int:
    """Make random designs and compare the model with itself, with --live with real labs too.

    A design in which something disagrees is made as small as possible and saved as a topology file; the exit code is then 1.
    """
    if live:
        need_root("fuzz --live")
    from testbed.scenario.fuzz import LIVE_TRIES, PAPER_TRIES, on_a_lab, on_paper, saved, series, smallest

    compare, tries = (on_a_lab, LIVE_TRIES) if live else (on_paper, PAPER_TRIES)
    counts: Counter[str] = Counter()
    files: list[dict[str, Any]] = []
    for tried in series(seed, count, compare, first):
        counts["skipped" if tried.skipped else "failed" if tried.found else "agreed"] += 1
        if tried.skipped:
            click.echo(f"design {tried.number}: skipped: {tried.skipped}", err=True)
        if tried.found:
            click.echo(f"design {tried.number}: {tried.found[0]}", err=True)
            small = smallest(tried, compare, tries)
            file = saved(small, output)
            files.append({"design": tried.number, "file": str(file), "disagreements": list(map(str, small.found))})
            click.echo(f"  made smaller: {file}: {small.found[0]}", err=True)
    if as_json:
        print_json({"seed": seed, "first": first, "designs": count, "live": live, **counts, "failures": files})
    else:
        click.echo(f"{count} designs of seed {seed}: " + ", ".join(f"{number} {what}" for what, number in sorted(counts.items())))
    return ExitCode.EXPECTATION_FAILED if files else ExitCode.OK
