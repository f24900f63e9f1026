"""Findings that a topology file accepts, with a reason."""

from __future__ import annotations

import re
from collections.abc import Sequence

from testbed.azure.design_checks.finding import Finding
from testbed.model.topology import Suppression


def apply(findings: Sequence[Finding], suppressions: Sequence[Suppression]) -> tuple[list[Finding], list[tuple[Finding, str]]]:
    """What is left, and what is accepted with its reason. A suppression that matches nothing is itself a finding (SU001)."""
    kept: list[Finding] = []
    accepted: list[tuple[Finding, str]] = []
    used: set[int] = set()
    for finding in findings:
        place = next((number for number, each in enumerate(suppressions) if _matches(each, finding)), None)
        if place is None:
            kept.append(finding)
        else:
            used.add(place)
            accepted.append((finding, suppressions[place].reason))
    for number, each in enumerate(suppressions):
        if number not in used:
            text = f"there is no {each.code}{f' at {each.at}' if each.at else ''}"
            kept.append(Finding("SU001", f"suppress[{number}]", text, "remove the entry"))
    return kept, accepted


def _matches(suppression: Suppression, finding: Finding) -> bool:
    """``at`` is a path or whole steps of it: ``nvas.nva1`` or ``nva1`` for ``nvas.nva1.prepend``."""
    if suppression.code != finding.code:
        return False
    return suppression.at is None or re.search(rf"(^|\.){re.escape(suppression.at)}($|[.\[])", finding.path) is not None
