"""A machine that is too small: refused beforehand with the figures, and by name when it shows only on the way; nothing is left."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from testbed.emulation import capacity, client
from testbed.emulation.estimate import COMMAND, LABD, MB, Limits, needs
from testbed.emulation.paths import RUN_DIR_VARIABLE, LabPaths
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


IN_A_SMALL_WORLD = """
mount -t tmpfs none /run && mkdir -p /run/testbed && echo 6 > /proc/sys/user/max_net_namespaces || exit 99
{python} -m testbed.cli up {topology} --name {name} {option}; code=$?
ls -A /run/testbed /run/netns
exit $code
"""


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("", "it has 14 network namespaces, and user.max_net_namespaces is 6"),
        ("--force", "no network namespace is left (ENOSPC)"),
    ],
)
def test_too_few_namespaces_are_foreseen_and_recognised_on_the_way(lab_name: str, option: str, words: str) -> None:
    """In a user namespace of its own, whose limit is nobody else's."""
    topology = ROOT / "topologies" / "dual-region.yaml"
    script = IN_A_SMALL_WORLD.format(python=sys.executable, topology=topology, name=lab_name, option=option)
    argv = ("unshare", "--user", "--map-root-user", "--mount", "--net", "sh", "-c", script)
    environment = {name: value for name, value in os.environ.items() if name != RUN_DIR_VARIABLE}
    result = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT, env=environment)
    assert result.returncode == ExitCode.CANNOT, result.stderr
    assert words in result.stderr
    assert "raise user.max_net_namespaces" in result.stderr or "sysctl -w user.max_net_namespaces=16" in result.stderr
    left = [line for line in result.stdout.splitlines() if line and not line.endswith(":")]
    assert left == []


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
