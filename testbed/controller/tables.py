"""What a bridge should hold, and the operations that take it there, in the order in which they lose no packet."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from testbed.plan.openflow import Flow, Group, Value
from testbed.plan.pipeline import REG_SET, REG_SLOT

MAX_GROUP = 0x7FFFFFFF
"""The highest number of a group that is not a load balancer's."""

FlowKey = tuple[int, int, tuple[tuple[str, int | str], ...]]


class PutFlow(Struct, frozen=True, tag=True):
    """Add a flow or replace the one of its key."""

    flow: Flow


class DropFlow(Struct, frozen=True, tag=True):
    """Delete a flow."""

    flow: Flow


class PutGroup(Struct, frozen=True, tag=True):
    """Add a group or replace it."""

    group: Group


class DropGroup(Struct, frozen=True, tag=True):
    """Delete a group."""

    group: Group


Operation = PutFlow | DropFlow | PutGroup | DropGroup
Operations = dict[str, list[Operation]]
"""Operations by bridge id."""


def order(operation: Operation) -> int:
    """Where an operation stands in a batch: what is pointed at comes before what points at it, and goes after it.

    A set of next hops is its members (flows by `REG_SET` and `REG_SLOT`), what chooses among them (by `REG_SET` alone), and its
    group; load balancers' sets come first, as they may be members of others; then the flows that point at groups.
    Deletions go the other way round.
    """
    if isinstance(operation, PutFlow | DropFlow):
        match = dict(operation.flow.match)
        if REG_SET not in match:
            return 6 if isinstance(operation, PutFlow) else 7
        choice = REG_SLOT not in match
        if isinstance(operation, DropFlow):
            return 8 if choice else 9
        return (0 if _balances(match[REG_SET]) else 3) + choice
    if isinstance(operation, PutGroup):
        return 2 if _balances(operation.group.id) else 5
    return 10


def _balances(number: Value) -> bool:
    """Whether a set of next hops is a load balancer's: `groups` numbers these above all others."""
    return int(number) > MAX_GROUP


class Table:
    """The flows and groups that a bridge should hold."""

    def __init__(self, flows: Iterable[Flow] = (), groups: Iterable[Group] = ()) -> None:
        self.flows: dict[FlowKey, Flow] = {flow.key: flow for flow in flows}
        self.groups: dict[int, Group] = {group.id: group for group in groups}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Table) and (self.flows, self.groups) == (other.flows, other.groups)

    __hash__ = None  # type: ignore[assignment]

    def put(self, flows: Iterable[Flow], groups: Iterable[Group] = ()) -> list[Operation]:
        """Make these flows and groups part of the table; gives back what that takes: nothing for those already there."""
        operations: list[Operation] = []
        for group in groups:
            if self.groups.get(group.id) != group:
                self.groups[group.id] = group
                operations.append(PutGroup(group))
        for flow in flows:
            if self.flows.get(flow.key) != flow:
                self.flows[flow.key] = flow
                operations.append(PutFlow(flow))
        return operations

    def drop(self, flows: Iterable[Flow], groups: Iterable[Group] = ()) -> list[Operation]:
        """Take flows and groups out of the table; gives back what that takes."""
        old_flows = [self.flows.pop(flow.key, None) for flow in flows]
        old_groups = [self.groups.pop(group.id, None) for group in groups]
        return [*(DropFlow(flow) for flow in old_flows if flow), *(DropGroup(group) for group in old_groups if group)]

    def everything(self) -> list[Operation]:
        """The operations that fill an empty switch, in order."""
        operations: list[Operation] = [PutGroup(group) for group in self.groups.values()]
        operations += [PutFlow(flow) for flow in self.flows.values()]
        return sorted(operations, key=order)

    def towards(self, target: Table) -> list[Operation]:
        """The operations, in order, that turn this table into the other; neither is changed."""
        work = Table(self.flows.values(), self.groups.values())
        operations = work.put(target.flows.values(), target.groups.values())
        operations += work.drop(
            [flow for key, flow in self.flows.items() if key not in target.flows],
            [group for number, group in self.groups.items() if number not in target.groups],
        )
        return sorted(operations, key=order)
