"""Raw samples beside a record: what every figure can be computed from again, as compressed numpy files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from testbed.scenario.runner import StepResult


def save(folder: Path, steps: Iterable[StepResult]) -> tuple[str, ...]:
    """Write ``samples-STEP-MEASUREMENT.npz`` (numbers from 1) for each measurement that has samples; their names."""
    written = []
    for number, step in enumerate(steps, start=1):
        for place, measured in enumerate(step.measurements, start=1):
            if measured.samples:
                import numpy as np

                folder.mkdir(parents=True, exist_ok=True)
                written.append(f"samples-{number}-{place}.npz")
                np.savez_compressed(folder / written[-1], **measured.samples)
    return tuple(written)
