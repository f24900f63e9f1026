"""A hostile value at every place of what ``az`` printed: compared, or refused in words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.azure.captured import Compared, compare_advertised, compare_effective, compare_learned
from testbed.azure.control_plane import ControlPlane, converge
from testbed.errors import InputError
from testbed.model.loader import parse_topology

from .texts import DESIGN, OTHERS, TEXTS, places, put

EFFECTIVE: dict[str, Any] = {
    "nextLink": None,
    "value": [
        {
            "addressPrefix": ["10.11.0.0/16", "fd00::/8"],
            "disableBgpRoutePropagation": False,
            "hasBgpOverride": False,
            "name": None,
            "nextHopIpAddress": ["10.1.0.4"],
            "nextHopType": "VnetLocal",
            "source": "Default",
            "state": "Active",
        }
    ],
}
LEARNED: dict[str, Any] = {
    role: [
        {
            "asPath": "65001-65002",
            "localAddress": "10.1.1.4",
            "network": "10.9.0.0/16",
            "nextHop": "10.1.0.4",
            "origin": "EBgp",
            "sourcePeer": "10.1.0.4",
            "weight": 32768,
        }
    ]
    for role in ("RouteServiceRole_IN_0", "RouteServiceRole_IN_1")
}
CASES = [(data, place, is_key) for data in (EFFECTIVE, LEARNED) for place, is_key in places(data)]


@pytest.fixture(scope="module")
def plane() -> ControlPlane:
    return converge(parse_topology(json.dumps(DESIGN)).topology)


def compared(plane: ControlPlane, data: Any) -> list[Compared]:
    """The rows of all comparisons that do not refuse it."""
    text, rows = json.dumps(data), []
    for compare, names in ((compare_effective, ("vm11",)), (compare_learned, ("rs1", "nva1")), (compare_advertised, ("rs1", "nva1"))):
        try:
            rows += compare(plane, *names, text, "x.json")  # type: ignore[operator]
        except InputError as error:
            shown = str(error)
            if not all(each.isprintable() or each == "\n" for each in shown):
                raise AssertionError(shown) from None
    return rows


def test_the_files_themselves_are_right(plane: ControlPlane) -> None:
    assert compared(plane, EFFECTIVE)
    assert compared(plane, LEARNED)


@given(st.integers(0, len(CASES) - 1), st.sampled_from([*TEXTS, *OTHERS]) | st.text(max_size=20) | st.floats() | st.integers())
@settings(deadline=None, max_examples=300)
def test_a_hostile_value_anywhere(plane: ControlPlane, index: int, value: Any) -> None:
    data, place, is_key = CASES[index]
    for row in compared(plane, put(data, place, is_key, str(value) if is_key else value)):
        assert all(each.isprintable() for each in (row.prefix, row.azure, row.predicted, row.rule)), row


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
@settings(deadline=None, max_examples=100)
def test_any_json(plane: ControlPlane, value: Any) -> None:
    compared(plane, value)
    compared(plane, {"value": value})
