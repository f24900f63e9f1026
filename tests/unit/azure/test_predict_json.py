"""The predicted state in Azure's JSON shape."""

from __future__ import annotations

import json
from typing import Any

import pytest

from testbed.azure.control_plane import converge
from testbed.azure.predict_json import effective_of, gateway_learned, learned_of, nic_subnets, predict_json

from .paper_designs import ONPREM, OVERLAY, changed


def test_every_nic_has_effective_routes() -> None:
    plane = changed(ONPREM)
    assert list(nic_subnets(plane.topology)) == ["rs1-0", "rs1-1", "er1-0", "er1-1", "nva1", "vm11"]
    assert predict_json(plane)["effectiveRoutes"].keys() == nic_subnets(plane.topology).keys()
    assert predict_json(plane, ["vm11"])["effectiveRoutes"].keys() == {"vm11"}


def test_extra_nics_by_label() -> None:
    def extra(data: dict[str, Any]) -> None:
        data["nvas"]["nva1"]["extra_nics"] = [{"name": "outside", "subnet": "hub1/nva"}]

    plane = changed(OVERLAY, extra)
    assert nic_subnets(plane.topology)["nva1/outside"] == "hub1/nva"
    assert effective_of(plane, "nva1/outside")["value"]


def test_effective_routes_in_azures_shape() -> None:
    rows = effective_of(changed(OVERLAY), "vm11")["value"]
    row = next(each for each in rows if each["addressPrefix"] == ["10.21.0.0/16"])
    assert row == {
        "addressPrefix": ["10.21.0.0/16"],
        "disableBgpRoutePropagation": False,
        "name": None,
        "nextHopIpAddress": ["10.1.0.4"],
        "nextHopType": "VirtualNetworkGateway",
        "source": "VirtualNetworkGateway",
        "state": "Active",
    }


def test_learned_routes_name_the_peer_and_leave_dropped_paths_out() -> None:
    def keep(data: dict[str, Any]) -> None:
        data["nvas"]["nva1"]["as_override"] = False

    roles = learned_of(changed(OVERLAY), "rs1", "nva1")
    assert [len(rows) for rows in roles.values()] == [2, 2]
    assert {(row["sourcePeer"], row["localAddress"]) for rows in roles.values() for row in rows} == {
        ("10.1.0.4", "10.1.1.4"),
        ("10.1.0.4", "10.1.1.5"),
    }
    assert learned_of(changed(OVERLAY, keep), "rs1", "nva1") == {"RouteServiceRole_IN_0": [], "RouteServiceRole_IN_1": []}


def test_gateway_lists_its_own_networks_and_what_it_learned() -> None:
    rows = {(row["origin"], row["network"], row["asPath"]) for row in gateway_learned(changed(ONPREM), "er1")["value"]}
    assert rows == {
        ("Network", "10.1.0.0/16", ""),
        ("Network", "10.11.0.0/16", ""),
        ("EBgp", "10.100.0.0/16", "12076-65100"),
    }


def test_all_of_it_is_json_and_says_whether_it_settled() -> None:
    plane = changed(ONPREM)
    shown = json.loads(json.dumps(predict_json(plane)))
    assert shown["settled"] is True
    assert shown["sites"]["dc"]["value"]
    assert shown["msees"].keys() == {"london-msee0", "london-msee1"}
    hurried = predict_json(converge(plane.topology, max_rounds=1))
    assert hurried["settled"] is False
    assert "10.1.0.0/16" in hurried["oscillating"]


def test_sessions_that_are_down_say_why() -> None:
    def own(data: dict[str, Any]) -> None:
        data["nvas"]["nva1"]["frr_config"] = "my.conf"

    shown = predict_json(changed(OVERLAY, own))
    assert shown["unmodelled"].keys() == {"nva1"}
    assert "not modelled" in shown["sessionsDown"]["rs1-0 nva1"]


def test_unknown_nic() -> None:
    with pytest.raises(KeyError):
        effective_of(changed(OVERLAY), "nobody")
