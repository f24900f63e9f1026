"""Who reaches whom, and with what TTL left: one marked UDP datagram a pair, all pairs at once."""

from __future__ import annotations

import selectors
import socket
import struct
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from testbed.netns import run_in

PORT = 33999
INITIAL_TTL = 64
_IP_RECVTTL = 12
_IP_RECVERR = 11
_MSG_ERRQUEUE = socket.MSG_ERRQUEUE
_HEADER = struct.Struct("!8sIHH")
MAGIC = b"testbed1"
"""What every datagram begins with."""

_ICMP_ORIGIN = 2
_TIME_EXCEEDED = 11
_ERRORS_AT_ONCE = 4


@dataclass(frozen=True)
class Endpoint:
    """A node that can send and receive: its label, its namespace and its address."""

    label: str
    namespace: str
    address: str


@dataclass(frozen=True)
class Delivery:
    """What became of one probe: ``ttl_down`` is how many routers decremented the TTL, ``loop_at`` who sent ICMP time exceeded."""

    source: str
    target: str
    delivered: bool
    ttl_down: int | None = None
    loop_at: str | None = None

    @property
    def result(self) -> str:
        """``delivered``, ``loop`` or ``dropped``."""
        return "delivered" if self.delivered else "loop" if self.loop_at else "dropped"


@dataclass
class _Probe:
    endpoint: Endpoint
    socket: socket.socket
    arrived: dict[int, int] = field(default_factory=dict)
    exceeded: dict[str, str] = field(default_factory=dict)


def _open(endpoint: Endpoint) -> socket.socket:
    def build() -> socket.socket:
        probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.setsockopt(socket.IPPROTO_IP, _IP_RECVTTL, 1)
        probe.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
        probe.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, INITIAL_TTL)
        probe.bind((endpoint.address, PORT))
        probe.setblocking(False)
        return probe

    return run_in(endpoint.namespace, build)


def probe_pairs(
    endpoints: Mapping[str, Endpoint], pairs: Iterable[tuple[str, str]], *, timeout: float = 1.0, tries: int = 3
) -> tuple[Delivery, ...]:
    """Send one datagram a pair, ``tries`` rounds within ``timeout`` seconds for those without an answer, and report each.

    ``endpoints`` by label; a pair is (source label, target label). Raises LabError when a namespace is gone, OSError when a port is taken.
    """
    wanted = tuple(dict.fromkeys(pairs))
    with ExitStack() as stack:
        probes = {label: _Probe(endpoints[label], _open(endpoints[label])) for label in sorted({x for pair in wanted for x in pair})}
        for probe in probes.values():
            stack.callback(probe.socket.close)
        _exchange(probes, endpoints, wanted, timeout, tries)
    return tuple(_outcome(probes, endpoints, number, pair) for number, pair in enumerate(wanted))


def _exchange(
    probes: Mapping[str, _Probe], endpoints: Mapping[str, Endpoint], wanted: Sequence[tuple[str, str]], timeout: float, tries: int
) -> None:
    with selectors.DefaultSelector() as selector:
        for probe in probes.values():
            selector.register(probe.socket, selectors.EVENT_READ, probe)
        for _ in range(tries):
            open_pairs = [
                (number, source, target)
                for number, (source, target) in enumerate(wanted)
                if number not in probes[target].arrived and endpoints[target].address not in probes[source].exceeded
            ]
            if not open_pairs:
                return
            for number, source, target in open_pairs:
                _send(probes[source], number, endpoints[target].address)
            _collect(selector, wanted, probes, endpoints, timeout / tries)


def _send(probe: _Probe, number: int, address: str) -> None:
    payload = _HEADER.pack(MAGIC, number, 0, 0)
    for _ in range(_ERRORS_AT_ONCE):
        try:
            probe.socket.sendto(payload, (address, PORT))
            return
        except OSError:  # an ICMP error about an earlier probe, reported instead of sending this one; it is read from the error queue
            _read_errors(probe)


def _collect(
    selector: selectors.BaseSelector,
    wanted: Sequence[tuple[str, str]],
    probes: Mapping[str, _Probe],
    endpoints: Mapping[str, Endpoint],
    timeout: float,
) -> None:
    deadline = time.monotonic() + timeout
    while (left := deadline - time.monotonic()) > 0:
        if all(n in probes[t].arrived or endpoints[t].address in probes[s].exceeded for n, (s, t) in enumerate(wanted)):
            return
        for key, _ in selector.select(left):
            _read(key.data)
            _read_errors(key.data)


def _read(probe: _Probe) -> None:
    while True:
        try:
            payload, control, _, _ = probe.socket.recvmsg(256, 256)
        except OSError:
            return
        if len(payload) < _HEADER.size:
            continue
        magic, number, _, _ = _HEADER.unpack_from(payload)
        ttl = next((struct.unpack("i", data)[0] for level, kind, data in control if (level, kind) == (0, socket.IP_TTL)), None)
        if magic == MAGIC and ttl is not None:
            probe.arrived.setdefault(number, ttl)


def _read_errors(probe: _Probe) -> None:
    while True:
        try:
            _, control, _, target = probe.socket.recvmsg(256, 512, _MSG_ERRQUEUE)
        except OSError:
            return
        for level, kind, data in control:
            if (level, kind) == (socket.IPPROTO_IP, _IP_RECVERR) and data[4] == _ICMP_ORIGIN and data[5] == _TIME_EXCEEDED:
                probe.exceeded.setdefault(target[0], socket.inet_ntoa(data[20:24]))


def _outcome(probes: Mapping[str, _Probe], endpoints: Mapping[str, Endpoint], number: int, pair: tuple[str, str]) -> Delivery:
    source, target = pair
    ttl = probes[target].arrived.get(number)
    if ttl is not None:
        return Delivery(source, target, True, ttl_down=INITIAL_TTL - ttl)
    return Delivery(source, target, False, loop_at=probes[source].exceeded.get(endpoints[target].address))
