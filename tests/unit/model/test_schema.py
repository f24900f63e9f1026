"""The JSON Schema and the documentation of the format: complete, true, and up to date."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from testbed.model.loader import parse_topology, read_document
from testbed.model.schema import reference_markdown, scenario_schema, topology_schema
from testbed.model.topology import Topology

ROOT = Path(__file__).parents[3]
DOCUMENT = ROOT / "docs" / "topology.md"
MARK = "TESTBED_UPDATE_GOLDEN=1 pytest tests/unit/model -->\n\n"


def test_the_reference_in_the_documentation_is_that_of_the_code() -> None:
    hand_written, mark, reference = DOCUMENT.read_text().partition(MARK)
    assert mark
    if os.environ.get("TESTBED_UPDATE_GOLDEN"):
        DOCUMENT.write_text(hand_written + mark + reference_markdown())
        reference = reference_markdown()
    assert reference == reference_markdown(), "run with TESTBED_UPDATE_GOLDEN=1"


def test_every_example_in_the_documentation_loads() -> None:
    examples = re.findall(r"```yaml\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert examples
    for example in examples:
        assert parse_topology(example).topology.vms


def test_every_key_is_explained() -> None:
    schema = topology_schema()
    bare = [
        f"{name}.{key}"
        for name, definition in (("Topology", schema), *schema["$defs"].items())
        for key, field in definition.get("properties", {}).items()
        if not field.get("description")
    ]
    assert bare == []


def test_links_of_the_reference_lead_to_its_sections() -> None:
    reference = reference_markdown()
    sections = {line.removeprefix("### ").lower() for line in reference.splitlines() if line.startswith("### ")}
    assert set(re.findall(r"\]\(#([^)]+)\)", reference)) <= sections
    assert {"peering", "nva", "neighbor", "limits"} <= sections


def conforms(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> bool:
    """The small part of JSON Schema that ours uses."""
    if "$ref" in schema:
        return conforms(value, root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    if "anyOf" in schema:
        return any(conforms(value, each, root) for each in schema["anyOf"])
    if "const" in schema or "enum" in schema:
        return value in schema.get("enum", [schema.get("const")])
    kinds = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float), "null": type(None)}
    if not isinstance(value, kinds[schema["type"]]) or (isinstance(value, bool) and schema["type"] in ("integer", "number")):
        return False
    if isinstance(value, str):
        return re.search(schema.get("pattern", ""), value) is not None
    if isinstance(value, list):
        items = schema.get("prefixItems") or [schema["items"]] * len(value)
        return len(items) == len(value) and all(conforms(each, item, root) for each, item in zip(value, items, strict=True))
    if isinstance(value, dict):
        return all(each in value for each in schema.get("required", [])) and all(
            conforms_key(*pair, schema, root) for pair in value.items()
        )
    if value is None:
        return True
    return bool(schema.get("minimum", value) <= value <= schema.get("maximum", value))


def conforms_key(key: str, value: Any, schema: dict[str, Any], root: dict[str, Any]) -> bool:
    if key in schema.get("properties", {}):
        return conforms(value, schema["properties"][key], root)
    for pattern, inner in schema.get("patternProperties", {}).items():
        if re.search(pattern, key):
            return conforms(value, inner, root)
    rest = schema.get("additionalProperties", True)
    return rest if isinstance(rest, bool) else conforms(value, rest, root)


FILES = [*(ROOT / "topologies").glob("*.yaml"), *(ROOT / "tests" / "azure-cases").glob("*/topology.yaml")]


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_editors_accept_what_loads(path: Path) -> None:
    schema = topology_schema()
    assert conforms(read_document(path.read_text(), path.name).data, schema, schema)


@pytest.mark.parametrize(
    ("change", "fits"),
    [
        ({}, True),
        ({"links": {"a-b": {"delay": "40ms", "rate": "1gbit"}}}, True),
        ({"links": {"a-b": {"delay": "soon"}}}, False),
        ({"timers": {"bgp": "azure"}}, True),
        ({"timers": {"bgp": "azurre"}}, False),
        ({"timers": {"bgp": {"hold": "9s"}, "bfd": None}}, True),
        ({"vms": {"m": {"subnet": "v"}}}, False),
        ({"vms": {"m m": {"subnet": "v/a"}}}, False),
        ({"nvas": {"n": {"subnet": "v/a", "asn": 0}}}, False),
        ({"nvas": {"n": {"subnet": "v/a", "asn": 65001, "prepend": {"10.0.0.0/8": 2}}}}, True),
        ({"overlay_pool": "198.18.0.0"}, False),
        ({"colour": "red"}, False),
    ],
)
def test_the_schema_says_what_the_loader_says(change: dict[str, Any], fits: bool) -> None:
    schema = topology_schema()
    assert conforms({"name": "x", "regions": {"r": {}}} | change, schema, schema) is fits


def test_schemas_say_what_they_are() -> None:
    assert "topology" in topology_schema()["title"]
    assert "scenario" in scenario_schema()["title"]
    assert set(topology_schema()["required"]) == {name for name, field in Topology.model_fields.items() if field.is_required()}
