"""What a frame carries is read from the outside in; what an ICMP error quotes is not a layer of it."""

from __future__ import annotations

import pytest

from testbed.measure.packets import headers, probe, scapy
from testbed.measure.recorder import Frame

INNER = ("10.11.0.4", "10.21.0.4")
OUTER = ("10.1.0.4", "10.2.0.4")


def frame(packet: object) -> Frame:
    return Frame(0.0, "nva1", "eth0", outgoing=False, ethernet=True, data=bytes(scapy().l2.Ether() / packet))


def vxlan(inner: object) -> object:
    inet = scapy().inet
    return inet.IP(src=OUTER[0], dst=OUTER[1]) / inet.UDP(dport=4789) / scapy().vxlan.VXLAN(vni=7) / scapy().l2.Ether() / inner


def text(found: Frame) -> list[str]:
    return [f"{each.source}>{each.target} {each.ttl} {each.carries}" for each in headers(found)]


def test_a_probe_inside_vxlan_has_two_headers() -> None:
    inner = scapy().inet.IP(probe(*INNER, b"marker", ttl=63))
    assert text(frame(vxlan(inner))) == ["10.1.0.4>10.2.0.4 64 udp/4789", "10.11.0.4>10.21.0.4 63 udp/33998"]


@pytest.mark.parametrize("encapsulated", [False, True])
def test_an_icmp_error_is_the_innermost_header_even_in_vxlan(encapsulated: bool) -> None:
    inet = scapy().inet
    error = inet.IP(src=INNER[1], dst=INNER[0]) / inet.ICMP(type=3, code=3) / probe(*INNER, b"marker")
    assert text(frame(vxlan(error) if encapsulated else error))[-1] == "10.21.0.4>10.11.0.4 64 icmp/3"


def test_other_protocols_are_named_by_number() -> None:
    inet = scapy().inet
    assert text(frame(inet.IP(src=INNER[0], dst=INNER[1], proto=50) / b"x")) == ["10.11.0.4>10.21.0.4 64 proto/50"]
    assert text(frame(inet.IP(src=INNER[0], dst=INNER[1]) / inet.TCP(sport=179, dport=40000)))[0].endswith("tcp/179")
    assert text(frame(scapy().l2.ARP())) == []
