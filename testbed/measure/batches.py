"""Many packets a system call: sendmmsg and recvmmsg over memory that numpy fills and reads (64-bit Linux)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from testbed import mmsg
from testbed.measure.stamp import ETHERNET, MAGIC, PAYLOAD, SNAP, STAMP

Numbers = npt.NDArray[np.int64]

ARRIVAL = np.dtype([("flow", "u4"), ("sequence", "u4"), ("sent", "i8"), ("received", "i8"), ("ttl", "u1")])
"""A packet as it arrived: its stamp, the kernel's receive time (wall-clock nanoseconds), and the TTL it had left."""


def _messages(packets: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """The mmsghdr and iovec arrays that point at the rows of ``packets``."""
    count, size = packets.shape
    iov = np.zeros(count, mmsg.IOV)
    iov["base"] = mmsg.addresses(packets)
    iov["length"] = size
    messages = np.zeros(count, mmsg.MESSAGE)
    messages["iov"] = mmsg.addresses(iov)
    messages["iov_count"] = 1
    return messages, iov


class SendBatch:
    """Copies of one frame, stamped and sent together through a socket that is bound to a device."""

    def __init__(self, descriptor: int, frame: bytes, flow: int, capacity: int = 128) -> None:
        self.capacity = capacity
        self._descriptor = descriptor
        self._frames = np.tile(np.frombuffer(frame, np.uint8), (capacity, 1))
        self._messages, self._iov = _messages(self._frames)
        offset = ETHERNET + PAYLOAD[frame[ETHERNET + 9]]
        stamps = np.ndarray((capacity,), STAMP, self._frames.data, offset, (len(frame),))
        stamps["magic"], stamps["flow"] = MAGIC, flow
        self._sequence, self._time = stamps["sequence"], stamps["time"]
        self._steps = np.arange(capacity, dtype=np.int64)

    def send(self, first: int, count: int, now: int) -> int:
        """Send ``count`` (at most ``capacity``) packets numbered from ``first``, stamped ``now``; give back how many the kernel refused.

        A packet that the device cannot take (queue full, link down) is skipped: to the flow it is lost. Raises OSError otherwise.
        """
        if count == 1:
            self._sequence[0], self._time[0] = first, now
        else:
            self._sequence[:count] = self._steps[:count] + first
            self._time[:count] = now
        return mmsg.send(self._descriptor, self._messages[:count])


class ReceiveBatch:
    """Room for many packets with their kernel time stamps, read from any packet socket that has SO_TIMESTAMPNS on."""

    def __init__(self, capacity: int = 256) -> None:
        self.capacity = capacity
        self._packets = np.zeros((capacity, SNAP), np.uint8)
        self._messages, self._iov = _messages(self._packets)
        self._control = np.zeros(capacity, mmsg.CONTROL)
        self._messages["control"] = mmsg.addresses(self._control)

    def receive(self, descriptor: int, base: int) -> npt.NDArray[Any]:
        """The stamped packets waiting at the socket now, at most ``capacity``, as ARRIVAL records; none is an empty array.

        ``base`` is where the IP header begins. Raises OSError when the socket is broken.
        """
        self._messages["control_length"] = mmsg.CONTROL.itemsize
        self._control["seconds"] = self._control["nanoseconds"] = 0
        return self._parsed(mmsg.receive(descriptor, self._messages), base)

    def _parsed(self, count: int, base: int) -> npt.NDArray[Any]:
        arrivals = np.empty(count, ARRIVAL)
        rows = self._packets[:count]
        udp = rows[:, base + 9] == 17
        for wanted, protocol in ((udp, 17), (~udp, 6)):
            if wanted.any():
                stamps = np.ndarray((count,), STAMP, rows.data, base + PAYLOAD[protocol], (SNAP,))[wanted]
                arrivals["flow"][wanted], arrivals["sequence"][wanted] = stamps["flow"], stamps["sequence"]
                arrivals["sent"][wanted] = stamps["time"]
        arrivals["received"] = mmsg.receive_times(self._control[:count])
        arrivals["ttl"] = rows[:, base + 8]
        return arrivals
