"""Feeds readers with what atheris makes up, guided by the code it reaches: ``python fuzz.py topology|scenario|captured|bmp|call``."""

from __future__ import annotations

import contextlib
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import atheris

with atheris.instrument_imports(include=["testbed", "yaml", "http.server", "json", "os_ken.lib.packet"]):
    from testbed.azure.captured import compare_effective, compare_learned
    from testbed.azure.control_plane import converge
    from testbed.azure.types import Speaker
    from testbed.controller.bmp import BmpError, Decoder
    from testbed.errors import InputError
    from testbed.model.loader import load_topology, parse_topology
    from testbed.model.scenario_file import load_scenario
    from testbed.plan.compile import compile_plan
    from testbed.plan.templates import load_templates
    from testbed.rpc import _Request

ROOT = Path(__file__).parents[2]
DESIGN = ROOT / "topologies" / "dual-region.yaml"
WORDS = (
    "name", "regions", "vnets", "address_space", "subnets", "peerings", "from", "to", "route_servers", "vnet", "peers", "nvas", "subnet",
    "asn", "ip", "vms", "tunnels", "type", "vxlan", "between", "10.0.0.0/8", "10.1.0.4", "RouteServerSubnet", "hub1", "nva1", "value",
    "addressPrefix", "nextHopIpAddress", "nextHopType", "source", "state", "network", "asPath", "RouteServiceRole_IN_0", "steps", "stage",
    "Content-Length: 2", "GET /echo HTTP/1.1", "{}",
)  # fmt: skip


def topology() -> Callable[[bytes], None]:
    """A topology, and the plan of one that is right."""
    templates = load_templates()

    def once(data: bytes) -> None:
        with contextlib.suppress(InputError):
            compile_plan(parse_topology(data.decode(errors="replace")).topology, templates=templates)

    return once


def scenario() -> Callable[[bytes], None]:
    """A scenario for a topology that is right."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    (folder / "t.yaml").write_text(DESIGN.read_text())
    file = folder / "s.yaml"

    def once(data: bytes) -> None:
        file.write_bytes(b"name: x\ntopology: t.yaml\nsteps:\n" + data)
        with contextlib.suppress(InputError):
            load_scenario(file)

    return once


def captured() -> Callable[[bytes], None]:
    """What az printed."""
    plane = converge(load_topology(DESIGN).topology)

    def once(data: bytes) -> None:
        text = data.decode(errors="replace")
        for compare, names in ((compare_effective, ("vm11",)), (compare_learned, ("rs1", "nva1"))):
            with contextlib.suppress(InputError):
                compare(plane, *names, text, "x.json")

    return once


def bmp() -> Callable[[bytes], None]:
    """A stream of BMP."""
    speaker = Speaker("rs1", 0, "route_server", "10.1.1.4", 65515)

    def once(data: bytes) -> None:
        with contextlib.suppress(BmpError):
            Decoder(speaker, {"10.1.1.10": "nva1", "10.1.2.4": "er1-0"}).feed(data)

    return once


def call() -> Callable[[bytes], None]:
    """A request on the socket of labd or the controller: HTTP and JSON."""
    server = SimpleNamespace(routes={("POST", "/echo"): dict, ("GET", "/echo"): dict}, large_body=threading.Lock())

    def once(data: bytes) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs, contextlib.suppress(OSError):
            body = data[1:60000]  # after a byte that says whether it is a whole request or the body of one
            ours.sendall(b"POST /echo HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) * (data[:1] > b"\x7f") + body)
            ours.shutdown(socket.SHUT_WR)
            _Request(theirs, None, server)

    return once


TARGETS = {"topology": topology, "scenario": scenario, "captured": captured, "bmp": bmp, "call": call}


def seeds(name: str) -> Iterator[bytes]:
    """What is right, to be spoilt: the designs, the scenarios' steps, what Azure printed, what bgpd really sends over BMP."""
    if name == "topology":
        yield from (file.read_bytes() for file in (ROOT / "topologies").glob("*.yaml"))
    if name == "scenario":
        yield from (file.read_bytes().partition(b"\nsteps:\n")[2] for file in (ROOT / "scenarios").glob("*.yaml"))
    if name == "captured":
        yield from (file.read_bytes() for file in (ROOT / "tests" / "azure-cases").rglob("*.json"))
    if name == "bmp":
        stream = (ROOT / "tests" / "golden" / "frr-8.4.bmp").read_bytes()
        yield stream
        while stream:
            length = int.from_bytes(stream[1:5], "big")
            yield stream[:length]
            stream = stream[length:]


def main() -> None:
    """Fuzz the target that the first argument names."""
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(__doc__)
    name = sys.argv.pop(1)
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    for number, seed in enumerate(seeds(name)):
        (folder / str(number)).write_bytes(seed)
    words = folder.with_suffix(".dict")
    words.write_text("".join(f'"{word}"\n' for word in WORDS))
    atheris.Setup([*sys.argv, str(folder), f"-dict={words}"], TARGETS[name]())
    atheris.Fuzz()


if __name__ == "__main__":
    main()
