"""Runs the measurements of the folder benchmarks/ and gathers what they say."""

from __future__ import annotations

import runpy
from pathlib import Path

import testbed
from testbed.errors import MachineError

Figure = dict[str, str]
"""What was measured (``what``), the figure with its unit (``measured``), and what it should be (``goal``)."""


def folder() -> Path:
    """The repository's benchmarks. Raises MachineError in an installation without them."""
    found = Path(testbed.__file__).resolve().parents[1] / "benchmarks"
    if not found.is_dir():
        raise MachineError("the benchmarks are not part of this installation", "run it from a clone of the repository")
    return found


def measure_all(only: str = "") -> list[Figure]:
    """The figures of every module there, in alphabetical order, or of those whose name starts with ``only``."""
    modules = sorted(path for path in folder().glob("*.py") if path.stem.startswith(only))
    return [figure for path in modules for figure in _figures(path)]


def _figures(path: Path) -> list[Figure]:
    figures: list[Figure] = runpy.run_path(str(path))["measure"]()
    return figures
