"""The pytest plugin as a user meets it: the example of its page runs, a failure explains itself, nothing is left behind."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from testbed.emulation import client

pytestmark = pytest.mark.root

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "pytest-plugin.md"

FAILING = """
import pytest

pytestmark = pytest.mark.topology("no-overlay.yaml")


def test_spokes_reach_each_other(lab):
    lab.assert_delivered("vm11", "vm21", within=0.5)


def test_the_firewall_is_on_the_way(lab):
    lab.assert_no_bypass("vmh1", "vmh2", nva=["nva1", "nva2"], within=0.2)


def test_words(lab):
    lab.assert_loops("vm11", "vm21", at="10.1.0.4")
    lab.assert_route("vm11", "10.21.0.0/16", via="10.1.0.4", kind="VirtualNetworkGateway")
    lab.assert_no_route("vm11", "10.12.0.0/16")
    lab.expect("sessions", kind="underlay", established=1)
    assert "E6" in lab.explain("vm11", "vm21")
    assert lab.warnings == ()


def test_typing_errors(lab):
    lab.do("anounce", nva="nva1", prefix="192.0.2.0/24")
"""


def run(folder: Path, text: str, topology: str, *options: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text(text)
    (folder / f"{topology}.yaml").write_text((ROOT / "topologies" / f"{topology}.yaml").read_text())
    argv = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", str(folder), "-c", os.devnull, *options, "test_it.py")
    return subprocess.run(argv, cwd=folder, input=typed, capture_output=True, text=True, timeout=200, check=False)


def test_the_example_of_the_documentation_runs(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    done = run(tmp_path, example, "active-standby")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"[3-9] passed", done.stdout)
    assert client.labs() == ()


def test_a_failure_explains_itself_and_leaves_the_state_of_the_lab(tmp_path: Path) -> None:
    done = run(tmp_path, FAILING, "no-overlay", "--lab-artefacts", str(tmp_path / "kept"))
    assert "3 failed, 1 passed" in done.stdout, done.stdout + done.stderr
    assert "vm11 → vm21: loop, TTL exceeded sent by 10.1.0.4" in done.stdout
    assert "on paper:" in done.stdout
    assert "E6: the route 10.21.0.0/16 at nva1 points at nva1 itself" in done.stdout
    assert "expected every way through nva1 or nva2, observed vmh1 → vmh2; vmh2 → vmh1" in done.stdout
    assert "anounce: no such key" in done.stdout
    kept = {path.parent.name for path in (tmp_path / "kept").glob("*/nva1.bgpd.conf")}
    assert kept == {f"test_it.py-test_{name}" for name in ("spokes_reach_each_other", "the_firewall_is_on_the_way", "typing_errors")}
    assert client.labs() == ()


def test_a_lab_is_kept_if_wanted(tmp_path: Path) -> None:
    text = 'import pytest\n\n\n@pytest.mark.parametrize("lab", ["supernet.yaml"], indirect=True)\ndef test_up(lab):\n    assert lab.name\n'
    done = run(tmp_path, text, "supernet", "--keep-lab")
    (left,) = client.labs()
    client.down(left)
    assert f"lab {left} stays up; `testbed down {left}` removes it" in done.stdout


def test_a_lab_that_does_not_come_up_leaves_its_state(tmp_path: Path) -> None:
    text = 'import pytest\npytestmark = pytest.mark.topology("own.yaml")\ndef test_it(lab):\n    pass\n'
    design = (ROOT / "topologies" / "supernet.yaml").read_text()
    (tmp_path / "own.yaml").write_text(design.replace("nva1: {subnet", "nva1: {frr_config: own.conf, subnet"))
    (tmp_path / "own.conf").write_text("router bgp 65001\n no such words\n")
    done = run(tmp_path, text, "supernet", "--lab-artefacts", str(tmp_path / "kept"))
    assert "1 error" in done.stdout, done.stdout
    assert "no such words" in done.stdout
    assert {"nva1.frr.conf", "rs1-0.bgp.json", "labd-status.json"} <= {path.name for path in (tmp_path / "kept").glob("test_it.py-own/*")}
    assert client.labs() == ()


def test_the_prompt_opens_on_the_live_lab_of_a_failed_test(tmp_path: Path) -> None:
    text = (
        'import pytest\n\npytestmark = pytest.mark.topology("supernet.yaml")\n\n\n'
        'def test_it(lab):\n    lab.assert_dropped("vm11", "vmh1", within=0.1)\n'
    )
    done = run(tmp_path, text, "supernet", "--cli-on-error", typed="vm11 ip -br address show eth0\nexit\n")
    assert "test_it failed: Mininet's prompt on the live lab" in done.stdout
    assert "10.11.0.4/24" in done.stdout + done.stderr
    assert "1 failed" in done.stdout
    assert client.labs() == ()


def test_a_topology_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = run(tmp_path, 'import pytest\npytestmark = pytest.mark.topology("none.yaml")\ndef test_up(lab):\n    pass\n', "supernet")
    assert done.returncode != 0
    assert "no topology file none.yaml" in done.stdout + done.stderr
