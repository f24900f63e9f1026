"""Records read back, repeated runs summed up, and JUnit XML."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from testbed.cli.repeating import merged
from testbed.cli.report import report
from testbed.errors import InputError
from testbed.report.compare import figures
from testbed.report.junit import junit
from testbed.report.record import read
from testbed.report.repeats import summaries

from .made import failover, record, step, throughput


def write(folder: Path, data: object) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "record.json").write_text(json.dumps(data))
    return folder


def test_a_record_is_read_by_its_file_or_its_folder(tmp_path: Path) -> None:
    folder = write(tmp_path / "run", record(step()))
    assert read(folder) == read(folder / "record.json") == record(step())


def test_what_is_no_record_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read(tmp_path / "none.json")
    with pytest.raises(InputError, match="no record of a run"):
        read(write(tmp_path / "other", ["something"]))
    with pytest.raises(InputError, match="format 99; this version reads 1, 2"):
        read(write(tmp_path / "new", record(step(), format=99)))


def outages(*values: tuple[float, bool]) -> list[dict[str, object]]:
    found = []
    for value, valid in values:
        measured = failover(*([] if valid else ["disturbed"]))
        measured["figures"][0]["measured"] = value
        found.append(record(step(measured)))
    return found


def test_repeats_have_median_and_spread_of_the_valid_and_all_samples() -> None:
    outage, lost = summaries(outages((0.1, True), (0.3, True), (9.0, False), (0.2, True)))
    assert (outage["median"], outage["least"], outage["greatest"], outage["invalid"]) == (0.2, 0.1, 0.3, 1)
    assert outage["deviation"] == pytest.approx(0.1)
    assert [sample["measured"] for sample in outage["samples"]] == [0.1, 0.3, 9.0, 0.2]
    assert (lost["name"], lost["unit"]) == ("lost", "packets")


def test_repeats_without_a_valid_sample_have_no_median() -> None:
    assert summaries(outages((1.0, False)))[0]["median"] is None


def test_runs_together_are_as_good_as_the_worst() -> None:
    good, bad = record(step()), record(step(ok=False), exit_code=1)
    both = merged([bad, good])
    assert (both["verdict"], both["exit_code"], both["repeats"]["verdicts"]) == ("failed", 1, ["failed", "passed"])
    assert both["steps"] == good["steps"]
    assert both["seconds"] == 120.0
    assert merged([good, good])["verdict"] == "passed"


def test_runs_of_different_stages_meet_by_what_they_measure() -> None:
    one, other = record(step(throughput(), stage="VXLAN")), record(step(throughput(), stage="IPsec"))
    assert list(figures([one, other])) == [("throughput", "throughput", "TCP goodput")]
    assert list(figures([one, one])) == [("VXLAN", "throughput", "TCP goodput")]


def test_a_repeated_run_is_compared_by_its_median() -> None:
    repeated = record(step(failover())) | {"repeats": {"count": 2, "summaries": summaries(outages((0.1, True), (0.3, True)))}}
    found = figures([repeated, record(step(failover()))])
    assert [value for _, value, _, _ in found["process death", "failover", "outage"]] == [0.2, 0.1]


def test_a_repeated_run_without_a_valid_figure_is_compared_as_invalid() -> None:
    repeats = {"count": 2, "summaries": summaries(outages((0.1, False), (0.3, False)))}
    repeated = record(step(failover())) | {"repeats": repeats}
    found = figures([repeated, record(step(failover()))])
    assert [(value, valid) for _, value, _, valid in found["process death", "failover", "outage"]] == [(0.2, False), (0.1, True)]


def test_junit_has_a_case_a_check_and_says_what_failed_and_what_is_invalid() -> None:
    broken = record(step(failover("disturbed"), ok=False), error="the lab\x00 fell over", verdict="error")
    broken["steps"].append(step(stage="later") | {"error": "cannot do that"})
    (suite,) = ElementTree.fromstring(junit([broken]))
    assert suite.attrib | {"timestamp": ""} == {
        "name": "made-up", "timestamp": "", "tests": "5", "failures": "1", "errors": "2", "skipped": "1", "time": "60.000",
    }  # fmt: skip
    assert [child.attrib["message"] for case in suite for child in case] == [
        "the lab fell over", "measured 2 s", "disturbed", "cannot do that",
    ]  # fmt: skip


def test_the_command_writes_a_page_or_xml(tmp_path: Path) -> None:
    folder, output = write(tmp_path / "run", record(step(failover()))), tmp_path / "out"
    assert CliRunner().invoke(report, [str(folder), "-o", str(output)]).exit_code == 0
    assert output.read_text().startswith("<!doctype html>")
    assert CliRunner().invoke(report, [str(folder), "--junit", "-o", str(output)]).exit_code == 0
    assert "<testsuites" in output.read_text()
    assert isinstance(CliRunner().invoke(report, [str(folder), "--compare", "-o", str(output)]).exception, InputError)
