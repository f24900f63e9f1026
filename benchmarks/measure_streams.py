"""How fast and how exactly streams are sent and received (`testbed benchmark`), in namespaces of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from testbed.measure.streams import Flow, Place, StreamResult, Streams, hardware_address

LEFT, RIGHT = "tbbench-a", "tbbench-b"


def run(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True)


@contextmanager
def pair() -> Iterator[None]:
    run("ip", "netns", "add", LEFT)
    try:
        run("ip", "netns", "add", RIGHT)
        run("ip", "-n", LEFT, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", RIGHT)
        for space, host in ((LEFT, 1), (RIGHT, 2)):
            run("ip", "-n", space, "addr", "add", f"10.0.0.{host}/24", "dev", "eth0")
            run("ip", "-n", space, "link", "set", "eth0", "up")
        yield
    finally:
        for space in (LEFT, RIGHT):
            subprocess.run(("ip", "netns", "del", space), check=False, capture_output=True)


def stream(rate: float, seconds: float, flows: int = 1) -> StreamResult:
    macs = hardware_address(LEFT, "eth0"), hardware_address(RIGHT, "eth0")
    all_flows = [Flow(number, "a", "b", LEFT, "eth0", *macs, "10.0.0.1", "10.0.0.2", source_port=40000 + number) for number in range(flows)]
    with Streams(all_flows, [Place("b", RIGHT, "eth0")], rate=rate, count=round(rate * seconds)) as streams:
        pass
    return streams.result


def rows() -> list[tuple[str, str, str]]:
    """(what, measured, goal)."""
    fastest = stream(1_000_000, 1.0)
    lost = fastest.outage(fastest.flows[0]).lost
    exact = stream(1000, 5.0).pacing
    many = stream(1000, 3.0, flows=20)
    return [
        ("packets/s from one core, 64 bytes, with sequence and time", f"{fastest.pacing.achieved:,.0f}", "≥ 200,000"),
        ("... of these not received", f"{lost} of {len(fastest.sent[0]):,}", ""),
        ("pacing error at 1,000 packets/s", f"{exact.rate_error:.5%}", "≤ 0.1 %"),
        ("... lateness of a packet: median, 99 %, worst", _lateness(exact.median, exact.p99, exact.latest), ""),
        ("... CPU of the sender", f"{exact.processor / 5:.0%} of a core", ""),
        ("20 flows of 1,000 packets/s: pacing error", f"{many.pacing.rate_error:.5%}", "≤ 0.1 %"),
        ("... lateness of a packet: median, 99 %, worst", _lateness(many.pacing.median, many.pacing.p99, many.pacing.latest), ""),
        ("... CPU of the sender", f"{many.pacing.processor / 3:.0%} of a core", ""),
    ]


def _lateness(*seconds: float) -> str:
    return " · ".join(f"{value * 1e3:.3f} ms" for value in seconds)


def measure() -> list[dict[str, str]]:
    """The rows as `testbed benchmark` takes them."""
    with pair():
        return [dict(zip(("what", "measured", "goal"), row, strict=True)) for row in rows()]
