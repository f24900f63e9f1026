"""How exactly the delay line delays (`testbed benchmark delay`), between two namespaces of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from testbed.measure.latency import Latency, latency
from testbed.measure.streams import Flow, Place, Streams, hardware_address
from testbed.wait import wait_until

LEFT, MIDDLE, RIGHT = "tbdelay-a", "tbdelay-m", "tbdelay-b"
DELAY = 0.04


def run(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True)


@contextmanager
def line() -> Iterator[None]:
    """Two namespaces, 40 ms apart."""
    try:
        for space in (LEFT, MIDDLE, RIGHT):
            run("ip", "netns", "add", space)
            run("ip", "netns", "exec", space, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")
        for space, device, host in ((LEFT, "left", 1), (RIGHT, "right", 2)):
            run("ip", "-n", MIDDLE, "link", "add", device, "up", "type", "veth", "peer", "name", "eth0", "netns", space)
            run("ip", "-n", space, "addr", "add", f"10.0.0.{host}/24", "dev", "eth0")
            run("ip", "-n", space, "link", "set", "eth0", "up")
        argv = ("ip", "netns", "exec", MIDDLE, sys.executable, "-P", "-m", "testbed.emulation.delay_line")
        with subprocess.Popen((*argv, "left", "right", str(DELAY), "0", "0", "0")) as process:
            try:
                wait_until(_listening, what="the delay line", budget=10)
                yield
            finally:
                process.kill()
    finally:
        for space in (LEFT, MIDDLE, RIGHT):
            subprocess.run(("ip", "netns", "del", space), check=False, capture_output=True)


def _listening() -> str | None:
    sockets = subprocess.run(("ip", "netns", "exec", MIDDLE, "cat", "/proc/net/packet"), check=True, capture_output=True, text=True).stdout
    return None if len(sockets.splitlines()) == 3 else "it does not listen yet"


def stream(rate: float, seconds: float) -> tuple[Latency, int]:
    """The delays of a stream's packets, and how many were lost."""
    macs = hardware_address(LEFT, "eth0"), hardware_address(RIGHT, "eth0")
    flow = Flow(1, "a", "b", LEFT, "eth0", *macs, "10.0.0.1", "10.0.0.2", source_port=40000)
    with Streams([flow], [Place("b", RIGHT, "eth0")], rate=rate, count=round(rate * seconds), grace=0.5) as streams:
        pass
    found = latency(streams.result.at("b", 1))
    assert found is not None
    return found, streams.result.outage(flow).lost


def measure() -> list[dict[str, str]]:
    """The figures."""
    found = []
    with line():
        for rate in (1_000.0, 10_000.0, 30_000.0):
            delays, lost = stream(rate, 5.0)
            errors = " · ".join(f"{1000 * (value - DELAY):+.2f} ms" for value in (delays.minimum, delays.median, delays.p99, delays.p999))
            what = f"delay line, {rate:,.0f} packets/s: error of 40 ms (least, median, 99 %, 99.9 %), lost"
            found.append({"what": what, "measured": f"{errors}, {lost}", "goal": "± 1 ms" if rate <= 10_000 else ""})
    return found
