"""What a stream's packet carries besides its headers: a mark, its flow, its sequence number and the time it was sent."""

from __future__ import annotations

import ctypes
import struct
from typing import Final

import numpy as np

MAGIC: Final = 0x5A74B3D1
STAMP: Final = np.dtype([("magic", ">u4"), ("flow", ">u4"), ("sequence", ">u4"), ("time", ">i8")])
"""Big endian: the mark, the flow's number, the packet's number from 0, and wall-clock nanoseconds when it was handed to the kernel."""

ETHERNET, IP = 14, 20
PAYLOAD: Final = {17: IP + 8, 6: IP + 20}
"""Where the stamp begins, counted from the IP header (no options), by IP protocol."""

SNAP: Final = ETHERNET + PAYLOAD[6] + STAMP.itemsize
_INSTRUCTION = struct.Struct("=HBBI")
_LOAD_WORD, _LOAD_HALF, _LOAD_BYTE, _EQUAL, _RETURN = 0x20, 0x28, 0x30, 0x15, 0x06


def empty() -> bytes:
    """A stamp that is not filled in yet, as the payload of a frame to be built."""
    return MAGIC.to_bytes(4) + bytes(STAMP.itemsize - 4)


def socket_filter(base: int) -> bytes:
    """A classic BPF program that passes only stamped UDP and TCP packets; ``base``: where the IP header begins (0 without Ethernet)."""
    body = (
        (_LOAD_BYTE, 0, 0, base + 9),
        (_EQUAL, 0, 2, 17),
        (_LOAD_WORD, 0, 0, base + PAYLOAD[17]),
        (_EQUAL, 3, 4, MAGIC),
        (_EQUAL, 0, 3, 6),
        (_LOAD_WORD, 0, 0, base + PAYLOAD[6]),
        (_EQUAL, 0, 1, MAGIC),
        (_RETURN, 0, 0, 0xFFFF),
        (_RETURN, 0, 0, 0),
    )
    ethertype = ((_LOAD_HALF, 0, 0, 12), (_EQUAL, 0, len(body) - 1, 0x0800)) if base else ()
    return b"".join(_INSTRUCTION.pack(*line) for line in ethertype + body)


def filter_option(program: bytes) -> tuple[bytes, object]:
    """The value of SO_ATTACH_FILTER for a program, and the memory that must live until the option is set."""
    memory = ctypes.create_string_buffer(program, len(program))
    return struct.pack("HxxxxxxQ", len(program) // _INSTRUCTION.size, ctypes.addressof(memory)), memory


DISCARD: Final = _INSTRUCTION.pack(_RETURN, 0, 0, 0)
"""A filter that drops everything: a socket with it takes a port's datagrams off the kernel, which then sends no ICMP error for them."""
