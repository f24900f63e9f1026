"""The probes against three real namespaces: a, a router r, and b; and against a loop made on purpose."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from testbed.measure.reachability import Endpoint, probe_pairs
from testbed.measure.recorder import Recorder
from testbed.measure.tracing import trace

pytestmark = pytest.mark.root

A, B = Endpoint("a", "tbprobe-a", "10.0.1.2"), Endpoint("b", "tbprobe-b", "10.0.2.2")
R = Endpoint("r", "tbprobe-r", "10.0.1.1")
LOST = Endpoint("lost", "tbprobe-lost", "10.9.0.1")
SPACES = {"a": "tbprobe-a", "r": "tbprobe-r", "b": "tbprobe-b", "lost": "tbprobe-lost"}


def run(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True, text=True)


@pytest.fixture
def line() -> Iterator[None]:
    """a -- r -- b, every address reachable."""
    for name in SPACES.values():
        run("ip", "netns", "add", name)
    try:
        for side, number in (("a", 1), ("b", 2)):
            run("ip", "-n", SPACES[side], "link", "add", "eth0", "type", "veth", "peer", "name", f"to-{side}", "netns", SPACES["r"])
            run("ip", "-n", SPACES[side], "addr", "add", f"10.0.{number}.2/24", "dev", "eth0")
            run("ip", "-n", SPACES["r"], "addr", "add", f"10.0.{number}.1/24", "dev", f"to-{side}")
            run("ip", "-n", SPACES[side], "link", "set", "eth0", "up")
            run("ip", "-n", SPACES["r"], "link", "set", f"to-{side}", "up")
            run("ip", "-n", SPACES[side], "route", "add", "default", "via", f"10.0.{number}.1")
        run("ip", "netns", "exec", SPACES["r"], "sysctl", "-qw", "net.ipv4.ip_forward=1")
        yield
    finally:
        for name in SPACES.values():
            run("ip", "netns", "del", name)


@pytest.fixture
def loop(line: None) -> None:
    """What b sends to 10.9.0.0/16 goes from r to a, which sends it back to r, and so on; the address itself is nowhere near."""
    run("ip", "netns", "exec", SPACES["a"], "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.icmp_ratelimit=0")
    run("ip", "netns", "exec", SPACES["r"], "sysctl", "-qw", "net.ipv4.icmp_ratelimit=0")
    run("ip", "-n", SPACES["r"], "route", "add", "10.9.0.0/16", "via", "10.0.1.2")
    run("ip", "-n", SPACES["lost"], "addr", "add", "10.9.0.1/32", "dev", "lo")


def test_a_delivered_pair_reports_how_often_the_ttl_was_decremented(line: None) -> None:
    found = probe_pairs({"a": A, "b": B, "r": R}, [("a", "b"), ("b", "a"), ("a", "r")], timeout=2)
    assert {(d.source, d.target): (d.result, d.ttl_down) for d in found} == {
        ("a", "b"): ("delivered", 1),
        ("b", "a"): ("delivered", 1),
        ("a", "r"): ("delivered", 0),
    }


def test_a_pair_without_a_way_is_dropped(line: None) -> None:
    run("ip", "-n", SPACES["r"], "route", "add", "blackhole", "10.0.2.2/32")
    (found,) = probe_pairs({"a": A, "b": B}, [("a", "b")], timeout=0.3)
    assert (found.result, found.ttl_down) == ("dropped", None)


def test_a_refusal_of_one_probe_does_not_cost_the_next(line: None) -> None:
    run("ip", "netns", "exec", SPACES["r"], "sysctl", "-qw", "net.ipv4.icmp_ratelimit=0")  # r knows no way to lost, and says so at once
    run("ip", "-n", SPACES["lost"], "addr", "add", "10.9.0.1/32", "dev", "lo")
    pairs = (("a", "lost"), ("a", "b"), ("a", "r"))
    found = probe_pairs({"a": A, "b": B, "r": R, "lost": LOST}, pairs, timeout=1.0)
    assert [each.result for each in found] == ["dropped", "delivered", "delivered"]


def test_a_loop_is_named_by_the_router_where_the_ttl_ran_out(loop: None) -> None:
    (found,) = probe_pairs({"b": B, "lost": LOST}, [("b", "lost")], timeout=2)
    assert found.result == "loop"
    assert found.loop_at in ("10.0.2.1", "10.0.1.1", "10.0.1.2")


def test_a_trace_names_the_nodes_in_order(line: None) -> None:
    journey = trace(A, B, SPACES)
    assert (journey.result, journey.nodes, journey.ttl_down) == ("delivered", ("a", "r", "b"), 1)


def test_a_trace_finds_the_cycle(loop: None) -> None:
    journey = trace(B, LOST, SPACES)
    assert journey.result == "loop"
    assert set(journey.cycle) == {"a", "r"}
    assert journey.nodes.count("r") == 32  # it enters with TTL 64, and both decrement it


def test_the_recorder_keeps_only_what_holds_the_needle(line: None) -> None:
    with Recorder({"r": (SPACES["r"], "to-b")}, needle=b"testbed1") as recorder:
        probe_pairs({"a": A, "b": B}, [("a", "b")], timeout=2)
    assert [(frame.node, frame.device, frame.outgoing) for frame in recorder.frames] == [("r", "to-b", True)]
    assert recorder.dropped == 0
