"""What links and circuits do to packets, measured in a lab and held against what was declared.

As root: ``impairments.py TOPOLOGY [netem|line [PACKETS A SECOND]]`` with ``impaired.yaml`` beside it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from testbed.emulation import client
from testbed.measure.streams import Flow, StreamResult, Streams
from testbed.plan.types import Choice
from testbed.report.record import emulation
from testbed.scenario import talkers
from testbed.scenario.building import build

PACKETS = 2000
PAIRS = (("vm1", "vm2"), ("vm2", "vm1"), ("vm1", "vm3"), ("vm3", "vm1"), ("vm1", "client"), ("client", "vm1"))
EARLY = 0.0005
"""Seconds that a packet may come too soon: a delay line errs to both sides."""


class Seen:
    """One flow: the parts lost, sooner there than 40 ms, and out of order; its delays in seconds."""

    def __init__(self, result: StreamResult, flow: Flow) -> None:
        arrived = result.at(flow.target, flow.number)
        outage = result.outage(flow)
        self.lost = outage.loss
        self.delays = (arrived["received"] - arrived["sent"]) * 1e-9
        self.hasty = float(np.mean(self.delays < 0.04 - EARLY))
        self.reordered = outage.reordered / outage.sent

    def quantile(self, part: float) -> float:
        return float(np.quantile(self.delays, part))

    def __str__(self) -> str:
        quantiles = ", ".join(f"{1000 * self.quantile(part):.2f}" for part in (0, 0.05, 0.5, 0.95))
        parts = f"lost {100 * self.lost:.2f} %, sooner {100 * self.hasty:.2f} %, out of order {100 * self.reordered:.2f} %"
        return f"{parts}, least, 5 %, 50 %, 95 %: {quantiles} ms"


def measure(topology: Path, delay: str, rate: float) -> tuple[dict[str, Seen], str | None]:
    """What each flow saw, and who delayed the packets; the lab is gone afterwards."""
    lab, _ = build(topology, lambda stage, seconds: print(f"{stage} {seconds:.1f} s", flush=True), choice=Choice(delay=delay))
    try:
        flows = talkers.flows(lab.plan, PAIRS)
        with Streams(flows, talkers.ends(lab.plan, flows), rate=rate, count=PACKETS, grace=1.0) as streams:
            pass
        if streams.result.dropped:
            raise SystemExit(f"{streams.result.dropped} packets came to the receivers and found no room: a lower rate, please")
        return {f"{flow.source} → {flow.target}": Seen(streams.result, flow) for flow in flows}, emulation(lab.plan)["delay"]
    finally:
        client.down(lab.plan.lab)


def wrong(seen: dict[str, Seen]) -> Iterator[str]:
    """What is not as declared. Load only makes delays longer, so upper ends are not looked at."""
    flows = [seen[f"{one} → {other}"] for one, other in PAIRS]
    for each in flows[:2]:
        yield from _jitter(each)
    for each in flows[2:4]:
        if not _near(each.hasty, 0.2):
            yield f"{100 * each.hasty:.2f} % of the packets did not wait, not 20 %"
    for each in flows[4:]:
        if not _near(each.lost, 0.05):
            yield f"{100 * each.lost:.2f} % were lost on the circuit, not 5 %"
        if each.quantile(0) < 0.03 - EARLY:
            yield f"the circuit's 10 ms and 20 ms were {1000 * each.quantile(0):.2f} ms"
    if any(each.lost for each in flows[:4]):
        yield "packets were lost where none should be"


def _jitter(each: Seen) -> Iterator[str]:
    if not 0.03 - EARLY <= each.quantile(0) < 0.035:
        yield f"40 ms ± 10 ms begin at {1000 * each.quantile(0):.2f} ms"
    if each.quantile(0.95) < 0.045:
        yield f"95 % of 40 ms ± 10 ms are below {1000 * each.quantile(0.95):.2f} ms"
    if each.reordered == 0:
        yield "no packet overtook another for its jitter"


def _near(found: float, declared: float) -> bool:
    """Within five standard deviations."""
    return bool(abs(found - declared) <= 5 * (declared * (1 - declared) / PACKETS) ** 0.5)


def main(topology: Path, delay: str = "auto", rate: float = 500.0) -> int:
    """Print what was seen; 0 when it is as declared."""
    seen, by = measure(topology, delay, rate)
    for pair, each in seen.items():
        print(f"{by}: {pair}: {each}")
    problems = list(wrong(seen))
    print("\n".join(problems) or "as declared")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:3], *map(float, sys.argv[3:])))
