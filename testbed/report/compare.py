"""Runs side by side: every figure that at least two of them have, as bars on one scale, and as a table. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from testbed.measure.amounts import amount
from testbed.report import plots
from testbed.report.markup import Markup, join, tag

Record = Mapping[str, Any]
Key = tuple[str, str, str]
"""Stage, kind of measurement, name of the figure."""


def comparison(records: Sequence[Record]) -> Markup:
    """The comparison of several runs; run numbers are those of the table on top."""
    found = figures(records)
    cards = []
    for stage, kind in dict.fromkeys(key[:2] for key in found):
        own = {key: values for key, values in found.items() if key[:2] == (stage, kind)}
        parts = [join((tag("h3", name), plots.bars(*_rows(values)))) for (_, _, name), values in own.items()]
        cards.append(tag("div", tag("h2", stage, style="margin-top:0"), parts, class_="card"))
    none = tag("p", "The runs have no figure in common.", class_="soft")
    return join((tag("div", tag("div", _runs(records), class_="scroll"), class_="card"), cards or none))


def figures(records: Sequence[Record]) -> dict[Key, list[tuple[int, float, str, bool]]]:
    """By figure: (run, measured or median, unit, valid) of each run that has it; those of one run only are left out.

    Measurements meet by their stage's name; where runs have different stages (one overlay each, say), by their kind alone.
    """
    by_stage = _collected(records, lambda stage, kind: (stage, kind))
    shared = {key: values for key, values in by_stage.items() if len({run for run, *_ in values}) > 1}
    if shared:
        return shared
    by_kind = _collected(records, lambda _, kind: (kind, kind))
    return {key: values for key, values in by_kind.items() if len({run for run, *_ in values}) > 1}


def _collected(records: Sequence[Record], place: Any) -> dict[Key, list[tuple[int, float, str, bool]]]:
    found: dict[Key, list[tuple[int, float, str, bool]]] = {}
    for run, record in enumerate(records):
        for stage, kind, figure in _all(record):
            found.setdefault((*place(stage, kind), figure["name"]), []).append((run, figure["measured"], figure["unit"], figure["valid"]))
    return found


def _all(record: Record) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    if repeats := record.get("repeats"):
        for entry in repeats["summaries"]:
            kind = record["steps"][entry["step"]]["measurements"][entry["measurement"]]["kind"]
            valid = entry["median"] is not None
            middle = entry["median"] if valid else median(sample["measured"] for sample in entry["samples"])
            yield entry["stage"], kind, {"name": entry["name"], "measured": middle, "unit": entry["unit"], "valid": valid}
        return
    for step in record["steps"]:
        for measured in step.get("measurements", ()):
            for figure in measured["figures"]:
                yield step["stage"], measured["kind"], figure


def _rows(values: Sequence[tuple[int, float, str, bool]]) -> tuple[list[plots.Row], list[int]]:
    rows = [(f"run {run + 1}", value, amount(value, unit) + ("" if valid else "|invalid")) for run, value, unit, valid in values]
    return rows, [3 if valid else 1 for *_, valid in values]


def _runs(records: Sequence[Record]) -> Markup:
    head = tag("tr", [tag("th", title) for title in ("run", "scenario", "verdict", "started", "expectations", "design")])
    rows = []
    for run, record in enumerate(records, start=1):
        checks = [check for step in record["steps"] for check in step["checks"]]
        held = f"{sum(check['ok'] for check in checks)} of {len(checks)}"
        digests = ", ".join(f"{name} {value[:8]}" for name, value in record["files"].items())
        cells = (run, record["scenario"], record["verdict"], record["started"][:19].replace("T", " "), held, digests)
        rows.append(tag("tr", [tag("td", cell) for cell in cells]))
    return tag("table", head, rows)
