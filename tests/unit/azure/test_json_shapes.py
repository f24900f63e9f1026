"""The shapes of Azure's own JSON, written down from captured output."""

from __future__ import annotations

from testbed.azure.json_shapes import advertised_json, as_path_text, effective_json, learned_json
from testbed.azure.types import NextHopType, Path, RouteSource, Row


def test_effective_routes() -> None:
    rows = [
        Row("10.1.0.0/16", NextHopType.VNET_LOCAL, RouteSource.DEFAULT),
        Row("0.0.0.0/0", NextHopType.VIRTUAL_APPLIANCE, RouteSource.USER, ("10.1.0.4",), name="to-nva"),
        Row("0.0.0.0/0", NextHopType.INTERNET, RouteSource.DEFAULT, active=False, rule="E3"),
    ]
    first, second, third = effective_json(rows)["value"]
    assert list(first.items()) == [
        ("addressPrefix", ["10.1.0.0/16"]),
        ("disableBgpRoutePropagation", False),
        ("name", None),
        ("nextHopIpAddress", []),
        ("nextHopType", "VnetLocal"),
        ("source", "Default"),
        ("state", "Active"),
    ]
    assert (second["name"], second["nextHopIpAddress"], second["source"]) == ("to-nva", ["10.1.0.4"], "User")
    assert third["state"] == "Invalid"
    assert effective_json(rows[:1], disable_bgp_route_propagation=True)["value"][0]["disableBgpRoutePropagation"] is True


def test_learned_routes() -> None:
    path = Path("10.21.0.0/16", (65001, 65002), "10.1.0.4")
    assert learned_json({"10.1.1.4": [path], "10.1.1.5": []}, source_peer="10.1.0.4") == {
        "RouteServiceRole_IN_0": [
            {
                "asPath": "65001-65002",
                "localAddress": "10.1.1.4",
                "network": "10.21.0.0/16",
                "nextHop": "10.1.0.4",
                "origin": "EBgp",
                "sourcePeer": "10.1.0.4",
                "weight": 32768,
            }
        ],
        "RouteServiceRole_IN_1": [],
    }


def test_advertised_routes_have_no_source_peer() -> None:
    path = Path("10.1.0.0/16", (65515,), "10.1.1.5")
    assert advertised_json({"10.1.1.4": [], "10.1.1.5": [path]})["RouteServiceRole_IN_1"] == [
        {
            "asPath": "65515",
            "localAddress": "10.1.1.5",
            "network": "10.1.0.0/16",
            "nextHop": "10.1.1.5",
            "origin": "Igp",
            "weight": 0,
        }
    ]


def test_as_paths_are_joined_by_dashes() -> None:
    assert as_path_text((65001, 65001, 65100)) == "65001-65001-65100"
    assert as_path_text(()) == ""
