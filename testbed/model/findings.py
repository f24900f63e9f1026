"""What a check of a file found, by path; it becomes a problem once the line and a suggestion are known."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from testbed.errors import Problem
from testbed.model.document import Document

MAX_COMPARISONS = 20_000  # comparing names is slow; a file with more mistakes than that is helped enough by the first suggestions


@dataclass(frozen=True)
class Finding:
    """One thing wrong at a dotted path. ``wrong`` and ``known`` are a name that does not exist and those that do, for a suggestion."""

    path: str
    message: str
    hint: str = ""
    wrong: str = ""
    known: tuple[str, ...] = ()


def problems_of(findings: Iterable[Finding], document: Document) -> list[Problem]:
    """Findings as problems, in the order of the file, with a suggestion where a name is close; a file full of mistakes gets a few only."""
    located = sorted(((document.lines.at(finding.path), finding) for finding in findings), key=lambda pair: pair[0])
    problems = []
    budget = MAX_COMPARISONS
    for line, finding in located:
        hint = finding.hint
        if finding.known and budget >= len(finding.known):
            budget -= len(finding.known)
            hint = suggestion(finding.wrong, finding.known) or hint
        problems.append(Problem(document.file, line, finding.path, finding.message, hint))
    return problems


def suggestion(wrong: str, known: tuple[str, ...]) -> str:
    """``did you mean NAME?`` when one of the known names is close, else the known names if they are few, else nothing."""
    close = get_close_matches(wrong, known, n=1)
    if close:
        return f"did you mean {close[0]}?"
    return f"known: {', '.join(known)}" if len(known) <= 8 else ""
