"""What a user sees when things go wrong: exit code 1, which expectation failed and why, evidence in the results, and no lab left."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from testbed.emulation import client
from testbed.errors import TestbedError
from testbed.wait import wait_until

pytestmark = pytest.mark.root

ROOT = Path(__file__).parents[2]
TUNNEL = """
name: pair
regions:
  region1: {vnets: {hub1: {address_space: [10.1.0.0/16], subnets: {nva: 10.1.0.0/24}}}}
  region2: {vnets: {hub2: {address_space: [10.2.0.0/16], subnets: {nva: 10.2.0.0/24}}}}
peerings: [{from: hub1, to: hub2}, {from: hub2, to: hub1}]
nvas:
  nva1: {subnet: hub1/nva, asn: 65001}
  nva2: {subnet: hub2/nva, asn: 65002}
tunnels:
  - {type: ipsec, between: [nva1, nva2], bgp_password: true}
"""


def failed_run(folder: Path, lab: str, topology: str, actions: list[dict[str, Any]], expected: dict[str, Any]) -> str:
    """Run a scenario that must fail in its second step; give back what is printed. All else that must be so is asserted here."""
    step = {"stage": "bad luck", "within": 4.0, "do": actions, "expect": [expected]}
    scenario = {"name": "luck", "topology": topology, "steps": [{"stage": "before", "expect": [{"sessions": {"kind": "all"}}]}, step]}
    file = folder / "luck.yaml"
    file.write_text(json.dumps(scenario))  # which is YAML
    argv = (sys.executable, "-m", "testbed.cli", "run", str(file), "--name", lab, "--results", str(folder / "results"))
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert client.labs() == ()
    (record,) = (json.loads(each.read_text()) for each in (folder / "results").glob("*/record.json"))
    assert (record["verdict"], record["error"]) == ("failed", "")
    assert [[check["ok"] for check in each["checks"]] for each in record["steps"]] == [[True, True], [True, False]], done.stdout
    left = {each.name for each in (folder / "results").glob("*/bundle/*")}
    assert {"nva1.bgpd.conf", "nva1.bgp.json", "nva1.bgpd.log", "controller-flows.json", "labd-status.json", "log"} <= left
    assert "configurations, BGP tables, flows and logs of the lab: " in done.stdout
    return done.stdout


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("key", r"charon: .*(AUTHENTICATION_FAILED|MAC mismatched)"),
        pytest.param("proposals", r"charon: .*(NO_PROPOSAL_CHOSEN|proposals unacceptable)", marks=pytest.mark.full),
        ("password", r"nva1: \d+ TCP segments refused, their MD5 signature is missing or made with another password"),
    ],
)
def test_two_ends_that_no_longer_agree(tmp_path: Path, lab_name: str, what: str, words: str) -> None:
    (tmp_path / "pair.yaml").write_text(TUNNEL)
    fault = {"fail": {"tunnel": "nva1-nva2", "mismatch": what}}
    printed = failed_run(tmp_path, lab_name, "pair.yaml", [fault], {"session": {"between": ["nva1", "nva2"]}})
    assert re.search(rf"expected up, observed nva1 ↔ nva2 \(overlay\): .*{words}", printed), printed


def test_a_daemon_that_is_killed(tmp_path: Path, lab_name: str) -> None:
    topology = str(ROOT / "topologies" / "dual-region.yaml")
    fault = {"fail": {"node": "nva1", "daemon": "bgpd"}}
    printed = failed_run(tmp_path, lab_name, topology, [fault], {"session": {"between": ["rs1", "nva1"]}})
    assert "rs1-0 (route_server): closed; nva1: bgpd is dead (signal 9)" in printed


def test_a_daemon_that_somebody_else_kills(tmp_path: Path, lab_name: str) -> None:
    (tmp_path / "pair.yaml").write_text(TUNNEL)
    ends = {"between": ["nva1", "nva2"]}
    steps = [
        {"stage": "until it dies", "within": 60, "expect": [{"session": ends | {"up": False}}]},
        {"stage": "then", "within": 1, "expect": [{"session": ends}]},
    ]
    file = tmp_path / "luck.yaml"
    file.write_text(json.dumps({"name": "luck", "topology": "pair.yaml", "steps": steps}))
    argv = (sys.executable, "-m", "testbed.cli", "run", str(file), "--name", lab_name, "--results", str(tmp_path / "results"))
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        wait_until(lambda: None if _state(lab_name) == "up" else "not up yet", what="the lab", budget=60.0)
        (node,) = (each for each in client.LabClient(lab_name).status()["nodes"] if each["name"] == "nva1")
        (pid,) = (each["pid"] for each in node["daemons"] if each["name"] == "bgpd")
        os.kill(pid, signal.SIGKILL)
        printed, told = running.communicate(timeout=120)
    assert running.returncode == 1, printed + told
    assert "expected up, observed nva1 ↔ nva2 (overlay)" in printed
    assert "nva1: bgpd is dead (signal 9)" in printed
    assert "died unasked: nva1: bgpd (signal 9)" in told
    assert client.labs() == ()


def _state(lab: str) -> str:
    try:
        return str(client.LabClient(lab).status()["state"])
    except (TestbedError, OSError) as error:
        return str(error)


def test_a_circuit_that_flaps(tmp_path: Path, lab_name: str) -> None:
    topology = str(ROOT / "topologies" / "expressroute-overlay.yaml")
    link = {"link": ["london-msee0", "onprem"]}
    flaps = [{verb: link} for verb in ("fail", "heal", "fail", "heal", "fail")]
    printed = failed_run(tmp_path, lab_name, topology, flaps, {"session": {"between": ["london-msee0", "onprem"]}})
    assert re.search(r"london-msee0 ↔ onprem \(\w+\): .*onprem: bgpd: .*neighbor \S+ in vrf default Down Interface down", printed), printed
