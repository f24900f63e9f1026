"""Delay, jitter, loss and reordering between two devices in userspace, for kernels without netem: a packet leaves once it has waited.

A process of the lab for a peering across regions or for the lines of a circuit:
``python -m testbed.emulation.delay_line DEVICE DEVICE SECONDS JITTER LOSS REORDER [DEVICE …]``, six words for each pair of devices.
Each packet is due at the kernel's own receive time plus the delay, so being late to read it costs nothing.
"""

from __future__ import annotations

import ctypes
import gc
import os
import select
import socket
import struct
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from testbed import mmsg

SLOT = 2048
"""Bytes kept of a packet: a full Ethernet frame. What is longer (an offloading sender's) is dropped and told."""
_BATCH = 256  # packets a system call at most
_ROOM = 16384  # packets in flight in one direction: 160,000 packets/s at 100 ms
_QUANTUM = 200e-6  # seconds between two rounds at least: under load several packets go out together
_EARLY = 100_000  # ns that a packet may leave too early: waking takes about twice as long, so that it errs to both sides
_REPORT = 1.0  # seconds between two lines in the log
_BUFFER = 64 << 20  # bytes in the socket: what comes while the process does not run
_ETH_P_ALL = 3
_SO_RCVBUFFORCE, _SO_SNDBUFFORCE, _SO_TIMESTAMPNS = 33, 32, 35
_SOL_PACKET, _PACKET_STATISTICS, _PACKET_QDISC_BYPASS, _PACKET_IGNORE_OUTGOING = 263, 6, 20, 23
_PR_SET_TIMERSLACK = 29
_WAITING = np.dtype([("due", "i8"), ("slot", "u4")])


class Impairment(NamedTuple):
    """What the path does to a packet, in each direction: seconds, seconds (uniform, both ways), percent lost, percent not delayed."""

    delay: float
    jitter: float = 0.0
    loss: float = 0.0
    reorder: float = 0.0


class Line:
    """One direction: packets come from one socket and leave by another, each at its time."""

    def __init__(self, source: socket.socket, target: socket.socket, impairment: Impairment, room: int = _ROOM) -> None:
        self.source, self.target = source, target
        self._delay, self._jitter = int(impairment.delay * 1e9), int(impairment.jitter * 1e9)
        self._loss, self._reorder = impairment.loss / 100, impairment.reorder / 100
        self._random = np.random.default_rng()
        self._packets = np.zeros((room, SLOT), np.uint8)
        self._iov = np.zeros(room, mmsg.IOV)
        self._iov["base"] = mmsg.addresses(self._packets)
        self._iov_addresses = mmsg.addresses(self._iov)
        self._free = np.arange(room, dtype=np.uint32)[::-1].copy()
        self._free_count = room
        self._waiting = np.zeros(0, _WAITING)
        self._control = np.zeros(_BATCH, mmsg.CONTROL)
        self._incoming = np.zeros(_BATCH, mmsg.MESSAGE)
        self._incoming["control"] = mmsg.addresses(self._control)
        self._outgoing = np.zeros(_BATCH, mmsg.MESSAGE)
        self._incoming["iov_count"] = self._outgoing["iov_count"] = 1
        self.too_long = self.refused = 0

    @property
    def due(self) -> int | None:
        """When the next packet must leave (wall-clock ns); None when there is none."""
        return int(self._waiting["due"][0]) if len(self._waiting) else None

    def take(self) -> None:
        """Take in what waits at the source, as far as there is room."""
        while count := self._take(min(_BATCH, self._free_count)):
            if count < _BATCH:
                return

    def _take(self, most: int) -> int:
        slots = self._free[self._free_count - most : self._free_count][::-1]  # from the top of the stack
        messages = self._incoming[:most]
        messages["iov"] = self._iov_addresses[slots]
        messages["control_length"] = mmsg.CONTROL.itemsize
        self._iov["length"][slots] = SLOT
        count = mmsg.receive(self.source.fileno(), messages) if most else 0
        if count:
            self._free_count -= count
            self._keep(slots[:count].copy(), messages["length"][:count], mmsg.receive_times(self._control[:count]))
        return count

    def _keep(self, slots: npt.NDArray[Any], lengths: npt.NDArray[Any], received: npt.NDArray[np.int64]) -> None:
        fits = lengths <= SLOT
        self.too_long += int(np.count_nonzero(~fits))
        if self._loss:
            fits &= self._random.random(len(slots)) >= self._loss
        kept = np.zeros(int(np.count_nonzero(fits)), _WAITING)
        kept["slot"], kept["due"] = slots[fits], received[fits] + self._delay
        self._iov["length"][slots] = lengths
        self._give_back(slots[~fits])
        if self._jitter:
            kept["due"] += self._random.integers(-self._jitter, self._jitter + 1, len(kept))
        if self._reorder:
            overtakes = self._random.random(len(kept)) < self._reorder
            kept["due"][overtakes] = received[fits][overtakes]
        self._waiting = np.concatenate([self._waiting, kept])
        if self._jitter or self._reorder:
            self._waiting = self._waiting[np.argsort(self._waiting["due"], kind="stable")]

    def _give_back(self, slots: npt.NDArray[Any]) -> None:
        self._free[self._free_count : self._free_count + len(slots)] = slots
        self._free_count += len(slots)

    def emit(self, now: int) -> None:
        """Send all that are due at ``now`` (wall-clock ns)."""
        count = int(np.searchsorted(self._waiting["due"], now, side="right"))
        slots = self._waiting["slot"][:count]
        for first in range(0, count, _BATCH):
            part = slots[first : first + _BATCH]
            messages = self._outgoing[: len(part)]
            messages["iov"] = self._iov_addresses[part]
            self.refused += mmsg.send(self.target.fileno(), messages)
        if count:
            self._give_back(slots)
            self._waiting = self._waiting[count:]

    def mend_clock(self, now: int) -> None:
        """After the wall clock was set back no packet waits longer than it should."""
        latest = now + self._delay + self._jitter
        if len(self._waiting) and self._waiting["due"][-1] > latest:
            np.minimum(self._waiting["due"], latest, out=self._waiting["due"])

    def lost(self) -> tuple[int, int, int]:
        """Packets lost since the last call for want of room, for their length, and because the target took none."""
        dropped = int(struct.unpack("II", self.source.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))[1])
        found = dropped, self.too_long, self.refused
        self.too_long = self.refused = 0
        return found


def carry(lines: Sequence[Line]) -> None:
    """Carry packets for ever."""
    by_source = {line.source: line for line in lines}
    reported = time.monotonic()
    while True:
        now = time.time_ns()
        for line in lines:
            if line.due is not None:
                line.mend_clock(now)
                line.emit(now + _EARLY)
        for source in select.select(by_source, [], [], 0)[0]:
            by_source[source].take()
        _pause(by_source, [due for line in lines if (due := line.due) is not None])
        if time.monotonic() - reported > _REPORT:
            reported = time.monotonic()
            _tell(lines)


def _pause(sources: Iterable[socket.socket], dues: Sequence[int]) -> None:
    """Until a packet is due; when none waits, until one comes. (One that comes meanwhile has the kernel's time stamp.)"""
    if not dues:
        select.select(sources, [], [])
        return
    select.select([], [], [], max((min(dues) - time.time_ns()) * 1e-9, _QUANTUM))


def _tell(lines: Sequence[Line]) -> None:
    for line in lines:
        dropped, too_long, refused = line.lost()
        if dropped or too_long or refused:
            print(
                f"{line.source.getsockname()[0]}: lost {dropped} (no room), {too_long} (too long), {refused} (link down or full)",
                flush=True,
            )


def open_socket(device: str) -> socket.socket:
    """A packet socket on a device of the current namespace: all that comes in, with the kernel's time stamps."""
    found = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    found.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
    found.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _BUFFER)
    found.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    found.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
    found.setsockopt(_SOL_PACKET, _PACKET_QDISC_BYPASS, 1)
    found.bind((device, _ETH_P_ALL))
    return found


def main(*words: str) -> None:
    """Carry packets between pairs of devices, both ways, until the process is ended; each is followed by the fields of its `Impairment`."""
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
    with suppress(OSError):  # the lowest real-time priority: it sleeps most of the time, and being on time is all it is for
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    lines = []
    for first, second, *impairment in zip(*[iter(words)] * 6, strict=True):
        path = Impairment(*map(float, impairment))
        sockets = open_socket(first), open_socket(second)
        lines += [Line(sockets[0], sockets[1], path), Line(sockets[1], sockets[0], path)]
    gc.disable()
    carry(lines)


if __name__ == "__main__":
    main(*sys.argv[1:])
