"""Records made up for the tests, as `testbed run` writes them."""

from __future__ import annotations

import copy
from typing import Any

EVIL = "<script>alert('x')</script>"


def figure(name: str, measured: float, unit: str = "s", *reasons: str) -> dict[str, Any]:
    return {"name": name, "unit": unit, "measured": measured, "valid": not reasons, "reasons": list(reasons)}


def failover(*reasons: str) -> dict[str, Any]:
    flow = {
        "source": "vm11", "target": "vm21", "source_port": 40000, "protocol": "udp", "sent": 4500, "received": 4400, "lost": 100,
        "duplicated": 0, "reordered": 0, "loss_derived": 0.1, "longest_gap": 0.101, "runs": 1, "recovered": True, "gap_begin": 0.01,
        "windows": [{"begin": 0.01, "end": 0.11, "lost": 100}], "loss": [[0.01, 10, 10], [0.02, 10, 5]], "delay": None,
        "before": ["nva1"], "after": ["nva1b"],
    }  # fmt: skip
    fact = {"time": 0.004, "observer": "rs1-0", "what": "detected", "detail": "nva1: down"}
    begin = {"name": "stimulus", "first": 0.0, "last": 0.0, "facts": [fact | {"time": 0.0, "what": "stimulus"}]}
    data = {
        "stimulus": {"text": "fail nva1", "wall": 1000.0, "took": 0.002, "healing": False}, "rate": 1000.0, "begin": -0.5, "end": 4.0,
        "bin": 0.01, "flows": [flow], "milestones": [begin, {"name": "detected", "first": 0.004, "last": 0.009, "facts": [fact]}],
        "phases": [], "missing": ["withdrawn"], "facts": [fact],
        "loops": [{"cycle": ["nva1"], "begin": 0.004, "duration": 0.012, "packets": 9}], "pacing": {}, "cpu": {},
    }  # fmt: skip
    figures = [figure("outage", 0.1, "s", *reasons), figure("lost", 100, "packets", *reasons)]
    return {
        "kind": "failover", "title": "fail nva1: vm11 → vm21", "valid": not reasons, "reasons": list(reasons), "figures": figures,
        "held": [], "data": data,
    }  # fmt: skip


def loop(cycle: list[str]) -> dict[str, Any]:
    pair = {
        "source": "vm11", "target": "vm21", "sent": 10, "arrived": 0 if cycle else 10, "looped": 10 if cycle else 0, "cycle": cycle,
        "expired_at": cycle[0] if cycle else None, "turns": [63] if cycle else [], "amplification": 64.0, "predicted": cycle,
        "agrees": True, "first_ttl": 64 if cycle else None, "last_ttl": 1 if cycle else None, "duration": 0.1,
    }  # fmt: skip
    figures = [figure("turns", 63, "turns")]
    return {"kind": "loop", "title": "vm11", "valid": True, "reasons": [], "figures": figures, "held": [], "data": {"pairs": [pair]}}


def throughput(best: float | None = 8000.0) -> dict[str, Any]:
    trial = {"asked": 1000.0, "offered": 1000.0, "received": best or 0.0, "loss": 0.0, "delay": None, "valid": True}
    path = {
        "source": "vm1", "target": "vm2", "label": "VXLAN", "size": 128, "loss": 0.001,
        "tcp": {"bits_per_second": 3e8, "seconds": 3.0, "retransmits": 2, "bottleneck": "ovs-vswitchd had a core", "cpu": {}},
        "packets": {"limit": "loss", "trials": [trial], "best": trial if best else None, "bottleneck": "not the CPU", "cpu": {}},
        "delay": dict.fromkeys(("packets", "minimum", "median", "p90", "p99", "p999", "maximum"), 0.0002),
    }  # fmt: skip
    figures = [figure("TCP goodput", 3e8, "bit/s")]
    return {"kind": "throughput", "title": "VXLAN", "valid": True, "reasons": [], "figures": figures, "held": [], "data": {"paths": [path]}}


def step(*measurements: dict[str, Any], stage: str = "process death", ok: bool = True) -> dict[str, Any]:
    checks = [{"expected": "outage below 1 s", "ok": ok, "reason": "" if ok else "measured 2 s", "seconds": 0.5}]
    return {"stage": stage, "ok": ok, "error": "", "actions": ["fail nva1"], "measurements": list(measurements), "checks": checks}


def record(*steps: dict[str, Any], **changes: Any) -> dict[str, Any]:
    ok = all(each["ok"] for each in steps)
    found = {
        "format": 2, "testbed": "1.0", "scenario": "made-up", "description": "for a test", "lab": "lab", "error": "", "exit_code": 0,
        "started": "2026-11-22T20:46:07+00:00", "verdict": "passed" if ok else "failed", "files": {"made-up.yaml": "ab" * 32},
        "machine": {
            "kernel": "6.1", "python": "3.11", "processors": 2, "memory": 2**34, "load": [0.1, 0.2, 0.3], "versions": {"frr": "bgpd 8.4"},
        },
        "not_emulated": [], "stages": {"network": 0.3, "daemons": 0.9, "down": 0.2}, "picture": "", "steps": list(steps), "seconds": 60.0,
    }  # fmt: skip
    return copy.deepcopy(found | changes)
