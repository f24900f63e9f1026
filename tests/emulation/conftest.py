"""A run folder of its own for every test on the real machine, small labs, and the check that nothing is left behind."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from testbed.emulation import client
from testbed.emulation.inventory import Inventory, inventory
from testbed.emulation.paths import RUN_DIR_VARIABLE
from testbed.errors import NotReady
from testbed.model.loader import load_topology
from testbed.plan.compile import compile_plan
from testbed.plan.templates import load_templates
from testbed.plan.types import Plan
from testbed.wait import wait_until

SMALL = """
name: small
regions:
  region1:
    vnets:
      hub1: {address_space: [10.1.0.0/16], subnets: {nva: 10.1.0.0/24, RouteServerSubnet: 10.1.1.0/26, workload: 10.1.2.0/24}}
      spoke1: {address_space: [10.11.0.0/16], subnets: {workload: 10.11.0.0/24}}
  region2:
    vnets:
      hub2: {address_space: [10.2.0.0/16], subnets: {workload: 10.2.2.0/24}}
peerings:
  - {from: hub1, to: spoke1, allow_gateway_transit: true, allow_forwarded_traffic: true}
  - {from: spoke1, to: hub1, use_remote_gateways: true, allow_forwarded_traffic: true}
  - {from: hub1, to: hub2}
  - {from: hub2, to: hub1}
route_servers:
  rs1: {vnet: hub1, peers: [nva1]}
nvas:
  nva1: {subnet: hub1/nva, ip: 10.1.0.4, asn: 65001, loopbacks: [192.0.2.1/32], advertise: [192.0.2.1/32]}
vms:
  vm1: {subnet: spoke1/workload}
  vm2: {subnet: hub2/workload}
links:
  region1-region2: {rate: 20mbit}
"""


@pytest.fixture(autouse=True)
def run_folder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Labs of a test live in a folder of its own, and whatever the test does, nothing of them is left on the machine after it."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    folder = Path(tempfile.mkdtemp(prefix="tb", dir="/run"))
    folder.chmod(0o755)  # FRR's daemons drop to their own user
    monkeypatch.setenv(RUN_DIR_VARIABLE, str(folder))
    before = inventory()
    try:
        yield folder
        leftovers = [*client.labs(), *(path.name for path in folder.glob(".*.lock"))]
        for lab in client.labs():
            client.down(lab)
        assert leftovers == [], "labs were not taken down by their test"
        assert_unchanged(before)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def assert_unchanged(before: Inventory) -> None:
    """The machine is as before; what others do on it at the same time gets a moment to pass, and their labs may have ended."""

    def check() -> str | None:
        changes = [change for change in before.changes(inventory()) if not change.startswith(("- namespaces", "- mounts"))]
        return "\n".join(changes) or None

    try:
        wait_until(check, what="the machine as before", budget=10.0, interval=0.05)
    except NotReady as error:
        pytest.fail(str(error))


@pytest.fixture
def small_plan(tmp_path: Path) -> Callable[[str], Plan]:
    """Plans of a small lab by name: two VNets of one region, one of another, an NVA with its Route Server, two VMs."""
    file = tmp_path / "small.yaml"
    file.write_text(SMALL)
    topology = load_topology(file).topology
    return lambda name: compile_plan(topology, lab=name, templates=load_templates())


@pytest.fixture
def lab_name() -> str:
    """A name that no other lab of this machine has."""
    return f"test-{os.getpid()}"


@pytest.fixture
def down() -> Iterator[Callable[[str], float]]:
    """`client.down`, and a safety net for labs that a failing test leaves up."""
    yield client.down
    for lab in client.labs():
        client.down(lab)
