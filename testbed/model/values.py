"""The values in files, such as durations, prefixes and names: how each is written, and the words for one that is wrong."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetJsonSchemaHandler, WithJsonSchema
from pydantic_core import PydanticCustomError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,79}")

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0}
_RATES = {"kbit": 1e3, "mbit": 1e6, "gbit": 1e9}
_NUMBER = r"([0-9]{1,12}(?:\.[0-9]{1,9})?)"


def _wrong(problem: str, hint: str = "") -> PydanticCustomError:
    """A problem in our own words; the loader takes it over as it is."""
    return PydanticCustomError("testbed", "{problem}", {"problem": problem, "hint": hint})


def _measure(value: Any, units: dict[str, float], noun: str, example: str) -> Any:
    """A number with one of the units, as a plain number; anything that is no text is left to the type."""
    if not isinstance(value, str):
        return value
    match = re.fullmatch(rf"{_NUMBER}\s*({'|'.join(units)})", value.strip().lower())
    if match is None:
        raise _wrong(f"{value[:60]!r} is not a {noun}", f"write e.g. {example}")
    return float(match[1]) * units[match[2]]


def _seconds(value: Any) -> Any:
    """``40ms``, ``3s``, ``2m`` or a number of seconds, as seconds."""
    return _measure(value, _UNITS, "duration", "40ms, 3s or 2m")


def _bits(value: Any) -> Any:
    """``1gbit``, ``500mbit`` or a number of bits per second, as bits per second."""
    return _measure(value, _RATES, "rate", "100mbit or 1gbit")


def _refuse_ipv6(value: str) -> None:
    if ":" in value:
        raise _wrong(f"{value[:60]!r} is IPv6; Azure Route Server is IPv4 only", "use an IPv4 prefix or address")


def _prefix(value: Any) -> Any:
    """An IPv4 prefix in the form ``10.1.0.0/16``, without host bits."""
    if isinstance(value, IPv4Network):
        return value
    if not isinstance(value, str):
        raise _wrong(f"expected a prefix, found {found(value)}", "write e.g. 10.1.0.0/16")
    _refuse_ipv6(value)
    if "/" not in value:
        raise _wrong(
            f"{value[:60]!r} has no prefix length", f"write e.g. {value[:60]}/32" if _is_address(value) else "write e.g. 10.1.0.0/16"
        )
    if not re.fullmatch(r"[0-9.]+/[0-9]{1,2}", value):
        raise _wrong(f"{value[:60]!r} is not an IPv4 prefix", "write e.g. 10.1.0.0/16")
    try:
        network = IPv4Network(value, strict=False)
    except ValueError:
        raise _wrong(f"{value[:60]!r} is not an IPv4 prefix", "write e.g. 10.1.0.0/16") from None
    if str(network.network_address) != value.partition("/")[0]:
        raise _wrong(f"{value} has host bits set", f"the prefix is {network}")
    return network


def _is_address(value: str) -> bool:
    try:
        IPv4Address(value)
    except ValueError:
        return False
    return True


def _address(value: Any) -> Any:
    """An IPv4 address in the form ``10.1.0.4``."""
    if isinstance(value, IPv4Address):
        return value
    if not isinstance(value, str):
        raise _wrong(f"expected an address, found {found(value)}", "write e.g. 10.1.0.4")
    _refuse_ipv6(value)
    if "/" in value:
        raise _wrong(f"{value[:60]!r} is a prefix, not an address", f"write e.g. {value[:60].partition('/')[0]}")
    if not _is_address(value):
        raise _wrong(f"{value[:60]!r} is not an IPv4 address", "write e.g. 10.1.0.4")
    return IPv4Address(value)


def found(value: Any) -> str:
    """A value of a file in a few words for an error message."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    text = repr(value) if isinstance(value, str) else str(value).lower()
    return text if len(text) <= 60 else f"{text[:57]}..."


def not_a_boolean(value: Any) -> Any:
    """YAML's true and false are no numbers, whatever Python thinks."""
    if isinstance(value, bool):
        raise _wrong(f"expected a number, found {found(value)}")
    return value


class OrWord:
    """Tells the JSON Schema that a word may stand for the whole value."""

    def __init__(self, word: str) -> None:
        self.word = word

    def __get_pydantic_json_schema__(self, core: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [handler(core), {"const": self.word}]}


def _text_or_number(pattern: str) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [{"type": "string", "pattern": pattern}, {"type": "number"}]})


Name = Annotated[str, Field(pattern=rf"^{NAME.pattern}$", description="A resource name, as Azure allows it")]
Seconds = Annotated[
    float,
    Field(ge=0, le=86400, description="A duration: 40ms, 3s, 2m"),
    BeforeValidator(_seconds),
    BeforeValidator(not_a_boolean),
    _text_or_number(r"^[0-9]+(\.[0-9]+)?\s*(ms|s|m)$"),
]
BitsPerSecond = Annotated[
    float,
    Field(gt=0, le=1e12, description="A rate: 100mbit, 1gbit"),
    BeforeValidator(_bits),
    BeforeValidator(not_a_boolean),
    _text_or_number(r"^[0-9]+(\.[0-9]+)?\s*(kbit|mbit|gbit)$"),
]
Asn = Annotated[int, Field(ge=1, le=4294967295, description="An autonomous system number"), BeforeValidator(not_a_boolean)]
AsnRange = Annotated[str, Field(pattern=r"^[0-9]{1,10}(-[0-9]{1,10})?$", description="An ASN or a range of ASNs: 65517-65520")]
Prepend = Annotated[int, Field(ge=0, le=16), BeforeValidator(not_a_boolean)]
Count = Annotated[int, Field(ge=1, le=1000000), BeforeValidator(not_a_boolean)]
Asns = Annotated[tuple[Asn, ...], Field(max_length=100)]
AsnRanges = Annotated[tuple[AsnRange, ...], Field(max_length=100)]
SubnetRef = Annotated[str, Field(pattern=r"^[^/]+/[^/]+$", description="A subnet as VNET/SUBNET")]
Prefix = Annotated[IPv4Network, BeforeValidator(_prefix)]
Address = Annotated[IPv4Address, BeforeValidator(_address)]
Percent = Annotated[float, Field(ge=0, le=100), BeforeValidator(not_a_boolean)]


class Declared(BaseModel):
    """What all declarations have in common: they are frozen, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, allow_inf_nan=False)
