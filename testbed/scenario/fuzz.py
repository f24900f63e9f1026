"""Random designs, one after another: each worked out on paper or built, compared, and where sides disagree made small and saved."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct

from testbed.emulation import client
from testbed.errors import LabError
from testbed.model.loader import parse_topology
from testbed.scenario.agreement import Disagreement, Paper, disagreements
from testbed.scenario.agreement_live import live_disagreements
from testbed.scenario.building import build
from testbed.scenario.generator import Design, design, seeded
from testbed.scenario.shrink import shrunk

Compare = Callable[[Design], tuple[Disagreement, ...]]
SHOWN = 20
"""Disagreements of one design that are kept: the rest follows from the first as a rule."""

PAPER_TRIES = 400
LIVE_TRIES = 60
"""Designs that may be worked out, and labs that may be built, to make one failing design smaller."""


class Tried(Struct, frozen=True):
    """One design of a series, and what its sides disagreed in; ``skipped`` says why it was not compared."""

    seed: int
    number: int
    design: Design
    found: tuple[Disagreement, ...] = ()
    skipped: str = ""


def on_paper(wanted: Design) -> tuple[Disagreement, ...]:
    """What the sides of a design disagree in on paper: effective routes, computed flows, whole ways of packets."""
    return _first(disagreements(Paper(parse_topology(text_of(wanted)).topology)))


def on_a_lab(wanted: Design) -> tuple[Disagreement, ...]:
    """What a real lab does otherwise than the model says. That it does not come up is a disagreement too. Needs root."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "design.yaml"
        file.write_text(text_of(wanted))
        name = f"fuzz-{os.getpid()}"
        try:
            lab, _ = build(file, lambda stage, seconds: None, name)
        except LabError as error:
            return (Disagreement("the lab", "comes up", str(error)),)
        try:
            return _first(live_disagreements(lab, Paper(lab.topology, lab.plan)))
        finally:
            client.down(name)


def series(seed: int, count: int, compare: Compare, first: int = 0) -> Iterator[Tried]:
    """The designs of a series from number ``first`` on, compared one by one; one that never settles is skipped: it has no right state."""
    for number in range(first, first + count):
        wanted = design(seeded(seed, number), f"fuzz-{seed}-{number}")
        paper = Paper(parse_topology(text_of(wanted)).topology)
        if not paper.control.settled:
            yield Tried(seed, number, wanted, skipped=f"never settles: {', '.join(paper.control.oscillating)}")
        else:
            yield Tried(seed, number, wanted, compare(wanted))


def smallest(tried: Tried, compare: Compare, most: int) -> Tried:
    """The same failure in a design as small as possible, comparing ``most`` times at most."""
    last = {"found": tried.found}

    def fails(smaller: Design) -> bool:
        found = compare(smaller)
        if found:
            last["found"] = found
        return bool(found)

    return Tried(tried.seed, tried.number, shrunk(tried.design, fails, most), last["found"])


def saved(tried: Tried, folder: Path) -> Path:
    """Write a design that failed as a topology file, with where it came from and what disagreed; returns the file."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{tried.design['name']}.yaml"
    lines = [f"Design {tried.number} of seed {tried.seed}, made as small as it could be. What disagreed:", *map(str, tried.found)]
    head = "".join(f"# {part}\n" for line in lines for part in line.splitlines())
    file.write_text(head + text_of(tried.design))
    return file


def text_of(wanted: Design) -> str:
    """A design as a topology file: one line for every resource."""
    return "".join(
        f"{key}: {_inline(value)}\n" if not _is_section(value) else f"{key}:\n{_lines(value, 1)}" for key, value in wanted.items()
    )


def _is_section(value: Any) -> bool:
    return isinstance(value, dict | list)


def _lines(value: Any, depth: int) -> str:
    """A section in block style down to what fits in a line."""
    indent = "  " * depth
    if isinstance(value, list):
        return "".join(f"{indent}- {_inline(item)}\n" for item in value)
    return "".join(
        f"{indent}{key}:\n{_lines(item, depth + 1)}" if _has_sections(item) else f"{indent}{key}: {_inline(item)}\n"
        for key, item in value.items()
    )


def _has_sections(value: Any) -> bool:
    return isinstance(value, dict) and any(map(_is_section, value.values()))


def _inline(value: Any) -> str:
    """A value in flow style; JSON's texts are YAML's."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_word(str(key))}: {_inline(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return _word(value) if isinstance(value, str) else json.dumps(value)


def _word(text: str) -> str:
    plain = text and text[0].isalpha() and all(each.isalnum() or each in "-_./" for each in text) and text not in ("true", "false", "null")
    prefix = text.count(".") == 3 and all(each.isdigit() or each in "./" for each in text)
    return text if plain or prefix else json.dumps(text)


def _first(found: Iterator[Disagreement]) -> tuple[Disagreement, ...]:
    return tuple(each for each, _ in zip(found, range(SHOWN), strict=False))
