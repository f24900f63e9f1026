"""Bring a lab up from a topology file, and take hold of one that is up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from testbed import rpc
from testbed.emulation import client
from testbed.emulation.lab import Told
from testbed.emulation.paths import LabPaths
from testbed.plan.types import Choice
from testbed.scenario.convergence import AsPredicted, differences, expected_injection, injection
from testbed.scenario.live import LiveLab
from testbed.scenario.planning import compile_again, compile_file


class _Pending:
    """The controller of a lab that is only being built."""

    def __init__(self, lab: str) -> None:
        self._paths = LabPaths.of(lab)

    def controller(self, method: str, target: str, timeout: float = 30.0, **parameters: Any) -> Any:
        """Call the controller. Raises OSError while it is not there."""
        return rpc.call(self._paths.controller_socket, method, target, parameters, timeout)


def build(
    path: Path,
    told: Told,
    name: str | None = None,
    choice: Choice | None = None,
    *,
    force: bool = False,
    evidence: Path | None = None,
    when_up: Callable[[], None] = lambda: None,
) -> tuple[LiveLab, list[str]]:
    """Bring a lab up; give back the lab and warnings in words. ``told`` hears of each stage's end, ``choice`` is what it is built of.

    Raises InputError, MachineError, LabError or NotReady; then, and after KeyboardInterrupt, nothing of the lab is left. ``when_up`` is
    called at the point from which on that is no longer so: the lab is the caller's. What a lab looked like that failed to come up is in
    the folder ``evidence``.
    """
    loaded, plan = compile_file(path, name, choice)
    labs: list[LiveLab] = []
    warnings = [f"not emulated: {each}" for each in plan.unsupported]

    def finish(found: client.LabClient) -> None:
        lab = LiveLab(found, loaded.topology, compile_again)
        lab.save()
        observed = injection(found, [hub.vnet for hub in plan.hubs])
        warnings.extend(f"not as predicted: {each}" for each in differences(expected_injection(lab.predicted), observed))
        labs.append(lab)
        when_up()

    client.up(plan, told, converged=AsPredicted(loaded.topology, _Pending(plan.lab)), force=force, evidence=evidence, finish=finish)
    return labs[0], warnings


def live(name: str | None = None) -> LiveLab:
    """The lab of that name, or the only one, that is up. Raises NoSuchLab."""
    return LiveLab.of(client.the_lab(name), compile_again)
