"""The command line itself: help, exit codes, messages; no root, no lab."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from testbed import cli
from testbed.errors import ExitCode, InputError, MachineError, NotReady

HERE = Path(__file__).parents[3]
DUAL_REGION = str(HERE / "topologies" / "dual-region.yaml")


def test_every_command_can_be_imported_and_says_what_it_does() -> None:
    for name in cli.COMMANDS:
        done = CliRunner().invoke(cli.testbed, [name, "--help"])
        assert done.exit_code == 0, name
        assert "Usage:" in done.output


def test_help_imports_no_command() -> None:
    script = "import sys, testbed.cli as c; c.execute(['--help']); print(sorted(m for m in sys.modules if m.startswith('testbed')))"
    done = subprocess.run((sys.executable, "-c", script), capture_output=True, text=True, check=True)
    assert "['testbed', 'testbed.cli', 'testbed.errors']" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["chek"], ExitCode.BAD_INPUT, "did you mean 'check'?"),
        (["check", "nowhere.yaml"], ExitCode.BAD_INPUT, "nowhere.yaml"),
        (["predict", DUAL_REGION, "--nic", "vm99"], ExitCode.BAD_INPUT, "no NIC named vm99"),
        (["show", "learned-routes", "rs1", "nva9", "--predict", DUAL_REGION], ExitCode.BAD_INPUT, "no session of rs1 with nva9"),
        (["graph", DUAL_REGION, "-o", "x.bmp"], ExitCode.BAD_INPUT, "pictures end in .svg"),
        (["check", DUAL_REGION], ExitCode.OK, ""),
    ],
)
def test_exit_codes_and_messages(arguments: list[str], code: int, said: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.execute(arguments) == code
    assert said in "".join(capfd.readouterr())


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("x"), 2),
        (MachineError("x"), 3),
        (NotReady("x"), 1),
        (RuntimeError("x"), 4),
        (KeyboardInterrupt(), 130),
    ],
)
def test_each_error_has_its_exit_code(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr(cli.testbed, "main", fail)
    assert cli.execute(["status"]) == code
    assert capsys.readouterr().err


def test_root_is_asked_for_before_anything_is_done(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    for command in (["up", DUAL_REGION], ["down"], ["status"], ["run", "x.yaml"], ["show", "bgp"], ["exec", "vm11"], ["trace", "a", "b"]):
        assert cli.execute(command) == ExitCode.CANNOT, command
        assert "needs root" in capsys.readouterr().err


def test_predict_speaks_json(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.execute(["predict", DUAL_REGION, "--json", "--nic", "vm11"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert list(found["effectiveRoutes"]) == ["vm11"]
    assert {entry["network"] for entry in found["learnedRoutes"]["rs1"]["nva1"]["RouteServiceRole_IN_0"]} >= {"10.21.0.0/16"}


def test_schemas_are_json_schemas(capfd: pytest.CaptureFixture[str]) -> None:
    for kind, key in (("topology", "regions"), ("scenario", "steps")):
        assert cli.execute(["schema", kind]) == 0
        assert key in json.loads(capfd.readouterr().out)["properties"]
