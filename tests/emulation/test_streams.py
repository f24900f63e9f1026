"""Proof that the instrument is right: known gaps, known loss, a known loop, a known rate, and a machine disturbed on purpose.

Three namespaces: a -- r -- b, where r forwards and does to the traffic what the test knows.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from testbed.errors import LabError
from testbed.measure.cpu import with_descendants
from testbed.measure.iperf import goodput
from testbed.measure.loops import amplification, episodes, find_loops, same_cycle
from testbed.measure.outage import first_arrival
from testbed.measure.recorder import Recorder
from testbed.measure.stamp import MAGIC
from testbed.measure.streams import Flow, Place, StreamResult, Streams, hardware_address
from testbed.measure.throughput import Trial, search, stream_trial
from testbed.netns import run_in
from testbed.wait import poll

pytestmark = pytest.mark.root

SPACES = {"a": "tbstream-a", "r": "tbstream-r", "b": "tbstream-b"}
SOURCE = "tbstream-s"
TRIES = 4


def run(*argv: str, given: str | None = None) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True, input=given).stdout


def link(one: str, device: str, other: str, far: str, number: int) -> None:
    """A veth between two namespaces, 10.0.<number>.1 and .2."""
    run("ip", "-n", SPACES[one], "link", "add", device, "type", "veth", "peer", "name", far, "netns", SPACES[other])
    for place, name, host in ((one, device, 2), (other, far, 1)):
        run("ip", "-n", SPACES[place], "addr", "add", f"10.0.{number}.{host}/24", "dev", name)
        run("ip", "-n", SPACES[place], "link", "set", name, "up")


def sysctl(place: str, *settings: str) -> None:
    run("ip", "netns", "exec", SPACES[place], "sysctl", "-qw", *settings)


def nft(place: str, *rules: str) -> None:
    chain = "\n".join(["table ip proof {", "chain forward {", "type filter hook forward priority 0;", *rules, "}", "}"])
    run("ip", "netns", "exec", SPACES[place], "nft", "-f", "-", given=chain + "\n")


@pytest.fixture
def line() -> Iterator[None]:
    for name in SPACES.values():
        run("ip", "netns", "add", name)
    try:
        for number, side in enumerate(("a", "b"), start=1):
            link(side, "eth0", "r", f"to-{side}", number)
            run("ip", "-n", SPACES[side], "route", "add", "default", "via", f"10.0.{number}.1")
        sysctl("r", "net.ipv4.ip_forward=1", "net.ipv4.icmp_ratelimit=0")
        yield
    finally:
        for name in SPACES.values():
            run("ip", "netns", "del", name)


def flow(number: int = 0, source: str = "a", target: str = "b", **changes: object) -> Flow:
    sides = {"a": 1, "b": 2}
    standard = Flow(
        number=number, source=source, target=target, namespace=SPACES[source], device="eth0",
        source_mac=hardware_address(SPACES[source], "eth0"), target_mac=hardware_address(SPACES["r"], f"to-{source}"),
        source_ip=f"10.0.{sides[source]}.2", target_ip=f"10.0.{sides[target]}.2", source_port=40000 + number,
    )  # fmt: skip
    return replace(standard, **changes)  # type: ignore[arg-type]


def place(label: str, device: str = "eth0") -> Place:
    return Place(label, SPACES[label], device)


def pause(seconds: float) -> None:
    poll(lambda: "not yet", budget=seconds, interval=min(seconds, 0.01))


def test_everything_arrives_in_order_in_both_directions_and_for_both_protocols(line: None) -> None:
    flows = [flow(0), flow(1, protocol="tcp", size=200), flow(2, "b", "a"), flow(3, "b", "a", protocol="tcp")]
    with Streams(flows, [place("a"), place("b"), place("r", "to-a")], rate=500, count=250) as streams:
        pass
    result = streams.result
    for one in flows:
        outage = result.outage(one)
        assert (outage.sent, outage.received, outage.lost, outage.duplicated, outage.strays) == (250, 250, 0, 0, 0)
        arrivals = result.at(one.target, one.number)
        assert np.array_equal(arrivals["sequence"], np.arange(250))
        assert set(arrivals["ttl"]) == {63}
        assert (arrivals["received"] >= arrivals["sent"]).all()
    assert set(result.arrivals["r"]["flow"]) == {0, 1}  # what leaves through the device again is not counted
    assert result.dropped == 0


def test_the_receiver_keeps_its_host_from_answering(line: None) -> None:
    with Recorder({"a": (SPACES["a"], "eth0")}) as recorder, Streams([flow(0), flow(1, protocol="tcp")], [place("b")], rate=200, count=40):
        pass
    assert [frame for frame in recorder.frames if not frame.outgoing and frame.data[12:14] == b"\x08\x00"] == []


def test_a_stream_without_count_lasts_as_long_as_its_block(line: None) -> None:
    with Streams([flow()], [place("b")], rate=1000) as streams:
        start = time.monotonic()
        pause(0.3)
        lasted = time.monotonic() - start
    assert streams.result.outage(flow()).lost == 0
    assert len(streams.result.sent[0]) == pytest.approx(lasted * 1000, rel=0.2, abs=60)


@pytest.mark.full
def test_one_core_sends_two_hundred_thousand_packets_a_second(line: None) -> None:
    fastest = 0.0
    for _ in range(TRIES):
        with Streams([flow()], [place("r", "to-a")], rate=1e6, count=200_000) as streams:
            pass
        fastest = max(fastest, streams.result.pacing.achieved)
    assert fastest >= 200_000


def test_the_pace_is_exact_to_a_thousandth(line: None) -> None:
    for _ in range(TRIES):
        with Streams([flow()], [place("b")], rate=1000, count=1000) as streams:
            pass
        if streams.result.verdict().valid:
            break
    lasted = float(streams.result.sent[0][-1] - streams.result.sent[0][0]) * 1e-9
    assert streams.result.pacing.rate_error <= 0.001 + disturbance(streams.result) / lasted


def test_a_place_that_is_not_there_is_named(line: None) -> None:
    with pytest.raises(LabError, match="No such device"), Streams([flow()], [place("b", "eth9")]):
        pass
    with pytest.raises(LabError, match="tbstream-z"), Streams([replace(flow(), namespace="tbstream-z")], [place("b")]):
        pass


def test_a_block_that_raises_leaves_no_process(line: None) -> None:
    before = with_descendants({os.getpid()})
    with pytest.raises(RuntimeError, match="on purpose"), Streams([flow()], [place("b")]):
        raise RuntimeError("on purpose")
    assert with_descendants({os.getpid()}) == before


def test_the_probes_end_when_their_parent_is_killed(line: None) -> None:
    program = f"""
from testbed.measure.streams import *
from testbed.wait import poll
with Streams([{flow()!r}], [{place("b")!r}]):
    print("running", flush=True)
    poll(lambda: "not yet", budget=60)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "running\n"
        probes = with_descendants({parent.pid}) - {parent.pid}
        assert len(probes) == 2
        parent.kill()
    assert poll(lambda: "they live" if any(Path(f"/proc/{pid}").exists() for pid in probes) else None, budget=3) is None


def disturbance(result: StreamResult) -> float:
    """By how many seconds a figure may be wrong: none if it is valid, else the longest time for which the machine kept the sender back."""
    return 0.0 if result.verdict().valid else result.pacing.latest


@dataclass
class Injected:
    """When forwarding was switched off and on again: wall-clock seconds before and after each of the two writes."""

    off: tuple[float, float]
    on: tuple[float, float]

    @property
    def least(self) -> float:
        return self.on[0] - self.off[1]

    @property
    def most(self) -> float:
        return self.on[1] - self.off[0]


def inject(gap: float) -> Injected:
    """Stop forwarding at r for so many seconds. The files are opened inside, so that a write is all it takes."""
    with ExitStack() as stack:
        switch = run_in(SPACES["r"], lambda: os.open("/proc/sys/net/ipv4/ip_forward", os.O_WRONLY))
        stack.callback(os.close, switch)

        def write(value: bytes) -> tuple[float, float]:
            before = time.time()
            os.pwrite(switch, value, 0)
            return before, time.time()

        off = write(b"0")
        due = off[1] + gap
        poll(lambda: None if time.time() >= due else "not yet", budget=gap + 5, interval=0.0005)
        return Injected(off, write(b"1"))


def measured_gap(gap: float) -> tuple[StreamResult, Injected]:
    with Streams([flow()], [place("b")], rate=1000) as streams:
        pause(0.25)
        injected = inject(gap)
        pause(0.25)
    return streams.result, injected


@pytest.mark.parametrize("gap", [0.050, 0.100, 0.500])
def test_a_known_gap_is_measured_within_five_milliseconds(line: None, gap: float) -> None:
    for _ in range(TRIES):
        result, injected = measured_gap(gap)
        if result.verdict().valid and injected.most - injected.least < 0.002:
            break
    outage, exact = result.outage(flow()), 0.005 + disturbance(result)
    within = (injected.least - exact, injected.most + exact)
    assert within[0] <= outage.loss_derived <= within[1], (outage.loss_derived, injected, str(result.verdict()))
    assert outage.longest is not None
    assert within[0] <= outage.longest.duration <= within[1]
    assert within[0] <= outage.longest_gap <= within[1]
    assert outage.recovered
    assert injected.off[0] - exact <= outage.longest.begin <= injected.off[1] + exact
    back = first_arrival(result.at("b", 0), injected.off[1] + 0.01)
    assert back == pytest.approx(injected.on[1], abs=exact)


def counted(place_name: str, comment: str) -> int:
    for text in run("ip", "netns", "exec", SPACES[place_name], "nft", "list", "ruleset").splitlines():
        if comment in text:
            words = text.split()
            return int(words[words.index("packets") + 1])
    raise AssertionError(f"no rule {comment}")


def test_one_percent_of_random_loss_is_found_packet_by_packet(line: None) -> None:
    nft("r", 'numgen random mod 100 < 1 counter drop comment "known loss"')
    with Streams([flow()], [place("b")], rate=10_000, count=20_000) as streams:
        pass
    outage = streams.result.outage(flow())
    assert outage.lost == counted("r", "known loss")
    assert outage.loss == pytest.approx(0.01, abs=5 * (0.01 * 0.99 / 20_000) ** 0.5)
    assert outage.loss_derived == pytest.approx(outage.lost * 1e-4, rel=0.01)


@pytest.fixture
def ring(line: None) -> Iterator[None]:
    """What s sends to 10.9.0.0/16 goes a -> r -> b -> a and so on, for as long as b has that route."""
    run("ip", "netns", "add", SOURCE)
    try:
        link("b", "to-a", "a", "to-b", 3)
        run("ip", "-n", SOURCE, "link", "add", "eth0", "type", "veth", "peer", "name", "to-s", "netns", SPACES["a"])
        for space, device, address in ((SOURCE, "eth0", "10.0.4.2/24"), (SPACES["a"], "to-s", "10.0.4.1/24")):
            run("ip", "-n", space, "addr", "add", address, "dev", device)
            run("ip", "-n", space, "link", "set", device, "up")
        for router in ("a", "b", "r"):
            sysctl(
                router,
                "net.ipv4.ip_forward=1",
                "net.ipv4.icmp_ratelimit=0",
                "net.ipv4.conf.all.rp_filter=0",
                "net.ipv4.conf.all.send_redirects=0",
            )
        for router, target, hop in (
            ("a", "10.9.0.0/16", "10.0.1.1"), ("r", "10.9.0.0/16", "10.0.2.2"), ("b", "10.9.0.0/16", "10.0.3.1"),
            ("r", "10.0.4.0/24", "10.0.1.2"), ("b", "10.0.4.0/24", "10.0.3.1"),
        ):  # fmt: skip
            run("ip", "-n", SPACES[router], "route", "add", target, "via", hop)
        run("ip", "-n", SOURCE, "route", "add", "default", "via", "10.0.4.1")
        yield
    finally:
        run("ip", "netns", "del", SOURCE)


def looping() -> Flow:
    return Flow(
        number=0, source="s", target="nowhere", namespace=SOURCE, device="eth0", source_mac=hardware_address(SOURCE, "eth0"),
        target_mac=hardware_address(SPACES["a"], "to-s"), source_ip="10.0.4.2", target_ip="10.9.0.1",
    )  # fmt: skip


def everywhere() -> Recorder:
    return Recorder({**{name: (space, None) for name, space in SPACES.items()}, "s": (SOURCE, None)}, needle=MAGIC.to_bytes(4))


def test_a_known_loop_of_three_is_named_node_by_node(ring: None) -> None:
    with everywhere() as recorder, Streams([looping()], [place("b")], rate=100, count=5):
        pass
    assert recorder.dropped == 0
    loops = find_loops(recorder.frames)
    assert len(loops) == 5
    for loop in loops:
        assert same_cycle(loop.cycle, ("a", "r", "b"))
        assert (loop.first_ttl, loop.last_ttl, loop.turns, loop.escaped) == (64, 1, 21, False)
        assert loop.expired_at == "a"  # 64 arrivals, one node after the other, beginning with a
    packets = [frame for frame in recorder.frames if frame.data[23] == 17]
    assert amplification(packets, 5 * len(looping().frame())) == pytest.approx(64)


def test_a_loop_that_lasts_a_moment_is_found_with_its_duration(ring: None) -> None:
    run("ip", "-n", SPACES["b"], "route", "replace", "blackhole", "10.9.0.0/16")
    with everywhere() as recorder, Streams([looping()], [place("b")], rate=500):
        pause(0.1)
        begin = time.time()
        run("ip", "-n", SPACES["b"], "route", "replace", "10.9.0.0/16", "via", "10.0.3.1")
        begun = time.time()
        pause(0.2)
        end = time.time()
        run("ip", "-n", SPACES["b"], "route", "replace", "blackhole", "10.9.0.0/16")
        ended = time.time()
        pause(0.1)
    (episode,) = episodes(find_loops(recorder.frames), quiet=1.0)
    assert same_cycle(episode.cycle, ("a", "r", "b"))
    assert end - begun - 0.01 <= episode.duration <= ended - begin + 0.01
    assert begin - 0.01 <= episode.begin <= begun + 0.01
    assert episode.packets >= (end - begun) * 500 * 0.8


def test_iperf3_and_our_stream_agree_on_what_a_shaped_link_carries(line: None) -> None:
    shape = "root tbf rate 20mbit burst 4000 limit 12000"
    run("ip", "netns", "exec", SPACES["r"], "tc", "qdisc", "add", "dev", "to-b", *shape.split())
    size = 1242
    reference = goodput(SPACES["a"], SPACES["b"], "10.0.2.2", seconds=2, udp_rate=40e6, length=size - 42)
    assert reference.packets_per_second == pytest.approx(20e6 / 8 / size, rel=0.1)

    def trial(rate: float) -> Trial:
        return stream_trial([flow(size=size)], [place("b")], rate=rate, seconds=0.5)

    assert trial(4000).received == pytest.approx(reference.packets_per_second, rel=0.1)
    for _ in range(5):  # what else runs on the machine makes a figure invalid: such a one is measured again
        found = search(trial, low=1000, high=4000, loss=0.02, resolution=0.06)
        if found.verdict.valid and not any(each.sender_fell_short for each in found.trials):
            break
    assert found.limit == "loss"
    assert found.best is not None
    assert found.best.asked == pytest.approx(reference.packets_per_second, rel=0.1)
    assert found.best.latency is not None
    assert found.best.latency.packets == round(found.best.asked * 0.5) * (1 - found.best.loss) // 1


def test_iperf3_that_cannot_connect_says_so(line: None) -> None:
    with pytest.raises(LabError, match="iperf3"):
        goodput(SPACES["a"], SPACES["b"], "10.0.2.9", seconds=1)
    left = [entry for space in SPACES.values() for entry in run("ip", "netns", "pids", space).split()]
    assert left == []


@contextmanager
def hogs(count: int) -> Iterator[None]:
    with ExitStack() as stack:
        for _ in range(count):
            process = stack.enter_context(subprocess.Popen([sys.executable, "-c", "while True: pass"]))
            stack.callback(process.kill)
        yield


def test_beside_a_cpu_hog_the_verdict_is_invalid(line: None) -> None:
    with hogs(os.cpu_count() or 1), Streams([flow()], [place("b")], rate=1000, count=1500) as streams:
        pass
    verdict = streams.result.verdict()
    assert not verdict.valid
    assert "other processes used" in str(verdict)
    assert "python" in str(verdict)
