"""Runs something inside a node of a live lab: a command in the foreground, a command whose output is wanted, a Python function."""

from __future__ import annotations

import difflib
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from typing import TypeVar

from testbed.emulation import netns, openvswitch
from testbed.emulation.paths import LabPaths
from testbed.errors import InputError, LabError
from testbed.plan.types import Plan

FABRIC = "fabric"
Result = TypeVar("Result")


def namespace_of(plan: Plan, node: str) -> str:
    """The namespace of a node, or of the fabric (``fabric``). Raises InputError, with a suggestion."""
    if node == FABRIC and FABRIC not in {each.name for each in plan.nodes}:
        return plan.fabric
    for each in plan.nodes:
        if each.name == node:
            return each.id
    names = [each.name for each in plan.nodes]
    near = difflib.get_close_matches(node, names, n=1)
    raise InputError(f"there is no node {node}", f"did you mean {near[0]}?" if near else f"nodes: {', '.join(names)}, {FABRIC}")


def environment(plan: Plan, paths: LabPaths, node: str) -> dict[str, str]:
    """The user's environment with the lab's tag, so that tear-down ends what was left running; in the fabric with its Open vSwitch."""
    own = openvswitch.environment(paths) if namespace_of(plan, node) == plan.fabric else {}
    return dict(os.environ) | paths.environment() | own


def run_in_node(plan: Plan, paths: LabPaths, node: str, argv: Sequence[str]) -> int:
    """Run a command inside the node on the caller's terminal and give back its exit status (128 + n when signal n ended it).

    Ctrl-C is the command's, not ours. Raises LabError when it cannot be run.
    """
    variables = environment(plan, paths, node)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with netns.inside(namespace_of(plan, node)):
            process = subprocess.Popen(list(argv), env=variables, preexec_fn=_interruptible)
        status = process.wait()
    except OSError as error:
        raise LabError(f"cannot run {argv[0]} in {node}: {error.strerror}") from error
    finally:
        signal.signal(signal.SIGINT, before)
    return status if status >= 0 else 128 - status


def _interruptible() -> None:
    """Undo, in the child, what the parent ignores."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def run(
    plan: Plan, paths: LabPaths, node: str, argv: Sequence[str], *, timeout: float | None = 30.0, text: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command inside the node and give back its status and output; ``text`` is its standard input.

    Raises LabError when it cannot be run or takes longer than ``timeout`` seconds (it is killed then).
    """
    variables = environment(plan, paths, node)
    try:
        with netns.inside(namespace_of(plan, node)):
            process = subprocess.Popen(
                list(argv), env=variables, text=True, start_new_session=True,
                stdin=subprocess.DEVNULL if text is None else subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )  # fmt: skip
    except OSError as error:
        raise LabError(f"cannot run {argv[0]} in {node}: {error.strerror}") from error
    with process:
        try:
            output, errors = process.communicate(text, timeout)
        except subprocess.TimeoutExpired as error:
            process.kill()
            raise LabError(f"{argv[0]} in {node} did not end within {timeout:g} s") from error
    return subprocess.CompletedProcess(list(argv), process.returncode, output, errors)


def call(plan: Plan, node: str, function: Callable[[], Result]) -> Result:
    """Call a function in a thread inside the node's namespace; the sockets it opens stay there."""

    def work() -> Result:
        with netns.inside(namespace_of(plan, node)):
            return function()

    return netns.in_thread(work)
