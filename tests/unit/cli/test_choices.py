"""The options for what a lab is built of reach the command as one choice."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from testbed.cli.common import choice_options
from testbed.plan.types import Choice


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], Choice()),
        (["--delay=line"], Choice(delay="line")),
        (["--datapath", "netdev", "--ipsec-backend", "kernel", "--delay", "netem"], Choice("netdev", "kernel", "netem")),
    ],
)
def test_options_become_a_choice(options: list[str], expected: Choice) -> None:
    seen: list[Choice] = []

    @click.command()
    @choice_options
    def build(choice: Choice) -> None:
        seen.append(choice)

    done = CliRunner().invoke(build, options)
    assert (done.exit_code, seen) == (0, [expected]), done.output


def test_an_unknown_choice_is_refused() -> None:
    @click.command()
    @choice_options
    def build(choice: Choice) -> None:
        raise AssertionError(choice)

    assert CliRunner().invoke(build, ["--delay", "soon"]).exit_code == 2
