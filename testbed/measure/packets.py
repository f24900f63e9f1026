"""Frames built and read with scapy: marked probes, and what a captured frame carries at each layer."""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from functools import cache
from typing import Any

from testbed.measure.recorder import Frame

_UDP = 17


@cache
def scapy() -> Any:
    """The scapy modules needed here; imported late, since they cost 0.2 s, and kept from probing the machine's own network."""
    logging.getLogger("scapy").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from scapy.config import conf

        conf.ipv6_enabled = False
        import scapy.layers.inet
        import scapy.layers.l2
        import scapy.layers.vxlan

        scapy.layers.l2.bind_layers(scapy.layers.inet.UDP, scapy.layers.vxlan.VXLAN, dport=4789)
    return scapy.layers


@dataclass(frozen=True)
class Header:
    """An IP header: addresses, TTL, and what it carries (``udp/4789``, ``tcp/179``, ``icmp/11``, ``proto/50``, ``fragment``)."""

    source: str
    target: str
    ttl: int
    carries: str


def headers(frame: Frame) -> tuple[Header, ...]:
    """The IP headers of a frame from the outside in, through VXLAN; an ICMP error ends the walk (what it quotes is not a layer)."""
    inet = scapy().inet
    layer = scapy().l2.Ether(frame.data) if frame.ethernet else inet.IP(frame.data)
    found = []
    while (ip := layer.getlayer(inet.IP)) is not None:
        found.append(Header(ip.src, ip.dst, ip.ttl, _carries(ip)))
        if ip.proto != _UDP or (vxlan := ip.payload.payload).name != "VXLAN":
            break
        layer = vxlan.payload
    return tuple(found)


def _carries(ip: Any) -> str:
    inet = scapy().inet
    if ip.frag or "MF" in ip.flags:
        return "fragment"
    if inet.UDP in ip and ip.proto == 17:
        return f"udp/{ip[inet.UDP].dport}"
    if inet.TCP in ip and ip.proto == 6:
        tcp = ip[inet.TCP]
        return f"tcp/{min(tcp.dport, tcp.sport)}"
    if inet.ICMP in ip and ip.proto == 1:
        return f"icmp/{ip[inet.ICMP].type}"
    return f"proto/{ip.proto}"


def probe(source: str, target: str, marker: bytes, *, ttl: int = 64, source_port: int = 40000, target_port: int = 33998) -> bytes:
    """An IP packet (no link layer) with a marked UDP datagram, for a raw IP socket."""
    inet = scapy().inet
    packet = inet.IP(src=source, dst=target, ttl=ttl) / inet.UDP(sport=source_port, dport=target_port) / marker
    return bytes(packet)
