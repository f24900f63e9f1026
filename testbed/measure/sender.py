"""The process that sends streams: every flow at the same constant rate, on one absolute schedule, from many namespaces at once.

Run by `testbed.measure.streams` as ``python -m testbed.measure.sender``; it reads its orders from stdin and answers on stdout.
"""

from __future__ import annotations

import gc
import select
import socket
import time
from collections.abc import Sequence
from functools import partial
from typing import IO

import numpy as np

from testbed.measure.batches import Numbers, SendBatch
from testbed.measure.orders import Ready, SenderReport, SendOrder, decode, prefer, receive, run_as_process, send
from testbed.netns import run_in

_SPIN = 60_000  # ns before a packet is due in which waiting is done by looking at the clock: a sleep ends late by about as much
_QUANTUM = 250_000  # ns between two rounds at least: at high rates several packets go out together instead of a system call each
_LOOK = 10_000_000  # ns between two looks at stdin while there is no time to sleep


class Schedule:
    """When each packet is due: number ``n`` of all flows' packets at ``start + n / total rate``, so no error adds up.

    Flow ``n % flows`` sends it as its packet ``n // flows``: the flows take turns, evenly spaced.
    """

    def __init__(self, start: int, rate: float, flows: int) -> None:
        self.start = start
        self.flows = flows
        self.spacing = 1e9 / (rate * flows)
        self._ahead = int(_QUANTUM / self.spacing) if self.spacing < _QUANTUM else 0

    def due(self, position: int) -> int:
        """The nanosecond (monotonic) of packet ``position``."""
        return self.start + int(position * self.spacing)

    def wake(self, position: int) -> int:
        """When to wake for packet ``position``: when due, or at high rates when a few more are due as well."""
        return self.due(position + self._ahead)

    def count(self, position: int, now: int) -> int:
        """How many packets from ``position`` on are due by ``now``."""
        return int((now - self.start) // self.spacing) + 1 - position


class Sender:
    """Sends until ``limit`` packets are out or stdin has something to say; keeps the real send time of each."""

    def __init__(self, lanes: Sequence[SendBatch], schedule: Schedule, limit: int | None, offset: int) -> None:
        self._lanes = lanes
        self._schedule = schedule
        self._limit = limit
        self._offset = offset
        self._looked = 0
        self._spin = _SPIN if schedule.spacing >= _QUANTUM else 0
        self.times: Numbers = np.zeros(limit or 1 << 16, np.int64)
        self.position = 0
        self.refused = 0

    def run(self) -> None:
        """The whole run."""
        while self._limit is None or self.position < self._limit:
            if self._stopped():
                return
            now = time.monotonic_ns()
            count = self._schedule.count(self.position, now)
            if self._limit is not None:
                count = min(count, self._limit - self.position)
            if count > 0:
                self._emit(min(count, len(self._lanes) * self._lanes[0].capacity))

    def _stopped(self) -> bool:
        """Wait until the next packet is due; true when told to stop meanwhile (a word on stdin, or its end)."""
        wake = self._schedule.wake(self.position)
        now = time.monotonic_ns()
        pause = wake - self._spin - now
        if pause > 0 or now - self._looked > _LOOK:
            self._looked = now
            if select.select([0], [], [], max(pause, 0) * 1e-9)[0]:
                return True
        while self._spin and time.monotonic_ns() < wake:
            pass
        return False

    def _emit(self, count: int) -> None:
        flows = len(self._lanes)
        end = self.position + count
        if end > len(self.times):
            self.times = np.concatenate([self.times, np.zeros(max(len(self.times), count), np.int64)])
        for first in range(self.position, min(self.position + flows, end)):
            sequence, flow = divmod(first, flows)
            packets = -(-(end - first) // flows)
            now = time.monotonic_ns()
            self.refused += self._lanes[flow].send(sequence, packets, now + self._offset)
            self.times[first:end:flows] = now
        self.position = end


def clock_offset() -> int:
    """Wall clock minus monotonic clock, in nanoseconds (the tightest of a few readings)."""
    readings = []
    for _ in range(5):
        before = time.monotonic_ns()
        wall = time.time_ns()
        after = time.monotonic_ns()
        readings.append((after - before, wall - (before + after) // 2))
    return min(readings)[1]


def open_lanes(order: SendOrder) -> tuple[list[SendBatch], list[socket.socket]]:
    """One batch a flow, one socket a namespace and device. Raises LabError or OSError when a place is not there."""
    sockets: dict[tuple[str, str], socket.socket] = {}
    for lane in order.lanes:
        if (lane.namespace, lane.device) not in sockets:
            sockets[lane.namespace, lane.device] = run_in(lane.namespace, partial(_open, lane.device))
    lanes = [SendBatch(sockets[lane.namespace, lane.device].fileno(), lane.frame, lane.flow) for lane in order.lanes]
    return lanes, list(sockets.values())


def _open(device: str) -> socket.socket:
    out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    out.bind((device, 0))
    return out


def serve(inward: IO[bytes], outward: IO[bytes]) -> None:
    """Read the order, open the sockets, wait for the start (monotonic ns), send, report."""
    order = decode(receive(inward), SendOrder)
    lanes, sockets = open_lanes(order)
    realtime = prefer(order.realtime)
    send(outward, Ready())
    if not (go := receive(inward)):
        return
    offset = clock_offset()
    schedule = Schedule(decode(go, int), order.rate, len(lanes))
    sender = Sender(lanes, schedule, order.count * len(lanes) if order.count else None, offset)
    gc.disable()
    used = time.process_time_ns()
    sender.run()
    used = time.process_time_ns() - used
    for out in sockets:
        out.close()
    times = (sender.times[: sender.position] + offset).tobytes()
    step = abs(clock_offset() - offset)
    send(outward, SenderReport(schedule.start + offset, times, sender.refused, step, used, realtime))


if __name__ == "__main__":
    run_as_process(serve)
