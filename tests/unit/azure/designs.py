"""Small designs that the tests of Azure's rules start from."""

from __future__ import annotations

from typing import Any

from testbed.model.topology import Topology

SPOKE_SIDE = {"use_remote_gateways": True, "allow_forwarded_traffic": True}
HUB_SIDE = {"allow_gateway_transit": True, "allow_forwarded_traffic": True}


def pair(one: str, other: str, here: dict[str, Any] | None = None, there: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """Both sides of a peering."""
    return [{"from": one, "to": other, **(here or {})}, {"from": other, "to": one, **(there or {})}]


def two_regions() -> dict[str, Any]:
    """Two hubs with a Route Server and an NVA each, a spoke each with gateway transit, the hubs peered globally."""
    return {
        "name": "two-regions",
        "regions": {
            "region1": {"vnets": {"hub1": hub_vnet(1), "spoke11": spoke_vnet(11)}},
            "region2": {"vnets": {"hub2": hub_vnet(2), "spoke21": spoke_vnet(21)}},
        },
        "peerings": [
            *pair("hub1", "spoke11", HUB_SIDE, SPOKE_SIDE),
            *pair("hub2", "spoke21", HUB_SIDE, SPOKE_SIDE),
            *pair("hub1", "hub2", {"allow_forwarded_traffic": True}, {"allow_forwarded_traffic": True}),
        ],
        "route_servers": {"rs1": {"vnet": "hub1", "peers": ["nva1"]}, "rs2": {"vnet": "hub2", "peers": ["nva2"]}},
        "nvas": {
            "nva1": {"subnet": "hub1/nva", "ip": "10.1.0.4", "asn": 65001},
            "nva2": {"subnet": "hub2/nva", "ip": "10.2.0.4", "asn": 65002},
        },
        "vms": {"vm11": {"subnet": "spoke11/workload", "ip": "10.11.0.4"}, "vm21": {"subnet": "spoke21/workload", "ip": "10.21.0.4"}},
    }


def hub_vnet(number: int) -> dict[str, Any]:
    return {
        "address_space": [f"10.{number}.0.0/16"],
        "subnets": {"nva": f"10.{number}.0.0/24", "RouteServerSubnet": f"10.{number}.1.0/26", "GatewaySubnet": f"10.{number}.2.0/26"},
    }


def spoke_vnet(number: int) -> dict[str, Any]:
    return {"address_space": [f"10.{number}.0.0/16"], "subnets": {"workload": f"10.{number}.0.0/24"}}


def topology(design: dict[str, Any], **changes: Any) -> Topology:
    """The design as a Topology, with top-level keys replaced."""
    return Topology.model_validate({**design, **changes})


def without_side(design: dict[str, Any], from_vnet: str, to: str) -> dict[str, Any]:
    return {**design, "peerings": [side for side in design["peerings"] if (side["from"], side["to"]) != (from_vnet, to)]}


def with_flags(design: dict[str, Any], from_vnet: str, to: str, **flags: bool) -> dict[str, Any]:
    """The design with flags of one side of a peering changed."""
    sides = [{**side, **flags} if (side["from"], side["to"]) == (from_vnet, to) else side for side in design["peerings"]]
    return {**design, "peerings": sides}
