"""Nobody gets in, and nothing gets out: sockets, listeners, OpenFlow, and whatever frames a VM may send."""

from __future__ import annotations

import itertools
import os
import socket
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest
from frames import nic_of, reach, ready

from testbed.emulation import client, netns, processes
from testbed.emulation.client import LabClient
from testbed.plan.types import Plan
from testbed.wait import wait_until

pytestmark = pytest.mark.root

NOBODY = 65534
LOOPBACK = ("127.", "::1", "::ffff:127.")


@pytest.fixture
def lab(small_plan: Callable[[str], Plan], lab_name: str, down: Callable[[str], float]) -> Iterator[LabClient]:
    yield client.up(small_plan(lab_name), lambda stage, seconds: None)
    down(lab_name)


# --- sockets ---


def may_connect(path: Path, user: int) -> bool:
    """Whether a process of that user, in no group, can connect to a unix socket."""
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(user)
            os.setuid(user)
            with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as stream:
                stream.connect(str(path))
            os._exit(0)
        except OSError:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_control_sockets_are_roots_alone(lab: LabClient) -> None:
    for path in (lab.paths.labd_socket, lab.paths.controller_socket):
        found = path.stat()
        assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (0, 0o600)
    sockets = [path for path in lab.paths.dir.rglob("*") if path.is_socket()]
    assert {"labd.sock", "controller.sock", "db.sock", "bgpd.vty", "zebra.vty"} <= {path.name for path in sockets}
    assert [str(path) for path in sockets if may_connect(path, NOBODY)] == []
    assert may_connect(lab.paths.labd_socket, 0), "or the check would prove nothing"


def test_files_of_a_lab_are_not_for_others(lab: LabClient) -> None:
    readable = [path for path in lab.paths.dir.rglob("*") if path.is_file() and path.stat().st_mode & stat.S_IWOTH]
    assert readable == []
    assert stat.S_IMODE(lab.paths.plan.stat().st_mode) == 0o600


# --- listeners ---


def listeners(pid: int | str = "self") -> list[tuple[str, str, int, str]]:
    """(protocol, address, port, inode) of all that listens in the network namespace of a process."""
    found = []
    for protocol in ("tcp", "tcp6", "udp", "udp6", "raw", "raw6", "sctp/eps"):
        file = Path(f"/proc/{pid}/net/{protocol}")
        for line in file.read_text().splitlines()[1:] if file.exists() else ():
            fields = line.split()
            if protocol.startswith("tcp") and fields[3] != "0A":
                continue
            address, _, port = fields[1].partition(":")
            found.append((protocol, _readable(address), int(port, 16), fields[9]))
    return found


def _readable(address: str) -> str:
    words = [bytes.fromhex(address[place : place + 8])[::-1] for place in range(0, len(address), 8)]
    return socket.inet_ntop(socket.AF_INET if len(words) == 1 else socket.AF_INET6, b"".join(words))


def sockets_of(pid: int) -> set[str]:
    """The inodes of a process's sockets."""
    inodes = set()
    with suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                target = str(entry.readlink())
                if target.startswith("socket:["):
                    inodes.add(target[8:-1])
    return inodes


def nobodys(before: list[tuple[str, str, int, str]]) -> list[tuple[str, str, int, str]]:
    """What listens on the machine beyond loopback, has not before, and is no process's."""
    fresh = [each for each in listeners() if each not in before and not each[1].startswith(LOOPBACK)]
    owned = set().union(*(sockets_of(int(entry.name)) for entry in Path("/proc").iterdir() if entry.name.isdigit())) if fresh else set()
    return [each for each in fresh if each[3] not in owned]


def test_nothing_of_a_lab_listens_on_the_machine(small_plan: Callable[[str], Plan], lab_name: str, down: Callable[[str], float]) -> None:
    before = listeners()
    lab = client.up(small_plan(lab_name), lambda stage, seconds: None)
    tagged = {who.pid for who in processes.tagged(lab.paths)} | {lab.status()["labd"]}
    assert len(tagged) >= 8
    own = set().union(*map(sockets_of, tagged))
    assert [each for each in listeners() if each[3] in own] == [], "the lab's processes hold no listening socket of the machine's network"
    wait_until(lambda: str(found) if (found := nobodys(before)) else None, what="no new socket of the kernel's own (a VXLAN)", budget=5.0)
    fabric = lab.plan.fabric
    with netns.inside(fabric):
        inside = listeners("thread-self")
    assert inside, "the controller listens"
    assert [each for each in inside if not each[1].startswith(LOOPBACK)] == []
    for node in lab.plan.nodes:
        with netns.inside(node.id):
            there = {(each[0], each[2]) for each in listeners("thread-self") if not each[1].startswith(LOOPBACK)}
        speaks = {daemon.name for daemon in node.daemons}
        allowed = (
            {("tcp", 179), ("tcp6", 179), ("raw6", 58), ("udp", 3784), ("udp", 4784), ("udp", 3785), ("udp", 4789)}
            if "bgpd" in speaks
            else set()
        )
        assert there <= allowed, node.name
    down(lab_name)


# --- OpenFlow ---


HELLO = struct.pack("!BBHI", 4, 0, 8, 1)
FEATURES_REQUEST, MULTIPART_REQUEST, PORTS = 5, 18, 13


def features(dpid: int) -> bytes:
    """Who we are."""
    return struct.pack("!BBHIQIBBHII", 4, 6, 32, 2, dpid, 0, 254, 0, 0, 0x4F, 0)


def introduce(stream: socket.socket, dpid: int) -> None:
    """Play a switch without ports until the controller knows who we are, or hangs up."""
    with suppress(OSError):
        while len(head := stream.recv(8, socket.MSG_WAITALL)) == 8:
            _, kind, length, xid = struct.unpack("!BBHI", head)
            body = stream.recv(length - 8, socket.MSG_WAITALL) if length > 8 else b""
            if kind == FEATURES_REQUEST:
                stream.sendall(features(dpid))
            if kind == MULTIPART_REQUEST:
                stream.sendall(struct.pack("!BBHI", 4, 19, 16, xid) + body[:2] + b"\0" * 6)


def dial(lab: LabClient, data: bytes) -> socket.socket:
    def connect() -> socket.socket:
        stream = socket.create_connection(("127.0.0.1", 6653), timeout=15.0)
        stream.sendall(data)
        return stream

    with netns.inside(lab.plan.fabric):
        return connect()


def hung_up(stream: socket.socket) -> str | None:
    try:
        stream.settimeout(0.2)
        return None if not stream.recv(65536) else "it still speaks"
    except TimeoutError:
        return "it is still connected"
    except OSError:
        return None


def test_a_switch_that_is_not_the_labs_is_refused(lab: LabClient) -> None:
    flows = lab.controller("GET", "/status")["flows"]
    with closing(dial(lab, HELLO)) as stranger:
        stranger.settimeout(15.0)
        introduce(stranger, 0xDEAD)
        assert hung_up(stranger) is None
    status = lab.controller("GET", "/status")
    assert (status["ready"], status["flows"], status["errors"]) == (True, flows, 0)
    assert len(status["switches"]) == len(lab.plan.bridges)


def test_openflow_that_is_none_harms_nobody(lab: LabClient) -> None:
    junk = [
        b"GET / HTTP/1.1\r\n\r\n",
        os.urandom(4000),
        b"\x04\x00\xff\xff" + b"\0" * 65531,
        b"\x04\x00\x00\x00\x00\x00\x00\x00" * 100,
        b"\x04\x00\x00\x07\x00\x00\x00\x00",
        b"\x01\x00\x00\x08\x00\x00\x00\x01",
        b"\xff\x00\x00\x08\x00\x00\x00\x01",
        (HELLO + features(0xBEEF))[:20],
        HELLO + features(0xBEEF) + struct.pack("!BBHI", 4, 10, 8, 3) * 50,
        HELLO + struct.pack("!BBHIHHII", 4, 19, 24, 9, 13, 0, 0, 0),
        HELLO + struct.pack("!BBHI", 4, 21, 8, 9) * 100,
    ]
    with ExitStack() as stack:
        for data in [*junk * 3, *([b""] * 60)]:
            with suppress(OSError):
                stack.enter_context(closing(dial(lab, data)))
        wait_until(lambda: ready(lab), what="the controller", budget=5.0)
        reach(lab, "vm1", "nva1")
    wait_until(lambda: ready(lab), what="the controller", budget=5.0)
    assert [death for death in lab.status()["deaths"] if death["daemon"] == "controller"] == []


# --- where a VM can get to ---


def opens(namespace: str, address: str, port: int) -> bool:
    """Whether a TCP connection can be opened from there."""
    with netns.inside(namespace), closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as stream:
        stream.settimeout(0.3)
        return stream.connect_ex((address, port)) == 0


def machine_addresses() -> list[str]:
    """The addresses of the machine's own interfaces, by its routing table of local addresses."""
    lines = Path("/proc/net/fib_trie").read_text().splitlines()
    return sorted({before.split()[-1] for before, line in itertools.pairwise(lines) if "host LOCAL" in line})


def test_a_vm_reaches_neither_the_controller_nor_the_host(lab: LabClient) -> None:
    with closing(socket.create_server(("", 0))) as host:
        port = host.getsockname()[1]
        assert socket.create_connection(("127.0.0.1", port), 1.0).close() is None, "or nothing would listen"
        vm1, nva1 = (lab.plan.node(name).id for name in ("vm1", "nva1"))
        targets = [(address, port) for address in machine_addresses()]
        targets += [(address, number) for address in ("127.0.0.1", nic_of(lab, "vm1").gateway, "10.1.1.1") for number in (6653, 1790, port)]
        targets += [(address, number) for _, address, number, _ in listeners() if ":" not in address and address != "0.0.0.0"]
        targets += [("10.1.1.4", 1790), ("10.1.1.4", 22), ("168.63.129.16", 80), ("169.254.169.254", 80)]
        assert [target for target in targets if opens(vm1, *target)] == []
        reached = [(address, number) for address, number in targets if number in (6653, port) and opens(nva1, address, number)]
        assert reached == []


def test_namespaces_do_not_take_over_what_the_machine_lets_through(lab: LabClient) -> None:
    for node in [*(each.id for each in lab.plan.nodes), lab.plan.fabric]:
        forwards = "1" if node in {each.id for each in lab.plan.nodes if each.kind == "nva"} else "0"
        with netns.inside(node):
            for setting in ("all", "default", "lo"):
                assert Path(f"/proc/sys/net/ipv4/conf/{setting}/route_localnet").read_text().strip() == "0"
            assert Path("/proc/sys/net/ipv4/ip_forward").read_text().strip() == forwards, node
