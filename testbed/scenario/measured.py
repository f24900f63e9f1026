"""What a measurement leaves: figures with their verdicts, what was expected of them, the data behind them, and the raw samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from testbed.measure.amounts import amount
from testbed.measure.validity import Figure, Verdict


@dataclass(frozen=True)
class Held:
    """One bound a scenario sets: what was expected, whether it held, and the reason if not."""

    expected: str
    ok: bool
    reason: str = ""


@dataclass(frozen=True)
class Measured:
    """One measurement of a step.

    ``kind`` is the key it was declared by, ``title`` says what was measured. ``data`` is JSON-ready and has the form that
    docs/measurements.md describes by kind. ``samples``: name → array, kept beside the record.
    """

    kind: str
    title: str
    verdict: Verdict
    figures: tuple[Figure, ...]
    held: tuple[Held, ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
    samples: Mapping[str, Any] = field(default_factory=dict)

    def figure(self, name: str) -> Figure | None:
        """The figure of that name, if it could be measured at all."""
        return next((figure for figure in self.figures if figure.name == name), None)

    def as_json(self) -> dict[str, Any]:
        """All of it but the samples, for the record."""
        return {
            "kind": self.kind,
            "title": self.title,
            "valid": self.verdict.valid,
            "reasons": list(self.verdict.reasons),
            "figures": [figure_json(figure) for figure in self.figures],
            "held": [vars(held) for held in self.held],
            "data": dict(self.data),
        }


def figure_json(figure: Figure) -> dict[str, Any]:
    """A figure as the record keeps it."""
    return {
        "name": figure.name,
        "unit": figure.unit,
        "measured": figure.measured,
        "valid": figure.verdict.valid,
        "reasons": list(figure.verdict.reasons),
    }


def at_most(expected: str, figure: Figure | None, bound: float, doubt: float = 0.0) -> Held:
    """Whether a figure is within an upper bound.

    What disturbs a measurement makes it longer or lossier, so a figure that keeps the bound keeps it on a disturbed machine as well;
    ``doubt`` is by how much an invalid one may be too small (a sender that paused cannot see what happened meanwhile).
    A figure beyond the bound that is invalid says nothing about the design, and the reason says so.
    """
    if figure is None:
        return Held(expected, False, "it could not be measured")
    measured = figure.measured + (0.0 if figure.verdict.valid else doubt)
    if measured <= bound:
        return Held(expected, True)
    found = f"measured {amount(figure.measured, figure.unit)}"
    return Held(expected, False, found if figure.verdict.valid else f"{found}, {figure.verdict}")


def at_least(expected: str, figure: Figure | None, bound: float) -> Held:
    """Whether a figure reaches a lower bound; a disturbance only makes it smaller."""
    if figure is None:
        return Held(expected, False, "it could not be measured")
    if figure.measured >= bound:
        return Held(expected, True)
    found = f"measured {amount(figure.measured, figure.unit)}"
    return Held(expected, False, found if figure.verdict.valid else f"{found}, {figure.verdict}")
