"""Distance between regions and on circuits where the kernel has no netem: processes of the lab, noticed when they die."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from testbed.emulation import client
from testbed.emulation.client import LabClient
from testbed.measure.reachability import Endpoint
from testbed.measure.round_trip import round_trip
from testbed.model.loader import load_topology
from testbed.plan.compile import compile_plan
from testbed.plan.delay_lines import delay_lines
from testbed.plan.templates import load_templates
from testbed.plan.types import Plan, Shape
from testbed.scenario import talkers
from testbed.wait import wait_until

pytestmark = pytest.mark.root
DELAY = 0.02
VM = Path(__file__).parents[1] / "vm"


def delayed(plan: Plan, seconds: float) -> Plan:
    links = tuple(msgspec.structs.replace(link, shape=Shape(seconds)) if link.kind == "veth" else link for link in plan.peerings)
    return msgspec.structs.replace(plan, peerings=links)


@pytest.fixture
def lab(small_plan: Callable[[str], Plan], lab_name: str, down: Callable[[str], float]) -> Iterator[LabClient]:
    yield client.up(delayed(small_plan(lab_name), DELAY), lambda stage, seconds: None)
    down(lab_name)


def fastest(lab: LabClient, *pair: str) -> float | None:
    ports = [talkers.port(lab.plan, name) for name in pair or ("nva1", "vm2")]
    source, target = (Endpoint(port.label, port.namespace, port.ip) for port in ports)
    return min(round_trip(source, target, budget=0.5), default=None)


def processes(lab: LabClient) -> dict[str, str]:
    return {process["name"]: process["state"] for process in lab.status()["processes"] if process["name"].startswith("delay-")}


def test_an_echo_takes_twice_the_delay(lab: LabClient) -> None:
    found = fastest(lab)
    assert found is not None
    assert 2 * DELAY <= found < 2 * DELAY + 0.01


def test_a_delay_line_that_dies_cuts_the_link_is_reported_and_can_be_started(lab: LabClient) -> None:
    (name,) = processes(lab)
    assert name == delay_lines(lab.plan)[0].process
    lab.stop_daemon("lab", name, signal.SIGKILL)
    assert processes(lab) == {name: "stopped"}
    assert fastest(lab) is None
    lab.start_daemon("lab", name)
    wait_until(lambda: None if fastest(lab) else "no answer", what="the link", budget=5.0)


def test_another_delay_is_another_process_and_none_is_none(lab: LabClient) -> None:
    (name,) = processes(lab)
    lab.change_plan(delayed(lab.plan, 2 * DELAY))
    wait_until(lambda: None if (fastest(lab) or 0) >= 4 * DELAY else "not so far yet", what="a longer way", budget=5.0)
    assert processes(lab) == {name: "running"}
    lab.change_plan(delayed(lab.plan, 0.0))
    wait_until(lambda: None if (fastest(lab) or 1) < DELAY else "still far", what="the direct way", budget=5.0)
    assert processes(lab) == {}
    assert [death for death in lab.status()["deaths"] if not death["on_purpose"]] == []


def test_jitter_reordering_and_loss_are_as_declared_between_regions_and_on_circuits() -> None:
    """By the delay line here; the same runs in the VM with netem."""
    argv = (sys.executable, str(VM / "impairments.py"), str(VM / "impaired.yaml"))
    done = subprocess.run(argv, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "as declared" in done.stdout


def test_a_circuits_delay_line_that_dies_cuts_the_circuit_and_can_be_started(lab_name: str, down: Callable[[str], float]) -> None:
    topology = load_topology(VM / "impaired.yaml").topology
    plan = compile_plan(topology, lab=lab_name, templates=load_templates())
    lab = client.up(plan, lambda stage, seconds: None)
    assert processes(lab)["delay-london"] == "running"
    lab.stop_daemon("lab", "delay-london", signal.SIGKILL)
    assert fastest(lab, "vm1", "client") is None
    assert fastest(lab, "vm1", "vm2"), "the links between regions have processes of their own"
    lab.start_daemon("lab", "delay-london")
    wait_until(lambda: None if (fastest(lab, "vm1", "client") or 0) >= 0.06 else "no answer", what="the circuit", budget=20.0)
    down(lab_name)
