"""`testbed report`: the page of a run, or of several side by side."""

from __future__ import annotations

from pathlib import Path

import click

from testbed.errors import InputError


@click.command()
@click.argument("records", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--compare", is_flag=True, help="Only the figures side by side, not each run's own page.")
@click.option("--junit", "as_junit", is_flag=True, help="JUnit XML instead of a page.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The file to write.")
def report(records: tuple[Path, ...], compare: bool, as_junit: bool, output: Path) -> None:
    """Draw the report of RECORDS: record.json files, or folders of runs. Several are set side by side."""
    from testbed.report.html import page
    from testbed.report.junit import junit
    from testbed.report.record import read

    if compare and len(records) < 2:
        raise InputError("--compare needs at least two records")
    loaded = [read(path) for path in records]
    text = junit(loaded) if as_junit else page(loaded, compare=compare)
    try:
        output.write_text(text)
    except OSError as error:
        raise InputError(f"{output}: {error.strerror}") from None
    click.echo(f"{output}")
