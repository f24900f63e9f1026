"""The record of a run: everything observed, with what it was observed on, as versioned JSON."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from testbed import __version__
from testbed.errors import InputError
from testbed.plan.delay_lines import delay_lines
from testbed.plan.types import Plan
from testbed.scenario.runner import StepResult

FORMAT = 2
"""2: steps carry ``measurements``; ``picture`` is the topology in Graphviz's language; ``repeats`` sums up repeated runs."""

READABLE = (1, 2)
_VERSIONS = {"openvswitch": ("ovs-vswitchd", "--version"), "frr": ("/usr/lib/frr/bgpd", "--version")}


def machine() -> dict[str, Any]:
    """What the run took place on: kernel, processors, memory (bytes), load, versions of the daemons (first line they print)."""
    return {
        "kernel": platform.release(),
        "python": platform.python_version(),
        "processors": os.cpu_count(),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "load": os.getloadavg(),
        "versions": {name: _first_line(argv) for name, argv in _VERSIONS.items()},
    }


def emulation(plan: Plan) -> dict[str, str | None]:
    """What the fabric was made of: Open vSwitch's datapath, who encrypts, who delays and drops packets; None: nobody had to."""
    encrypted = any(tunnel.type == "ipsec" for tunnel in plan.tunnels)
    impaired = any(shape.impaired for shape in plan.shapes())
    return {
        "datapath": plan.capabilities.datapath,
        "ipsec_backend": plan.capabilities.ipsec if encrypted else None,
        "delay": ("delay line" if delay_lines(plan) else "netem") if impaired else None,
    }


def _first_line(argv: Sequence[str]) -> str | None:
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.partition("\n")[0]
    except (OSError, subprocess.CalledProcessError):
        return None


def digest(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def record(
    *, scenario: str, files: Sequence[Path], started: datetime, stages: Mapping[str, float], steps: Sequence[StepResult],
    unsupported: Sequence[str], lab: str, picture: str = "", error: str = "",
) -> dict[str, Any]:  # fmt: skip
    """A run as JSON-ready data. ``stages``: seconds of each stage of the bring-up and the tear-down; ``picture``: the topology for
    Graphviz; ``error``: why it ended early."""
    return {
        "format": FORMAT,
        "testbed": __version__,
        "scenario": scenario,
        "lab": lab,
        "started": started.isoformat(),
        "verdict": "error" if error else "passed" if all(step.ok for step in steps) else "failed",
        "error": error,
        "files": {path.name: digest(path) for path in files},
        "machine": machine(),
        "not_emulated": list(unsupported),
        "stages": dict(stages),
        "picture": picture,
        "steps": [_step(step) for step in steps],
    }


def _step(step: StepResult) -> dict[str, Any]:
    """A step; the raw samples of its measurements are files beside the record."""
    return {
        "stage": step.stage,
        "ok": step.ok,
        "error": step.error,
        "actions": step.actions,
        "measurements": [measured.as_json() for measured in step.measurements],
        "checks": [asdict(check) for check in step.checks],
    }


def read(path: Path) -> dict[str, Any]:
    """A record, or that of a run's folder. Raises InputError when it is none, or of a format that this version does not know."""
    file = path / "record.json" if path.is_dir() else path
    try:
        data: dict[str, Any] = json.loads(file.read_text())
        form = data["format"]
    except OSError as error:
        raise InputError(f"{file}: {error.strerror}", "name a record.json, or the folder of a run") from None
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{file} is no record of a run", "`testbed run` writes them below results/") from None
    if form not in READABLE:
        raise InputError(f"{file} has format {form}; this version reads {', '.join(map(str, READABLE))}")
    return data


def write(folder: Path, name: str, data: Mapping[str, Any]) -> Path:
    """Write a record below a run's folder (made if need be); a half-written file never carries the final name."""
    folder.mkdir(parents=True, exist_ok=True)
    target, draft = folder / name, folder / f".{name}.part"
    draft.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n")
    draft.replace(target)
    return target
