"""Small designs for tests: two regions with a hub, a Route Server, an NVA and a spoke each, changed key by key."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

from testbed.azure.control_plane import ControlPlane, converge
from testbed.azure.predict_json import effective_rows
from testbed.azure.types import Address, NextHopType, Path, Prefix, Received, Session
from testbed.model.loader import parse_topology

Change = Callable[[dict[str, Any]], None]
VIA_GATEWAY = NextHopType.VIRTUAL_NETWORK_GATEWAY


def region(number: int) -> dict[str, Any]:
    """A hub 10.N.0.0/16 and a spoke 10.N1.0.0/16."""
    hub = {"RouteServerSubnet": f"10.{number}.1.0/26", "GatewaySubnet": f"10.{number}.2.0/26", "nva": f"10.{number}.0.0/24"}
    return {
        "vnets": {
            f"hub{number}": {"address_space": [f"10.{number}.0.0/16"], "subnets": hub},
            f"s{number}1": {"address_space": [f"10.{number}1.0.0/16"], "subnets": {"w": f"10.{number}1.0.0/24"}},
        }
    }


def spoke(hub: str, name: str) -> list[dict[str, Any]]:
    """Both sides of the peering of a spoke that uses the hub's gateways."""
    return [
        {"from": hub, "to": name, "allow_gateway_transit": True},
        {"from": name, "to": hub, "use_remote_gateways": True, "allow_forwarded_traffic": True},
    ]


def joined(one: str, other: str) -> list[dict[str, Any]]:
    """Both sides of a plain peering."""
    return [{"from": one, "to": other, "allow_forwarded_traffic": True}, {"from": other, "to": one, "allow_forwarded_traffic": True}]


OVERLAY: dict[str, Any] = {
    "name": "overlay",
    "regions": {"r1": region(1), "r2": region(2)},
    "peerings": [*spoke("hub1", "s11"), *spoke("hub2", "s21"), *joined("hub1", "hub2")],
    "route_servers": {"rs1": {"vnet": "hub1", "peers": ["nva1"]}, "rs2": {"vnet": "hub2", "peers": ["nva2"]}},
    "nvas": {
        "nva1": {"subnet": "hub1/nva", "ip": "10.1.0.4", "asn": 65001, "as_override": True},
        "nva2": {"subnet": "hub2/nva", "ip": "10.2.0.4", "asn": 65002, "as_override": True},
    },
    "vms": {"vm11": {"subnet": "s11/w"}, "vm21": {"subnet": "s21/w"}, "vmh1": {"subnet": "hub1/nva", "ip": "10.1.0.50"}},
    "tunnels": [{"type": "vxlan", "between": ["nva1", "nva2"]}],
}
"""The first row of chapter 5: an overlay between the NVAs, 65515 replaced by as-override."""

ONPREM: dict[str, Any] = {
    "name": "onprem",
    "regions": {"r1": region(1)},
    "peerings": spoke("hub1", "s11"),
    "route_servers": {"rs1": {"vnet": "hub1", "peers": ["nva1"]}},
    "nvas": {"nva1": {"subnet": "hub1/nva", "ip": "10.1.0.4", "asn": 65001}},
    "vms": {"vm11": {"subnet": "s11/w"}},
    "gateways": {"er1": {"type": "expressroute", "vnet": "hub1"}},
    "circuits": {"london": {"gateways": ["er1"]}},
    "sites": {"dc": {"asn": 65100, "prefixes": ["10.100.0.0/16"], "circuits": ["london"]}},
}
"""One hub with an ExpressRoute gateway, a circuit and a site; branch-to-branch off."""


def changed(design: dict[str, Any], *changes: Change) -> ControlPlane:
    """The control plane of a design after some changes to a copy of it."""
    data = copy.deepcopy(design)
    for change in changes:
        change(data)
    return converge(parse_topology(json.dumps(data)).topology)


def received(plane: ControlPlane, server: str, peer: str, instance: int = 0) -> dict[Prefix, Received]:
    """What arrived on a session, by prefix."""
    return {each.path.prefix: each for each in plane.received(Session(server, instance, peer))}


def learned(plane: ControlPlane, server: str, peer: str, instance: int = 0) -> dict[Prefix, tuple[int, ...]]:
    """The AS paths of what was learned on a session, dropped ones left out."""
    return {prefix: each.path.as_path for prefix, each in received(plane, server, peer, instance).items() if not each.dropped}


def sent(plane: ControlPlane, server: str, peer: str, instance: int = 0) -> dict[Prefix, Path]:
    """What is advertised on a session, by prefix."""
    return {each.prefix: each for each in plane.advertised(Session(server, instance, peer))}


def programmed(plane: ControlPlane, label: str) -> dict[Prefix, tuple[Address, ...]]:
    """The next hops of a NIC's active routes from BGP."""
    return {row.prefix: row.next_hops for row in effective_rows(plane, label) if row.active and row.source.value == VIA_GATEWAY.value}


def best_paths(plane: ControlPlane, node: str) -> dict[Prefix, tuple[int, ...]]:
    """The AS path of a router's best route to each prefix."""
    return {prefix: route.path.as_path for prefix, routes in plane.rib(node).items() for route in routes if route.best}
