"""A full disk: said by name when a lab is built, no harm to a lab that is up, and no obstacle to taking it down."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from frames import reach

from testbed.emulation import client, lock, processes
from testbed.emulation.client import LabClient
from testbed.errors import ExitCode, LabError, MachineError
from testbed.plan.types import Plan

pytestmark = pytest.mark.root

HERE = Path(__file__).parents[2]
MakePlan = Callable[[str], Plan]


def silent(stage: str, seconds: float) -> None:
    """Progress nobody looks at."""


@contextmanager
def disk(folder: Path, size: str) -> Iterator[Path]:
    """A small disk, mounted on a folder of the test's own."""
    folder.mkdir(exist_ok=True)
    subprocess.run(("mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "none", str(folder)), check=True)
    try:
        yield folder
    finally:
        subprocess.run(("umount", "--lazy", str(folder)), check=True)  # a test that fails may leave a lab in it


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """While the block runs, not one byte more can be written there."""
    filler = folder / "filler"
    descriptor = os.open(filler, os.O_WRONLY | os.O_CREAT)
    try:
        with suppress(OSError):
            while os.write(descriptor, b"x" * 4096):
                pass
        assert os.statvfs(folder).f_bavail == 0
        for ledger in folder.glob("*/ledger.jsonl"):  # its last block, too; empty lines say nothing
            with ledger.open("ab") as book:
                book.write(b"\n" * (-ledger.stat().st_size % 4096))
        yield
    finally:
        os.close(descriptor)
        filler.unlink()


def test_a_lab_that_does_not_fit_on_the_disk_is_not_there_and_says_why(small_plan: MakePlan, lab_name: str, run_folder: Path) -> None:
    """Wherever the disk happens to end: in the ledger, the plan, the switch's database, a daemon's log."""
    refused = []
    for kilobytes in (4, 16, 64, 96, 128, 160):
        with disk(run_folder, f"{kilobytes}k"):
            try:
                client.up(small_plan(lab_name), silent)
                client.down(lab_name)
            except MachineError as error:
                refused.append(kilobytes)
                assert ("ENOSPC" in error.message, "free some space" in error.hint) == (True, True), error  # noqa: PT017 - some fit
            assert list(run_folder.iterdir()) == [], kilobytes
    assert {4, 16, 64} <= set(refused)


def test_a_lab_that_is_up_goes_on_when_the_disk_is_full(small_plan: MakePlan, lab_name: str, run_folder: Path) -> None:
    with disk(run_folder, "4m"):
        lab = client.up(small_plan(lab_name), silent)
        with filled(run_folder):
            reach(lab, "vm1", "nva1")
            lab.stop_daemon("nva1", "bgpd", signal.SIGKILL)
            with pytest.raises(LabError, match=r"cannot write .*ledger"):
                lab.start_daemon("nva1", "bgpd")
            assert state(lab, "nva1", "bgpd") == "stopped", "what the ledger cannot name is not started"
            who = lock.holder(lab.paths)
            assert who is not None
            processes.end([who])
            with pytest.raises(MachineError, match="ENOSPC"):
                lab.status()
            reach(lab, "vm1", "nva1")
        assert lab.start_daemon("nva1", "bgpd")["state"] == "running", "with space again, another labd takes the lab on"
        with filled(run_folder):
            client.down(lab_name)
        assert list(run_folder.iterdir()) == []


def state(lab: LabClient, node: str, daemon: str) -> str:
    (found,) = (each for each in lab.status()["nodes"] if each["name"] == node)
    return next(str(each["state"]) for each in found["daemons"] if each["name"] == daemon)


def test_a_record_that_cannot_be_written_leaves_no_lab(lab_name: str, tmp_path: Path) -> None:
    with disk(tmp_path / "results", "64k") as results, filled(results):
        argv = (sys.executable, "-m", "testbed.cli", "run", "scenarios/dual-region.yaml", "--name", lab_name, "--results", str(results))
        done = subprocess.run(argv, cwd=HERE, capture_output=True, text=True, timeout=120)
    assert "No space left" in done.stderr
    assert done.returncode == ExitCode.CANNOT, done.stderr
    assert client.labs() == ()
