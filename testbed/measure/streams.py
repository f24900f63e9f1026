"""Constant-rate streams between nodes, and where their packets arrived: the instrument behind outages, loss, latency and packets/s."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import IO, Any, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from testbed.errors import LabError
from testbed.measure import orders
from testbed.measure.batches import ARRIVAL, Numbers
from testbed.measure.cpu import CpuUse, cpu_use, read_cpu, with_descendants
from testbed.measure.orders import Failure, Lane, Ready, SenderReport, SendOrder, Spot, WatchOrder, WatchReport
from testbed.measure.outage import Outage, measure
from testbed.measure.pacing import Pacing, pacing
from testbed.measure.packets import scapy
from testbed.measure.stamp import empty
from testbed.measure.validity import DEFAULT_LIMITS, Limits, Verdict, judge
from testbed.netns import run_in

T = TypeVar("T")
PORT = 33998
_SIOCGIFHWADDR = 0x8927
_LEAD = 20_000_000  # ns from the word go to the first packet
_URGENT = 20_000  # packets/s up to which the sender may go before everything else: it then takes a fraction of a core
_ENDING = 30.0  # seconds that a probe process has for its report


@dataclass(frozen=True)
class Flow:
    """One direction of one conversation, sent as the node itself would send it.

    ``number`` is unique in a run; ``source`` and ``target`` are labels of nodes; ``namespace`` and ``device`` where it leaves;
    MACs of that device and of its gateway; the 5-tuple; ``size`` in bytes of the Ethernet frame without checksum; initial TTL.
    ``protocol`` ``tcp`` makes segments of no connection, for what hashes 5-tuples: their checksum is wrong, so that hosts ignore them.
    """

    number: int
    source: str
    target: str
    namespace: str
    device: str
    source_mac: str
    target_mac: str
    source_ip: str
    target_ip: str
    source_port: int = 40000
    target_port: int = PORT
    protocol: str = "udp"
    size: int = 64
    ttl: int = 64

    def frame(self) -> bytes:
        """The frame with an empty stamp; grown to the smallest size that holds one. UDP goes without checksum (RFC 768 allows it)."""
        inet, l2 = scapy().inet, scapy().l2
        ports = {"sport": self.source_port, "dport": self.target_port}
        transport = inet.UDP(**ports, chksum=0) if self.protocol == "udp" else inet.TCP(**ports, flags="A", chksum=0)
        head = (
            l2.Ether(src=self.source_mac, dst=self.target_mac) / inet.IP(src=self.source_ip, dst=self.target_ip, ttl=self.ttl) / transport
        )
        return bytes(head / empty().ljust(self.size - len(head), b"\0"))


@dataclass(frozen=True)
class Place:
    """Where packets are watched as they come in: a target's device, or that of a node on the way (the standby, say)."""

    label: str
    namespace: str
    device: str


@dataclass(frozen=True)
class StreamResult:
    """What was sent and what arrived; times are wall-clock nanoseconds.

    ``rate``: packets/s of each flow. ``sent``: flow number → send time of each packet by sequence number. ``arrivals``: place's label →
    ARRIVAL records in order of arrival. ``dropped``: packets the receivers had no room for. ``cpu``: who used it meanwhile.
    """

    flows: tuple[Flow, ...]
    rate: float
    sent: dict[int, Numbers]
    arrivals: dict[str, npt.NDArray[Any]]
    dropped: int
    pacing: Pacing
    cpu: CpuUse

    def at(self, place: str, flow: int) -> npt.NDArray[Any]:
        """The packets of a flow that came in at a place."""
        arrivals = self.arrivals[place]
        found: npt.NDArray[Any] = arrivals[arrivals["flow"] == flow]
        return found

    def outage(self, flow: Flow) -> Outage:
        """What a flow lost on its way to its target."""
        return measure(self.sent[flow.number], self.at(flow.target, flow.number))

    def verdict(self, limits: Limits = DEFAULT_LIMITS, settled: str | None = None) -> Verdict:
        """Whether figures from this run may be believed; ``settled`` is what `unsettled` said before the stimulus."""
        return judge(cpu=self.cpu, pacing=self.pacing, dropped=self.dropped, settled=settled, limits=limits)


def hardware_address(namespace: str, device: str) -> str:
    """The MAC of a device. Raises LabError or OSError when there is none."""

    def ask() -> str:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            answer = fcntl.ioctl(control, _SIOCGIFHWADDR, struct.pack("16s24x", device.encode()))
        return answer[18:24].hex(":")

    return run_in(namespace, ask)


class _Probe:
    """A probe process and its pipes."""

    def __init__(self, module: str, order: msgspec.Struct) -> None:
        self._what = module
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"testbed.measure.{module}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        self.pid = self._process.pid
        self.tell(order)

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        assert self._process.stdin
        assert self._process.stdout
        return self._process.stdin, self._process.stdout

    def tell(self, message: object) -> None:
        """Send a message."""
        try:
            orders.send(self._pipes()[0], message)
        except BrokenPipeError as error:
            raise LabError(f"the {self._what} of streams ended early") from error

    def hear(self, kind: type[T]) -> T:
        """The next answer. Raises LabError with the reason when it is another than awaited."""
        data = orders.receive(self._pipes()[1])
        if not data:
            raise LabError(f"the {self._what} of streams ended early, status {self._process.wait(_ENDING)}")
        answer = orders.decode(data, orders.Answer)
        if not isinstance(answer, kind):
            raise LabError(f"the {self._what} of streams: {answer.problem if isinstance(answer, Failure) else answer}")
        return answer

    def stop(self) -> None:
        """End its work; the report follows. A sender that was done by itself is not disturbed."""
        self._pipes()[0].close()

    def close(self) -> None:
        """Make sure that it is gone."""
        for pipe in self._pipes():
            with suppress(OSError):  # what was written to a dead process cannot be flushed
                pipe.close()
        try:
            self._process.wait(1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Streams:
    """A context manager: packets flow while it is open, ``result`` is complete once it is left.

    All ``flows`` run at ``rate`` packets/s each, taking turns; with ``count`` they end by themselves after so many packets each (leaving
    waits for that), without it when the block is left. ``realtime`` gives the sender a real-time priority, which keeps its pace on a busy
    machine: by default up to 20,000 packets/s of all flows, since at more the datapath must get its share. ``grace``: seconds without a
    packet after which no straggler is expected any more, more than the longest way takes. ``own``: pids of the lab, whose CPU use, and that
    of their descendants, is not foreign. Raises LabError when a place is not there.
    """

    def __init__(
        self,
        flows: Sequence[Flow],
        places: Sequence[Place],
        *,
        rate: float = 1000.0,
        count: int = 0,
        realtime: bool | None = None,
        grace: float = 0.2,
        own: Collection[int] = (),
    ) -> None:
        self._flows, self._places = tuple(flows), tuple(places)
        self._rate, self._grace, self._own = rate, grace, own
        lanes = tuple(Lane(flow.number, flow.namespace, flow.device, flow.frame()) for flow in flows)
        urgent = rate * len(lanes) <= _URGENT if realtime is None else realtime
        self._order = SendOrder(lanes, rate, count, urgent)
        self._probes: list[_Probe] = []

    def __enter__(self) -> Streams:
        try:
            self._receiver = self._start("receiver", WatchOrder(tuple(self._spot(place) for place in self._places), self._grace))
            self._sender = self._start("sender", self._order)
            for probe in self._probes:
                probe.hear(Ready)
            self._before = read_cpu()
            self._sender.tell(time.monotonic_ns() + _LEAD)
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if error is None:
                if not self._order.count:
                    self._sender.stop()
                self._sent = self._sender.hear(SenderReport)
                self._receiver.stop()
                self._watched = self._receiver.hear(WatchReport)
                own = with_descendants(self._own) | {os.getpid(), *(probe.pid for probe in self._probes)}
                self._cpu = cpu_use(self._before, read_cpu(), own)
        finally:
            self._close()

    def _start(self, module: str, order: msgspec.Struct) -> _Probe:
        self._probes.append(_Probe(module, order))
        return self._probes[-1]

    def _close(self) -> None:
        for probe in self._probes:
            probe.close()

    def _spot(self, place: Place) -> Spot:
        ports = {flow.target_port for flow in self._flows if flow.target == place.label and flow.protocol == "udp"}
        return Spot(place.namespace, place.device, tuple(sorted(ports)))

    @cached_property
    def result(self) -> StreamResult:
        """What was sent and what arrived."""
        times = np.frombuffer(self._sent.times, np.int64)
        turns = len(self._flows)
        arrivals = {}
        for place, data in zip(self._places, self._watched.arrivals, strict=True):
            records = np.frombuffer(data, ARRIVAL)
            arrivals[place.label] = records[np.argsort(records["received"], kind="stable")]
        return StreamResult(
            flows=self._flows,
            rate=self._rate,
            sent={flow.number: times[turn::turns] for turn, flow in enumerate(self._flows)},
            arrivals=arrivals,
            dropped=sum(self._watched.dropped),
            pacing=self._pacing(times),
            cpu=self._cpu,
        )

    def _pacing(self, times: Numbers) -> Pacing:
        sent = self._sent
        return pacing(
            sent.start, times, self._rate, len(self._flows),
            refused=sent.refused, clock_step=sent.clock_step, processor=sent.processor, realtime=sent.realtime,
        )  # fmt: skip
