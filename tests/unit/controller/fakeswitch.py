"""A switch in pure Python that takes the controller's operations as Open vSwitch would, and refuses what it would refuse."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from testbed.controller.tables import DropFlow, DropGroup, FlowKey, Operation, PutFlow, PutGroup, Table
from testbed.plan.openflow import Action, Flow, Group, ToGroup


class FakeSwitch:
    """Flows and groups of one bridge. A flow that names a group that is not there is refused; deleting a group deletes its flows."""

    def __init__(self) -> None:
        self.flows: dict[FlowKey, Flow] = {}
        self.groups: dict[int, Group] = {}

    def apply(self, operations: Iterable[Operation]) -> None:
        for operation in operations:
            if isinstance(operation, PutFlow):
                self._check(operation.flow.actions, operation)
                self.flows[operation.flow.key] = operation.flow
            elif isinstance(operation, DropFlow):
                self.flows.pop(operation.flow.key, None)
            elif isinstance(operation, PutGroup):
                self._check(operation.group.actions, operation)
                self.groups[operation.group.id] = operation.group
            else:
                self._drop_group(operation)

    def equals(self, table: Table) -> bool:
        return self.flows == table.flows and self.groups == table.groups

    def _drop_group(self, operation: DropGroup) -> None:
        self.groups.pop(operation.group.id, None)
        users = [flow for flow in self.flows.values() if ToGroup(operation.group.id) in flow.actions]
        assert not users, f"deleting group {operation.group.id} would take {len(users)} flows along"

    def _check(self, actions: Sequence[Action], operation: Operation) -> None:
        for action in actions:
            if isinstance(action, ToGroup):
                assert action.id in self.groups, f"{operation} names group {action.id}, which is not there"
