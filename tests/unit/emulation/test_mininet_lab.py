"""The lab as Mininet objects changes nothing of the machine by being described."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.emulation.mininet_lab import LabNet
from testbed.emulation.paths import LabPaths
from testbed.model.loader import load_topology
from testbed.plan.compile import compile_plan
from testbed.plan.templates import load_templates

DUAL_REGION = Path(__file__).parents[3] / "topologies" / "dual-region.yaml"


def test_the_limits_of_the_machine_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mininet's first network raises sysctls and resource limits of whoever runs it."""

    def raised() -> None:
        pytest.fail("Mininet was about to change limits of the machine")

    monkeypatch.setattr("mininet.net.fixLimits", raised)
    monkeypatch.setattr("mininet.net.ensureRoot", raised)
    plan = compile_plan(load_topology(DUAL_REGION).topology, lab="described", templates=load_templates())
    network = LabNet(plan, LabPaths.of("described"))
    assert {host.name for host in network.hosts} == {node.name for node in plan.nodes}
