"""What a switch holds is compared with what follows from the prediction, flow by flow and group by group."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.azure.control_plane import converge
from testbed.emulation.switch_state import SwitchState
from testbed.model.loader import load_topology
from testbed.plan.compile import compile_plan
from testbed.plan.openflow import Flow, Group
from testbed.plan.render import render
from testbed.plan.templates import load_templates
from testbed.plan.types import Plan
from testbed.scenario.switch_agreement import expected_tables, normal, switch_differences

TOPOLOGY = load_topology(Path(__file__).parents[3] / "topologies" / "active-active.yaml").topology


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("table=0,priority=0 actions=drop", " cookie=0x500000000000000, priority=0 actions=drop"),
        (
            "table=20,priority=133,reg0=1,reg1=0,ip,nw_dst=10.21.0.0/16 actions=group:7",
            " cookie=0x5, table=20, priority=133,ip,reg0=0x1,reg1=0,nw_dst=10.21.0.0/16 actions=group:7",
        ),
        ("table=20,priority=100,reg0=10,ip,nw_dst=0.0.0.0/0 actions=drop", " table=20, priority=100,ip,reg0=0xa actions=drop"),
        ("group_id=7,type=indirect,bucket=actions=set_field:26->reg4", " group_id=7,type=indirect,bucket=actions=set_field:0x1a->reg4"),
    ],
)
def test_two_spellings_of_one_thing(ours: str, theirs: str) -> None:
    assert normal(ours) == normal(theirs)


def test_a_mac_address_is_no_number() -> None:
    assert "02:5d:c8:00:00:0a" in normal("table=30,priority=100,ip,nw_dst=10.1.2.4 actions=set_field:02:5d:c8:00:00:0a->eth_dst")


def lab() -> tuple[Plan, dict[str, SwitchState]]:
    """A plan, and switches that hold exactly what they should."""
    plan = compile_plan(TOPOLOGY, templates=load_templates())
    states = {}
    for bridge, table in expected_tables(plan, converge(TOPOLOGY)).items():
        flows: list[Flow] = list(table.flows.values())
        groups: list[Group] = list(table.groups.values())
        states[bridge] = SwitchState(tuple(map(render, flows)), tuple(map(render, groups)))
    return plan, states


def test_agreement_and_each_kind_of_difference() -> None:
    plan, states = lab()
    expected = expected_tables(plan, converge(TOPOLOGY))
    assert switch_differences(plan, expected, states) == ()
    spoke = next(bridge for bridge in plan.bridges if bridge.vnet == "spoke11")
    state = states[spoke.id]
    injected = next(line for line in state.flows if "nw_dst=10.21.0.0/16" in line)
    without = states | {spoke.id: SwitchState(tuple(line for line in state.flows if line != injected), state.groups)}
    (lacks,) = switch_differences(plan, expected, without)
    assert lacks.startswith("switch of spoke11 lacks ip,nw_dst=10.21.0.0/16")
    assert "VirtualNetworkGateway" in lacks
    more = states | {spoke.id: SwitchState((*state.flows, "table=20,priority=140,ip,nw_dst=10.9.0.0/24 actions=drop"), state.groups)}
    (too_much,) = switch_differences(plan, expected, more)
    assert "nw_dst=10.9.0.0/24" in too_much
    assert "should not be there" in too_much
    stale = states | {spoke.id: SwitchState(state.flows, tuple(line.replace("resubmit(,24)", "resubmit(,50)") for line in state.groups))}
    assert {line.split()[3] for line in switch_differences(plan, expected, stale)} == {"lacks", "has"}
