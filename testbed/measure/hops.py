"""Traceroute: which addresses answer that a probe's TTL was used up on the way, one TTL after the other, all sent at once."""

from __future__ import annotations

import os
import socket
import struct

from testbed.measure.packets import headers, probe
from testbed.measure.reachability import Endpoint
from testbed.measure.recorder import Frame, Recorder
from testbed.netns import run_in
from testbed.wait import poll

MAX_HOPS = 12
_FIRST_PORT = 34100


def hops(source: Endpoint, target: Endpoint, *, max_hops: int = MAX_HOPS, budget: float = 1.0) -> tuple[str | None, ...]:
    """Who answers to TTL 1, 2, … up to ``max_hops`` or the target itself (its own address, last); None where nobody did.

    A target without a namespace is an address that nobody need have. It ends when all have answered, when the target has, or
    after ``budget`` seconds.
    """
    mark = os.urandom(8)
    ends = [source, target] if target.namespace else [source]
    with Recorder({end.label: (end.namespace, None) for end in ends}) as recorder:
        run_in(source.namespace, lambda: _send(source, target, mark, max_hops))

        def finished() -> str | None:
            found = _answers(recorder.frames, source, target, mark)
            last = min((ttl for ttl, who in found.items() if who == target.address), default=max_hops)
            missing = [ttl for ttl in range(1, last + 1) if ttl not in found]
            return f"no answer to TTL {missing[0]}" if missing else None

        poll(finished, budget=budget, interval=0.02)  # a silent hop is an answer too
    found = _answers(recorder.frames, source, target, mark)
    last = min((ttl for ttl, who in found.items() if who == target.address), default=max(found, default=0))
    return tuple(found.get(ttl) for ttl in range(1, last + 1))


def _send(source: Endpoint, target: Endpoint, mark: bytes, max_hops: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        for ttl in range(1, max_hops + 1):
            packet = probe(source.address, target.address, mark, ttl=ttl, target_port=_FIRST_PORT + ttl)
            raw.sendto(packet, (target.address, 0))


def _answers(frames: list[Frame], source: Endpoint, target: Endpoint, mark: bytes) -> dict[int, str]:
    """By TTL sent: the address that answered, or the target's own when the probe arrived."""
    found: dict[int, str] = {}
    for frame in tuple(frames):
        layers = () if frame.outgoing else headers(frame)
        if not layers:
            continue
        if frame.node == target.label and mark in frame.data and len(layers) == 1 and layers[0].carries.startswith("udp/"):
            found.setdefault(int(layers[0].carries.partition("/")[2]) - _FIRST_PORT, target.address)
        elif frame.node == source.label and layers[-1].carries == "icmp/11":
            ttl = _quoted_port(frame, target.address) - _FIRST_PORT
            if 1 <= ttl <= MAX_HOPS:
                found.setdefault(ttl, layers[-1].source)
    return found


def _quoted_port(frame: Frame, address: str) -> int:
    """The destination port of the packet that an ICMP error quotes, 0 when it is not one to ``address``."""
    wanted = socket.inet_aton(address) + struct.pack("!H", 40000)
    at = frame.data.rfind(wanted)
    return struct.unpack_from("!H", frame.data, at + 6)[0] if at >= 0 and at + 8 <= len(frame.data) else 0
