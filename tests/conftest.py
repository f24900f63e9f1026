"""Rules for all tests: what CI needs may not be skipped, and each run leaves its closing line for the sum of all runs."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path
from typing import TypeVar

import pytest

R = TypeVar("R", pytest.TestReport, pytest.CollectReport)
STRICT = os.environ.get("CI") == "true"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a skip is a failure: set-up installs what the tests need, so something is missing."""
    report = yield
    return forbid_skip(report)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a module that skips itself as a whole."""
    report = yield
    return forbid_skip(report)


def forbid_skip(report: R) -> R:
    """Turns a skip (not an expected failure) into a failure that carries the reason."""
    if STRICT and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow: {report.longrepr}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config) -> None:
    """Adds `=== 12 passed, 1 failed` of this run to the file that testbed.sh sums up."""
    tally = os.environ.get("TESTBED_TEST_TALLY")
    if tally and not hasattr(config, "workerinput"):
        counts = {name: len(terminalreporter.getreports(name)) for name in ("passed", "failed", "error", "skipped")}
        line = ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "no tests ran"
        what = config.getoption("markexpr") or "all"
        with Path(tally).open("a") as file:
            file.write(f"=== {line} ({what})\n")
