"""A small lab with its controller: packets follow what BGP said, also after things were killed, stopped, peered and taken apart."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator

import msgspec
import pytest

from testbed.emulation import client, enter, readiness
from testbed.emulation.client import LabClient
from testbed.errors import LabError
from testbed.plan.types import Plan
from testbed.wait import wait_until

pytestmark = pytest.mark.root
BEHIND_NVA1 = "192.0.2.1"


@pytest.fixture
def lab(small_plan: Callable[[str], Plan], lab_name: str, down: Callable[[str], float]) -> Iterator[LabClient]:
    yield client.up(small_plan(lab_name), lambda stage, seconds: None)
    down(lab_name)


def answers(lab: LabClient, source: str, address: str) -> str | None:
    done = enter.run(lab.plan, lab.paths, source, ("ping", "-c1", "-W0.3", address))
    return None if done.returncode == 0 else f"{address} does not answer {source}: {done.stdout}"


def reach(lab: LabClient, source: str, address: str, budget: float = 5.0) -> None:
    wait_until(lambda: answers(lab, source, address), what=f"{source} reaches {address}", budget=budget)


def test_up_means_that_packets_arrive(lab: LabClient) -> None:
    assert answers(lab, "vm1", BEHIND_NVA1) is None
    assert answers(lab, "vm2", "10.1.0.4") is None
    assert all(state.up for state in readiness.session_states(lab.plan, lab.paths))
    assert lab.status()["switches_disconnected"] == []


def test_the_controller_dies_and_comes_back_while_packets_flow(lab: LabClient) -> None:
    lab.stop_daemon("lab", "controller", signal.SIGKILL)
    assert answers(lab, "vm1", BEHIND_NVA1) is None
    with pytest.raises(LabError, match="does not answer"):
        lab.controller("GET", "/status")
    lab.start_daemon("lab", "controller")
    wait_until(
        lambda: readiness.controller(lab.paths) if lab.paths.controller_socket.exists() else "no socket", what="controller", budget=10
    )
    assert answers(lab, "vm1", BEHIND_NVA1) is None


def test_the_switch_dies_and_comes_back(lab: LabClient) -> None:
    lab.stop_daemon("lab", "ovs-vswitchd", signal.SIGKILL)
    assert answers(lab, "vm1", BEHIND_NVA1) is not None
    lab.start_daemon("lab", "ovs-vswitchd")
    reach(lab, "vm1", BEHIND_NVA1, budget=10.0)


def test_an_adopted_lab_can_still_be_changed(lab: LabClient) -> None:
    from testbed.emulation import lock, processes

    who = lock.holder(lab.paths)
    assert who is not None
    processes.end([who])
    lab.stop_daemon("nva1", "bgpd", signal.SIGKILL)
    wait_until(lambda: None if answers(lab, "vm1", BEHIND_NVA1) else "still there", what="withdrawal", budget=5.0)
    lab.start_daemon("nva1", "bgpd")
    reach(lab, "vm1", BEHIND_NVA1)


def test_a_peering_is_taken_away_and_given_back(lab: LabClient) -> None:
    plan = lab.plan
    without = msgspec.structs.replace(plan, peerings=tuple(link for link in plan.peerings if link.kind != "veth"))
    assert answers(lab, "vm2", "10.1.0.4") is None
    done = lab.change_plan(without)
    assert (done["removed"], done["added"]) == (["hub1 - hub2"], [])
    assert answers(lab, "vm2", "10.1.0.4") is not None
    assert lab.change_plan(plan)["added"] == ["hub1 - hub2"]
    reach(lab, "vm2", "10.1.0.4")


def test_a_changed_configuration_reaches_the_running_bgpd(lab: LabClient) -> None:
    plan = lab.plan
    nva1 = plan.node("nva1")
    files = nva1.files | {"bgpd.conf": nva1.files["bgpd.conf"].replace(f"  network {BEHIND_NVA1}/32\n", "")}
    assert files != nva1.files
    nodes = tuple(msgspec.structs.replace(node, files=files) if node.name == "nva1" else node for node in plan.nodes)
    done = lab.change_plan(msgspec.structs.replace(plan, nodes=nodes))
    assert done["reconfigured"] == ["nva1"]
    wait_until(lambda: None if answers(lab, "vm1", BEHIND_NVA1) else "still there", what="withdrawal", budget=5.0)
    lab.change_plan(plan)
    reach(lab, "vm1", BEHIND_NVA1)


def test_another_set_of_nodes_is_refused(lab: LabClient) -> None:
    with pytest.raises(LabError, match="only peerings and configurations"):
        lab.change_plan(msgspec.structs.replace(lab.plan, nodes=lab.plan.nodes[1:]))
    assert answers(lab, "vm1", BEHIND_NVA1) is None
