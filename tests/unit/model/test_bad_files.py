"""Every kind of wrong file against the exact words it is refused with; TESTBED_UPDATE_GOLDEN=1 rewrites them, to be read in the diff."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from testbed.errors import ExitCode, InputError
from testbed.model.loader import load_topology

FOLDER = Path(__file__).parents[2] / "golden" / "model" / "bad"
FILES = sorted(FOLDER.glob("*.yaml"))
JARGON = ("pydantic", "Input should", "validation", "Field required", "dict", "tuple", "NoneType", "<class", "Traceback")


def errors_of(path: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        load_topology(path)
    return caught.value


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_is_refused_in_these_words(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER)
    error = errors_of(Path(path.name))
    golden = path.with_suffix(".errors")
    if os.environ.get("TESTBED_UPDATE_GOLDEN"):
        golden.write_text(f"{error}\n")
    assert f"{error}\n" == golden.read_text()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_problems_are_in_order_and_in_plain_words(path: Path) -> None:
    error = errors_of(path)
    assert error.exit_code is ExitCode.BAD_INPUT
    lines = [problem.line for problem in error.problems if problem.line]
    assert lines == sorted(lines)
    assert len(set(error.problems)) == len(error.problems)
    assert not [word for word in JARGON if word in str(error)]
    assert "\x1b" not in str(error)


def test_there_are_no_golden_files_without_input() -> None:
    assert {path.stem for path in FOLDER.glob("*.errors")} == {path.stem for path in FILES}
