"""The testbed's own part of a failover: from a Route Server instance seeing a session end to the groups changed on every switch.

A hub with many spokes and two NVAs that announce the same prefixes; bgpd of one is killed. The first stamp is that of the Route
Server's own log, the last that of the last switch's acknowledgement of the changed groups.
"""

from __future__ import annotations

import re
import signal
import statistics
import tempfile
import time
from collections.abc import Sequence
from ipaddress import IPv4Network
from itertools import islice
from pathlib import Path

from testbed.emulation import client
from testbed.emulation.client import LabClient
from testbed.model.loader import load_topology
from testbed.plan.compile import compile_plan
from testbed.plan.templates import load_templates
from testbed.scenario.convergence import injection
from testbed.scenario.failing_over import stamp_finely
from testbed.scenario.witnesses import Tail, bgpd_facts, journal_facts
from testbed.wait import wait_until

LAB = "benchmark-failover"
RUNS = 5
CURVE = ((10, 2), (1000, 2), (10, 50), (300, 50), (1000, 50))
"""(prefixes, subnets with VMs in them)."""

GOAL = (1000, 50)
PREFIXES = IPv4Network("10.128.0.0/9")
_BUDGET = 60.0


def measure() -> list[dict[str, str]]:
    return [_figure(prefixes, subnets, trial(prefixes, subnets)) for prefixes, subnets in CURVE]


def _figure(prefixes: int, subnets: int, samples: Sequence[tuple[float, float]]) -> dict[str, str]:
    whole, own = ([sample[part] * 1000 for sample in samples] for part in (0, 1))
    spread = f"{min(whole):.1f}-{max(whole):.1f}"
    from_bmp = f"{statistics.median(own):.1f} ms since the controller heard of it"
    return {
        "what": f"session end seen → groups changed on every switch: {prefixes} prefixes, {subnets} subnets",
        "measured": f"{statistics.median(whole):.1f} ms (median of {len(samples)}, {spread}; {from_bmp})",
        "goal": "≤ 20 ms" if (prefixes, subnets) == GOAL else "the same at any number of prefixes",
    }


def topology(prefixes: int, subnets: int) -> str:
    """A hub with ``subnets`` spokes of one subnet and one VM each, and two NVAs that announce the same prefixes."""
    spokes = range(subnets)
    announced = ", ".join(str(prefix) for prefix in islice(PREFIXES.subnets(new_prefix=24), prefixes))
    lines = ["name: many-subnets", "regions:", "  region1:", "    vnets:", "      hub1:", "        address_space: [10.1.0.0/16]"]
    lines += ["        subnets: {nva: 10.1.0.0/24, RouteServerSubnet: 10.1.1.0/26}"]
    lines += [f"      s{n}: {{address_space: [10.2.{n}.0/24], subnets: {{work: 10.2.{n}.0/26}}}}" for n in spokes]
    lines += ["peerings:"]
    for n in spokes:
        lines += [f"  - {{from: hub1, to: s{n}, allow_gateway_transit: true, allow_forwarded_traffic: true}}"]
        lines += [f"  - {{from: s{n}, to: hub1, use_remote_gateways: true, allow_forwarded_traffic: true}}"]
    lines += ["route_servers:", "  rs1: {vnet: hub1, peers: [nva1, nva1b]}", "nvas:"]
    for name, ip, asn in (("nva1", "10.1.0.4", 65001), ("nva1b", "10.1.0.5", 65002)):
        lines += [f"  {name}: {{subnet: hub1/nva, ip: {ip}, asn: {asn}, advertise: [{announced}]}}"]
    return "\n".join([*lines, "vms:", *(f"  vm{n}: {{subnet: s{n}/work}}" for n in spokes)]) + "\n"


def trial(prefixes: int, subnets: int) -> list[tuple[float, float]]:
    """Seconds of each run: since the Route Server's bgpd saw it, and since the controller heard of it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "many.yaml"
        file.write_text(topology(prefixes, subnets))
        plan = compile_plan(load_topology(file).topology, lab=LAB, templates=load_templates())
    lab = client.up(plan, lambda stage, seconds: None)
    try:
        return [_once(lab, prefixes) for _ in range(RUNS)]
    finally:
        client.down(LAB)


def _once(lab: LabClient, prefixes: int) -> tuple[float, float]:
    wait_until(lambda: _all_programmed(lab, prefixes, hops=2), what="both NVAs' prefixes", budget=_BUDGET, interval=0.1)
    stamp_finely(lab)
    instances = [node for node in lab.plan.nodes if node.kind == "route_server"]
    logs = {node.name: Tail(lab.paths.node(node) / "bgpd.log") for node in instances}
    journal = Tail(lab.paths.logs / "journal.jsonl")
    lab.stop_daemon("nva1", "bgpd", signal.SIGKILL)
    wait_until(lambda: _all_programmed(lab, prefixes, hops=1), what="the survivor's alone", budget=_BUDGET, interval=0.1)
    ended = [fact for name, log in logs.items() for fact in bgpd_facts(name, log.lines(), healing=False) if fact.what == "detected"]
    told = journal_facts(journal.lines(), healing=False)
    done = max(fact.time for fact in told if fact.what == "programmed")
    heard = min(fact.time for fact in told if fact.what == "withdrawn")
    lab.start_daemon("nva1", "bgpd")
    return done - min(fact.time for fact in ended), done - heard


def _all_programmed(lab: LabClient, prefixes: int, hops: int) -> str | None:
    status = lab.controller("GET", "/status")
    if not status["ready"]:
        return str(status["reason"])
    routes = injection(lab, ["hub1"])
    found = sum(len(each) == hops for home in routes.values() for each in home.values())
    return None if found == 2 * prefixes else f"{found} of {2 * prefixes} prefixes have {hops} next hops"


if __name__ == "__main__":
    start = time.monotonic()
    for row in measure():
        print(re.sub(r"\s+", " ", f"{row['what']}: {row['measured']}"))
    print(f"{time.monotonic() - start:.0f} s")
