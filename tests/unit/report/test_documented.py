"""docs/measurements.md knows every key that can be declared, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from testbed.model.measurement import Failover, Loop, Throughput
from testbed.model.values import Declared
from testbed.scenario.witnesses import FAILING, HEALING

TEXT = (Path(__file__).parents[3] / "docs" / "measurements.md").read_text()


def section(title: str) -> str:
    return TEXT.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


@pytest.mark.parametrize("declared", [Failover, Loop, Throughput])
def test_every_key_is_in_its_table(declared: type[Declared]) -> None:
    table = [line.split("|")[1] for line in section(declared.__name__).splitlines() if line.startswith("| `")]
    documented = {key for cell in table for key in re.findall(r"`([a-z_]+)`", cell)} - {*FAILING, *HEALING}
    assert documented == {field.alias or name for name, field in declared.model_fields.items()}


def test_every_milestone_has_its_observer() -> None:
    documented = set(re.findall(r"`([a-z]+)`", "".join(line.split("|")[1] for line in section("Failover").splitlines() if "|" in line)))
    assert {*FAILING, *HEALING} <= documented
