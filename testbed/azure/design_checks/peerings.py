"""Peerings: flags that fit together, next hops within reach, sessions that can come up (P1-P4)."""

from __future__ import annotations

from collections.abc import Iterator

from testbed.azure.control_plane import OVER_LIMIT
from testbed.azure.design_checks.finding import Case, Finding, some
from testbed.azure.nva_policy import OVERLAY, UNDERLAY
from testbed.azure.peering import Connected
from testbed.azure.types import NextHopType


def gateway_transit(case: Case) -> Iterator[Finding]:
    """P2: a hub with a Route Server or gateways, a spoke without, and not both flags."""
    for hub in case.plane.hubs:
        for spoke in case.connected.peers(hub.vnet):
            if spoke.peer in case.hubs or case.connected.gateway_vnet(spoke.peer) is not None:
                continue
            finding = _transit(case, spoke)
            if finding is not None:
                yield finding


def _transit(case: Case, hub: Connected) -> Finding | None:
    """``hub`` is the peering seen from the hub."""
    allowed, used = hub.local.allow_gateway_transit, hub.remote.use_remote_gateways
    spoke_side, hub_side = case.sides[hub.peer, hub.vnet], case.sides[hub.vnet, hub.peer]
    effect = f"{hub.peer} gets no routes from {hub.vnet}, which does not advertise {some(hub.peer_space)}"
    if allowed and not used and not _uses_another(case, hub):
        if _has_routes(case, hub.peer):
            return None
        return Finding("PE002", spoke_side, f"use_remote_gateways is not set: {effect}", "use_remote_gateways: true")
    if used and not allowed:
        return Finding("PE002", hub_side, f"allow_gateway_transit is not set: {effect}", "allow_gateway_transit: true")
    if not allowed and not used and not _has_routes(case, hub.peer) and not _uses_another(case, hub):
        remedy = f"{hub_side}: {{allow_gateway_transit: true}}, {spoke_side}: {{use_remote_gateways: true}}"
        return Finding("PE102", spoke_side, f"neither flag is set: {effect}", remedy)
    return None


def _uses_another(case: Case, hub: Connected) -> bool:
    return any(each.local.use_remote_gateways for each in case.connected.peers(hub.peer) if each.peer != hub.vnet)


def _has_routes(case: Case, vnet: str) -> bool:
    """Whether every subnet of a VNet says by user-defined routes where its traffic goes: then it needs no Route Server."""
    domains = [domain for domain in case.plane.domains if domain.vnet == vnet]
    return bool(domains) and all(domain.user for domain in domains)


def access(case: Case) -> Iterator[Finding]:
    """P4: a peering that drops everything."""
    for side in case.topology.peerings:
        if not side.allow_virtual_network_access and case.connected.between(side.from_, side.to) is not None:
            path = f"{case.sides[side.from_, side.to]}.allow_virtual_network_access"
            yield Finding(
                "PE104", path, f"{side.from_} and {side.to} are peered and exchange nothing", "allow_virtual_network_access: true"
            )


def user_next_hops(case: Case) -> Iterator[Finding]:
    """P1: the next hop of a UDR is an address in the same or a directly peered VNet."""
    for domain in case.plane.domains:
        for row in domain.user:
            if row.next_hop_type is not NextHopType.VIRTUAL_APPLIANCE:
                continue
            owners = case.owners.get(row.next_hops[0], []) if row.next_hops else []
            if any(case.connected.reaches(domain.vnet, vnet) for vnet, _ in owners):
                continue
            where = f"in {some(vnet for vnet, _ in owners)}, not peered with {domain.vnet}" if owners else "no NIC's and no load balancer's"
            text = f"{row.prefix} in {domain.vnet} leads to {some(row.next_hops)}, which is {where}"
            yield Finding("PE001", f"route_tables.{domain.route_table}.routes.{row.name}", text, "next_hop_ip: an address in reach")


def injected_next_hops(case: Case) -> Iterator[Finding]:
    """P1: what is injected into a VNet leads to the same or a directly peered VNet (an NVA beside the hub; a third party, RS11)."""
    for hub in case.plane.hubs:
        users: dict[str, list[str]] = {}
        for home in (0, 1):
            for prefix, hops in case.plane.injected(hub.vnet, home).items():
                for hop in hops:
                    users.setdefault(hop, []).append(prefix)
        for hop, prefixes in users.items():
            vnets = [vnet for vnet, _ in case.owners.get(hop, [])]
            far = [vnet for vnet in hub.served if not any(case.connected.reaches(vnet, owner) for owner in vnets)]
            if far:
                where = f"in {some(vnets)}" if vnets else "no NIC's and no load balancer's"
                text = f"the next hop {hop} of {some(prefixes)} is {where}, and not in reach of {some(far)}"
                yield Finding(
                    "PE001",
                    f"route_servers.{hub.route_server}" if hub.route_server else case.vnet_paths[hub.vnet],
                    text,
                    _nearer(far, vnets),
                )


def _nearer(far: list[str], vnets: list[str]) -> str:
    return (
        f"peer {far[0]} with {vnets[0]}, both sides, or use a next hop in the hub"
        if vnets
        else "next_hop: an NVA's or a load balancer's address"
    )


def sessions(case: Case) -> Iterator[Finding]:
    """Sessions that cannot come up."""
    for adjacency in case.plane.layout.network.adjacencies:
        ends = (adjacency.a.router, adjacency.b.router)
        if not adjacency.down or adjacency.down.startswith(OVER_LIMIT) or set(ends) & set(case.plane.unmodelled):
            continue
        if adjacency.kind in (OVERLAY, UNDERLAY):
            between = [each.between for each in (case.topology.tunnels if adjacency.kind == OVERLAY else case.topology.bgp_sessions)]
            number = next(number for number, pair in enumerate(between) if set(pair) == set(ends))
            path = f"tunnels[{number}]" if adjacency.kind == OVERLAY else f"bgp_sessions[{number}]"
        else:
            path = f"route_servers.{ends[0].rpartition('-')[0]}.peers"
        yield Finding("PE101", path, f"{ends[0]} and {ends[1]}: {adjacency.down}", "peer the VNets, both sides")


CHECKS = (gateway_transit, access, user_next_hops, injected_next_hops, sessions)
