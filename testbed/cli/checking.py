"""What `testbed check` reads and prints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from testbed.azure.design_checks.catalogue import CATALOGUE, Severity, explanation
from testbed.azure.design_checks.finding import counted
from testbed.cli.common import print_json
from testbed.errors import InputError
from testbed.model.frr_file import find_frr_config
from testbed.model.loader import load_topology, read_text
from testbed.plan.design_checks import Report, check_design


def examine(topology: Path) -> Report:
    """All findings of a topology file. Raises InputError for a file that cannot be used at all."""
    loaded = load_topology(topology)
    directory = topology.absolute().parent
    files = {name: find_frr_config(directory, nva.frr_config) for name, nva in loaded.topology.nvas.items() if nva.frr_config is not None}
    return check_design(loaded, {name: read_text(path) for name, path in files.items() if path is not None})


def to_json(topology: Path, report: Report) -> dict[str, Any]:
    """The report as plain data."""
    return {
        "file": str(topology),
        "findings": [each.to_json() for each in report.findings],
        "suppressed": [{**each.to_json(), "reason": reason} for each, reason in report.suppressed],
        "errors": report.count(Severity.ERROR),
        "warnings": report.count(Severity.WARNING),
        "proved": report.proved,
    }


def text(topology: Path, report: Report) -> str:
    """The report for people."""
    errors, warnings = report.count(Severity.ERROR), report.count(Severity.WARNING)
    parts = [counted(errors, "error"), counted(warnings, "warning")] if errors or warnings else ["no problem found"]
    if report.suppressed:
        accepted = dict.fromkeys(each.finding.code for each, _ in report.suppressed)
        parts.append(f"{len(report.suppressed)} accepted in the file ({', '.join(accepted)})")
    codes = [each.finding.code for each in report.findings]
    lines = [each.text(background=codes.index(each.finding.code) == number) for number, each in enumerate(report.findings)]
    return "\n".join([*lines, f"{topology}: {', '.join(parts)}; {report.proved}"])


def explain(code: str, as_json: bool) -> None:
    """Print the background of a finding. Raises InputError for a code that does not exist."""
    entry = CATALOGUE.get(code.upper())
    if entry is None:
        raise InputError(f"no finding has the code {code}", f"known: {', '.join(CATALOGUE)}")
    if as_json:
        print_json(msgspec.to_builtins(entry))
    else:
        click.echo(explanation(entry))
