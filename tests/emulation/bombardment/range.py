"""Where Route Server is shot at: one instance with the plan's own configuration, one honest NVA, and a hundred peers that are not."""

from __future__ import annotations

import os
import shutil
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen, run

from testbed.azure.types import Speaker
from testbed.controller.bmp import BmpError, Decoder
from testbed.emulation import fabric, netns
from testbed.emulation.daemons import filled
from testbed.emulation.paths import LabPaths
from testbed.emulation.processes import last_lines
from testbed.model.loader import parse_topology
from testbed.netns import run_in
from testbed.plan.compile import compile_plan
from testbed.plan.templates import load_templates
from testbed.plan.types import Plan
from testbed.vty import show
from testbed.wait import wait_until

from . import messages

SERVER, HONEST, ASN = "10.1.1.4", "10.1.0.4", 65001
FIRST = 10
ATTACKERS = 100
STRANGER = "10.1.0.250"
_PAUSE = 0.01


def topology(attackers: int = ATTACKERS) -> str:
    """A hub with a Route Server, an honest NVA, and so many others as its peers."""
    nvas = "".join(f"  bad{number}: {{subnet: hub1/nva, ip: {address(number)}, asn: {asn(number)}}}\n" for number in range(attackers))
    peers = ", ".join(["nva1", *(f"bad{number}" for number in range(attackers))])
    return (
        "name: bombarded\n"
        "regions: {r: {vnets: {hub1: {address_space: [10.1.0.0/16], subnets: {nva: 10.1.0.0/24, RouteServerSubnet: 10.1.1.0/26}}}}}\n"
        f"route_servers: {{rs1: {{vnet: hub1, peers: [{peers}]}}}}\n"
        "limits: {peers: 250, routes_total: 1000000}\n"
        f"nvas:\n  nva1: {{subnet: hub1/nva, ip: {HONEST}, asn: {ASN}, advertise: [198.51.100.0/24]}}\n{nvas}"
    )


def address(number: int) -> str:
    """The address of an attacker."""
    return f"10.1.0.{FIRST + number}"


def asn(number: int) -> int:
    """Its ASN, which the Route Server expects."""
    return 64600 + number


@dataclass
class Range:
    """What runs: ask it how the victims are, and for connections to them."""

    plan: Plan
    paths: LabPaths
    server: str
    outside: str
    bgpd: Popen[bytes]
    honest: Popen[bytes]
    bmp: list[str] = field(default_factory=list)

    @property
    def vty(self) -> Path:
        """The command socket of the Route Server instance."""
        return self.paths.node(self.plan.node("rs1-0")) / "bgpd.vty"

    def last_words(self) -> str:
        """How the Route Server's bgpd ended, and what it wrote at last."""
        folder = self.vty.parent
        return "\n".join([f"bgpd: {self.bgpd.poll()}", last_lines(folder / "out", 40), last_lines(folder / "bgpd.log", 40)])

    def session(self, peer: str = HONEST) -> tuple[str, int, int]:
        """State of a session as the Route Server sees it, when it was established (a time stamp), and how often it was dropped."""
        found = show(self.vty, f"show bgp neighbors {peer} json")[peer]
        return found["bgpState"], found.get("bgpTimerUpEstablishedEpoch", 0), found["connectionsDropped"]

    def memory(self) -> int:
        """MB of the Route Server's bgpd."""
        lines = Path(f"/proc/{self.bgpd.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmRSS"))

    def files(self) -> int:
        """Open files of the Route Server's bgpd."""
        return len(list(Path(f"/proc/{self.bgpd.pid}/fd").iterdir()))

    def connect(self, source: str, timeout: float = 3.0) -> socket.socket:
        """A TCP connection to port 179 of the Route Server from that address. Raises OSError."""

        def dial() -> socket.socket:
            connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            try:
                connection.settimeout(timeout)
                connection.bind((source, 0))
                connection.connect((SERVER, 179))
            except OSError:
                connection.close()
                raise
            return connection

        return run_in(self.outside, dial)


@contextmanager
def shooting_range(attackers: int = ATTACKERS) -> Iterator[Range]:
    """Build it, wait until the honest session is up, and remove it all. Needs root."""
    plan = compile_plan(parse_topology(topology(attackers)).topology, templates=load_templates())
    folder = Path(tempfile.mkdtemp(prefix="tb", dir="/run"))
    folder.chmod(0o755)
    names = (f"tbz{os.getpid()}a", f"tbz{os.getpid()}b")
    started: list[Popen[bytes]] = []
    try:
        with netns.names_reserved(names):
            netns.create(names, lambda name: None)
        _wire(names, attackers)
        paths = LabPaths(folder / "bombarded")
        nodes = [plan.node("rs1-0"), plan.node("nva1")]
        for node in nodes:
            paths.node(node).mkdir(parents=True)
        fabric.write_files(plan, paths, nodes)
        listener = _listen(names[0])
        for name, node in zip(names, nodes, strict=True):
            started.append(_start(name, plan, paths, node.name))
        found = Range(plan, paths, *names, *started)
        threading.Thread(target=_station, args=(listener, plan, found.bmp), daemon=True).start()
        wait_until(lambda: _established(found), what="the honest session", budget=20.0)
        yield found
        listener.close()
    finally:
        for process in started:
            process.kill()
            process.wait()
        for name in names:
            netns.remove(name)
        shutil.rmtree(folder)


def _wire(names: tuple[str, str], attackers: int) -> None:
    inside, outside = names
    lines = [f"link add v0 netns {inside} type veth peer name v0 netns {outside}"]
    run(["ip", "-batch", "-"], input="\n".join(lines) + "\n", text=True, check=True)
    run(["ip", "-n", inside, "-batch", "-"], input=f"address add {SERVER}/16 dev v0\nlink set v0 up\n", text=True, check=True)
    addresses = [HONEST, STRANGER, *(address(number) for number in range(attackers))]
    lines = [*(f"address add {each}/16 dev v0" for each in addresses), "link set v0 up"]
    run(["ip", "-n", outside, "-batch", "-"], input="\n".join(lines) + "\n", text=True, check=True)


def _start(namespace: str, plan: Plan, paths: LabPaths, node: str) -> Popen[bytes]:
    """The node's bgpd with its own configuration; without zebra, for there is nothing to route."""
    folder = paths.node(plan.node(node))
    argv = [filled(word, folder) for word in next(each for each in plan.node("rs1-0").daemons if each.name == "bgpd").argv]
    with netns.inside(namespace), (folder / "out").open("ab") as output:
        return Popen(argv, stdout=output, stderr=output, cwd=folder, start_new_session=True)


def _established(found: Range) -> str | None:
    try:
        state = found.session()[0]
    except (OSError, KeyError, ValueError) as error:
        return str(error)
    return None if state == "Established" else state


def _listen(namespace: str) -> socket.socket:
    return run_in(namespace, lambda: socket.create_server(("127.0.0.1", 1790)))


def _station(listener: socket.socket, plan: Plan, problems: list[str]) -> None:
    """The controller's decoder on all that the bombarded bgpd reports: what it cannot read is a problem."""
    peers = {nic.ip: node.name for node in plan.nodes for nic in node.nics}
    with suppress(OSError):
        while True:
            connection, _ = listener.accept()
            decoder = Decoder(Speaker("rs1", 0, "route_server", SERVER, 65515), peers)
            with connection:
                try:
                    while data := connection.recv(1 << 18):
                        decoder.feed(data)
                except BmpError as error:
                    problems.append(str(error))


class Attacker:
    """A configured peer that behaves until it is told not to."""

    def __init__(self, where: Range, number: int) -> None:
        self.where = where
        self.number = number
        self.address, self.asn = address(number), asn(number)
        self.connection: socket.socket | None = None
        self._buffer = b""

    def establish(self, budget: float = 30.0) -> None:
        """Connect and exchange OPEN and KEEPALIVE. After an error bgpd refuses a peer for a second or more."""

        def check() -> str | None:
            try:
                self.dial()
                self.say(messages.open_message(self.asn, self.address))
                self.say(messages.keepalive())
                heard = self.hear(until=messages.KEEPALIVE)
            except OSError as error:
                heard = [str(error)]
            if "KEEPALIVE" in heard:
                return None
            self.hang_up()
            return f"{self.address}: {heard}"

        wait_until(check, what="a session", budget=budget, interval=0.1)

    def dial(self) -> None:
        """A new connection, and nothing said yet."""
        self.hang_up()
        self.connection = self.where.connect(self.address)
        self._buffer = b""

    def say(self, data: bytes) -> None:
        """Send bytes. Raises OSError when nobody listens any more."""
        assert self.connection is not None
        self.connection.sendall(data)

    def hear(self, until: int = 0, timeout: float = 3.0) -> list[str]:
        """What is answered, until a message of type ``until``, a NOTIFICATION, silence for ``timeout`` seconds, or the end (``closed``)."""
        assert self.connection is not None
        heard: list[str] = []
        end = time.monotonic() + timeout
        while True:
            for kind, body in self._messages():
                heard.append(f"{body[0]}/{body[1]}" if kind == messages.NOTIFICATION else _NAMES.get(kind, str(kind)))
                if kind in (until, messages.NOTIFICATION):
                    return heard
            remaining = end - time.monotonic()
            if remaining <= 0:
                return [*heard, "silence"]
            self.connection.settimeout(max(remaining, 0.001))
            try:
                chunk = self.connection.recv(65536)
            except TimeoutError:
                continue
            except OSError:
                chunk = b""
            if not chunk:
                return [*heard, "closed"]
            self._buffer += chunk

    def _messages(self) -> Iterator[tuple[int, bytes]]:
        while len(self._buffer) >= 19:
            length, kind = struct.unpack("!HB", self._buffer[16:19])
            if len(self._buffer) < length:
                return
            body, self._buffer = self._buffer[19:length], self._buffer[length:]
            yield kind, body

    def hang_up(self) -> None:
        """End the connection, if there is one."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None


_NAMES = {messages.OPEN: "OPEN", messages.UPDATE: "UPDATE", messages.KEEPALIVE: "KEEPALIVE", messages.REFRESH: "REFRESH"}
