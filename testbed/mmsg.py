"""Many packets a system call: the structures of sendmmsg and recvmmsg as numpy arrays (64-bit Linux)."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from typing import Any

import numpy as np
import numpy.typing as npt

IOV = np.dtype([("base", "u8"), ("length", "u8")])
MESSAGE = np.dtype(
    [
        ("name", "u8"), ("name_length", "u8"), ("iov", "u8"), ("iov_count", "u8"),
        ("control", "u8"), ("control_length", "u8"), ("flags", "i4"), ("pad", "u4"), ("length", "u4"), ("end", "u4"),
    ]
)  # fmt: skip
CONTROL = np.dtype([("length", "u8"), ("level", "i4"), ("kind", "i4"), ("seconds", "i8"), ("nanoseconds", "i8"), ("rest", "V32")])
"""Room for a message's SO_TIMESTAMPNS: the kernel's receive time, wall clock."""

TRANSIENT = frozenset({errno.EAGAIN, errno.ENOBUFS, errno.ENETDOWN, errno.ENXIO, errno.ENETUNREACH, errno.ENODEV})
"""What a device says that cannot take a packet now: queue full, link down."""

_libc = ctypes.CDLL(None, use_errno=True)


def send(descriptor: int, messages: npt.NDArray[Any]) -> int:
    """Send the messages through a socket without waiting; give back how many the device refused: those are lost.

    Raises OSError when the socket is broken.
    """
    done = refused = 0
    while done < len(messages):
        address = ctypes.c_void_p(messages.ctypes.data + done * MESSAGE.itemsize)
        sent = _libc.sendmmsg(descriptor, address, len(messages) - done, socket.MSG_DONTWAIT)
        if sent < 0:
            if (number := ctypes.get_errno()) == errno.EINTR:
                continue
            if number not in TRANSIENT:
                raise OSError(number, os.strerror(number))
            refused += 1
            sent = 1
        done += sent
    return refused


def receive(descriptor: int, messages: npt.NDArray[Any]) -> int:
    """Fill messages with the packets that wait at a socket; give back how many came. Raises OSError when the socket is broken."""
    flags = socket.MSG_DONTWAIT | socket.MSG_TRUNC
    count = int(_libc.recvmmsg(descriptor, ctypes.c_void_p(messages.ctypes.data), len(messages), flags, None))
    if count >= 0:
        return count
    if (number := ctypes.get_errno()) not in (errno.EAGAIN, errno.EINTR, errno.ENETDOWN):
        raise OSError(number, os.strerror(number))
    return 0


def addresses(array: npt.NDArray[Any]) -> npt.NDArray[np.uint64]:
    """The address of each element of a one-dimensional array, or of each row of a two-dimensional one."""
    return array.ctypes.data + np.arange(len(array), dtype=np.uint64) * np.uint64(array.strides[0])


def receive_times(control: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """The receive times in CONTROL records, in wall-clock nanoseconds."""
    times: npt.NDArray[np.int64] = control["seconds"] * 1_000_000_000 + control["nanoseconds"]
    return times
