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

# Each run with its options, and what its record must say of the fabric: by whom packets are switched, encrypted and delayed.
RUNS = {
    "dual-region": ("system", None, None),
    "dual-region,--datapath=netdev": ("netdev", None, None),
    "ipsec-overlay": ("system", "kernel", None),
    "ipsec-overlay,--ipsec-backend=libipsec": ("system", "libipsec", None),
    "dual-region-wan": ("system", None, "netem"),
    "dual-region-wan,--delay=line": ("system", None, "delay line"),
    "expressroute-wan": ("system", None, "netem"),
}

pytestmark = [pytest.mark.vm, pytest.mark.timeout(10800)]


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


def traces() -> set[str]:
    """The machine's own network interfaces, named namespaces, mounts, and processes of virtual machines."""
    named = Path("/run/netns")
    mounts = {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()}
    names = subprocess.run(["ps", "-eo", "comm="], capture_output=True, text=True, check=True).stdout.split()
    return (
        {f"interface {path.name}" for path in Path("/sys/class/net").iterdir()}
        | ({f"namespace {path.name}" for path in named.iterdir() if not path.name.startswith("t")} if named.exists() else set())
        | {f"mount {target}" for target in mounts if not target.startswith("/run/netns/t")}
        | {f"process {name}" for name in names if name.startswith(("qemu", "libvirtd", "slirp4netns", "dnsmasq", "vagrant"))}
    )


def test_scenarios_pass_in_the_vm(folder: Path, box: Path) -> None:
    before = traces()
    with tempfile.TemporaryDirectory(dir=folder) as work:
        results = Path(work) / "fetched"
        session = [str(part) for part in (HERE / "private.sh", work, HERE / "session.sh", box, results, *RUNS)]
        done = subprocess.run(session, cwd=ROOT, stdin=subprocess.DEVNULL, check=False)
        records = [json.loads(path.read_text()) for path in sorted(results.glob("results/*/record.json"))]
    assert done.returncode == 0
    assert [(each["datapath"], each["ipsec_backend"], each["delay"]) for each in records] == list(RUNS.values())
    assert [each["verdict"] for each in records] == ["passed"] * len(RUNS)
    assert _verdicts(records[0]) == _verdicts(records[1]), "the same scenario, switched in the kernel and in userspace"
    assert _verdicts(records[2]) == _verdicts(records[3]), "the same scenario, encrypted in the kernel and in userspace"
    assert _verdicts(records[4]) == _verdicts(records[5]), "the same scenario, delayed by the kernel and by a process"
    assert traces() == before, "nothing of the VM is left on this machine"


def _verdicts(record: dict[str, list[dict[str, list[dict[str, object]]]]]) -> list[tuple[object, object]]:
    return [(check["expected"], check["ok"]) for step in record["steps"] for check in step["checks"]]
