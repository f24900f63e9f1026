"""The files that a topology brings along."""

from __future__ import annotations

from pathlib import Path

from testbed.model.loader import load_topology
from testbed.scenario.planning import own_configurations

TEXT = """
name: x
regions: {r: {vnets: {v: {address_space: [10.0.0.0/16], subnets: {a: 10.0.0.0/24}}}}}
nvas:
  near: {subnet: v/a, asn: 65001, frr_config: near.conf}
  far: {subnet: v/a, asn: 65002, frr_config: configs/far.conf}
"""


def test_an_frr_config_is_read_where_it_was_found(tmp_path: Path) -> None:
    topologies = tmp_path / "topologies"
    for folder in (topologies, tmp_path / ".git", tmp_path / "configs"):
        folder.mkdir()
    (topologies / "near.conf").write_text("hostname near\n")
    (tmp_path / "configs" / "far.conf").write_text("hostname far\n")
    file = topologies / "x.yaml"
    file.write_text(TEXT)
    assert own_configurations(file, load_topology(file).topology) == {"near": "hostname near\n", "far": "hostname far\n"}
