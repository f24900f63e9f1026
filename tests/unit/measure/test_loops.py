"""Loops read from frames made by hand."""

from __future__ import annotations

import struct
from socket import inet_aton

import pytest

from testbed.measure.loops import amplification, episodes, find_loops, same_cycle
from testbed.measure.recorder import Frame

ETHERNET = bytes(12) + b"\x08\x00"


def ip(source: str, target: str, ttl: int, protocol: int, body: bytes, ident: int = 1) -> bytes:
    return struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), ident, 0, ttl, protocol, 0) + inet_aton(source) + inet_aton(target) + body


def udp(ttl: int, number: int = 0) -> bytes:
    body = struct.pack("!HHHH", 40000, 33998, 16, 0) + number.to_bytes(8)
    return ip("10.1.0.4", "10.2.0.4", ttl, 17, body)


def hop(time: float, node: str, packet: bytes, *, out: bool, device: str = "eth0") -> Frame:
    return Frame(time, node, device, out, True, ETHERNET + packet)


def around(nodes: tuple[str, ...], ttl: int, turns: int, *, start: float = 100.0, number: int = 0) -> list[Frame]:
    """A packet that comes from ``vm`` and goes round these nodes; each takes one from its TTL."""
    frames = [hop(start, "vm", udp(ttl, number), out=True)]
    time = start
    for turn in range(turns * len(nodes)):
        node = nodes[turn % len(nodes)]
        frames.append(hop(time + 0.0001, node, udp(ttl - turn, number), out=False))
        if ttl - turn == 1:
            break
        frames.append(hop(time + 0.0002, node, udp(ttl - turn - 1, number), out=True))
        time += 0.0002
    return frames


def time_exceeded(time: float, node: str, address: str, packet: bytes, *, out: bool = True) -> Frame:
    return hop(time, node, ip(address, "10.1.0.4", 64, 1, bytes([11, 0, 0, 0, 0, 0, 0, 0]) + packet), out=out)


def test_a_loop_of_three_is_named_with_its_turns() -> None:
    (loop,) = find_loops(around(("r1", "r2", "r3"), ttl=16, turns=9))
    assert loop.cycle == ("r1", "r2", "r3")
    assert loop.turns == 5  # 16 arrivals over three nodes: r1 saw it six times
    assert (loop.first_ttl, loop.last_ttl, loop.escaped) == (16, 1, False)


def test_a_straight_path_is_no_loop() -> None:
    frames = [
        hop(1.0, "vm", udp(64), out=True), hop(1.1, "r1", udp(64), out=False), hop(1.2, "r1", udp(63), out=True),
        hop(1.3, "r2", udp(63), out=False), hop(1.4, "r2", udp(62), out=True), hop(1.5, "vm2", udp(62), out=False),
    ]  # fmt: skip
    assert find_loops(frames) == ()
    assert amplification(frames, len(ETHERNET + udp(64))) == pytest.approx(3)


def test_the_same_frame_seen_on_two_devices_of_a_node_is_no_loop() -> None:
    frames = [hop(1.0, "r1", udp(64), out=False), hop(1.1, "r1", udp(64), out=False, device="vx0"), hop(1.2, "r1", udp(63), out=True)]
    assert find_loops(frames) == ()


def test_a_loop_of_one_node_is_a_packet_that_comes_back_to_it() -> None:
    (loop,) = find_loops(around(("nva1",), ttl=20, turns=30))
    assert (loop.cycle, loop.turns) == (("nva1",), 19)


def test_who_sent_time_exceeded_is_seen_sending_or_known_by_address() -> None:
    frames = around(("r1", "r2"), ttl=8, turns=9)
    error = time_exceeded(101.0, "r2", "192.0.2.2", udp(1))
    (seen,) = find_loops([*frames, error])
    (known,) = find_loops([*frames, time_exceeded(101.0, "vm", "192.0.2.2", udp(1), out=False)], {"192.0.2.2": "r2"})
    (unknown,) = find_loops([*frames, time_exceeded(101.0, "vm", "192.0.2.2", udp(1), out=False)])
    (short,) = find_loops([*frames, time_exceeded(101.0, "r2", "192.0.2.2", udp(1)[:28])])
    assert [loop.expired_at for loop in (seen, known, unknown, short)] == ["r2", "r2", "192.0.2.2", "r2"]


def test_time_exceeded_belongs_to_the_packet_that_it_quotes() -> None:
    frames = around(("r1", "r2"), ttl=8, turns=9, number=1) + around(("r1", "r2"), ttl=64, turns=2, start=200, number=2)
    first, second = find_loops([*frames, time_exceeded(101.0, "r2", "192.0.2.2", udp(1, number=1))])
    assert (first.expired_at, first.escaped) == ("r2", False)
    assert (second.expired_at, second.escaped) == (None, True)


def test_a_loop_inside_vxlan_is_seen_by_the_inner_header() -> None:
    def wrapped(frame: Frame) -> Frame:
        inner = bytes(8) + frame.data
        outer = ip(
            "10.1.0.4",
            "10.2.0.4",
            64,
            17,
            struct.pack("!HHHH", 50000, 4789, 8 + len(inner), 0) + inner,
            ident=int(frame.time * 1e6) % 65536,
        )
        return Frame(frame.time, frame.node, frame.device, frame.outgoing, True, ETHERNET + outer)

    (loop,) = find_loops(wrapped(frame) for frame in around(("nva1", "nva2"), ttl=16, turns=20))
    assert (loop.cycle, loop.last_ttl) == (("nva1", "nva2"), 1)


def test_a_micro_loop_has_a_begin_an_end_and_its_packets() -> None:
    frames: list[Frame] = []
    for number in range(40):
        frames += around(("nva1", "nva2"), ttl=64, turns=3, start=100 + number * 0.001, number=number)
    for number in range(5):
        frames += around(("nva1", "nva2"), ttl=4, turns=3, start=105 + number * 0.001, number=100 + number)
    first, second = episodes(find_loops(frames))
    assert (first.packets, first.expired, first.cycle) == (40, 0, ("nva1", "nva2"))
    assert first.duration == pytest.approx(0.039, abs=0.003)
    assert (second.packets, second.expired) == (5, 5)


def test_a_cycle_is_the_same_wherever_it_begins() -> None:
    assert same_cycle(("a", "b", "c"), ("b", "c", "a"))
    assert not same_cycle(("a", "b", "c"), ("a", "c", "b"))
    assert not same_cycle(("a",), ())


def test_a_loop_multiplies_the_bytes_on_the_links() -> None:
    frames = around(("r1", "r2"), ttl=64, turns=32)
    assert amplification(frames, len(frames[0].data)) == pytest.approx(64)
    assert amplification([], 0) == 0


def test_what_is_no_ipv4_is_ignored() -> None:
    assert find_loops([Frame(1.0, "r1", "eth0", False, True, b"\x00" * 30), Frame(1.0, "r1", "eth0", False, True, b"")]) == ()
