"""Turns what pydantic says about a file into plain words: the path, what was expected and what was found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from testbed.model.document import Step, dotted
from testbed.model.findings import Finding
from testbed.model.values import NAME, found

_NAME_RULE = "letters, digits, '-', '_' and '.', the first a letter or digit, at most 80"
_PATTERNS = {
    rf"^{NAME.pattern}$": ("is not a name Azure allows", f"use {_NAME_RULE}"),
    r"^[^/]+/[^/]+$": ("is not a subnet", "write VNET/SUBNET"),
    r"^[a-z0-9][a-z0-9\-]{0,39}$": ("cannot name a lab", "use small letters, digits and '-', at most 40"),
    r"^[A-Z]{2}[0-9]{3}$": ("is not the code of a finding", "write e.g. RS008"),
    r"^[0-9]{1,10}(-[0-9]{1,10})?$": ("is not an ASN or a range of ASNs", "write e.g. 65517-65520"),
}
_EXPECTED = {
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "finite_number": "a number",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "string_type": "text (quote a number)",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "tuple_type": "a list",
    "list_type": "a list",
}


def findings_of(error: ValidationError, data: Any, model: type[BaseModel]) -> list[tuple[tuple[Step, ...], Finding]]:
    """Each error of a validation of ``data`` against ``model`` as the steps to the value and a finding; one for each place."""
    by_place: dict[tuple[Step, ...], list[ErrorDetails]] = {}
    for details in error.errors(include_url=False):
        by_place.setdefault(_steps(details, data), []).append(details)
    # a value that fits one form of several in part: the errors inside it say more than "is none of the other forms"
    told = {steps[:length] for steps in by_place for length in range(len(steps))}
    return [
        (steps, _finding(steps, details, model))
        for steps, details in by_place.items()
        if steps not in told or not all(each["type"] in _EXPECTED or each["type"] == "too_short" for each in details)
    ]


def _steps(details: ErrorDetails, data: Any) -> tuple[Step, ...]:
    """Where the error is in the data: pydantic's location without its names for the branches of a union."""
    steps: list[Step] = []
    here = data
    location = details["loc"]
    for number, step in enumerate(location):
        inside = step in here if isinstance(here, dict) else isinstance(here, list) and step in range(len(here))
        if inside:
            here = here[step]
        elif details["type"] != "missing" or number < len(location) - 1:
            continue
        steps.append(step)
    return tuple(steps)


def _finding(steps: tuple[Step, ...], errors: list[ErrorDetails], model: type[BaseModel]) -> Finding:
    path = dotted(steps)
    first = errors[0]
    expected = list(dict.fromkeys(_EXPECTED[each["type"]] for each in errors if each["type"] in _EXPECTED))
    if first["type"] in _EXPECTED:
        if first["input"] is None:
            return Finding(path, f"is empty, expected {' or '.join(expected)}", "give a value or remove the key")
        return Finding(path, f"expected {' or '.join(expected)}, found {found(first['input'])}")
    if first["type"] == "extra_forbidden":
        known = tuple(sorted(_keys(model, steps[:-1])))
        return Finding(path, "no such key", wrong=str(steps[-1]), known=known)
    return Finding(path, *_WORDS.get(first["type"], _as_it_is)(first))


def _as_it_is(details: ErrorDetails) -> tuple[str, str]:
    return details["msg"].removeprefix("Value error, "), ""


def _own(details: ErrorDetails) -> tuple[str, str]:
    context = details.get("ctx", {})
    return str(context["problem"]), str(context["hint"])


def _missing(details: ErrorDetails) -> tuple[str, str]:
    if isinstance(details["loc"][-1], int):
        return "is missing", f"{details['loc'][-1] + 1} entries are needed"
    return "is missing", "it has no default"


def _pattern(details: ErrorDetails) -> tuple[str, str]:
    words, hint = _PATTERNS.get(details["ctx"]["pattern"], ("has not the right form", f"pattern {details['ctx']['pattern']}"))
    return f"{found(details['input'])} {words}", hint


def _literal(details: ErrorDetails) -> tuple[str, str]:
    return f"{found(details['input'])} is none of {details['ctx']['expected'].replace(chr(39), '')}", ""


def _bound(key: str, words: str) -> Callable[[ErrorDetails], tuple[str, str]]:
    def tell(details: ErrorDetails) -> tuple[str, str]:
        bound = details["ctx"][key]
        return f"{found(details['input'])} {words.format(f'{bound:g}' if isinstance(bound, float) else bound)}", ""

    return tell


def _too_short(details: ErrorDetails) -> tuple[str, str]:
    least = details["ctx"]["min_length"]
    return f"is empty, at least {least} is needed" if least == 1 else f"needs at least {least}", ""


def _too_long(details: ErrorDetails) -> tuple[str, str]:
    return f"has too many entries, at most {details['ctx']['max_length']}", ""


_WORDS: dict[str, Callable[[ErrorDetails], tuple[str, str]]] = {
    "testbed": _own,
    "missing": _missing,
    "string_pattern_mismatch": _pattern,
    "literal_error": _literal,
    "greater_than_equal": _bound("ge", "is below {}, the least"),
    "greater_than": _bound("gt", "is not above {}"),
    "less_than_equal": _bound("le", "is above {}, the most"),
    "less_than": _bound("lt", "is not below {}"),
    "too_short": _too_short,
    "too_long": _too_long,
    "string_too_short": _bound("min_length", "is too short; at least {} characters"),
    "string_too_long": _bound("max_length", "is too long; at most {} characters"),
}


def _keys(model: type[BaseModel], steps: tuple[Step, ...]) -> set[str]:
    """The keys that the format knows at a place."""
    return {field.alias or name for kind in models_at(model, steps) for name, field in kind.model_fields.items()}


def models_at(model: type[BaseModel], steps: tuple[Step, ...]) -> list[type[BaseModel]]:
    """What the format can have at a place, as far as it is declared key by key."""
    here: list[Any] = [model]
    for step in steps:
        here = [inner for kind in here for inner in _inside(kind, step)]
    return [kind for kind in here if _is_model(kind)]


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _inside(kind: Any, step: Step) -> Iterator[Any]:
    """The types that a value of this type can have at a key or index."""
    if _is_model(kind):
        for name, field in kind.model_fields.items():
            if (field.alias or name) == step:
                yield from _forms(field.annotation)
        return
    arguments = get_args(kind)
    if get_origin(kind) is dict:
        yield from _forms(arguments[1])
    elif get_origin(kind) is tuple:
        yield from _forms(arguments[0])


def _forms(annotation: Any) -> Iterator[Any]:
    """The types an annotation stands for, without None."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _forms(get_args(annotation)[0])
    elif origin in (Union, UnionType):
        for argument in get_args(annotation):
            yield from _forms(argument)
    elif annotation is not NoneType:
        yield annotation
