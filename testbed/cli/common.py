"""What several commands share: arguments, JSON output, tables, and the check for root."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from testbed.errors import MachineError

F = TypeVar("F", bound=Callable[..., Any])

topology_argument = click.argument("topology", type=click.Path(path_type=Path, dir_okay=False))
json_option = click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
lab_option = click.option("--lab", help="Which lab, when several are up.")
_CHOICES = {
    "datapath": ("netdev", "system", "Open vSwitch in userspace (netdev) or in the kernel (system); the kernel's where there is one."),
    "ipsec-backend": ("kernel", "libipsec", "ESP in the kernel or in userspace (libipsec); the kernel's where there is one."),
    "delay": ("netem", "line", "Distance by the kernel's netem or by a process of the lab (line); netem where there is one."),
}


force_option = click.option("--force", is_flag=True, help="Build it though it does not fit into what the machine has left.")


def choice_options(function: F) -> F:
    """What a lab is built of, where the machine leaves the choice: the command gets a `Choice` as ``choice``."""

    @wraps(function)
    def chosen(*arguments: Any, datapath: str, ipsec_backend: str, delay: str, **others: Any) -> Any:
        from testbed.plan.types import Choice

        return function(*arguments, choice=Choice(datapath, ipsec_backend, delay), **others)

    for name, (one, other, text) in reversed(_CHOICES.items()):
        chosen = click.option(f"--{name}", type=click.Choice(["auto", one, other]), default="auto", help=text)(chosen)
    return cast(F, chosen)


def print_json(data: Any) -> None:
    """Print data as indented JSON on stdout."""
    click.echo(json.dumps(data, indent=2, ensure_ascii=False))


_BLOCK = 1 << 16


def write_pieces(pieces: Iterable[str]) -> None:
    """Print what may be hundreds of megabytes, in blocks that are encoded without asking the kernel for memory each time."""
    for piece in pieces:
        for start in range(0, len(piece), _BLOCK):
            sys.stdout.write(piece[start : start + _BLOCK])


def table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Rows under headers in aligned columns; the library for it is imported only now."""
    from testbed.report import tables

    return tables.table(headers, rows)


def need_root(what: str) -> None:
    """Raise MachineError unless this process is root."""
    if os.geteuid() != 0:
        raise MachineError(
            f"{what} needs root: it makes network namespaces and starts daemons in them", "run it through ./testbed.sh, or sudo"
        )
