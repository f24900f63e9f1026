"""Which sessions a lab must have before it counts as calm, by the faults that last."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from testbed.azure.control_plane import converge
from testbed.model.loader import load_topology
from testbed.model.scenario import Fault
from testbed.plan.compile import compile_plan
from testbed.plan.templates import load_templates
from testbed.scenario.breakage import broken_by
from testbed.scenario.standing import Standing, standing

TOPOLOGIES = Path(__file__).parents[3] / "topologies"


def stands(design: str, *faults: dict[str, Any]) -> Standing:
    topology = load_topology(TOPOLOGIES / f"{design}.yaml").topology
    plan = compile_plan(topology, lab="x", templates=load_templates())
    return standing(converge(topology, broken=broken_by(plan, [Fault.model_validate(fault) for fault in faults])))


def down(design: str, *faults: dict[str, Any]) -> set[str]:
    return {" ".join(sorted(pair)) for pair, up in stands(design, *faults).items() if not up}


def test_all_sessions_of_an_intact_lab_should_be_up() -> None:
    found = stands("active-standby")
    assert all(found.values())
    assert frozenset(("rs1-0", "nva1")) in found
    assert frozenset(("nva1", "nva2")) in found


@pytest.mark.parametrize(
    ("fault", "lost"),
    [
        ({"node": "nva1", "power": True}, {"nva1 rs1-0", "nva1 rs1-1", "nva1 nva2"}),
        ({"node": "nva1"}, {"nva1 rs1-0", "nva1 rs1-1", "nva1 nva2"}),
        ({"node": "nva1", "daemon": "bgpd"}, {"nva1 rs1-0", "nva1 rs1-1", "nva1 nva2"}),
        ({"node": "nva1", "daemon": "bfdd"}, set()),
        ({"node": "nva1", "session": "rs1"}, {"nva1 rs1-0", "nva1 rs1-1"}),
        ({"node": "rs1-0", "daemon": "bgpd"}, {"nva1 rs1-0", "nva1b rs1-0"}),
        ({"tunnel": "nva1-nva2"}, {"nva1 nva2"}),
        ({"controller": True}, set()),
    ],
)
def test_what_a_fault_keeps_down(fault: dict[str, Any], lost: set[str]) -> None:
    assert down("active-standby", fault) == lost


def test_several_faults_add_up() -> None:
    assert down("active-standby", {"tunnel": "nva1-nva2"}, {"node": "nva1b", "session": "rs1"}) == {
        "nva1 nva2",
        "nva1b rs1-0",
        "nva1b rs1-1",
    }


def test_a_circuit_takes_its_session_with_it() -> None:
    assert down("two-circuits", {"link": ["london-msee0", "onprem"]}) == {"london-msee0 onprem"}
    assert down("two-circuits", {"link": ["london", "onprem"]}) == {"london-msee0 onprem", "london-msee1 onprem"}


def test_a_gateway_without_power_is_cut_off_on_every_side() -> None:
    assert "er1-0 london-msee0" in down("expressroute-plain", {"node": "er1-0", "power": True})
