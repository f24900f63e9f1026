"""`vagrant up` for real: a VM with a full kernel, provisioned by testbed.sh, runs the scenarios and is gone afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SCENARIOS = ["scenarios/dual-region.yaml"]

pytestmark = [pytest.mark.vm, pytest.mark.timeout(5400)]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Room for disks and Vagrant's files, removed afterwards (TESTBED_VM_FOLDER: kept there, the box is built once)."""
    kept = os.environ.get("TESTBED_VM_FOLDER")
    if kept:
        Path(kept).mkdir(parents=True, exist_ok=True)
        yield Path(kept)
        return
    with tempfile.TemporaryDirectory(prefix="testbed-vm-", dir="/var/tmp") as made:
        yield Path(made)


@pytest.fixture(scope="module")
def box(folder: Path) -> Path:
    """The base box, of Debian's packages."""
    path = folder / "debian12.box"
    if not path.exists():
        subprocess.run([HERE / "box.sh", path], check=True, stdin=subprocess.DEVNULL)
    return path


def interfaces() -> set[str]:
    """The machine's own network interfaces and named namespaces."""
    named = Path("/run/netns")
    return {path.name for path in Path("/sys/class/net").iterdir()} | ({path.name for path in named.iterdir()} if named.exists() else set())


def test_scenarios_pass_in_the_vm(folder: Path, box: Path) -> None:
    before = interfaces()
    with tempfile.TemporaryDirectory(dir=folder) as work:
        results = Path(work) / "fetched"
        session = [str(part) for part in (HERE / "private.sh", work, HERE / "session.sh", box, results, *SCENARIOS)]
        done = subprocess.run(session, cwd=ROOT, stdin=subprocess.DEVNULL, check=False)
        assert done.returncode == 0
        records = [json.loads(path.read_text()) for path in sorted(results.glob("results/*/record.json"))]
    assert len(records) == len(SCENARIOS), "each run's record came home"
    assert interfaces() == before, "nothing of the VM's network is left on this machine"
