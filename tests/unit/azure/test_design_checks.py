"""Each finding on a minimal bad design and on its corrected twin, as golden files; and designs that must be clean.

TESTBED_UPDATE_GOLDEN=1 rewrites the expected texts (tests/golden/checks/*.txt) and docs/findings.md, to be read in the diff.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from testbed.azure.design_checks.catalogue import CATALOGUE, Severity, explanation, reference
from testbed.cli.checking import examine, text
from testbed.plan.design_checks import Report

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests" / "golden" / "checks"

# What the bundled designs are meant to show; a design that is not listed is clean.
DELIBERATE = {
    "active-active": {"RS010"},
    "default-route": {"ER106"},
    "eight-nvas": {"RS010"},
    "expressroute-plain": {"GW006", "RS110"},
    "full-mesh": {"ER002"},
    "no-overlay": {"ER006"},
    "no-overlay-udr": {"PA003", "RS009"},
    "one-instance": {"RS003"},
    "overlay-65515-kept": {"RS008"},
    "spoke-without-remote-gateways": {"PE002"},
    "supernet": {"RS009"},
}
CAPTURED = {
    "default-route-propagation-off": {"RS004", "ER005"},
    "ecmp-four-nvas": {"RS004", "RS010", "ER005"},
    "interconnect-peered": {"RS001", "RS009", "ER106", "ER206", "GW004", "PA003"},
}


def counting(report: Report) -> set[str]:
    return {each.finding.code for each in report.findings if each.finding.severity is not Severity.INFO}


def codes(report: Report) -> set[str]:
    return {each.finding.code for each in report.findings}


def golden(path: Path, found: str) -> bool:
    if os.environ.get("TESTBED_UPDATE_GOLDEN"):
        path.write_text(found)
    return path.read_text() == found


@pytest.mark.parametrize("code", CATALOGUE)
def test_a_bad_design_has_the_finding_with_its_line_and_remedy(code: str) -> None:
    path = GOLDEN / f"{code}.bad.yaml"
    report = examine(path)
    assert code in codes(report)
    found = text(path, report).replace(f"{GOLDEN}/", "") + "\n"
    assert golden(GOLDEN / f"{code}.bad.txt", found)
    lines = path.read_text().splitlines()
    for each in report.findings:
        if each.finding.code == code:
            assert 0 < each.line <= len(lines)
            assert each.finding.remedy


@pytest.mark.parametrize("code", CATALOGUE)
def test_its_corrected_twin_is_clean(code: str) -> None:
    report = examine(GOLDEN / f"{code}.good.yaml")
    assert code not in codes(report)
    assert counting(report) == set()


@pytest.mark.parametrize("path", sorted((ROOT / "topologies").glob("*.yaml")), ids=lambda path: path.stem)
def test_bundled_designs_have_what_they_are_meant_to_show_and_nothing_else(path: Path) -> None:
    assert counting(examine(path)) == DELIBERATE.get(path.stem, set())


@pytest.mark.parametrize("case", CAPTURED)
def test_captured_designs(case: str) -> None:
    assert counting(examine(ROOT / "tests" / "azure-cases" / case / "topology.yaml")) == CAPTURED[case]


def test_every_entry_explains_itself() -> None:
    for code, entry in CATALOGUE.items():
        assert entry.code == code
        assert entry.why
        assert entry.remedy
        assert "RFC" in entry.source or "Microsoft" in entry.source or "docs/" in entry.source or entry.source[:1].isupper()
        assert code in explanation(entry)
    assert 'Microsoft: "Multi-region networking with Azure Route Server"' in explanation(CATALOGUE["RS008"])


def test_the_reference_is_generated() -> None:
    assert golden(ROOT / "docs" / "findings.md", reference())
