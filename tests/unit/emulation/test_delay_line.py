"""The delay line over loopback sockets: what leaves, when, in which order."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import numpy as np
import pytest

from testbed.emulation import delay_line
from testbed.emulation.delay_line import Impairment, Line

SO_TIMESTAMPNS = 35


class Ends:
    """A sender, the line's two sockets, and a receiver."""

    def __init__(self) -> None:
        self.opened = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3)]
        self.source, self.target, self.receiver = self.opened
        for each in self.opened:
            each.bind(("127.0.0.1", 0))
            each.setblocking(False)
        self.source.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.target.connect(self.receiver.getsockname())

    def send(self, data: bytes) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(data, self.source.getsockname())

    def received(self) -> list[bytes]:
        found = []
        while True:
            try:
                found.append(self.receiver.recv(4096))
            except BlockingIOError:
                return found


@pytest.fixture
def ends() -> Iterator[Ends]:
    made = Ends()
    yield made
    for each in made.opened:
        each.close()


def line(ends: Ends, room: int = 1024, **impairment: float) -> Line:
    return Line(ends.source, ends.target, Impairment(**impairment), room)


def test_packets_wait_as_long_as_they_should_and_keep_their_order_and_content(ends: Ends) -> None:
    carrier = line(ends, delay=0.05)
    sent = [bytes([number]) * (number + 1) for number in range(200)]
    before = time.time_ns()
    for data in sent:
        ends.send(data)
    after = time.time_ns()
    carrier.take()
    assert carrier.due is not None
    assert before <= carrier.due - 50_000_000 <= after, "due at the kernel's receive time plus the delay"
    carrier.emit(carrier.due - 1)
    assert ends.received() == []
    carrier.emit(after + 50_000_000)
    assert ends.received() == sent
    assert carrier.due is None


def test_jitter_spreads_packets_on_both_sides(ends: Ends) -> None:
    carrier = line(ends, delay=0.05, jitter=0.02)
    now = time.time_ns()
    for number in range(200):
        ends.send(bytes([number]))
    carrier.take()
    late = time.time_ns() - now
    carrier.emit(now + 30_000_000 - 1)
    assert ends.received() == []
    carrier.emit(now + 50_000_000)
    early = ends.received()
    carrier.emit(now + 70_000_000 + late)
    rest = ends.received()
    assert len(early) + len(rest) == 200
    assert 40 < len(rest) < 190
    assert early != sorted(early), "packets overtake each other, as with netem"


def test_some_packets_do_not_wait_and_overtake_the_others(ends: Ends) -> None:
    carrier = line(ends, delay=0.05, reorder=25)
    for number in range(200):
        ends.send(bytes([number]))
    carrier.take()
    now = time.time_ns()
    carrier.emit(now)
    early = ends.received()
    carrier.emit(now + 50_000_000)
    rest = ends.received()
    assert 20 < len(early) < 90
    assert (early, rest) == (sorted(early), sorted(rest))
    assert sorted(early + rest) == [bytes([number]) for number in range(200)]


def test_loss_is_about_what_was_asked_for(ends: Ends) -> None:
    carrier = line(ends, delay=0.0, loss=20)
    arrived = 0
    for _ in range(10):
        for _ in range(100):
            ends.send(b"x")
        carrier.take()
        carrier.emit(time.time_ns())
        arrived += len(ends.received())
    assert 700 < arrived < 900


def test_rooms_are_used_again_for_ever(ends: Ends) -> None:
    carrier = line(ends, room=8, delay=0.0, loss=30)
    for number in range(100):
        ends.send(bytes([number]))
        carrier.take()
        carrier.emit(time.time_ns())
        assert ends.received() in ([], [bytes([number])])
    for number in range(8):
        ends.send(bytes([number]))
    carrier = line(ends, room=8, delay=1.0)
    carrier.take()
    ends.send(b"waits in the socket")
    carrier.take()
    carrier.emit(time.time_ns() + 10**9)
    assert ends.received() == [bytes([number]) for number in range(8)]
    carrier.take()
    carrier.emit(time.time_ns() + 10**9)
    assert ends.received() == [b"waits in the socket"]


def test_what_is_longer_than_a_frame_is_dropped_and_counted(ends: Ends) -> None:
    carrier = line(ends, delay=0.0)
    ends.send(bytes(delay_line.SLOT))
    ends.send(bytes(delay_line.SLOT + 1))
    carrier.take()
    carrier.emit(time.time_ns())
    assert [len(data) for data in ends.received()] == [delay_line.SLOT]
    assert carrier.too_long == 1


def test_a_clock_set_back_does_not_hold_packets(ends: Ends) -> None:
    carrier = line(ends, delay=0.05)
    ends.send(b"x")
    carrier.take()
    earlier = time.time_ns() - 10**12
    carrier.mend_clock(earlier)
    assert carrier.due == earlier + 50_000_000


def test_nothing_is_carried_twice(ends: Ends) -> None:
    carrier = line(ends, delay=0.0)
    found = []
    for number in range(600):
        ends.send(np.uint16(number).tobytes())
        if number % 97 == 0:
            carrier.take()
            carrier.emit(time.time_ns())
            found += ends.received()
    carrier.take()
    carrier.emit(time.time_ns())
    found += ends.received()
    assert [int(np.frombuffer(data, np.uint16)[0]) for data in found] == list(range(600))
