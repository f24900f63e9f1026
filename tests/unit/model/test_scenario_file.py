"""Scenario files: every wrong name with its line, and a documentation that cannot be out of date."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from testbed.errors import InputError
from testbed.model.scenario import Scenario, action_of, fault_action
from testbed.model.scenario_file import load_scenario
from testbed.model.schema import reference_of, scenario_schema

ROOT = Path(__file__).parents[3]
DOCUMENT = ROOT / "docs" / "scenarios.md"
GOLDEN = ROOT / "tests" / "golden" / "scenario"
MARK = "TESTBED_UPDATE_GOLDEN=1 pytest tests/unit/model -->\n\n"
UPDATE = bool(os.environ.get("TESTBED_UPDATE_GOLDEN"))


def test_the_reference_in_the_documentation_is_that_of_the_code() -> None:
    hand_written, mark, reference = DOCUMENT.read_text().partition(MARK)
    assert mark
    if UPDATE:
        reference = reference_of(Scenario)
        DOCUMENT.write_text(hand_written + mark + reference)
    assert reference == reference_of(Scenario), "run with TESTBED_UPDATE_GOLDEN=1"


def test_every_key_is_explained() -> None:
    schema = scenario_schema()
    parts = [("Scenario", schema), *schema["$defs"].items()]
    assert [
        f"{name}.{key}" for name, part in parts for key, field in part.get("properties", {}).items() if not field.get("description")
    ] == []


def test_the_example_in_the_documentation_loads(tmp_path: Path) -> None:
    examples = re.findall(r"```yaml\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert examples
    for number, example in enumerate(examples):
        file = tmp_path / "scenarios" / f"{number}.yaml"
        file.parent.mkdir(exist_ok=True)
        (tmp_path / "topologies").mkdir(exist_ok=True)
        (tmp_path / "topologies" / "dual-region.yaml").write_text((ROOT / "topologies" / "dual-region.yaml").read_text())
        file.write_text(example)
        assert load_scenario(file).scenario.steps


@pytest.mark.parametrize("path", sorted((ROOT / "scenarios").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_scenario_of_the_repository_loads(path: Path) -> None:
    loaded = load_scenario(path)
    assert loaded.scenario.name == path.stem
    assert loaded.scenario.description


def test_every_topology_begins_with_a_picture_and_has_a_scenario() -> None:
    used = {load_scenario(path).topology.topology.name for path in (ROOT / "scenarios").glob("*.yaml")}
    for path in sorted((ROOT / "topologies").glob("*.yaml")):
        head = path.read_text().partition("name:")[0].splitlines()
        assert all(not line or line.startswith("#") for line in head), path.name
        assert any("─" in line for line in head), f"{path.name} has no picture"
        assert path.stem in used, f"{path.name} has no scenario"


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.yaml")), ids=lambda path: path.stem)
def test_what_is_wrong_is_said_with_its_line(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(GOLDEN)
    with pytest.raises(InputError) as caught:
        load_scenario(Path(path.name))
    said = "\n".join(map(str, caught.value.problems)) + "\n"
    golden = path.with_suffix(".txt")
    if UPDATE:
        golden.write_text(said)
    assert said == golden.read_text()


def test_actions_from_plain_values_are_checked() -> None:
    assert fault_action("fail", node="nva1").detail.node == "nva1"
    with pytest.raises(InputError, match="name one thing"):
        fault_action("fail", node="nva1", tunnel="nva1-nva2")
    with pytest.raises(InputError, match=r"prefix: .*has host bits set"):
        action_of("announce", {"nva": "nva1", "prefix": "10.0.0.1/8"})
