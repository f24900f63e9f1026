"""A hostile value at every place of a topology or scenario: refused in words, or harmless, and in no command, path or file of the plan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.emulation.fabric import node_lines, peering_lines, shaping_lines
from testbed.emulation.openvswitch import build
from testbed.errors import InputError
from testbed.model.loader import parse_topology
from testbed.model.scenario_file import load_scenario
from testbed.plan.compile import compile_plan
from testbed.plan.templates import load_templates
from testbed.plan.types import Capabilities, Plan

from .texts import DESIGN, MARK, OTHERS, SCENARIO, TEXTS, places, put, strings

DESIGN_PLACES = list(places(DESIGN))
SCENARIO_PLACES = list(places(SCENARIO))
TEMPLATES = load_templates()
FULL = Capabilities(netem=True)


def written(data: Any) -> str:
    """Data as a file; JSON is YAML, and writes what YAML's own writer would refuse."""
    return json.dumps(data)


def assert_in_words(error: InputError) -> None:
    """Nothing in the message can drive a terminal."""
    assert all(character.isprintable() or character == "\n" for character in str(error)), str(error)


def plan_of(text: str) -> Plan | None:
    """The plan of a file, None when the file is refused; whatever else happens fails the test."""
    try:
        loaded = parse_topology(text)
        return compile_plan(loaded.topology, templates=TEMPLATES, capabilities=FULL)
    except InputError as error:
        assert_in_words(error)
        return None


def everything_that_is_run(plan: Plan) -> list[str]:
    """All texts that reach a program, a file or the kernel: the plan's own and those made of it."""
    made: list[str] = list(strings(msgspec.to_builtins(plan)))
    for node in plan.nodes:
        made += node_lines(node, [])
    made += peering_lines(plan, plan.peerings) + shaping_lines(plan, plan.peerings)
    return made + list(strings(build(plan)))


def assert_harmless(plan: Plan) -> None:
    """No hostile text got anywhere, no line holds a second one, and no file of a node lies outside of its folder."""
    for text in everything_that_is_run(plan):
        assert MARK not in text, text
    for node in plan.nodes:
        for line in node_lines(node, []):
            assert line.isprintable(), line
        for name in node.files:
            assert name in {"bgpd.conf", "zebra.conf", "bfdd.conf", "strongswan.conf", "swanctl.conf"}


def try_design(index: int, value: Any) -> None:
    place, is_key = DESIGN_PLACES[index]
    if is_key and not isinstance(value, str):
        return
    plan = plan_of(written(put(DESIGN, place, is_key, value)))
    if plan is not None and isinstance(value, str):
        assert_harmless(plan)


def test_the_design_itself_is_right() -> None:
    plan = plan_of(written(DESIGN))
    assert plan is not None
    assert any("nva1" in text for text in everything_that_is_run(plan)), "or nothing could be found"
    assert len(DESIGN_PLACES) > 200


@given(st.integers(0, len(DESIGN_PLACES) - 1), st.sampled_from([*TEXTS, *OTHERS]))
@settings(deadline=None, max_examples=250)
def test_a_hostile_value_in_a_topology(index: int, value: Any) -> None:
    try_design(index, value)


@pytest.mark.full
@pytest.mark.timeout(1200)
def test_every_hostile_value_at_every_place_of_a_topology() -> None:
    for index in range(len(DESIGN_PLACES)):
        for value in (*TEXTS, *OTHERS):
            try_design(index, value)


@given(st.integers(0, len(DESIGN_PLACES) - 1), st.text(max_size=40) | st.floats() | st.integers() | st.binary(max_size=20).map(repr))
@settings(deadline=None, max_examples=150)
def test_any_value_in_a_topology_is_refused_or_builds_a_plan(index: int, value: Any) -> None:
    place, is_key = DESIGN_PLACES[index]
    plan_of(written(put(DESIGN, place, is_key, str(value) if is_key else value)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenarios")
    (folder / "design.yaml").write_text(written(DESIGN))
    return folder


def try_scenario(folder: Path, index: int, value: Any) -> None:
    place, is_key = SCENARIO_PLACES[index]
    if is_key and not isinstance(value, str):
        return
    file = folder / "scenario.yaml"
    file.write_text(written(put(SCENARIO, place, is_key, value)))
    try:
        loaded = load_scenario(file)
    except InputError as error:
        assert_in_words(error)
        return
    assert "/" not in loaded.scenario.name
    for step in loaded.scenario.steps:
        for action in step.do:
            if action.capture:
                assert "/" not in action.capture.file


def test_the_scenario_itself_is_right(folder: Path) -> None:
    (folder / "scenario.yaml").write_text(written(SCENARIO))
    assert load_scenario(folder / "scenario.yaml").scenario.name == "hostile"


@given(index=st.integers(0, len(SCENARIO_PLACES) - 1), value=st.sampled_from([*TEXTS, *OTHERS]))
@settings(deadline=None, max_examples=120)
def test_a_hostile_value_in_a_scenario(folder: Path, index: int, value: Any) -> None:
    try_scenario(folder, index, value)


@pytest.mark.full
@pytest.mark.timeout(1200)
def test_every_hostile_value_at_every_place_of_a_scenario(folder: Path) -> None:
    for index in range(len(SCENARIO_PLACES)):
        for value in (*TEXTS, *OTHERS):
            try_scenario(folder, index, value)
