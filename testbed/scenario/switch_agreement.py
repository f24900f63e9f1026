"""What the real switches hold against what the model says that they should: every flow and every group; pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from testbed.azure.control_plane import ControlPlane
from testbed.controller.programmer import Programmer
from testbed.controller.tables import Table
from testbed.emulation.switch_state import SwitchState
from testbed.model.scenario import Fault
from testbed.plan.fabric_index import FabricIndex
from testbed.plan.openflow import Flow, Group
from testbed.plan.render import render
from testbed.plan.types import Plan

BGP = 179
_HEX = re.compile(r"\b0x([0-9a-f]+)\b")


def expected_tables(plan: Plan, control: ControlPlane, faults: Iterable[Fault] = ()) -> dict[str, Table]:
    """By bridge id: the flows and groups that follow from the predicted control plane and lasting faults, with no lab involved."""
    return Programmer(FabricIndex(plan), control.state, healthy_backends(plan, tuple(faults))).tables


def healthy_backends(plan: Plan, faults: Sequence[Fault]) -> dict[str, tuple[str, ...]]:
    """The backends that answer the probes of each load balancer that has one, while these faults last."""
    nodes = {nic.label: nic.node for nic in plan.nics()}
    return {
        balancer.name: tuple(
            label for label in balancer.backends if not any(_silences(fault, nodes[label], balancer.probe.port) for fault in faults)
        )
        for balancer in plan.load_balancers
        if balancer.probe is not None
    }


def _silences(fault: Fault, node: str, port: int) -> bool:
    """Whether nobody answers at a port of a node any more: it has no power, or the daemon is dead that listens there."""
    if fault.node != node or fault.session is not None:
        return False
    return fault.power or (port == BGP and fault.daemon in (None, "bgpd"))


def switch_differences(plan: Plan, expected: Mapping[str, Table], found: Mapping[str, SwitchState]) -> tuple[str, ...]:
    """What a switch lacks and what it has too much, in words; nothing when they agree."""
    lines: list[str] = []
    for bridge in plan.bridges:
        table, state = expected[bridge.id], found[bridge.id]
        items: list[Flow | Group] = [*table.flows.values(), *table.groups.values()]
        notes = {normal(render(item)): item.note for item in items}
        there = set(map(normal, (*state.flows, *state.groups)))
        lines += [f"switch of {bridge.vnet} lacks {each} ({notes[each]})" for each in sorted(notes.keys() - there)]
        lines += [f"switch of {bridge.vnet} has {each}, which should not be there" for each in sorted(there - notes.keys())]
    return tuple(lines)


def normal(line: str) -> str:
    """A flow or a group in one spelling: numbers decimal, matches in order, what is a default left out, no cookie."""
    match, _, actions = _HEX.sub(lambda found: str(int(found[1], 16)), line.strip()).partition("actions=")
    return ",".join(sorted(_fields(re.split(r"[,\s]+", match)))) + f" actions={actions.strip()}"


def _fields(parts: Iterable[str]) -> Iterator[str]:
    for part in parts:
        if part and part != "table=0" and not part.startswith("cookie=") and not part.endswith("=0.0.0.0/0"):
            yield part.removesuffix("/32")
