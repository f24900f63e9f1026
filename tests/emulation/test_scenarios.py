"""The scenarios of the repository, each on a lab with real daemons: what chapter 5 of docs/azure-routing.md says must be observed."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.cli.conduct import conduct
from testbed.errors import ExitCode
from testbed.model.scenario_file import load_scenario

pytestmark = pytest.mark.root

PCAP_HEADER = 24
SCENARIOS = Path(__file__).parents[2] / "scenarios"
QUICK = {
    "active-active",
    "active-standby",
    "circuit-faults",
    "dual-region",
    "eight-nvas",
    "expressroute-overlay",
    "expressroute-plain",
    "expressroute-wan",
    "full-mesh",
    "internet-overlay",
    "ipsec-overlay",
    "no-overlay",
    "no-overlay-udr-propagation",
    "one-instance",
    "own-frr-config",
    "overlay-65515-kept",
    "route-limit",
    "third-party-next-hop",
    "three-regions",
    "two-gateways",
    "vpn-gateway",
}
"""What runs in CI; the others belong to the full run."""

PATHS = [
    pytest.param(path, marks=() if path.stem in QUICK else pytest.mark.full, id=path.stem) for path in sorted(SCENARIOS.glob("*.yaml"))
]


@pytest.mark.parametrize("path", PATHS)
def test_a_scenario_shows_what_it_says(path: Path, tmp_path: Path, lab_name: str) -> None:
    loaded = load_scenario(path)
    record = conduct(loaded, tmp_path, lab_name=lab_name, keep=False, prompt_on_failure=False, quiet=True)
    wanted = {f"{action.capture.file}.pcap" for step in loaded.scenario.steps for action in step.do if action.capture}
    assert {file.name for file in tmp_path.glob("*.pcap") if file.stat().st_size > PCAP_HEADER} == wanted
    failed = [
        f"{step['stage']}: {check['expected']}: {check['reason']}"
        for step in record["steps"]
        for check in step["checks"]
        if not check["ok"]
    ]
    failed += [f"{step['stage']}: {step['error']}" for step in record["steps"] if step["error"]]
    assert (failed, record["error"]) == ([], "")
    assert (record["verdict"], record["exit_code"]) == ("passed", ExitCode.OK)
    assert all(step["checks"] for step in record["steps"])
