"""Several runs of the same scenario summed up, figure by figure: median, spread, all samples with their verdicts. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from testbed.measure.validity import Figure, Summary, Verdict, summarise

Key = tuple[int, int, str]


def summaries(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One entry a figure, in the order of the first run that has it.

    ``step`` and ``measurement`` count from 0; ``samples`` are all measured values in the order of the runs, also the invalid ones, which
    no median counts.
    """
    found: dict[Key, list[Figure]] = {}
    titles: dict[Key, tuple[str, str]] = {}
    for record in records:
        for key, stage, title, figure in _figures(record):
            found.setdefault(key, []).append(figure)
            titles.setdefault(key, (stage, title))
    return [_entry(key, *titles[key], summarise(figures)) for key, figures in sorted(found.items(), key=lambda each: each[0][:2])]


def _figures(record: Mapping[str, Any]) -> Iterator[tuple[Key, str, str, Figure]]:
    for number, step in enumerate(record["steps"]):
        for place, measured in enumerate(step.get("measurements", ())):
            for each in measured["figures"]:
                figure = Figure(each["name"], each["unit"], each["measured"], Verdict(tuple(each["reasons"])))
                yield (number, place, each["name"]), step["stage"], measured["title"], figure


def _entry(key: Key, stage: str, title: str, summary: Summary) -> dict[str, Any]:
    return {
        "step": key[0],
        "measurement": key[1],
        "stage": stage,
        "title": title,
        "name": summary.name,
        "unit": summary.unit,
        "median": summary.median,
        "least": summary.least,
        "greatest": summary.greatest,
        "deviation": summary.deviation,
        "invalid": summary.invalid,
        "samples": [
            {"measured": each.measured, "valid": each.verdict.valid, "reasons": list(each.verdict.reasons)} for each in summary.samples
        ],
    }
