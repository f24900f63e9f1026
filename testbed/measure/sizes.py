"""How large a packet may be: datagrams that must not be fragmented, and who refuses them; TCP and the segment size it is told."""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass

from testbed.measure.packets import scapy
from testbed.measure.reachability import Endpoint
from testbed.measure.recorder import Frame, Recorder
from testbed.netns import run_in

_IP_MTU_DISCOVER, _IP_PMTUDISC_PROBE, _IP_RECVERR = 10, 3, 11
_ICMP, _UNREACHABLE, _FRAGMENTATION_NEEDED = 2, 3, 4
_HEADERS = 28  # IP and UDP
_EXTENDED_ERROR = struct.Struct("=IBBBBII")
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Fit:
    """What became of a datagram with "don't fragment": it arrived, or ``refused_by`` answered that ``mtu`` bytes is the most."""

    size: int
    arrived: bool
    refused_by: str | None = None
    mtu: int | None = None

    def __str__(self) -> str:
        if self.arrived:
            return f"{self.size} bytes arrive"
        if self.refused_by:
            return f"{self.size} bytes are refused by {self.refused_by}, which names {self.mtu}"
        return f"{self.size} bytes vanish" if self.mtu is None else f"{self.size} bytes are more than the sender's own {self.mtu}"


def fit(source: Endpoint, target: Endpoint, size: int, *, budget: float = 1.0) -> Fit:
    """Send one IP packet of ``size`` bytes (28 at least) that must not be fragmented, and wait ``budget`` seconds for its fate.

    The sender ignores what its kernel remembers of the path. Raises LabError when a namespace is gone.
    """
    payload = os.urandom(8).ljust(size - _HEADERS, b"\0")[: size - _HEADERS]
    with run_in(target.namespace, _datagrams) as receiver, run_in(source.namespace, _datagrams) as sender:
        receiver.bind((target.address, 0))
        sender.bind((source.address, 0))
        sender.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_PROBE)
        sender.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
        try:
            sender.sendto(payload, receiver.getsockname())
        except OSError as error:
            if error.errno != errno.EMSGSIZE:
                raise
            return Fit(size, False, None, _error(sender)[1])
        deadline = time.monotonic() + budget
        while (left := deadline - time.monotonic()) > 0:
            select.select([receiver], [], [sender], min(left, 0.05))
            if select.select([receiver], [], [], 0)[0] and receiver.recv(65535) == payload:
                return Fit(size, True)
            if (answer := _error(sender)) != (None, None):
                return Fit(size, False, *answer)
    return Fit(size, False)


def _datagrams() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def _error(sender: socket.socket) -> tuple[str | None, int | None]:
    """Who refused a packet of this socket and what MTU it named; an error of the own kernel has nobody."""
    try:
        _, control, _, _ = sender.recvmsg(65535, 512, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT)
    except OSError:
        return None, None
    for level, kind, data in control:
        if (level, kind) == (socket.IPPROTO_IP, _IP_RECVERR):
            _, origin, icmp, code, _, information, _ = _EXTENDED_ERROR.unpack_from(data)
            if (origin, icmp, code) == (_ICMP, _UNREACHABLE, _FRAGMENTATION_NEEDED):
                return socket.inet_ntoa(data[20:24]), information
            return None, information
    return None, None


@dataclass(frozen=True)
class Transfer:
    """A TCP connection: how many bytes arrived, and the largest segment that each end was told to send (as the SYN arrived)."""

    received: int
    told_target: int | None = None
    told_source: int | None = None


def transfer(source: Endpoint, target: Endpoint, amount: int, *, budget: float = 5.0) -> Transfer:
    """Send ``amount`` bytes over a new TCP connection; what has not arrived within ``budget`` seconds is missing."""
    deadline = time.monotonic() + budget
    places = {each.label: (each.namespace, None) for each in (source, target)}
    with run_in(target.namespace, _streams) as listener, run_in(source.namespace, _streams) as client:
        listener.bind((target.address, 0))
        listener.listen(1)
        port = int(listener.getsockname()[1])
        client.bind((source.address, 0))
        for each in (listener, client):
            each.settimeout(budget)
        with Recorder(places, snap=128) as recorder:
            received = _exchange(listener, client, amount, deadline)
    return Transfer(received, _told(recorder.frames, target.label, port), _told(recorder.frames, source.label, port))


def _streams() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM)


def _exchange(listener: socket.socket, client: socket.socket, amount: int, deadline: float) -> int:
    try:
        client.connect(listener.getsockname())
        server, _ = listener.accept()
    except OSError:
        return 0
    sending = threading.Thread(target=_send, args=(client, amount), name="transfer", daemon=True)
    sending.start()
    received = 0
    with server:
        while received < amount and (left := deadline - time.monotonic()) > 0:
            server.settimeout(left)
            try:
                received += len(data := server.recv(_CHUNK))
            except OSError:
                break
            if not data:
                break
    sending.join(0.1)
    return received


def _send(client: socket.socket, amount: int) -> None:
    try:
        client.sendall(bytes(amount))
    except OSError:
        return  # the receiver counts what arrived


def _told(frames: Iterable[Frame], node: str, port: int) -> int | None:
    """The maximum segment size in the SYN that came in at a node for a connection with this port."""
    inet = scapy().inet
    for frame in frames:
        if frame.node != node or frame.outgoing or not frame.ethernet:
            continue
        tcp = scapy().l2.Ether(frame.data).getlayer(inet.TCP)
        if tcp is not None and port in (tcp.sport, tcp.dport) and "S" in tcp.flags:
            return next((int(value) for name, value in tcp.options if name == "MSS"), None)
    return None
