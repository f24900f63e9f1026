"""A YAML file as plain data in which every value still knows its line: what the loader reads and the checks point at."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from testbed.errors import Problem

Step = str | int


@dataclass(slots=True)
class Lines:
    """The line a value stands on (a mapping's value: that of its key), and those of the values inside it."""

    line: int
    inside: dict[Step, Lines | int] = field(default_factory=dict)

    def at(self, path: str) -> int:
        """The line of a dotted path (``nvas.nva2.asn``, ``peerings[3].to``), or of the nearest parent that the file has."""
        here: Lines | int = self
        rest = path
        while rest and isinstance(here, Lines):
            step, rest = _next_step(here, rest)
            if step is None:
                break
            here = here.inside[step]
        return here if isinstance(here, int) else here.line


def _next_step(here: Lines, rest: str) -> tuple[Step | None, str]:
    """The first step of a path from here, and what remains; names may hold dots, so the longest name that exists is taken."""
    index = re.match(r"\[(\d{1,9})\]\.?", rest)
    if index is not None:
        number = int(index[1])
        return (number if number in here.inside else None), rest[index.end() :]
    ends = [match.start() for match in re.finditer(r"[.\[]|$", rest)]
    end = next((end for end in reversed(ends) if rest[:end] in here.inside), None)
    if end is None:
        return None, ""
    return rest[:end], rest[end:].removeprefix(".")


def dotted(steps: tuple[Step, ...]) -> str:
    """The dotted path of some steps: ``("peerings", 3, "to")`` is ``peerings[3].to``."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).removeprefix(".")


@dataclass(frozen=True)
class Document:
    """A file's data (mappings, lists, texts, numbers, booleans, None), its lines, and the problems that did not keep it from being read."""

    file: str
    data: Any
    lines: Lines
    problems: tuple[Problem, ...] = ()
