"""Gateways beside a Route Server: a circuit that wins over the NVA, a default route that stays, a table that cuts BGP (GW2-GW6, E2)."""

from __future__ import annotations

from collections.abc import Iterator

from testbed.azure import route_server as brain
from testbed.azure.bgp import DEFAULT_ROUTE
from testbed.azure.design_checks.catalogue import Severity
from testbed.azure.design_checks.finding import Case, Finding, counted, some
from testbed.azure.effective_routes import NOTHING, Table
from testbed.azure.nva_policy import originated
from testbed.azure.types import Hub, NextHopType, Prefix, Ranked, RouteSource
from testbed.model.addresses import GATEWAY_SUBNET, ROUTE_SERVER_SUBNET, subnet_of


def circuit_over_nva(case: Case) -> Iterator[Finding]:
    """GW6: a prefix known from a circuit and from an NVA, where the circuit wins."""
    for hub in case.plane.hubs:
        circuits = {name for name in hub.gateways if case.topology.gateways[name].type == "expressroute"}
        if hub.route_server is None or not circuits:
            continue
        lost: dict[str, list[Prefix]] = {}
        for home in brain.HOMES:
            for prefix, ranked in brain.candidates(case.plane.state, hub.vnet, home).items():
                for peer in _bypassed(case, hub, circuits, prefix, ranked):
                    lost.setdefault(peer, []).append(prefix)
        for peer, prefixes in lost.items():
            yield _bypass(case, hub, peer, list(dict.fromkeys(prefixes)))


def _bypassed(case: Case, hub: Hub, circuits: set[str], prefix: Prefix, ranked: Ranked) -> Iterator[str]:
    """The NVAs that have a path of their own, not one through the circuit, and are in no first tier."""
    if any(each.session.server not in circuits for each in ranked[0]):
        return
    asns = {circuit.asn for circuit in case.topology.circuits.values()}
    for candidate in (each for tier in ranked[1:] for each in tier):
        if candidate.session.server == hub.route_server and candidate.session.peer in case.topology.nvas:
            path = brain.received(case.plane.state, candidate.session)[prefix].path
            if not asns & set(path.as_path):
                yield candidate.session.peer


def _bypass(case: Case, hub: Hub, peer: str, prefixes: list[Prefix]) -> Finding:
    """An NVA with a tunnel over the circuit is meant to see the traffic; one with another way may be meant as a backup."""
    overlay = any(
        peer in tunnel.between and tunnel.over == "private" and set(tunnel.between) & set(case.topology.sites)
        for tunnel in case.topology.tunnels
    )
    text = (
        f"{counted(len(prefixes), 'prefix')} ({some(prefixes)}): the circuit is used in {some(hub.served)}, the path through {peer} is not"
    )
    circuits = [name for name, circuit in case.topology.circuits.items() if set(circuit.gateways) & set(hub.gateways)]
    off = f"keep the prefix off the circuit: circuits: {{{circuits[0]}: {{advertise: [TUNNEL END/32]}}}}"
    remedy = f"{hub.route_server}: {{hub_routing_preference: ASPath}}, or {off}"
    return Finding("GW006", f"route_servers.{hub.route_server}", text, remedy, None if overlay else Severity.WARNING)


def default_through_vpn(case: Case) -> Iterator[Finding]:
    """GW4: an NVA's 0.0.0.0/0 that branch-to-branch would carry on-premises, but for the VPN gateway."""
    for hub, session in case.nva_sessions:
        gateways = [name for name in hub.gateways if case.topology.gateways[name].type == "vpn"]
        sites = [name for name, site in case.topology.sites.items() if set(site.connections) & set(gateways)]
        nva = case.topology.nvas[session.peer]
        if session.instance or not hub.branch_to_branch or not sites or DEFAULT_ROUTE not in originated(nva):
            continue
        path = f"nvas.{session.peer}.default_originate" if nva.default_originate else f"nvas.{session.peer}.advertise"
        text = f"{some(gateways)} does not send 0.0.0.0/0 of {session.peer} to {some(sites)}"
        if not {"0.0.0.0/1", "128.0.0.0/1"} <= originated(nva):
            yield Finding("GW004", path, text, "advertise: [0.0.0.0/1, 128.0.0.0/1]")


def gateway_subnet(case: Case) -> Iterator[Finding]:
    """E2: a UDR on GatewaySubnet towards an appliance that covers the Route Server."""
    for hub in case.plane.hubs:
        reference = f"{hub.vnet}/{GATEWAY_SUBNET}"
        domain = next((each for each in case.plane.domains if reference in each.subnets), None)
        if hub.route_server is None or not hub.gateways or domain is None or domain.route_table is None:
            continue
        table = Table(domain, case.plane.injected(hub.vnet, 0) if domain.hub else NOTHING)
        for address, name in case.route_server_addresses.items():
            row = table.lookup(address) if name == hub.route_server else None
            if row is not None and row.source is RouteSource.USER and row.next_hop_type is not NextHopType.VNET_LOCAL:
                subnet = subnet_of(case.topology, f"{hub.vnet}/{ROUTE_SERVER_SUBNET}")
                text = f"{row.prefix} to {row.next_hop_type} {' '.join(row.next_hops)} covers {subnet}: {some(hub.gateways)} loses {name}"
                remedy = f"routes: {{to-route-server: {{prefix: {subnet}, next_hop_type: VnetLocal}}}}"
                yield Finding("UD003", f"route_tables.{domain.route_table}.routes.{row.name}", text, remedy)
                break


def routes_to_a_gateway(case: Case) -> Iterator[Finding]:
    """E4: a UDR of type VirtualNetworkGateway needs a VPN gateway; Azure does not take it beside an ExpressRoute gateway either."""
    hubs = {hub.vnet: hub for hub in case.plane.hubs}
    for domain in case.plane.domains:
        gateways = hubs[domain.hub].gateways if domain.hub is not None else ()
        kinds = {case.topology.gateways[name].type for name in gateways}
        for row in domain.user:
            if row.next_hop_type is NextHopType.VIRTUAL_NETWORK_GATEWAY and kinds != {"vpn"}:
                serving = f"{some(gateways)} cannot be its next hop" if gateways else "no gateway serves it"
                path = f"route_tables.{domain.route_table}.routes.{row.name}"
                yield Finding(
                    "UD004", path, f"{row.prefix} in {domain.vnet}: {serving}", "remove the route: what on-premises tells comes by BGP"
                )


CHECKS = (circuit_over_nva, default_through_vpn, gateway_subnet, routes_to_a_gateway)
