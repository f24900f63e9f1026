"""The VNets that hold a Route Server or gateways, and what these serve and originate (RS1, RS7, GW1)."""

from __future__ import annotations

from testbed.azure.limits import ROUTE_SERVER_ASN
from testbed.azure.peering import Connections, connections
from testbed.azure.types import Hub, Speaker
from testbed.model.addresses import gateway_addresses, route_server_addresses
from testbed.model.topology import Topology


def hubs(topology: Topology, connected: Connections | None = None) -> tuple[Hub, ...]:
    """One Hub for each VNet with a Route Server, gateways or both, in the order of the topology.

    ``connected`` saves working the peerings out again.
    """
    connected = connected or connections(topology)
    return tuple(hub for vnet in topology.vnets() if (hub := _hub(topology, vnet, connected)) is not None)


def _hub(topology: Topology, vnet: str, connected: Connections) -> Hub | None:
    server = next((name for name, declared in topology.route_servers.items() if declared.vnet == vnet), None)
    gateways = tuple(name for name, declared in topology.gateways.items() if declared.vnet == vnet)
    if server is None and not gateways:
        return None
    declared = topology.route_servers[server] if server is not None else None
    served = connected.served_by(vnet)
    vnets = topology.vnets()
    return Hub(
        vnet=vnet,
        route_server=server,
        gateways=gateways,
        speakers=_speakers(topology, server, gateways),
        preference=declared.hub_routing_preference if declared else "ExpressRoute",
        branch_to_branch=declared.allow_branch_to_branch if declared else False,
        served=served,
        advertised=tuple(dict.fromkeys(str(prefix) for name in served for prefix in vnets[name].address_space)),
        asn=ROUTE_SERVER_ASN,
        ecmp=topology.limits.ecmp,
        routes_per_peer=topology.limits.routes_per_peer,
        aspath_tie=topology.assumptions.aspath_tie,
        reflect_nva_routes=topology.assumptions.reflect_nva_routes_with_branch_to_branch,
        unlearned=() if topology.assumptions.own_vnet_prefixes_learned else tuple(map(str, vnets[vnet].address_space)),
    )


def _speakers(topology: Topology, server: str | None, gateways: tuple[str, ...]) -> tuple[Speaker, ...]:
    """The BGP-speaking instances: two of a Route Server, two of a gateway, one of a VPN gateway that is active-standby."""
    speakers: list[Speaker] = []
    if server is not None:
        for instance, address in enumerate(route_server_addresses(topology, server)):
            speakers.append(Speaker(server, instance, "route_server", address, ROUTE_SERVER_ASN))
    for name in gateways:
        gateway = topology.gateways[name]
        active = 2 if gateway.active_active or gateway.type == "expressroute" else 1
        for instance, address in enumerate(gateway_addresses(topology, name)[:active]):
            speakers.append(Speaker(name, instance, gateway.type, address, gateway.asn))
    return tuple(speakers)
