"""`predict --json` in pieces is, byte for byte, what it would be in one."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from testbed.azure.control_plane import ControlPlane, converge
from testbed.azure.predict_json import predict_json
from testbed.azure.predict_stream import json_pieces
from testbed.model.loader import load_topology, parse_topology

from .paper_designs import ONPREM, OVERLAY

ROOT = Path(__file__).parents[3]
FILES = sorted([*(ROOT / "topologies").glob("*.yaml"), *(ROOT / "tests" / "azure-cases").glob("*/topology.yaml")])


def whole(plane: ControlPlane, nics: tuple[str, ...] | None = None) -> str:
    return json.dumps(predict_json(plane, nics), indent=2, ensure_ascii=False)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_design(path: Path) -> None:
    plane = converge(load_topology(path).topology)
    assert "".join(json_pieces(plane)) == whole(plane)


def test_some_nics() -> None:
    plane = converge(parse_topology(json.dumps(OVERLAY)).topology)
    assert "".join(json_pieces(plane, ("vm21", "nva1"))) == whole(plane, ("vm21", "nva1"))


def onto(design: dict[str, Any], **changes: Any) -> ControlPlane:
    return converge(parse_topology(json.dumps({**copy.deepcopy(design), **changes})).topology)


@pytest.mark.parametrize(
    "advertise", [["0.0.0.0/0"], ["10.0.0.0/8", "10.11.0.0/24", "10.11.0.0/16"], ["192.0.2.0/24", "192.0.2.0/25", "192.0.2.0/32"]]
)
@pytest.mark.parametrize("prefix", ["0.0.0.0/0", "10.11.0.0/24", "192.0.2.0/24", "10.0.0.0/8"])
@pytest.mark.parametrize("off", [True, False])
def test_user_routes_beside_injected_ones(advertise: list[str], prefix: str, off: bool) -> None:
    nvas = copy.deepcopy(OVERLAY["nvas"])
    nvas["nva1"]["advertise"] = advertise
    route = {"prefix": prefix, "next_hop_type": "VirtualAppliance", "next_hop_ip": "10.1.0.4"}
    table = {"subnets": ["s11/w"], "disable_bgp_route_propagation": off, "routes": {"r": route}}
    plane = onto(OVERLAY, nvas=nvas, route_tables={"t": table})
    assert "".join(json_pieces(plane)) == whole(plane)


def test_gateways_and_sites() -> None:
    plane = onto(ONPREM)
    assert "".join(json_pieces(plane)) == whole(plane)
