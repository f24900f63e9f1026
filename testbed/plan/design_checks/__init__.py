"""`check` as a whole: the tables and the walks of a design, its accepted findings, and where each stands in the file."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from testbed.azure.control_plane import converge
from testbed.azure.design_checks import examine
from testbed.azure.design_checks.catalogue import CATALOGUE, Severity
from testbed.azure.design_checks.finding import Case, Finding
from testbed.azure.design_checks.suppressions import apply
from testbed.model.loader import Loaded
from testbed.plan.design_checks.walks import Walks, summary
from testbed.plan.prover import inhabited, prove

_ORDER = list(Severity)


class Located(Struct, frozen=True):
    """A finding with its place in the file."""

    finding: Finding
    file: str
    line: int

    def text(self, background: bool = True) -> str:
        """The finding for people, in the order in which one reads: where, what, why (with ``background``), what to do."""
        entry, finding = CATALOGUE[self.finding.code], self.finding
        why = f"    {entry.title}. {entry.why}\n" if background else ""
        head = f"{self.file}:{self.line}: {finding.severity} {finding.code}: {finding.path}: {finding.message}\n"
        return f"{head}{why}    remedy: {finding.remedy}"

    def to_json(self) -> dict[str, object]:
        """The finding as plain data."""
        entry, finding = CATALOGUE[self.finding.code], self.finding
        return {
            "code": finding.code,
            "severity": finding.severity.value,
            "file": self.file,
            "line": self.line,
            "path": finding.path,
            "title": entry.title,
            "message": finding.message,
            "why": entry.why,
            "remedy": finding.remedy,
            "source": entry.source,
        }


class Report(Struct, frozen=True):
    """All findings of a design, the worst first; ``suppressed`` are those that the file accepts, with its reason."""

    findings: tuple[Located, ...]
    suppressed: tuple[tuple[Located, str], ...]
    proved: str

    def count(self, severity: Severity) -> int:
        """How many findings are of a severity."""
        return sum(1 for each in self.findings if each.finding.severity is severity)

    def fails(self, strict: bool) -> bool:
        """Whether `check` fails: on errors, with ``strict`` on warnings too."""
        return bool(self.count(Severity.ERROR) or (strict and self.count(Severity.WARNING)))


def check_design(loaded: Loaded, frr_texts: Mapping[str, str] | None = None) -> Report:
    """Every known mistake of a design. ``frr_texts`` are the NVAs' own FRR configurations, by NVA."""
    topology = inhabited(loaded.topology)
    plane = converge(topology)
    case = Case(plane, frr_texts)
    found = examine(case)
    proof = prove(topology, plane)
    found += Walks(case, proof, found).findings()
    unique = list({(each.code, each.path): each for each in reversed(found)}.values())[::-1]
    kept, suppressed = apply(unique, topology.suppress)
    places = sorted(
        (_located(loaded, each) for each in kept), key=lambda each: (_ORDER.index(each.finding.severity), each.line, each.finding.code)
    )
    return Report(tuple(places), tuple((_located(loaded, each), reason) for each, reason in suppressed), summary(proof))


def _located(loaded: Loaded, finding: Finding) -> Located:
    return Located(finding, loaded.file, loaded.line(finding.path))
