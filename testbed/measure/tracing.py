"""Send one marked probe and watch it at every device of every node on the way."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

from testbed.measure.journey import Journey, Sighting, assemble
from testbed.measure.packets import Header, headers, probe
from testbed.measure.reachability import Endpoint
from testbed.measure.recorder import Frame, Recorder
from testbed.netns import run_in
from testbed.wait import poll


def trace(source: Endpoint, target: Endpoint, namespaces: Mapping[str, str], *, ttl: int = 64, budget: float = 1.0) -> Journey:
    """The journey of one probe from ``source`` to ``target``, watched in all ``namespaces`` (node name → namespace).

    It ends when the probe arrives, an ICMP time exceeded comes back, or after ``budget`` seconds. Raises LabError when a namespace is gone.
    """
    marker = b"trace-" + os.urandom(10)
    packet = probe(source.address, target.address, marker, ttl=ttl)
    with Recorder({node: (namespace, None) for node, namespace in namespaces.items()}, needle=marker) as recorder:
        run_in(source.namespace, lambda: _send(packet, target.address))

        def finished() -> str | None:
            return None if any(_ends(frame, source, target) for frame in tuple(recorder.frames)) else "the probe is on its way"

        poll(finished, budget=budget, interval=0.005)  # running out of it is an answer too: the probe was dropped
    return assemble(source.label, target.label, *_read(recorder.frames))


def _send(packet: bytes, address: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        raw.sendto(packet, (address, 0))


def _ends(frame: Frame, source: Endpoint, target: Endpoint) -> bool:
    if frame.outgoing or frame.node not in (source.label, target.label):
        return False
    layers = headers(frame)
    return bool(layers) and (frame.node == target.label or layers[-1].carries == "icmp/11")


def _read(frames: list[Frame]) -> tuple[list[Sighting], str | None]:
    sightings, exceeded = [], None
    for frame in frames:
        layers = headers(frame)
        if not layers:
            continue
        if layers[-1].carries.startswith("icmp/"):
            exceeded = layers[-1].source if layers[-1].carries == "icmp/11" else exceeded
        else:
            sightings.append(Sighting(frame.time, frame.node, frame.device, frame.outgoing, layers[-1].ttl, _outer(layers)))
    return sightings, exceeded


def _outer(layers: tuple[Header, ...]) -> tuple[str, ...]:
    return tuple(f"{header.source} > {header.target} {header.carries}" for header in layers[:-1])
