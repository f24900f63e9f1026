"""Distance between regions where the kernel has no netem: a process of the lab's, noticed when it dies, gone with its peering."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator

import msgspec
import pytest

from testbed.emulation import client, delay_lines
from testbed.emulation.client import LabClient
from testbed.measure.reachability import Endpoint
from testbed.measure.round_trip import round_trip
from testbed.plan.types import Plan
from testbed.wait import wait_until

pytestmark = pytest.mark.root
DELAY = 0.02


def delayed(plan: Plan, seconds: float) -> Plan:
    links = tuple(msgspec.structs.replace(link, delay=seconds) if link.kind == "veth" else link for link in plan.peerings)
    return msgspec.structs.replace(plan, peerings=links)


@pytest.fixture
def lab(small_plan: Callable[[str], Plan], lab_name: str, down: Callable[[str], float]) -> Iterator[LabClient]:
    yield client.up(delayed(small_plan(lab_name), DELAY), lambda stage, seconds: None)
    down(lab_name)


def fastest(lab: LabClient) -> float | None:
    source, target = (Endpoint(name, lab.plan.node(name).id, lab.plan.node(name).nics[0].ip) for name in ("nva1", "vm2"))
    return min(round_trip(source, target, budget=0.5), default=None)


def processes(lab: LabClient) -> dict[str, str]:
    return {process["name"]: process["state"] for process in lab.status()["processes"] if process["name"].startswith("delay-")}


def test_an_echo_takes_twice_the_delay(lab: LabClient) -> None:
    found = fastest(lab)
    assert found is not None
    assert 2 * DELAY <= found < 2 * DELAY + 0.01


def test_a_delay_line_that_dies_cuts_the_link_is_reported_and_can_be_started(lab: LabClient) -> None:
    (name,) = processes(lab)
    assert name == delay_lines.process_name(lab.plan.delay_lines()[0])
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
