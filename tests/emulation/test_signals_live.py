"""Whatever ends a command, and however often: its lab goes with it, at whatever moment."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from testbed.emulation import client
from testbed.wait import poll

pytestmark = pytest.mark.root

HERE = Path(__file__).parents[2]
IN_CI = 6


def start(lab_name: str, results: Path, *command: str) -> subprocess.Popen[str]:
    """A command line in a session of its own, where Ctrl-C is not ignored whatever the tests' own caller does."""
    argv = (sys.executable, "-m", "testbed.cli", *command, "--name", lab_name, "--results", str(results))
    return subprocess.Popen(
        argv,
        cwd=HERE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def after(running: subprocess.Popen[str], seconds: float) -> None:
    """Let it run for a while, unless it ends before."""
    poll(lambda: "it runs" if running.poll() is None else None, budget=seconds, interval=0.01)


@pytest.mark.parametrize(
    "seed", [*range(IN_CI), *(pytest.param(number, marks=pytest.mark.full) for number in range(IN_CI, 40))]
)  # fmt: skip
def test_an_interrupted_run_leaves_no_lab(lab_name: str, tmp_path: Path, seed: int) -> None:
    """Ctrl-C, a kill, a closed terminal, once or again and again until the command is gone."""
    chance = random.Random(seed)
    number = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)[seed % 3]
    moment, again = chance.uniform(0.0, 4.0), chance.choice((0.0, 0.02, 0.3))
    running = start(lab_name, tmp_path, "run", "scenarios/dual-region.yaml")
    after(running, moment)
    while running.poll() is None:
        running.send_signal(number)
        after(running, again or 60.0)
    said, _ = running.communicate(timeout=60)
    # quicker than the signal; interrupted; still importing; and how CPython ends after an interrupt amid `exec` of a text (a dataclass)
    assert running.returncode in (0, 130, -number, -signal.SIGINT), said
    assert client.labs() == (), said


def test_a_soak_that_is_killed_takes_its_lab_along(lab_name: str, tmp_path: Path) -> None:
    running = start(lab_name, tmp_path, "soak", "topologies/one-instance.yaml", "--minutes", "5")
    assert running.stdout is not None
    while "settled after" not in running.stdout.readline():
        assert running.poll() is None
    running.send_signal(signal.SIGTERM)
    said, _ = running.communicate(timeout=60)
    assert (running.returncode, client.labs()) == (130, ()), said


def test_what_the_caller_ignores_stays_ignored(lab_name: str, tmp_path: Path) -> None:
    """``nohup testbed run … &``: a closed terminal is none of its business."""
    code = (
        "import os, signal; signal.signal(signal.SIGHUP, signal.SIG_IGN);"
        "from testbed.cli.interrupts import interrupts; interrupts.install(); os.kill(os.getpid(), signal.SIGHUP)"
    )
    assert subprocess.run((sys.executable, "-c", code), cwd=HERE, timeout=30).returncode == 0
