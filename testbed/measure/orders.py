"""How the probe processes are spoken to: length-prefixed messages on stdin and stdout; the end of stdin ends the process's work."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any

import msgspec

from testbed.errors import TestbedError

_LENGTH = 8
_PR_SET_TIMERSLACK = 29


class Lane(msgspec.Struct, frozen=True):
    """One flow to send: its number, where it leaves, and its frame as built, stamp empty."""

    flow: int
    namespace: str
    device: str
    frame: bytes


class SendOrder(msgspec.Struct, frozen=True):
    """Send all lanes at ``rate`` packets/s each, ``count`` packets each (0: until stopped); ``realtime`` asks for a real-time priority."""

    lanes: tuple[Lane, ...]
    rate: float
    count: int = 0
    realtime: bool = True


class SenderReport(msgspec.Struct, frozen=True, tag=True):
    """What was sent: schedule start and the real send times of all packets in turn (int64 wall-clock ns), and how it went.

    ``refused``: packets that the sending device did not take. ``clock_step``: ns by which the wall clock was stepped meanwhile.
    ``processor``: ns of CPU time used. ``realtime``: whether the priority was granted.
    """

    start: int
    times: bytes
    refused: int
    clock_step: int
    processor: int
    realtime: bool


class Spot(msgspec.Struct, frozen=True):
    """A device to watch, and the UDP ports to keep quiet there (their datagrams are swallowed instead of answered by ICMP)."""

    namespace: str
    device: str
    ports: tuple[int, ...] = ()


class WatchOrder(msgspec.Struct, frozen=True):
    """Watch all spots until stopped, then until nothing came for ``grace`` seconds."""

    spots: tuple[Spot, ...]
    grace: float = 0.2


class WatchReport(msgspec.Struct, frozen=True, tag=True):
    """What arrived at each spot (ARRIVAL records) and how many packets each socket had no room for."""

    arrivals: tuple[bytes, ...]
    dropped: tuple[int, ...]


class Ready(msgspec.Struct, frozen=True, tag=True):
    """All sockets are open."""


class Failure(msgspec.Struct, frozen=True, tag=True):
    """It could not be done as told, and why."""

    problem: str


Answer = Ready | Failure | SenderReport | WatchReport
"""All that a probe process says."""


def read_exactly(stream: IO[bytes], size: int) -> bytes:
    """``size`` bytes, or fewer at the end of the stream."""
    parts = []
    while size and (part := os.read(stream.fileno(), min(size, 1 << 20))):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def receive(stream: IO[bytes]) -> bytes:
    """The next message; empty at the end of the stream."""
    return read_exactly(stream, int.from_bytes(read_exactly(stream, _LENGTH)))


def send(stream: IO[bytes], message: Any) -> None:
    """Write one message (MessagePack)."""
    body = msgspec.msgpack.encode(message)
    stream.write(len(body).to_bytes(_LENGTH) + body)
    stream.flush()


def decode(data: bytes, kind: Any) -> Any:
    """A message as its type."""
    return msgspec.msgpack.decode(data, type=kind)


def prefer(realtime: bool) -> bool:
    """Exact timers and, if asked for and allowed, the lowest real-time priority; whether that was granted. Interrupts go to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
    if realtime:
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
            return True
    return False


def run_as_process(serve: Callable[[IO[bytes], IO[bytes]], None]) -> None:
    """Run a probe's work over this process's stdin and stdout; a problem goes to the parent as an answer."""
    with os.fdopen(0, "rb", 0) as inward, os.fdopen(1, "wb") as outward:
        try:
            serve(inward, outward)
        except BrokenPipeError:
            os._exit(1)  # the parent is gone: nobody is left to tell
        except (OSError, TestbedError) as error:
            send(outward, Failure(str(error) or type(error).__name__))
