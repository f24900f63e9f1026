"""`soak` on a real lab, briefly: random faults leave no route, no flow, no packet behind, and no process grows."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from testbed.emulation import client

pytestmark = pytest.mark.root

HERE = Path(__file__).parents[2]


def test_random_faults_leave_nothing_and_nothing_grows(tmp_path: Path, lab_name: str) -> None:
    command = ("soak", "topologies/dual-region.yaml", "--minutes", "1", "--seed", "3", "--name", lab_name, "--results", str(tmp_path))
    done = subprocess.run((sys.executable, "-m", "testbed.cli", *command), cwd=HERE, capture_output=True, text=True, timeout=180)
    (file,) = tmp_path.glob("*/soak.json")
    kept = json.loads(file.read_text())
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert kept["broken"] == []
    assert kept["faults"] >= 2
    assert kept["survived"] == kept["faults"] == len(kept["trials"])
    assert {"labd", "lab.controller", "lab.ovs-vswitchd", "rs1-0.bgpd"} & {each["process"] for each in kept["growth"]}
    assert "left traces" in done.stdout
    assert client.labs() == ()
