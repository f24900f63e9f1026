"""Routing domains: the classes of NICs that share one set of effective routes (chapter 4), and which instance a NIC is homed on."""

from __future__ import annotations

from hashlib import blake2s

from testbed.azure.hubs import hubs
from testbed.azure.peering import Connections, connections
from testbed.azure.system_routes import protected_spaces, system_routes
from testbed.azure.types import Address, Domain, NextHopType, Prefix, RouteSource, Row
from testbed.model.topology import RouteTable, Topology, UserRoute


def domains(topology: Topology, connected: Connections | None = None) -> tuple[Domain, ...]:
    """One Domain for each pair of VNet and route table (or none) that has a subnet; each subnet is in exactly one.

    Ids count from 1 in the order of the topology: they depend on VNets, subnets and route tables, not on peerings, so that
    a peering added to a running lab changes none. Of a subnet listed in two route tables the first counts.
    """
    connected = connected or connections(topology)
    table_of: dict[str, str] = {}
    for table_name, declared_table in topology.route_tables.items():
        for subnet in declared_table.subnets:
            table_of.setdefault(subnet, table_name)
    vpn = {hub.vnet: tuple(s.address for s in hub.speakers if s.kind == "vpn") for hub in hubs(topology, connected)}
    found: list[Domain] = []
    for vnet, declared in topology.vnets().items():
        members: dict[str | None, list[str]] = {}
        for subnet in declared.subnets:
            members.setdefault(table_of.get(f"{vnet}/{subnet}"), []).append(f"{vnet}/{subnet}")
        own = tuple(str(prefix) for prefix in declared.address_space)
        hub = connected.gateway_vnet(vnet)
        protected, system = protected_spaces(own, vnet, connected), system_routes(own, vnet, connected)
        for name, subnets in members.items():
            table = topology.route_tables[name] if name is not None else RouteTable()
            found.append(
                Domain(
                    id=len(found) + 1,
                    vnet=vnet,
                    route_table=name,
                    subnets=tuple(subnets),
                    propagate=not table.disable_bgp_route_propagation,
                    hub=hub,
                    protected=protected,
                    system=system,
                    user=_user_routes(table, vpn.get(hub, ()) if hub is not None else ()),
                )
            )
    return tuple(found)


UserRoutes = tuple[tuple[Prefix, NextHopType, tuple[Address, ...]], ...]


def user_routes(domain: Domain) -> UserRoutes:
    """The user-defined routes of a domain without their names, which decide nothing."""
    return tuple((row.prefix, row.next_hop_type, row.next_hops) for row in domain.user)


def home(nic_label: str) -> int:
    """The Route Server instance (0 or 1) whose routes a NIC is programmed from: a stable hash of its label.

    A convention of ours: which VMs miss routes when an NVA peers with one instance only is not documented (RS3, chapter 7).
    """
    return blake2s(nic_label.encode(), digest_size=1).digest()[0] & 1


def _user_routes(table: RouteTable, vpn: tuple[Address, ...]) -> tuple[Row, ...]:
    return tuple(
        Row(str(route.prefix), NextHopType(route.next_hop_type), RouteSource.USER, _next_hops(route, vpn), name=name)
        for name, route in table.routes.items()
    )


def _next_hops(route: UserRoute, vpn: tuple[Address, ...]) -> tuple[Address, ...]:
    """A UDR's next hops: the address it names; of type VirtualNetworkGateway the instances of the VPN gateways that serve the VNet.

    An ExpressRoute gateway cannot be the next hop of a UDR: its routes come by BGP alone.
    """
    if route.next_hop_type == "VirtualAppliance":
        return (str(route.next_hop_ip),) if route.next_hop_ip is not None else ()
    return vpn if route.next_hop_type == "VirtualNetworkGateway" else ()
