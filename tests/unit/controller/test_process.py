"""The process: what it says and how it ends when it cannot start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def controller(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "testbed.controller", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)


@pytest.mark.parametrize("content", [None, "{", "[]", '{"format": 1}'])
def test_without_a_plan_it_says_so_and_leaves_nothing(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "plan.json").write_text(content)
    result = controller("--lab-dir", str(tmp_path))
    assert result.returncode == 2
    assert result.stderr.startswith(f"{tmp_path}/plan.json: ")
    assert "Traceback" not in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == (["plan.json"] if content is not None else [])


def test_help_does_not_import_os_ken() -> None:
    code = """
import runpy, sys
sys.argv = ["x", "--help"]
try:
    runpy.run_module("testbed.controller", run_name="__main__")
except SystemExit:
    print("os_ken" in sys.modules)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert result.stdout.splitlines()[-1] == "False"
