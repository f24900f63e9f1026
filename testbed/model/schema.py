"""The formats of the user's files for editors (JSON Schema) and for readers (the reference in docs/)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from testbed.model.scenario import Scenario
from testbed.model.topology import Topology
from testbed.model.values import NAME

_PREFIX = r"^[0-9.]+/[0-9]{1,2}$"
_NAMES = {rf"^{NAME.pattern}$": "name", r"^[^/]+/[^/]+$": "VNET/SUBNET"}
_SPECIAL = {"ipv4": "address", "ipv4network": "prefix"}
_PLAIN = {"string": "text", "integer": "whole number", "boolean": "true/false", "number": "number", "null": "null", "object": "mapping"}


def topology_schema() -> dict[str, Any]:
    """The JSON Schema of topology files."""
    return _schema(Topology, "A topology of the Azure Route Server testbed")


def scenario_schema() -> dict[str, Any]:
    """The JSON Schema of scenario files."""
    return _schema(Scenario, "A scenario of the Azure Route Server testbed")


def _schema(model: type[BaseModel], title: str) -> dict[str, Any]:
    schema: dict[str, Any] = _tidy(model.model_json_schema(by_alias=True))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema | {"title": title}


def _tidy(schema: Any) -> Any:
    """Without generated titles, closed where only certain names fit, prefixes by a pattern that editors understand."""
    if isinstance(schema, list):
        return [_tidy(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    tidy = {key: _tidy(value) for key, value in schema.items() if key != "title" or not isinstance(value, str)}
    if "patternProperties" in tidy:
        tidy["additionalProperties"] = False
    if tidy.get("format") == "ipv4network":
        del tidy["format"]
        tidy["pattern"] = _PREFIX
    return tidy


def reference_markdown() -> str:
    """Every key of a topology file with type, default and meaning, in Markdown: generated, so that it cannot be out of date."""
    return reference_of(Topology)


def reference_of(model: type[BaseModel]) -> str:
    """The reference of any declared format: a table for the file itself and for each kind of entry, in the order of their use."""
    schema = model.model_json_schema(by_alias=True)
    definitions = schema.get("$defs", {})
    parts = [f"### The file\n\n{_table(schema)}"]
    for name in _in_order_of_use(schema, definitions):
        definition = definitions[name]
        parts.append(f"### {name}\n\n{_sentence(definition.get('description', ''))}\n\n{_table(definition)}")
    return "\n\n".join(parts) + "\n"


def _sentence(docstring: str) -> str:
    return " ".join(docstring.replace("``", "`").split())


def _in_order_of_use(schema: dict[str, Any], definitions: dict[str, Any]) -> list[str]:
    """The definitions that the file uses, each after the one that uses it first."""
    order: list[str] = []
    waiting = [schema]
    while waiting:
        for name in _references(waiting.pop(0).get("properties", {})):
            if name not in order and "properties" in definitions[name]:
                order.append(name)
                waiting.append(definitions[name])
    return order


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"].rpartition("/")[2]
        for value in schema.values():
            yield from _references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _references(value)


def _table(definition: dict[str, Any]) -> str:
    required = definition.get("required", [])
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for key, field in definition.get("properties", {}).items():
        default = "required" if key in required else _default(field)
        cells = (f"`{key}`", _type(field), default, _sentence(field.get("description", "")))
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)


def _default(field: dict[str, Any]) -> str:
    empty: Any = [] if field.get("type") == "array" else {}
    default = field.get("default", empty)
    if default is None or default == "":
        return "none"
    if isinstance(default, dict) and default:
        return "as below"
    return f"`{json.dumps(default, ensure_ascii=False)}`".replace('"', "")


def _type(field: dict[str, Any]) -> str:
    """A type in words: ``list of names``, ``mapping of name to Nva``."""
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in field:
        forms = dict.fromkeys(_type(form) for form in field["anyOf"] if form.get("type") != "null")
        return " or ".join(forms)
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    if field.get("type") == "array":
        return _list(field)
    if field.get("type") == "object":
        return _mapping(field)
    return _scalar(field)


def _list(field: dict[str, Any]) -> str:
    if "prefixItems" in field:
        return "[" + ", ".join(_type(item) for item in field["prefixItems"]) + "]"
    return f"list of {_type(field['items'])}"


def _mapping(field: dict[str, Any]) -> str:
    inner = next(iter(field.get("patternProperties", {}).values()), None) or field.get("additionalProperties")
    keys = "name" if "patternProperties" in field else _type(field.get("propertyNames", {}) | {"type": "string"})
    return f"mapping of {keys} to {_type(inner)}" if isinstance(inner, dict) else "mapping"


def _scalar(field: dict[str, Any]) -> str:
    kind = str(field.get("type", "any"))
    if field.get("format") in _SPECIAL:
        return _SPECIAL[field["format"]]
    if field.get("pattern") in _NAMES:
        return _NAMES[field["pattern"]]
    if "minimum" in field and "maximum" in field:
        return f"{_PLAIN[kind]}, {field['minimum']}–{field['maximum']}"
    return _measure(field) or _PLAIN.get(kind, kind)


def _measure(field: dict[str, Any]) -> str:
    pattern = str(field.get("pattern", ""))
    return "duration (`40ms`, `3s`)" if "(ms|s|m)" in pattern else "rate (`100mbit`, `1gbit`)" if "gbit" in pattern else ""
