"""`testbed doctor`: what this machine can emulate."""

from __future__ import annotations

import click

from testbed.cli.common import json_option, print_json
from testbed.errors import ExitCode


@click.command()
@json_option
def doctor(as_json: bool) -> int:
    """Examine this machine: packages, privileges, kernel features; each miss with its remedy."""
    import msgspec

    from testbed.emulation.doctor import capabilities, examine

    findings = examine()
    missing = [finding for finding in findings if finding.needed and not finding.ok]
    if as_json:
        print_json({"findings": msgspec.to_builtins(findings), "capabilities": msgspec.to_builtins(capabilities(findings))})
    else:
        for finding in findings:
            mark = (
                click.style("✓", fg="green")
                if finding.ok
                else click.style("✗", fg="red")
                if finding.needed
                else click.style("-", fg="yellow")
            )
            click.echo(f"{mark} {finding.name}: {finding.detail}" + ("" if finding.ok or not finding.remedy else f"\n    {finding.remedy}"))
        click.echo("everything that is needed is here" if not missing else f"{len(missing)} things that are needed are missing")
    return ExitCode.CANNOT if missing else ExitCode.OK
