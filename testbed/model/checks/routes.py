"""Route tables: what Azure refuses in user-defined routes and their associations (E1, E4, E5)."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network

from testbed.model.addresses import GATEWAY_SUBNET
from testbed.model.design import Design
from testbed.model.findings import Finding
from testbed.model.topology import RouteTable


def associations(design: Design) -> Iterator[Finding]:
    """A subnet has one route table at most; on GatewaySubnet propagation stays on (E5)."""
    seen: dict[str, str] = {}
    for name, table in design.topology.route_tables.items():
        for number, subnet in enumerate(table.subnets):
            path = f"route_tables.{name}.subnets[{number}]"
            if subnet in seen:
                yield Finding(path, f"{subnet} has route table {seen[subnet]} already", "a subnet has one route table at most")
            seen.setdefault(subnet, name)
            if table.disable_bgp_route_propagation and subnet.partition("/")[2] == GATEWAY_SUBNET:
                place = f"route_tables.{name}.disable_bgp_route_propagation"
                yield Finding(place, f"propagation must stay on for {subnet} (E5)", "use another route table for it")


def user_routes(design: Design) -> Iterator[Finding]:
    """A prefix is in a table once, and VirtualAppliance alone has a next hop."""
    for name, table in design.topology.route_tables.items():
        yield from _one_route_a_prefix(name, table)
        for route_name, route in table.routes.items():
            path = f"route_tables.{name}.routes.{route_name}"
            if route.next_hop_type == "VirtualAppliance" and route.next_hop_ip is None:
                yield Finding(path, "next hop type VirtualAppliance needs next_hop_ip", "add next_hop_ip")
            if route.next_hop_type != "VirtualAppliance" and route.next_hop_ip is not None:
                yield Finding(f"{path}.next_hop_ip", f"next hop type {route.next_hop_type} takes no next_hop_ip", "remove it")


def _one_route_a_prefix(name: str, table: RouteTable) -> Iterator[Finding]:
    seen: dict[IPv4Network, str] = {}
    for route_name, route in table.routes.items():
        if route.prefix in seen:
            path = f"route_tables.{name}.routes.{route_name}.prefix"
            yield Finding(path, f"{route.prefix} is in route {seen[route.prefix]} already (Azure: RouteConflict)", "keep one of them")
        seen.setdefault(route.prefix, route_name)


CHECKS = (associations, user_routes)
