"""Whatever frame a VM sends: what the fabric must not carry arrives nowhere, and floods stay with their sender."""

from __future__ import annotations

import fcntl
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from frames import MARK, caught, nic_of, reach, ready, send, sniffers
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from testbed.emulation import client, netns
from testbed.emulation.client import LabClient
from testbed.plan.pipeline import FABRIC_MAC
from testbed.plan.types import Plan
from testbed.wait import wait_until

pytestmark = pytest.mark.root

SIOCGIFHWADDR = 0x8927


@pytest.fixture
def lab(small_plan: Callable[[str], Plan], lab_name: str, down: Callable[[str], float]) -> Iterator[LabClient]:
    yield client.up(small_plan(lab_name), lambda stage, seconds: None)
    down(lab_name)


def mark(number: int) -> bytes:
    """A mark of its own."""
    return b"evil%010d" % number


def evil(lab: LabClient, sender: str) -> dict[str, tuple[bytes, bytes]]:
    """Frames that the fabric must not carry, by what is wrong with them, each with its own mark of `MARK`'s length."""
    ether, ip, udp = Ether, IP, UDP(sport=9, dport=9)
    own, other = nic_of(lab, sender), nic_of(lab, "vm2" if sender == "vm1" else "vm1")
    nva, server = nic_of(lab, "nva1"), nic_of(lab, "rs1-0")
    out = ether(src=own.mac, dst=FABRIC_MAC)
    to = {"dst": other.ip}
    packets = {
        "a source address that is not its own": out / ip(src="10.1.0.4", **to) / udp / MARK,
        "the receiver's own address as source": out / ip(src=other.ip, **to) / udp / MARK,
        "127.0.0.1 as source": out / ip(src="127.0.0.1", **to) / udp / MARK,
        "0.0.0.0 as source": out / ip(src="0.0.0.0", **to) / udp / MARK,
        "the MAC of another": ether(src=other.mac, dst=FABRIC_MAC) / ip(src=own.ip, **to) / udp / MARK,
        "the MAC and the address of another": ether(src=nva.mac, dst=FABRIC_MAC) / ip(src=nva.ip, **to) / udp / MARK,
        "the fabric's MAC as source": ether(src=FABRIC_MAC, dst=other.mac) / ip(src=own.ip, **to) / udp / MARK,
        "broadcast": ether(src=own.mac, dst="ff:ff:ff:ff:ff:ff") / ip(src=own.ip, dst="255.255.255.255") / udp / MARK,
        "its subnet's broadcast": ether(src=own.mac, dst="ff:ff:ff:ff:ff:ff") / ip(src=own.ip, dst="10.11.0.255") / udp / MARK,
        "multicast": ether(src=own.mac, dst="01:00:5e:00:00:05") / ip(src=own.ip, dst="224.0.0.5") / udp / MARK,
        "multicast to the fabric's MAC": out / ip(src=own.ip, dst="239.1.2.3") / udp / MARK,
        "GRE": out / ip(src=own.ip, proto=47, **to) / Raw(b"\0\0\x08\0" + MARK),
        "IP in IP": out / ip(src=own.ip, proto=4, **to) / ip(src="10.1.0.4", **to) / udp / MARK,
        "IPv6": ether(src=own.mac, dst=other.mac, type=0x86DD) / Raw(b"\x60" + b"\0" * 39 + MARK),
        "a tagged frame": ether(src=own.mac, dst=other.mac, type=0x8100) / Raw(b"\0\x05\x08\0" + bytes(ip(src=own.ip, **to) / udp / MARK)),
        "a frame of no known type": ether(src=own.mac, dst=other.mac, type=0x88B5) / Raw(MARK * 4),
        "LLDP": ether(src=own.mac, dst="01:80:c2:00:00:0e", type=0x88CC) / Raw(MARK * 4),
        "spanning tree": ether(src=own.mac, dst="01:80:c2:00:00:00", type=0x0026) / Raw(b"\x42\x42\x03" + MARK * 3),
        "an ARP answer about another": ether(src=own.mac, dst="ff:ff:ff:ff:ff:ff", type=0x0806)
        / Raw(bytes.fromhex("0001080006040002") + bytes.fromhex(own.mac.replace(":", "")) + socket.inet_aton(other.ip) + b"\0" * 10 + MARK),
        "an ARP question of another": ether(src=own.mac, dst="ff:ff:ff:ff:ff:ff", type=0x0806)
        / Raw(
            bytes.fromhex("0001080006040001") + b"\xff" * 6 + socket.inet_aton(other.ip) + b"\0" * 6 + socket.inet_aton(server.ip) + MARK
        ),
        "no address that anybody has": out / ip(src=own.ip, dst="10.99.99.99") / udp / MARK,
        "the subnet's first address": out / ip(src=own.ip, dst=own.gateway) / udp / MARK,
        "127.0.0.1 as target": out / ip(src=own.ip, dst="127.0.0.1") / TCP(dport=6653) / MARK,
        "a header that is too long": out / ip(src=own.ip, ihl=15, **to) / Raw(MARK),
        "a length that is too long": ether(src=own.mac, dst=FABRIC_MAC, type=0x0800) / Raw(b"\x45\0\xff\xff" + MARK),
    }
    frames = {name: bytes(packet) for name, packet in packets.items()}
    return {name: (frame.replace(MARK, mark(number)), mark(number)) for number, (name, frame) in enumerate(frames.items())}


@pytest.mark.parametrize("sender", ["vm1", "vm2"])
def test_what_a_vm_must_not_send_arrives_nowhere(lab: LabClient, sender: str) -> None:
    receiver = "vm2" if sender == "vm1" else "vm1"
    reach(lab, "vm1", "nva1")
    arrived: dict[str, list[str]] = {}
    with sniffers(lab, sender) as posts:
        for name, (frame, sign) in evil(lab, sender).items():
            assert sign in frame
            send(lab, sender, [frame] * 3)
            reach(lab, "vm1", "nva1")
            where = [label for label, raw in posts.items() if caught(raw, sign)]
            if where:
                arrived[name] = where
    assert arrived == {}, receiver


def test_a_flood_of_arp_is_answered_to_its_sender_alone(lab: LabClient) -> None:
    own = nic_of(lab, "vm1")
    ask = bytes.fromhex("ffffffffffff" + own.mac.replace(":", "") + "08060001080006040001" + own.mac.replace(":", ""))
    frames = [ask + socket.inet_aton(own.ip) + b"\0" * 6 + struct.pack("!I", 0x0A000000 + number) + MARK for number in range(5000)]
    vswitchd = next(each for each in lab.status()["processes"] if each["name"] == "ovs-vswitchd")["pid"]
    before = resident(vswitchd)
    with sniffers(lab, "vm1") as posts:
        send(lab, "vm1", frames)
        reach(lab, "vm1", "nva1")
        heard = {label: len([each for each in caught(raw) if each[12:14] == b"\x08\x06"]) for label, raw in posts.items()}
    assert set(heard.values()) == {0}
    assert resident(vswitchd) - before < 200
    wait_until(lambda: ready(lab), what="the controller", budget=5.0)


def resident(pid: int) -> int:
    """MB of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 // 2**20


def test_a_frame_for_the_switchs_own_port_reaches_no_socket_of_the_fabric(lab: LabClient) -> None:
    """The fabric's end of a VM's cable is a device of a namespace in which the controller listens on 127.0.0.1."""
    own = nic_of(lab, "vm1")
    with netns.inside(lab.plan.fabric):
        target = mac_of(own.id)
        listener = socket.create_server(("127.0.0.1", 0))
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("", 0))
    with closing(listener), closing(udp):
        listener.settimeout(0.3)
        udp.settimeout(0.3)
        frames = [
            bytes(Ether(src=own.mac, dst=target) / IP(src=source, dst=address) / packet)
            for source in (own.ip, "127.0.0.2")
            for address in ("127.0.0.1", own.ip, "255.255.255.255", own.gateway)
            for packet in (
                TCP(sport=4000, dport=listener.getsockname()[1], flags="S"),
                UDP(sport=4000, dport=udp.getsockname()[1]) / MARK,
            )
        ]
        send(lab, "vm1", frames)
        reach(lab, "vm1", "nva1")
        with pytest.raises(TimeoutError):
            udp.recv(100)
        with pytest.raises(TimeoutError):
            listener.accept()


def mac_of(device: str) -> str:
    """The MAC of a device in the current namespace."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        return fcntl.ioctl(probe, SIOCGIFHWADDR, struct.pack("256s", device.encode()))[18:24].hex(":")


def test_one_labs_vms_do_not_reach_anothers(lab: LabClient, small_plan: Callable[[str], Plan], down: Callable[[str], float]) -> None:
    second = client.up(small_plan(f"{lab.lab}-b"), lambda stage, seconds: None)
    with sniffers(second, "") as posts:
        reach(lab, "vm1", "nva1")
        assert [label for label, raw in posts.items() if caught(raw)] == []
        reach(second, "vm1", "nva1")
        assert caught(posts["nva1"]), "the other lab's own frames are seen"
    down(second.lab)
