"""A machine that is too small: refused beforehand with the figures, and by name when it shows only on the way; nothing is left."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from testbed.emulation import capacity, client
from testbed.emulation.estimate import COMMAND, LABD, MB, Limits, needs
from testbed.emulation.paths import LabPaths
from testbed.errors import ExitCode, MachineError
from testbed.plan.types import Plan

pytestmark = pytest.mark.root

ROOT = Path(__file__).parents[2]
MakePlan = Callable[[str], Plan]


def silent(stage: str, seconds: float) -> None:
    """Progress nobody looks at."""


def test_what_cannot_fit_is_refused_before_anything_is_built(small_plan: MakePlan, lab_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = small_plan(lab_name)
    monkeypatch.setattr(capacity, "limits", lambda: Limits(memory=needs(plan).memory - MB))
    with pytest.raises(MachineError, match="MB of memory, and free memory leaves"):
        client.up(plan, silent)
    assert not LabPaths.of(lab_name).dir.exists()


def test_force_builds_it_all_the_same(
    small_plan: MakePlan, lab_name: str, down: Callable[[str], float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capacity, "limits", lambda: Limits(memory=1))
    assert client.up(small_plan(lab_name), silent, with_controller=False, force=True).status()["state"] == "up"
    down(lab_name)


@pytest.mark.parametrize("most", [30, 40])
def test_too_few_open_files_are_recognised_on_the_way(lab_name: str, most: int) -> None:
    """In a process of its own: who has lowered the hard limit may not be allowed to raise it again."""
    argv = [sys.executable, "-m", "testbed.cli", "up", str(ROOT / "topologies" / "dual-region.yaml"), "--name", lab_name, "--force"]
    result = subprocess.run(
        argv,
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (most, most)),
    )
    assert result.returncode == ExitCode.CANNOT, result.stderr
    assert "EMFILE" in result.stderr
    assert "ulimit -Hn" in result.stderr
    assert client.labs() == ()


def test_the_estimate_is_what_a_lab_takes(small_plan: MakePlan, lab_name: str, down: Callable[[str], float]) -> None:
    plan = small_plan(lab_name)
    lab = client.up(plan, silent)
    status = lab.status()
    pids = [status["labd"], *(each["pid"] for each in status["processes"])]
    pids += [each["pid"] for node in status["nodes"] for each in node["daemons"]]
    wanted = needs(plan)
    assert len(pids) == wanted.processes
    taken = sum(proportional(pid) for pid in pids[1:])
    expected = wanted.memory - (LABD + COMMAND) * MB  # here both are as large as the tests are
    assert taken < expected < 2.5 * taken
    down(lab_name)


def proportional(pid: int) -> int:
    """Bytes of a process, shared pages shared out."""
    with open(f"/proc/{pid}/smaps_rollup") as lines:  # noqa: PTH123 - a file of the kernel
        return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024
