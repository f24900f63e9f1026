"""Over which routers equal flows are spread: one marked datagram a flow, told apart by its source port, watched on the way."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from testbed.measure.packets import probe
from testbed.measure.reachability import Endpoint
from testbed.measure.recorder import Frame, Recorder
from testbed.netns import run_in
from testbed.wait import poll

_PORT = 33998
_FIRST_PORT = 41000
_MARK = 2


@dataclass(frozen=True)
class FlowPath:
    """The routers that a flow passed in each direction, in the order of first sight, and whether its datagrams arrived."""

    there: tuple[str, ...]
    back: tuple[str, ...]
    arrived: bool


def spread(source: Endpoint, target: Endpoint, routers: Mapping[str, str], flows: int, *, budget: float = 2.0) -> tuple[FlowPath, ...]:
    """Send so many flows both ways, watched at both ends and in ``routers`` (node name → namespace); each flow's path.

    The two directions have mirrored ports. It ends when all have arrived or after ``budget`` seconds.
    Raises LabError when a namespace is gone.
    """
    mark = os.urandom(8)
    places = {
        name: (namespace, None) for name, namespace in {**routers, source.label: source.namespace, target.label: target.namespace}.items()
    }
    ports = range(_FIRST_PORT, _FIRST_PORT + flows)
    with _listening(source, ports), _listening(target, (_PORT,)), Recorder(places, needle=mark) as recorder:
        _send(source, target, mark + b">", flows, mirrored=False)
        _send(target, source, mark + b"<", flows, mirrored=True)

        def arrived() -> str | None:
            ends = sum(not frame.outgoing and frame.node == _end(frame, mark, source, target) for frame in tuple(recorder.frames))
            return None if ends >= 2 * flows else f"{ends} of {2 * flows} datagrams have arrived"

        poll(arrived, budget=budget, interval=0.01)  # running out of it is an answer too: some were lost
    return tuple(_path(recorder.frames, mark, number, source, target, routers) for number in range(flows))


@contextmanager
def _listening(endpoint: Endpoint, ports: Iterable[int]) -> Iterator[None]:
    """Sockets on these ports, so that nobody sends ICMP errors, which quote the datagrams and take ways of their own."""
    with ExitStack() as stack:

        def work() -> None:
            for port in ports:
                each = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                each.bind((endpoint.address, port))

        run_in(endpoint.namespace, work)
        yield


def _send(sender: Endpoint, receiver: Endpoint, mark: bytes, flows: int, *, mirrored: bool) -> None:
    packets = []
    for number in range(flows):
        ports = (_PORT, _FIRST_PORT + number) if mirrored else (_FIRST_PORT + number, _PORT)
        payload = mark + number.to_bytes(_MARK, "big")
        packets.append(probe(sender.address, receiver.address, payload, source_port=ports[0], target_port=ports[1]))

    def work() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
            for packet in packets:
                raw.sendto(packet, (receiver.address, 0))

    run_in(sender.namespace, work)


def _end(frame: Frame, mark: bytes, source: Endpoint, target: Endpoint) -> str:
    return target.label if mark + b">" in frame.data else source.label


def _path(frames: list[Frame], mark: bytes, number: int, source: Endpoint, target: Endpoint, routers: Mapping[str, str]) -> FlowPath:
    seen = []
    for way, end in ((b">", target.label), (b"<", source.label)):
        found = [frame for frame in frames if mark + way + number.to_bytes(_MARK, "big") in frame.data]
        arrived = any(frame.node == end and not frame.outgoing for frame in found)
        seen.append((tuple(dict.fromkeys(frame.node for frame in found if frame.node in routers)), arrived))
    return FlowPath(seen[0][0], seen[1][0], seen[0][1] and seen[1][1])
