"""Frames by hand: sent from one node of a live lab, watched for at all others."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress

from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from testbed.emulation import netns
from testbed.emulation.client import LabClient
from testbed.plan.pipeline import FABRIC_MAC
from testbed.plan.types import Nic
from testbed.wait import wait_until

MARK = b"nobody-gets-in"


def nic_of(lab: LabClient, label: str) -> Nic:
    return next(nic for nic in lab.plan.nics() if nic.label == label)


def ready(lab: LabClient) -> str | None:
    status = lab.controller("GET", "/status")
    return None if status["ready"] and not status["errors"] else str(status["reasons"])


@contextmanager
def sniffer(namespace: str, device: str) -> Iterator[socket.socket]:
    with netns.inside(namespace):
        raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    with closing(raw):
        raw.bind((device, 3))
        raw.setblocking(False)
        yield raw


def caught(raw: socket.socket, sign: bytes = MARK) -> list[bytes]:
    """The marked frames that came in (not what the node itself sends)."""
    frames = []
    with suppress(BlockingIOError):
        while True:
            data, origin = raw.recvfrom(65536)
            if sign in data and origin[2] != socket.PACKET_OUTGOING:
                frames.append(data)
    return frames


@contextmanager
def sniffers(lab: LabClient, sender: str) -> Iterator[dict[str, socket.socket]]:
    """One at every NIC but the sender's."""
    ids = {node.name: node.id for node in lab.plan.nodes}
    with ExitStack() as stack:
        yield {nic.label: stack.enter_context(sniffer(ids[nic.node], nic.name)) for nic in lab.plan.nics() if nic.label != sender}


def send(lab: LabClient, sender: str, frames: list[bytes]) -> None:
    nic = nic_of(lab, sender)
    with netns.inside(lab.plan.node(nic.node).id):
        raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    with closing(raw):
        raw.bind((nic.name, 0))
        for frame in frames:
            raw.send(frame)


def reach(lab: LabClient, sender: str, receiver: str) -> None:
    """An honest datagram gets through: after it, all that was sent before has been dealt with."""
    source, target = nic_of(lab, sender), nic_of(lab, receiver)
    honest = Ether(src=source.mac, dst=FABRIC_MAC) / IP(src=source.ip, dst=target.ip) / UDP(dport=9) / MARK
    with sniffer(lab.plan.node(target.node).id, target.name) as raw:

        def arrived() -> str | None:
            send(lab, sender, [bytes(honest)])
            return None if caught(raw) else "no frame"

        wait_until(arrived, what=f"{sender} to {receiver}", budget=5.0, interval=0.05)
