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
from testbed.scenario.runner import StepResult

FORMAT = 1
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
    unsupported: Sequence[str], lab: str, error: str = "",
) -> dict[str, Any]:  # fmt: skip
    """A run as JSON-ready data. ``stages``: seconds of each stage of the bring-up and the tear-down; ``error``: why it ended early."""
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
        "steps": [asdict(step) | {"ok": step.ok} for step in steps],
    }


def write(folder: Path, name: str, data: Mapping[str, Any]) -> Path:
    """Write a record below a run's folder (made if need be); a half-written file never carries the final name."""
    folder.mkdir(parents=True, exist_ok=True)
    target, draft = folder / name, folder / f".{name}.part"
    draft.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n")
    draft.replace(target)
    return target
