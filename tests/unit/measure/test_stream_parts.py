"""What needs no network of the streams: schedule, pacing, frames, messages."""

from __future__ import annotations

import io
import os

import numpy as np
import pytest

from testbed.errors import LabError
from testbed.measure import orders
from testbed.measure.batches import ARRIVAL
from testbed.measure.latency import latency
from testbed.measure.pacing import pacing
from testbed.measure.packets import scapy
from testbed.measure.sender import Schedule
from testbed.measure.stamp import MAGIC, PAYLOAD, socket_filter
from testbed.measure.streams import Flow

FLOW = Flow(7, "a", "b", "ns", "eth0", "02:00:00:00:00:01", "12:34:56:78:9a:bc", "10.1.0.4", "10.2.0.4", source_port=41000)


def test_the_schedule_has_no_drift() -> None:
    schedule = Schedule(1_000_000, rate=999.0, flows=3)
    assert schedule.due(0) == 1_000_000
    assert schedule.due(3 * 999 * 3600) == pytest.approx(1_000_000 + 3600e9, abs=1000)


@pytest.mark.parametrize(("rate", "flows"), [(1000.0, 1), (1000.0, 20), (200_000.0, 1)])
def test_a_packet_is_sent_when_due_and_not_before(rate: float, flows: int) -> None:
    schedule = Schedule(0, rate, flows)
    for position in (0, 1, 17, 5000):
        assert schedule.count(position, schedule.due(position) + 1) == 1
        assert schedule.count(position, schedule.due(position) - 2) <= 0
        assert schedule.wake(position) - schedule.due(position) <= 250_000


def test_at_low_rates_each_packet_has_its_own_wake_up() -> None:
    schedule = Schedule(0, 1000, 2)
    assert schedule.wake(9) == schedule.due(9)


def test_pacing_tells_rate_and_lateness() -> None:
    times = np.arange(1001, dtype=np.int64) * 1_000_000 + 5_000
    times[500] += 2_000_000
    found = pacing(0, times, 500.0, 2, refused=1, clock_step=3, processor=4, realtime=True)
    assert found.achieved == pytest.approx(500.0)
    assert found.rate_error < 1e-9
    assert (found.median, found.latest) == (pytest.approx(5e-6), pytest.approx(2.005e-3))
    with pytest.raises(LabError, match="too few"):
        pacing(0, times[:1], 500.0, 2, refused=0, clock_step=0, processor=0, realtime=False)


@pytest.mark.parametrize(("protocol", "number"), [("udp", 17), ("tcp", 6)])
def test_a_frame_holds_the_five_tuple_and_room_for_the_stamp(protocol: str, number: int) -> None:
    flow = Flow(**{**FLOW.__dict__, "protocol": protocol, "size": 200})
    frame = flow.frame()
    packet = scapy().l2.Ether(frame)
    ip = packet[scapy().inet.IP]
    assert (packet.dst, ip.src, ip.dst, ip.proto, ip.payload.sport, ip.payload.dport, len(frame)) == (
        "12:34:56:78:9a:bc", "10.1.0.4", "10.2.0.4", number, 41000, 33998, 200,
    )  # fmt: skip
    offset = 14 + PAYLOAD[number]
    assert frame[offset : offset + 4] == MAGIC.to_bytes(4)


def test_a_frame_is_never_too_small_for_its_stamp() -> None:
    assert len(Flow(**{**FLOW.__dict__, "size": 10}).frame()) == 62


def test_the_filter_is_a_program_of_whole_instructions() -> None:
    assert (len(socket_filter(14)), len(socket_filter(0))) == (11 * 8, 9 * 8)


def test_messages_survive_the_pipe() -> None:
    order = orders.SendOrder((orders.Lane(1, "ns", "eth0", b"\x00\xff"),), 1000.0, 5)
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb", 0) as inward, os.fdopen(writer, "wb") as outward:
        orders.send(outward, order)
        assert orders.decode(orders.receive(inward), orders.SendOrder) == order
        outward.close()
        assert orders.receive(inward) == b""


def test_answers_keep_their_kind() -> None:
    for answer in (orders.Ready(), orders.Failure("no such device"), orders.WatchReport((b"x",), (0,))):
        buffer = io.BytesIO()
        orders.send(buffer, answer)
        assert orders.decode(buffer.getvalue()[8:], orders.Answer) == answer


def test_latency_is_from_the_stamp_to_the_kernel() -> None:
    records = np.zeros(100, ARRIVAL)
    records["sent"] = np.arange(100) * 1000
    records["received"] = records["sent"] + np.arange(1, 101) * 1000
    found = latency(records)
    assert found is not None
    assert (found.packets, found.minimum, found.maximum) == (100, pytest.approx(1e-6), pytest.approx(1e-4))
    assert found.median == pytest.approx(50.5e-6)
    assert latency(records[:0]) is None
