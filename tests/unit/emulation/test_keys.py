"""Pre-shared keys: random, the same at both ends, the same for the next labd, and in no file that others can read."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import msgspec
import pytest

from testbed.emulation.fabric import write_files
from testbed.emulation.keys import Keys, write_private
from testbed.emulation.paths import LabPaths
from testbed.errors import LabError
from testbed.model.loader import parse_topology
from testbed.plan.compile import compile_plan
from testbed.plan.templates import load_templates
from testbed.plan.types import Node, Plan


@pytest.fixture
def paths(tmp_path: Path) -> LabPaths:
    return LabPaths(tmp_path)


def test_a_name_has_one_key_and_another_name_another(paths: LabPaths) -> None:
    one, again, other = Keys(paths).filled("{secret:a-b} {secret:a-b} {secret:b-c}").split()
    assert one == again
    assert one != other
    assert len(one) >= 43
    assert Keys(paths).filled("{secret:a-b}") == one


def test_another_lab_has_other_keys(tmp_path: Path) -> None:
    keys = set()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        keys.add(Keys(LabPaths(tmp_path / name)).filled("{secret:a-b}"))
    assert len(keys) == 2


def test_nobody_else_can_read_them(paths: LabPaths) -> None:
    previous = os.umask(0)
    try:
        Keys(paths).filled("{secret:a-b}")
    finally:
        os.umask(previous)
    assert stat.S_IMODE(paths.keys.stat().st_mode) == 0o600
    assert [file.name for file in paths.dir.iterdir()] == ["keys.json"]


def test_a_file_that_others_made_is_not_written_into(tmp_path: Path) -> None:
    trap, file = tmp_path / "trap", tmp_path / "swanctl.conf"
    trap.write_text("")
    file.symlink_to(trap)
    write_private(file, "a key")
    assert trap.read_text() == ""
    assert not file.is_symlink()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_damaged_file_is_named(paths: LabPaths) -> None:
    paths.keys.write_text("{")
    with pytest.raises(LabError, match=r"keys\.json cannot be read"):
        Keys(paths)


TWO_ENDS = """
name: keys
regions:
  region1: {vnets: {hub1: {address_space: [10.1.0.0/16], subnets: {nva: 10.1.0.0/24}}}}
nvas:
  nva1: {subnet: hub1/nva, asn: 65001}
  nva2: {subnet: hub1/nva, asn: 65002}
tunnels:
  - {type: ipsec, between: [nva1, nva2]}
"""


@pytest.fixture
def plan() -> Plan:
    whole = compile_plan(parse_topology(TWO_ENDS).topology, templates=load_templates())
    return msgspec.structs.replace(whole, nodes=tuple(map(_of_nobody, whole.nodes)))


def _of_nobody(node: Node) -> Node:
    """Without the user of its daemons, so that whoever runs the test may write its files."""
    return msgspec.structs.replace(node, daemons=tuple(msgspec.structs.replace(daemon, user=None) for daemon in node.daemons))


def test_the_key_is_in_the_files_of_charon_and_nowhere_in_the_plan(plan: Plan, paths: LabPaths) -> None:
    write_files(plan, paths)
    known = msgspec.json.decode(paths.keys.read_bytes(), type=dict[str, str])
    (key,) = known.values()
    assert key.encode() not in msgspec.json.encode(plan)
    holders = {file for file in paths.dir.rglob("*") if file.is_file() and key in file.read_text()}
    assert holders == {paths.keys, *(paths.node(node) / "swanctl.conf" for node in plan.nodes)}
    assert {stat.S_IMODE(file.stat().st_mode) for file in holders} == {0o600}


def test_files_written_again_keep_the_key(plan: Plan, paths: LabPaths) -> None:
    file = paths.node(plan.nodes[0]) / "swanctl.conf"
    write_files(plan, paths)
    before = file.read_text()
    write_files(plan, paths, plan.nodes[:1])
    assert file.read_text() == before
