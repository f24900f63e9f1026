"""Record what really passes: every frame at chosen devices, with the kernel's own time stamp, while something else goes on."""

from __future__ import annotations

import os
import selectors
import socket
import struct
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from types import TracebackType

from testbed.netns import run_in

_ETH_P_ALL = 3
_OUTGOING = 4
_SO_TIMESTAMPNS = 35
_SO_RCVBUFFORCE = 33
_SOL_PACKET = 263
_PACKET_STATISTICS = 6
_ETHERNET = 1
_TIMESPEC = struct.Struct("qq")


@dataclass(frozen=True)
class Frame:
    """One frame as captured: wall-clock seconds, where, which way (out leaves the namespace), whether it has an Ethernet header.

    ``stamp`` is the kernel's time in nanoseconds: seconds as a float cannot tell the two ends of a veth apart.
    """

    time: float
    node: str
    device: str
    outgoing: bool
    ethernet: bool
    data: bytes
    stamp: int = 0


class Recorder:
    """A context manager that captures in several namespaces at once; ``frames`` and ``dropped`` are complete once it is left.

    ``places`` maps a node's name to its namespace and the device to listen on (None: every device of the namespace).
    Raises LabError when a namespace is gone, OSError when a device is.
    """

    def __init__(self, places: Mapping[str, tuple[str, str | None]], *, snap: int = 2048, needle: bytes = b"") -> None:
        self._places = places
        self._snap = snap
        self._needle = needle
        self.frames: list[Frame] = []
        self.dropped = 0

    def __enter__(self) -> Recorder:
        self._sockets: dict[str, socket.socket] = {}
        try:
            for name, (namespace, device) in self._places.items():
                self._sockets[name] = run_in(namespace, partial(_open, device))
        except BaseException:
            self._close()
            raise
        self._stop, self._stopped = os.pipe()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.write(self._stopped, b"x")
        self._thread.join()
        for name, tap in self._sockets.items():
            self._drain(name, tap)
            self.dropped += struct.unpack("II", tap.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))[1]
        self._close()
        os.close(self._stop)
        os.close(self._stopped)
        self.frames.sort(key=lambda frame: frame.stamp)

    def _close(self) -> None:
        for tap in self._sockets.values():
            tap.close()

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._stop, selectors.EVENT_READ, None)
            for name, tap in self._sockets.items():
                selector.register(tap, selectors.EVENT_READ, name)
            while True:
                for key, _ in selector.select():
                    if key.data is None:
                        return
                    self._drain(key.data, self._sockets[key.data])

    def _drain(self, name: str, tap: socket.socket) -> None:
        while True:
            try:
                data, control, _, (device, _, packet_type, hardware, _) = tap.recvmsg(self._snap, 64)
            except OSError:
                return
            if self._needle in data and device != "lo":
                stamp = _stamp(control)
                outgoing, ethernet = packet_type == _OUTGOING, hardware == _ETHERNET
                self.frames.append(Frame(stamp * 1e-9, name, device, outgoing, ethernet, data, stamp))


def _open(device: str | None) -> socket.socket:
    tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0 if device else socket.htons(_ETH_P_ALL))
    tap.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 8 << 20)
    tap.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    tap.setblocking(False)
    if device:
        try:
            tap.bind((device, _ETH_P_ALL))
        except OSError:
            tap.close()
            raise
    return tap


def _stamp(control: list[tuple[int, int, bytes]]) -> int:
    for level, kind, data in control:
        if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS):
            seconds, nanoseconds = _TIMESPEC.unpack(data[: _TIMESPEC.size])
            return int(seconds) * 1_000_000_000 + int(nanoseconds)
    return 0
