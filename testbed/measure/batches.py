"""Many packets a system call: sendmmsg and recvmmsg over memory that numpy fills and reads (64-bit Linux)."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from typing import Any

import numpy as np
import numpy.typing as npt

from testbed.measure.stamp import ETHERNET, MAGIC, PAYLOAD, SNAP, STAMP

Numbers = npt.NDArray[np.int64]

_IOV = np.dtype([("base", "u8"), ("length", "u8")])
_MESSAGE = np.dtype(
    [
        ("name", "u8"), ("name_length", "u8"), ("iov", "u8"), ("iov_count", "u8"),
        ("control", "u8"), ("control_length", "u8"), ("flags", "u8"), ("length", "u4"), ("pad", "u4"),
    ]
)  # fmt: skip
_CONTROL = np.dtype([("length", "u8"), ("level", "i4"), ("kind", "i4"), ("seconds", "i8"), ("nanoseconds", "i8"), ("rest", "V32")])
ARRIVAL = np.dtype([("flow", "u4"), ("sequence", "u4"), ("sent", "i8"), ("received", "i8"), ("ttl", "u1")])
"""A packet as it arrived: its stamp, the kernel's receive time (wall-clock nanoseconds), and the TTL it had left."""

_libc = ctypes.CDLL(None, use_errno=True)
_TRANSIENT = {errno.EAGAIN, errno.ENOBUFS, errno.ENETDOWN, errno.ENXIO, errno.ENETUNREACH, errno.ENODEV}


def _messages(packets: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """The mmsghdr and iovec arrays that point at the rows of ``packets``."""
    count, size = packets.shape
    iov = np.zeros(count, _IOV)
    iov["base"] = packets.ctypes.data + np.arange(count, dtype=np.uint64) * np.uint64(size)
    iov["length"] = size
    messages = np.zeros(count, _MESSAGE)
    messages["iov"] = iov.ctypes.data + np.arange(count, dtype=np.uint64) * np.uint64(_IOV.itemsize)
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
        done = refused = 0
        while done < count:
            sent = _libc.sendmmsg(
                self._descriptor,
                ctypes.c_void_p(self._messages.ctypes.data + done * _MESSAGE.itemsize),
                count - done,
                socket.MSG_DONTWAIT,
            )
            if sent < 0:
                if (number := ctypes.get_errno()) == errno.EINTR:
                    continue
                if number not in _TRANSIENT:
                    raise OSError(number, os.strerror(number))
                refused += 1
                sent = 1
            done += sent
        return refused


class ReceiveBatch:
    """Room for many packets with their kernel time stamps, read from any packet socket that has SO_TIMESTAMPNS on."""

    def __init__(self, capacity: int = 256) -> None:
        self.capacity = capacity
        self._packets = np.zeros((capacity, SNAP), np.uint8)
        self._messages, self._iov = _messages(self._packets)
        self._control = np.zeros(capacity, _CONTROL)
        self._messages["control"] = self._control.ctypes.data + np.arange(capacity, dtype=np.uint64) * np.uint64(_CONTROL.itemsize)

    def receive(self, descriptor: int, base: int) -> npt.NDArray[Any]:
        """The stamped packets waiting at the socket now, at most ``capacity``, as ARRIVAL records; none is an empty array.

        ``base`` is where the IP header begins. Raises OSError when the socket is broken.
        """
        self._messages["control_length"] = _CONTROL.itemsize
        self._control["seconds"] = self._control["nanoseconds"] = 0
        count = _libc.recvmmsg(
            descriptor, ctypes.c_void_p(self._messages.ctypes.data), self.capacity, socket.MSG_DONTWAIT | socket.MSG_TRUNC, None
        )
        if count < 0:
            if (number := ctypes.get_errno()) not in (errno.EAGAIN, errno.EINTR, errno.ENETDOWN):
                raise OSError(number, os.strerror(number))
            count = 0
        return self._parsed(count, base)

    def _parsed(self, count: int, base: int) -> npt.NDArray[Any]:
        arrivals = np.empty(count, ARRIVAL)
        rows = self._packets[:count]
        udp = rows[:, base + 9] == 17
        for wanted, protocol in ((udp, 17), (~udp, 6)):
            if wanted.any():
                stamps = np.ndarray((count,), STAMP, rows.data, base + PAYLOAD[protocol], (SNAP,))[wanted]
                arrivals["flow"][wanted], arrivals["sequence"][wanted] = stamps["flow"], stamps["sequence"]
                arrivals["sent"][wanted] = stamps["time"]
        arrivals["received"] = self._control["seconds"][:count] * 1_000_000_000 + self._control["nanoseconds"][:count]
        arrivals["ttl"] = rows[:, base + 8]
        return arrivals
