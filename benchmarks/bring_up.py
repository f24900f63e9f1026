"""The main job's own times: up and down of the dual-region design, memory, prefixes until they are flows, plan, check, help."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from ipaddress import IPv4Network
from pathlib import Path

from testbed.azure.control_plane import converge
from testbed.emulation import client
from testbed.scenario.building import build
from testbed.scenario.convergence import differences, expected_injection, injection
from testbed.scenario.live import LiveLab
from testbed.wait import wait_until

DUAL_REGION = Path(__file__).parents[1] / "topologies" / "dual-region.yaml"
LAB = "benchmark"
RUNS = 3
PREFIXES = 1000


def measure() -> list[dict[str, str]]:
    ups, downs, memory, routes = [], [], 0.0, 0.0
    for number in range(RUNS):
        start = time.monotonic()
        lab, _ = build(DUAL_REGION, lambda stage, seconds: None, LAB)
        ups.append(time.monotonic() - start)
        try:
            if number == RUNS - 1:
                memory = pss(lab)
                routes = announce_many(lab)
        finally:
            start = time.monotonic()
            client.down(LAB)
            downs.append(time.monotonic() - start)
    return [
        figure("up of the dual-region topology", f"{statistics.median(ups):.2f} s (median of {RUNS})", "≤ 2.5 s"),
        figure("down", f"{statistics.median(downs):.2f} s (median of {RUNS})", "≤ 1 s"),
        figure("memory of all its processes (PSS)", f"{memory / 1e6:.0f} MB", "≤ 500 MB"),
        figure(f"{PREFIXES} prefixes announced by an NVA until they are in all flow tables", f"{routes:.2f} s", "≤ 1.5 s"),
        figure("testbed check", f"{command('check', str(DUAL_REGION)):.2f} s", "≤ 0.5 s"),
        figure("testbed plan", f"{command('plan', str(DUAL_REGION)):.2f} s", "≤ 0.5 s"),
        figure("testbed --help", f"{command('--help'):.2f} s", "≤ 0.2 s"),
    ]


def figure(what: str, measured: str, goal: str) -> dict[str, str]:
    return {"what": what, "measured": measured, "goal": goal}


def pss(lab: LiveLab) -> float:
    """Proportional set size of labd and all processes of the lab, in bytes."""
    status = lab.client.status()
    daemons = [daemon for node in status["nodes"] for daemon in node["daemons"]] + status["processes"]
    return sum(1024.0 * _rollup(pid) for pid in [status["labd"], *(daemon["pid"] for daemon in daemons)])


def _rollup(pid: int) -> int:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))


def announce_many(lab: LiveLab) -> float:
    """Seconds from the command at NVA2 until region 1's controller state is complete and every switch has acknowledged it."""
    prefixes = tuple(IPv4Network((0xCB000000 + (number << 8), 24)) for number in range(PREFIXES))
    nva = lab.topology.nvas["nva2"].model_copy(update={"advertise": prefixes})
    wanted = lab.topology.model_copy(update={"nvas": lab.topology.nvas | {"nva2": nva}})
    expected = expected_injection(converge(wanted))
    vty = ["vtysh", "--vty_socket", str(lab.client.paths.node(lab.plan.node("nva2")))]
    commands = ["configure terminal", "router bgp 65002", "address-family ipv4 unicast", *(f"network {prefix}" for prefix in prefixes)]
    script = "\n".join(commands) + "\n"
    hubs = [hub.vnet for hub in lab.plan.hubs]
    start = time.monotonic()
    subprocess.run(vty, input=script, text=True, capture_output=True, check=True)
    wait_until(_complete(lab, hubs, expected), what="all flows", budget=60, interval=0.02)
    return time.monotonic() - start


def _complete(lab: LiveLab, hubs: list[str], expected: object) -> Callable[[], str | None]:
    def check() -> str | None:
        status = lab.client.controller("GET", "/status")
        if not status["ready"]:
            return str(status["reasons"])
        missing = differences(expected, injection(lab.client, hubs))  # type: ignore[arg-type]
        return f"{len(missing)} routes are missing" if missing else None

    return check


def command(*arguments: str) -> float:
    """The median seconds of a command line."""
    times = []
    for _ in range(RUNS):
        start = time.monotonic()
        subprocess.run((sys.executable, "-m", "testbed.cli", *arguments), check=True, capture_output=True)
        times.append(time.monotonic() - start)
    return statistics.median(times)
