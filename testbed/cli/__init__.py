"""The commands people type. Each is imported when it is called, so that ``--help`` and completion answer at once."""

from __future__ import annotations

import importlib
import os
import sys
import traceback

import click

from testbed import __version__
from testbed.errors import ExitCode, TestbedError

COMMANDS = {
    "doctor": ("testbed.cli.machine", "What this machine can emulate; each miss with its remedy."),
    "check": ("testbed.cli.design", "Validate a topology: its references, Azure's limits, the known design mistakes."),
    "predict": ("testbed.cli.design", "The converged state on paper: learned, advertised and effective routes."),
    "explain": ("testbed.cli.design", "A packet's walk on paper, hop by hop, and why."),
    "compare": ("testbed.cli.design", "Compare a prediction with what `az` printed in a real deployment."),
    "plan": ("testbed.cli.design", "What `up` would build: nodes, links, configurations, flows."),
    "graph": ("testbed.cli.design", "Draw a topology."),
    "schema": ("testbed.cli.design", "The JSON Schema of topology and scenario files, for editors."),
    "up": ("testbed.cli.lab", "Build a lab and wait until it has converged."),
    "down": ("testbed.cli.lab", "Tear a lab down."),
    "status": ("testbed.cli.lab", "What runs."),
    "show": ("testbed.cli.show", "The live state: effective, learned and advertised routes, BGP, tunnels, flows."),
    "trace": ("testbed.cli.lab", "The path one marked probe really takes, beside the predicted one."),
    "exec": ("testbed.cli.lab", "Run a command inside a node."),
    "cli": ("testbed.cli.lab", "Mininet's prompt on the live lab."),
    "fail": ("testbed.cli.lab", "Break something: a process, a node, a tunnel, the controller."),
    "heal": ("testbed.cli.lab", "Mend what was broken."),
    "run": ("testbed.cli.run", "Run scenarios: up, act, measure, assert, report, down."),
    "sweep": ("testbed.cli.sweep", "Fail each element alone: what it costs on paper, and what the worst cost on a lab."),
    "soak": ("testbed.cli.sweep", "Break and mend a lab at random for a while; nothing may be left, nothing may grow."),
    "report": ("testbed.cli.report", "Draw the report of a run, or set several runs side by side."),
    "fuzz": ("testbed.cli.fuzz", "Random designs: does the model agree with itself, and with real labs?"),
    "benchmark": ("testbed.cli.run", "Time the testbed itself on this machine."),
}


class LazyGroup(click.Group):
    """A group whose commands live in modules of their own, imported on first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order of the table, not of the alphabet: from design to run."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, or None."""
        if cmd_name not in COMMANDS:
            return None
        command = getattr(importlib.import_module(COMMANDS[cmd_name][0]), cmd_name.replace("-", "_"))
        assert isinstance(command, click.Command)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with a suggestion for a typo."""
        import difflib

        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            ctx.fail(f"no such command: {args[0]!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table of commands, without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="testbed")
@click.option("--debug", is_flag=True, help="Show where an error comes from.")
def testbed(debug: bool) -> None:
    """Build an Azure Route Server design on this machine, and see what it does before production does.

    Exit codes: 0 fine, 1 an expectation failed, 2 the input is wrong, 3 this machine cannot do it, 4 internal error.
    """
    if debug:
        os.environ["TESTBED_DEBUG"] = "1"


def main() -> None:
    """The console script: run the command, and end with the exit code that the help names."""
    from testbed.cli.interrupts import interrupts

    interrupts.install()
    os.environ["PATH"] = f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"  # a user's PATH often lacks them
    sys.exit(execute(sys.argv[1:]))


def execute(arguments: list[str]) -> int:
    """Run one command line and return its exit code; everything a user must know was printed."""
    try:
        result = testbed.main(arguments, prog_name="testbed", standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("interrupted", err=True)
        return 130
    except click.ClickException as error:
        error.show()
        return ExitCode.BAD_INPUT
    except TestbedError as error:
        click.echo(f"{click.style('error:', fg='red', bold=True)} {error}", err=True)
        return error.exit_code
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OK
    except Exception as error:
        return _unforeseen(error)
    return result if isinstance(result, int) else ExitCode.OK


def _unforeseen(error: Exception) -> int:
    """Say what nobody caught: a limit of the machine by its name, anything else as our own mistake."""
    from testbed.emulation.capacity import named

    known = named(error)
    if isinstance(known, TestbedError):
        click.echo(f"{click.style('error:', fg='red', bold=True)} {known}", err=True)
        return known.exit_code
    if os.environ.get("TESTBED_DEBUG"):
        traceback.print_exc()
    click.echo(f"internal error: {type(error).__name__}: {error}\n  run it again with --debug to see where", err=True)
    return ExitCode.INTERNAL
