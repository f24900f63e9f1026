"""The search for the highest rate, against a path whose capacity is known; and iperf3's reports."""

from __future__ import annotations

import json

import pytest

from testbed.errors import LabError
from testbed.measure.cpu import CpuUse
from testbed.measure.iperf import read_report
from testbed.measure.throughput import Throughput, Trial, search
from testbed.measure.validity import Verdict

IDLE = CpuUse(1.0, 2, 0.1, 0.0, 0.0, 0.0, 0, ())


def find(capacity: float, *, sender: float = 1e9, loss: float = 0.0, disturbed_above: float = 1e9) -> Throughput:
    def run(rate: float) -> Trial:
        offered = min(rate, sender)
        received = min(offered, capacity)
        verdict = Verdict(("a hog",)) if rate > disturbed_above else Verdict()
        return Trial(rate, offered, received, 1 - received / offered, None, None, verdict)

    return search(run, low=1000, high=100_000, loss=loss)


def test_the_capacity_of_the_path_is_found_within_the_resolution() -> None:
    found = find(37_000)
    assert found.best is not None
    assert 0.98 * 37_000 <= found.best.asked <= 37_000
    assert (found.limit, found.verdict.valid) == ("loss", True)
    assert len(found.trials) < 12


def test_a_tolerated_loss_allows_a_higher_rate() -> None:
    found = find(37_000, loss=0.1)
    assert found.best is not None
    assert found.best.asked > 40_000


def test_a_sender_that_cannot_offer_more_is_named_as_the_limit() -> None:
    found = find(90_000, sender=50_000)
    assert found.best is not None
    assert found.limit == "sender"
    assert found.best.asked <= 51_000


def test_a_path_that_carries_everything_is_limited_by_the_range_only() -> None:
    found = find(1e9)
    assert (found.limit, len(found.trials)) == ("range", 1)


def test_a_path_that_fails_the_lowest_rate_has_no_best() -> None:
    found = find(10)
    assert (found.best, found.limit, len(found.trials)) == (None, "loss", 2)


def test_the_verdict_is_that_of_the_trials_at_the_bound() -> None:
    assert find(37_000, disturbed_above=60_000).verdict.valid
    assert not find(37_000, disturbed_above=36_500).verdict.valid


def report(protocol: str, end: dict[str, object]) -> bytes:
    return json.dumps({"start": {"test_start": {"protocol": protocol, "blksize": 1000}}, "end": end}).encode()


def test_tcp_goodput_is_what_the_receiver_counted() -> None:
    end = {"sum_sent": {"bits_per_second": 9.9e8, "retransmits": 7}, "sum_received": {"bits_per_second": 9.5e8, "seconds": 5.0}}
    found = read_report(report("TCP", end), IDLE)
    assert (found.bits_per_second, found.retransmits, found.packets) == (9.5e8, 7, 0)


def test_udp_goodput_leaves_out_what_was_lost() -> None:
    end = {"sum": {"packets": 1000, "lost_packets": 400}, "sum_received": {"bits_per_second": 1e9, "seconds": 2.0}}
    found = read_report(report("UDP", end), IDLE)
    assert (found.bits_per_second, found.packets_per_second) == (600 * 8000 / 2, 300)


def test_what_iperf3_complains_about_is_passed_on() -> None:
    with pytest.raises(LabError, match="Connection refused"):
        read_report(json.dumps({"error": "unable to connect: Connection refused"}).encode(), IDLE)
    with pytest.raises(LabError, match="no json"):
        read_report(b"no json", IDLE)
