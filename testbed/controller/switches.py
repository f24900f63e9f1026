"""The controller's side of one switch: what has been sent, what it acknowledged, and the epoch by which a restart finds stale flows."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from testbed.controller import openflow
from testbed.controller.journal import Journal
from testbed.controller.tables import DropFlow, Operation, PutFlow, PutGroup, Table
from testbed.plan.types import Bridge

Send = Callable[[bytes], None]

KEPT_ERRORS = 20
HURRIED = 8192
"""Bytes that surely fit into the buffer of a connection on which nothing is on its way."""


class Epochs:
    """Numbers of epochs, from a file, so that no two processes in a row use the same: each connection of a switch takes a new one."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def take(self) -> int:
        """The next epoch."""
        try:
            last = int(self._path.read_text())
        except (OSError, ValueError):
            last = 0
        epoch = (last + 1) % openflow.EPOCHS
        scratch = self._path.with_suffix(".new")
        scratch.write_text(f"{epoch}\n")
        scratch.replace(self._path)
        return epoch


class Switch:
    """One bridge. While it is not connected nothing is sent; when it connects it gets everything, under a new epoch.

    What an earlier epoch left is swept by `sweep`, once the routes are known again: until then traffic goes on by it.
    """

    def __init__(self, bridge: Bridge, journal: Journal) -> None:
        self.bridge = bridge
        self.connected = False
        self.swept = False
        self.errors: list[str] = []
        self.error_count = 0
        self._journal = journal
        self._send: Send | None = None
        self._hurry: Send | None = None
        self._epoch = 0
        self._xids = itertools.count(1)
        self._waiting: dict[int, tuple[str, float]] = {}

    @property
    def pending(self) -> int:
        """Batches sent and not acknowledged yet."""
        return len(self._waiting)

    @property
    def outstanding(self) -> set[str]:
        """What those batches are."""
        return {what for what, _ in self._waiting.values()}

    def connect(self, send: Send, epoch: int, table: Table, now: float, hurry: Send | None = None) -> None:
        """The switch is there: send it all it should hold. ``hurry`` writes to the connection itself, past the queue behind ``send``."""
        self.connected, self.swept = True, False
        self._send, self._hurry, self._epoch = send, hurry, epoch
        self._waiting.clear()
        self._journal.write("switch-up", now, bridge=self.bridge.id, vnet=self.bridge.vnet, epoch=epoch)
        self.apply(table.everything(), "everything", now)

    def disconnect(self, now: float) -> None:
        """The switch is gone; it keeps its flows."""
        if self.connected:
            self.connected, self._send, self._hurry = False, None, None
            self._waiting.clear()
            self._journal.write("switch-down", now, bridge=self.bridge.id, vnet=self.bridge.vnet)

    def sends_by(self, send: Send) -> bool:
        """Whether this is the connection in use (a new one may have come before the old one's end was noticed)."""
        return self._send == send

    def apply(self, operations: Sequence[Operation], what: str, now: float) -> None:
        """Send operations, in their order, and a barrier; ``what`` names the batch in the journal."""
        self.prepared(operations, what, now)()

    def prepared(self, operations: Sequence[Operation], what: str, now: float) -> Callable[[], None]:
        """The same, made ready to be sent by a call: what goes to many switches then leaves in one go."""
        if not operations or not self._send:
            return lambda: None
        xid = next(self._xids)
        data, counts = b"".join(self._encode(operation, xid) for operation in operations), _counts(operations)
        return lambda: self._deliver(data, xid, what, now, **counts)

    def sweep(self, now: float) -> None:
        """Delete the flows of earlier epochs, and ask for the groups, of which `sweep_groups` deletes the stale."""
        if self._send and not self.swept:
            self.swept = True
            xid = next(self._xids)
            self._deliver(openflow.sweep(self._epoch, xid) + openflow.list_groups(xid), xid, "sweep", now)

    def sweep_groups(self, present: Iterable[int], table: Table, now: float) -> None:
        """Delete the groups that the switch has and should not have."""
        stale = sorted(set(present) - set(table.groups))
        if stale and self._send:
            xid = next(self._xids)
            self._deliver(b"".join(openflow.delete_group(number, xid) for number in stale), xid, "sweep-groups", now, groups=len(stale))

    def acknowledged(self, xid: int, now: float) -> None:
        """A barrier's reply: all of that batch is in force."""
        what, sent = self._waiting.pop(xid, ("", now))
        if what:
            self._journal.write("barrier", now, bridge=self.bridge.id, batch=xid, what=what, ms=round((now - sent) * 1000, 3))

    def failed(self, error: str, now: float) -> None:
        """The switch refused something."""
        self.error_count += 1
        self.errors = [*self.errors, error][-KEPT_ERRORS:]
        self._journal.write("openflow-error", now, bridge=self.bridge.id, error=error)

    def _encode(self, operation: Operation, xid: int) -> bytes:
        if isinstance(operation, PutFlow):
            return openflow.put_flow(operation.flow, self._epoch, xid)
        if isinstance(operation, DropFlow):
            return openflow.delete_flow(operation.flow, xid)
        if isinstance(operation, PutGroup):
            return openflow.put_group(operation.group, xid)
        return openflow.delete_group(operation.group.id, xid)

    def _deliver(self, data: bytes, xid: int, what: str, now: float, **facts: Any) -> None:
        assert self._send is not None
        idle = not self._waiting and len(data) <= HURRIED
        self._waiting[xid] = (what, now)
        (self._hurry if idle and self._hurry else self._send)(data + openflow.barrier(xid))
        self._journal.write("sent", bridge=self.bridge.id, batch=xid, what=what, bytes=len(data), **facts)


def _counts(operations: Sequence[Operation]) -> dict[str, int]:
    """How many of each kind, for the journal."""
    puts = sum(isinstance(each, PutFlow) for each in operations)
    drops = sum(isinstance(each, DropFlow) for each in operations)
    groups = sum(isinstance(each, PutGroup) for each in operations)
    counts = {"flows": puts, "flows_deleted": drops, "groups": groups, "groups_deleted": len(operations) - puts - drops - groups}
    return {name: number for name, number in counts.items() if number}
