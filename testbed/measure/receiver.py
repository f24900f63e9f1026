"""The process that receives streams: every stamped packet that comes in at chosen devices, with the kernel's own time stamp.

Run by `testbed.measure.streams` as ``python -m testbed.measure.receiver``; it reads its orders from stdin and answers on stdout.
"""

from __future__ import annotations

import gc
import select
import socket
import struct
import time
from functools import partial
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from testbed.measure.batches import ARRIVAL, ReceiveBatch
from testbed.measure.orders import Ready, Spot, WatchOrder, WatchReport, decode, prefer, receive, run_as_process, send
from testbed.measure.stamp import DISCARD, ETHERNET, filter_option, socket_filter
from testbed.netns import run_in

_ETH_P_ALL = 3
_SO_ATTACH_FILTER, _SO_RCVBUFFORCE, _SO_TIMESTAMPNS = 26, 33, 35
_SOL_PACKET, _PACKET_STATISTICS, _PACKET_IGNORE_OUTGOING = 263, 6, 23
_ARPHRD_ETHER = 1
_BUFFER = 64 << 20  # bytes: about 80,000 small packets, some tenths of a second at the highest rates
_NAP = 0.004  # seconds between two rounds of emptying the sockets; the time stamps are the kernel's, so haste gains nothing
_LONGEST_GRACE = 10  # times the grace: others' streams may go on


class Growing:
    """An array that grows by doubling."""

    def __init__(self) -> None:
        self._data = np.empty(1 << 12, ARRIVAL)
        self._used = 0

    def extend(self, records: npt.NDArray[Any]) -> None:
        """Append records."""
        end = self._used + len(records)
        while end > len(self._data):
            self._data = np.concatenate([self._data, np.empty_like(self._data)])
        self._data[self._used : end] = records
        self._used = end

    def tobytes(self) -> bytes:
        """The records so far."""
        return self._data[: self._used].tobytes()


class Watch:
    """One device watched: its socket, where its IP headers begin, and what came."""

    def __init__(self, spot: Spot) -> None:
        self.tap, self.base = run_in(spot.namespace, partial(_open_tap, spot.device))
        self.sinks = run_in(spot.namespace, partial(_open_sinks, spot.ports))
        self.arrivals = Growing()

    def drain(self, batch: ReceiveBatch) -> bool:
        """Take what waits at the socket; whether there was anything."""
        found = False
        while len(records := batch.receive(self.tap.fileno(), self.base)):
            self.arrivals.extend(records)
            found = True
            if len(records) < batch.capacity:
                break
        return found

    def close(self) -> int:
        """Close the sockets; give back how many packets there was no room for."""
        dropped = int(struct.unpack("II", self.tap.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))[1])
        for opened in (self.tap, *self.sinks):
            opened.close()
        return dropped


def _open_tap(device: str) -> tuple[socket.socket, int]:
    tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    tap.bind((device, 0))  # protocol 0: bound, but nothing is received before the filter is in place
    base = ETHERNET if tap.getsockname()[3] == _ARPHRD_ETHER else 0
    option, memory = filter_option(socket_filter(base))
    tap.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, option)
    del memory
    tap.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
    tap.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
    tap.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    tap.bind((device, _ETH_P_ALL))
    return tap, base


def _open_sinks(ports: tuple[int, ...]) -> list[socket.socket]:
    sinks = []
    for port in ports:
        sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sink.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # several runs may share a port
        option, memory = filter_option(DISCARD)
        sink.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, option)
        del memory
        sink.bind(("", port))
        sinks.append(sink)
    return sinks


def collect(watches: list[Watch], inward: IO[bytes], grace: float) -> None:
    """Take everything until stdin says stop, and then until nothing came for ``grace`` seconds."""
    batch = ReceiveBatch()
    stopped = last = 0.0
    with select.epoll() as taps:
        by_descriptor = {watch.tap.fileno(): watch for watch in watches}
        for descriptor in by_descriptor:
            taps.register(descriptor, select.EPOLLIN)
        while True:
            arrived = [by_descriptor[descriptor].drain(batch) for descriptor, _ in taps.poll(0)]
            now = time.monotonic()
            if stopped:
                last = now if any(arrived) else last
                if now - last >= grace or now - stopped >= grace * _LONGEST_GRACE:
                    return
            if select.select([] if stopped else [inward], [], [], _NAP)[0]:
                stopped = last = time.monotonic()


def serve(inward: IO[bytes], outward: IO[bytes]) -> None:
    """Read the order, open the sockets, collect until stopped, report."""
    order = decode(receive(inward), WatchOrder)
    watches = [Watch(spot) for spot in order.spots]
    prefer(realtime=False)
    send(outward, Ready())
    gc.disable()
    collect(watches, inward, order.grace)
    dropped = tuple(watch.close() for watch in watches)
    send(outward, WatchReport(tuple(watch.arrivals.tobytes() for watch in watches), dropped))


if __name__ == "__main__":
    run_as_process(serve)
