"""How long an echo takes to a node and back: a few ICMP echo requests in a row, answered by the node's kernel."""

from __future__ import annotations

import os
import select
import socket
import struct
import time

from testbed.measure.reachability import Endpoint
from testbed.netns import run_in

_ECHO_REPLY, _ECHO_REQUEST = b"\0", 8
_SIZE = 16  # bytes of a request: its header and a random mark, so that no other answer is taken for its own


def round_trip(source: Endpoint, target: Endpoint, *, count: int = 5, budget: float = 1.0) -> tuple[float, ...]:
    """The seconds that each of ``count`` echoes took; those that took longer than ``budget`` are missing. The first may ask for MACs.

    Raises LabError when a namespace is gone, OSError when nothing can be sent.
    """
    with run_in(source.namespace, lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)) as raw:
        raw.bind((source.address, 0))
        found = [_once(raw, target.address, sequence, budget) for sequence in range(count)]
    return tuple(seconds for seconds in found if seconds is not None)


def _once(raw: socket.socket, address: str, sequence: int, budget: float) -> float | None:
    mark = os.urandom(_SIZE - 8)
    request = echo_request(os.getpid() & 0xFFFF, sequence, mark)
    start = time.monotonic()
    raw.sendto(request, (address, 0))
    while (left := start + budget - time.monotonic()) > 0:
        if select.select([raw], [], [], left)[0]:
            packet = raw.recv(256)
            header = (packet[0] & 0xF) * 4
            if packet[header : header + 1] == _ECHO_REPLY and packet[header + 8 :] == mark:
                return time.monotonic() - start
    return None


def echo_request(identifier: int, sequence: int, data: bytes) -> bytes:
    """An ICMP echo request (RFC 792); ``data`` has an even number of bytes."""
    body = struct.pack("!BBHHH", _ECHO_REQUEST, 0, 0, identifier, sequence) + data
    total = sum(struct.unpack(f"!{len(body) // 2}H", body))
    total = (total & 0xFFFF) + (total >> 16)
    return body[:2] + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + body[4:]
