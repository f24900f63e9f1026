"""The picture of a topology: everything is in it, and Graphviz reads it."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from testbed.model.loader import parse_topology
from testbed.plan.describe import describe
from testbed.plan.picture import dot

from . import designs


@pytest.mark.parametrize("text", [designs.OVERLAY, designs.NO_OVERLAY], ids=["overlay", "no overlay"])
def test_graphviz_draws_it(text: str) -> None:
    if shutil.which("dot") is None:
        pytest.skip("graphviz is not installed")
    drawn = subprocess.run(["dot", "-Tsvg"], input=dot(parse_topology(designs.DUAL_REGION + text).topology), capture_output=True, text=True)
    assert drawn.returncode == 0, drawn.stderr
    assert drawn.stderr == ""
    for name in ("hub1", "spoke21", "nva1", "rs2", "vm11", "10.11.0.0/16", "global peering"):
        assert name in drawn.stdout
    assert ("VXLAN" in drawn.stdout) == (text == designs.OVERLAY)


def test_quotes_cannot_break_out() -> None:
    topology = designs.overlay().model_copy(update={"description": 'a "quoted" \\ word'})
    assert '\\"quoted\\" \\\\ word' in dot(topology)


def test_the_plan_in_words() -> None:
    text = describe(designs.compiled(designs.overlay()))
    for words in (
        "NICs (11)",
        "vm11",
        "spoke11/workload",
        "BGP sessions (5)",
        "nva1-nva2",
        "| router bgp 65001",
        "table 20 route",
        "40 ms",
    ):
        assert words in text
