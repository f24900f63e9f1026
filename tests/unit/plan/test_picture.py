"""The picture of a topology: everything is in it, and Graphviz reads it."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from testbed.model.loader import parse_topology
from testbed.model.topology import Circuit, Link
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


def test_distances_are_written_on_the_links() -> None:
    assert "global peering, 40 ms, 1000 Mbit/s" in dot(designs.overlay())
    circuit = Circuit(gateways={"er1": Link(delay=0.02)}, line=Link(delay=0.005, jitter=0.001, loss=0.5, reorder=1))
    drawn = dot(designs.on_premises().model_copy(update={"circuits": {"london": circuit}}))
    assert '"er1" -- "circuit london" [color="#6d3fc0", fontcolor="#6d3fc0", label=" 20 ms "]' in drawn
    assert '" 5 ms, ±1 ms, 0.5 % loss, 1 % overtake "' in drawn
    assert '"er1" -- "circuit london" [color="#6d3fc0"];' in dot(designs.on_premises())


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
