"""Validates a file's data, and where parts do not fit the format leaves them out, so that the rest can still be checked."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from testbed.model.design import Design, declared_names
from testbed.model.document import Step
from testbed.model.findings import Finding
from testbed.model.topology import Topology
from testbed.model.wording import findings_of, models_at

_EMPTY = {"name": "unnamed", "regions": {"unnamed": {}}}


def salvage(data: dict[str, Any]) -> tuple[Design, list[Finding]]:
    """The design as far as it fits the format, and findings for what does not."""
    declared = declared_names(data)
    try:
        return Design(Topology.model_validate(data), declared), []
    except ValidationError as error:
        wrong = findings_of(error, data, Topology)
    cuts = {_cut(steps, finding) for steps, finding in wrong}
    kept = _without(data, (), cuts)
    for key, value in _EMPTY.items():
        kept.setdefault(key, value)
    incomplete = frozenset(str(cut[0]) for cut in cuts if cut)
    return Design(_valid(kept), declared, incomplete, _numbers(data, cuts)), [finding for _, finding in wrong]


def _numbers(data: dict[str, Any], cuts: set[tuple[Step, ...]]) -> dict[str, tuple[int, ...]]:
    """For each list of the file, which entries are left."""
    lists = {key: value for key, value in data.items() if isinstance(value, list)}
    return {key: tuple(index for index in range(len(value)) if (key, index) not in cuts) for key, value in lists.items()}


def _valid(kept: dict[str, Any]) -> Topology:
    """A topology of what is left; of the sections that fit if leaving something out made another part wrong."""
    try:
        return Topology.model_validate(kept)
    except ValidationError as error:
        bad = {details["loc"][0] for details in error.errors(include_url=False)}
        return Topology.model_validate(_EMPTY | {key: value for key, value in kept.items() if key not in bad})


def _cut(steps: tuple[Step, ...], finding: Finding) -> tuple[Step, ...]:
    """What to leave out for an error: an unknown key, a subnet, a route or an optional value alone, else all of what it is in."""
    if finding.known:
        return steps
    if steps[0] == "timers":
        return steps[:1]
    if steps[0] == "regions":
        return steps[: 6 if steps[4:5] == ("subnets",) else 4]
    if steps[2:3] == ("routes",):
        return steps[:4]
    return steps[: 3 if _is_optional(steps) else 2]


def _is_optional(steps: tuple[Step, ...]) -> bool:
    """Whether the third step is a value of a resource that it can do without."""
    return any(
        not field.is_required() and steps[2:3] == (field.alias or name,)
        for kind in models_at(Topology, steps[:2])
        for name, field in kind.model_fields.items()
    )


def _without(value: Any, at: tuple[Step, ...], cuts: set[tuple[Step, ...]]) -> Any:
    """A copy of the data without the parts at ``cuts``."""
    if isinstance(value, dict):
        return {key: _without(inner, (*at, key), cuts) for key, inner in value.items() if (*at, key) not in cuts}
    if isinstance(value, list):
        return [_without(inner, (*at, index), cuts) for index, inner in enumerate(value) if (*at, index) not in cuts]
    return value
