"""The flows of every bridge, computed from the plan: the static ones, and those of table ``route`` for a domain's effective routes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from testbed.azure.types import Domain, NextHopType, Prefix, Ranked, RouteSource, Row
from testbed.plan.fabric_index import FabricIndex, stable_hash
from testbed.plan.groups import balancer_groups, choice, group_id, hop_actions, hop_name, seed
from testbed.plan.openflow import Action, Flow, Group, Move, Output, SetField, ToGroup, Value
from testbed.plan.pipeline import (
    ARRIVAL,
    CLASSIFY,
    DELIVER,
    DEPART,
    EGRESS,
    ETH_ARP,
    ETH_IPV4,
    ETH_IPV6,
    FABRIC_MAC,
    PIPELINE,
    REG_DOMAIN,
    REG_HOME,
    REG_SCRATCH,
    RESOLVE,
    ROUTE,
    SOURCE_GUARD,
)
from testbed.plan.types import INTERNET, Bridge, Nic, PeeringEnd

Match = tuple[tuple[str, Value], ...]

_IPV4: Match = (("eth_type", ETH_IPV4),)
_NEVER_CARRIED: tuple[tuple[Match, str], ...] = (
    ((("eth_type", ETH_IPV6),), "IPv6: Route Server is IPv4 only"),
    ((*_IPV4, ("ipv4_dst", "224.0.0.0/4")), "E8: multicast"),
    ((*_IPV4, ("ipv4_dst", "255.255.255.255")), "E7: broadcast"),
    ((*_IPV4, ("ip_proto", 47)), "E8: GRE"),
    ((*_IPV4, ("ip_proto", 4)), "E8: IP-in-IP"),
)
_LOCAL = (NextHopType.VNET_LOCAL, NextHopType.VNET_PEERING, NextHopType.VNET_GLOBAL_PEERING)


def static_flows(index: FabricIndex) -> dict[str, tuple[Flow, ...]]:
    """All flows that never depend on BGP, by bridge id. They refer to the groups of ``static_groups``: install those first."""
    made = {bridge.id: tuple(_bridge_flows(index, bridge)) for vnet, bridge in index.bridges.items() if vnet != INTERNET}
    if INTERNET in index.bridges:
        made[index.bridges[INTERNET].id] = tuple(_internet_flows(index))
    return made


def static_groups(
    index: FabricIndex, healthy: Mapping[str, Sequence[str]] | None = None
) -> dict[str, tuple[tuple[Group, ...], tuple[Flow, ...]]]:
    """The groups of the load balancers and their flows of table ``slots``, by bridge id.

    ``healthy`` are the backends in use by the balancer's name; all of one that is not there.
    """
    groups: dict[str, list[Group]] = {bridge.id: [] for bridge in index.bridges.values()}
    slots: dict[str, list[Flow]] = {bridge.id: [] for bridge in index.bridges.values()}
    for balancer in index.plan.load_balancers:
        for bridge, (group, flows) in balancer_groups(index, balancer, (healthy or {}).get(balancer.name, balancer.backends)).items():
            groups[bridge].append(group)
            slots[bridge].extend(flows)
    return {bridge: (tuple(groups[bridge]), tuple(slots[bridge])) for bridge in groups}


def route_flows(
    index: FabricIndex, domain: Domain, rows: Sequence[Row], ranked: Mapping[Prefix, Ranked], home: int | None = None
) -> tuple[Flow, ...]:
    """The flows of table ``route`` for the active rows of a domain (others are skipped).

    ``home`` limits them to the NICs of one home instance; None is for both. A row from BGP points at the group of its prefix's
    ``ranked`` candidates (``groups.hop_group``): install that first. Raises KeyError for a BGP row without candidates.
    """
    base: Match = ((REG_DOMAIN, domain.id), *(((REG_HOME, home),) if home is not None else ()), *_IPV4)
    bonus = 0 if home is None else 1
    return tuple(flow for row in rows if row.active for flow in _row_flows(index, domain, row, ranked, home, base, bonus))


def _row_flows(
    index: FabricIndex, domain: Domain, row: Row, ranked: Mapping[Prefix, Ranked], home: int | None, base: Match, bonus: int
) -> tuple[Flow, ...]:
    match, priority = base + _destination(row.prefix), 100 + 2 * int(row.prefix.rpartition("/")[2]) + bonus
    if row.source is RouteSource.VIRTUAL_NETWORK_GATEWAY:
        group = ToGroup(group_id(domain.id, home, ranked[row.prefix]))
        return (Flow(ROUTE.id, priority, match, (group,), note=f"{row.prefix} VirtualNetworkGateway"),)
    if row.next_hop_type in _LOCAL:
        return (Flow(ROUTE.id, priority, match, goto=RESOLVE.id, note=f"{row.prefix} {row.next_hop_type}"),)
    if row.next_hop_type is NextHopType.INTERNET:
        return (Flow(ROUTE.id, priority, match, goto=EGRESS.id, note=f"{row.prefix} Internet"),)
    if row.next_hop_type in (NextHopType.VIRTUAL_APPLIANCE, NextHopType.VIRTUAL_NETWORK_GATEWAY):
        return _user_hop(index, domain, row, priority, match)
    return (Flow(ROUTE.id, priority, match, note=f"{row.prefix} {row.next_hop_type}: dropped"),)


def _user_hop(index: FabricIndex, domain: Domain, row: Row, priority: int, match: Match) -> tuple[Flow, ...]:
    """A UDR towards an appliance, or towards the VPN gateway of the domain's hub (both instances, by 5-tuple)."""
    note = f"{row.prefix} {row.next_hop_type} {row.name}"
    hops = [index.hop(domain.vnet, address) for address in row.next_hops]
    if len(hops) > 1:
        group, slots = choice(stable_hash("udr", domain.id, row.prefix, bits=31), seed(domain), hops, note)
        return (*slots, Flow(ROUTE.id, priority, match, group.actions, note=note))
    hop = hops[0] if hops else "no next hop"
    actions, following = hop_actions(hop)
    return (Flow(ROUTE.id, priority, match, actions, following, note=f"{note}: {hop_name(hop)}"),)


def _destination(prefix: Prefix) -> Match:
    address, _, length = prefix.rpartition("/")
    if length == "0":
        return ()
    return (("ipv4_dst", address if length == "32" else prefix),)


def _bridge_flows(index: FabricIndex, bridge: Bridge) -> Iterator[Flow]:
    yield from _misses()
    for match, reason in _NEVER_CARRIED:
        yield Flow(CLASSIFY.id, 300, match, note=reason)
    for nic in index.nics_of[bridge.vnet]:
        yield from _nic_flows(index, nic)
    yield from _egress(index, bridge)
    yield from _resolve(index, bridge)
    for peer, end in index.ends_of[bridge.vnet].items():
        yield from _arrival(index, bridge, end)
        for nic in index.nics_of[peer]:
            yield Flow(DEPART.id, 100, (("eth_dst", nic.mac),), (Output(end.port),), note=f"{nic.label} by peering {peer}")


def _misses() -> Iterator[Flow]:
    for table in PIPELINE:
        yield Flow(table.id, 0, (), goto=table.miss, note=table.miss_reason or f"miss: table {table.miss}")


def _nic_flows(index: FabricIndex, nic: Nic) -> Iterator[Flow]:
    """A NIC as sender (ARP, classification, source guard) and as receiver (delivery)."""
    port: Match = (("in_port", nic.port),)
    identity = (SetField(REG_DOMAIN, nic.domain), SetField(REG_HOME, nic.home))
    yield Flow(CLASSIFY.id, 200, (*port, ("eth_type", ETH_ARP), ("arp_op", 1)), _arp_reply(nic.port), note=f"E7: ARP from {nic.label}")
    yield Flow(CLASSIFY.id, 100, (*port, *_IPV4), identity, SOURCE_GUARD.id, note=f"from {nic.label}")
    sender: Match = (*port, ("eth_src", nic.mac), *_IPV4)
    receiver: Match = (("eth_dst", nic.mac), *_IPV4)
    deliver = (SetField("eth_src", FABRIC_MAC), Output(nic.port))
    if nic.ip_forwarding:
        yield Flow(SOURCE_GUARD.id, 100, sender, goto=ROUTE.id, note=f"{nic.label} forwards: any source")
        yield Flow(DELIVER.id, 100, receiver, deliver, note=f"to {nic.label}")
        return
    for address in (nic.ip, *index.frontends[nic.label]):
        yield Flow(SOURCE_GUARD.id, 100, (*sender, ("ipv4_src", address)), goto=ROUTE.id, note=f"{nic.label}'s own address")
        yield Flow(DELIVER.id, 100, (*receiver, ("ipv4_dst", address)), deliver, note=f"to {nic.label}")
    yield Flow(DELIVER.id, 50, receiver, note=f"E8: not addressed to {nic.label}, and its IP forwarding is off")


def _egress(index: FabricIndex, bridge: Bridge) -> Iterator[Flow]:
    """Out to the Internet with the source translated, and in from it, where the destination was translated (E9)."""
    port = index.internet_ports.get(bridge.vnet)
    if port is None:
        return
    yield Flow(CLASSIFY.id, 150, (("in_port", port), *_IPV4), goto=DELIVER.id, note="from the Internet")
    for nic in (each for each in index.nics_of[bridge.vnet] if each.public_ip is not None):
        match: Match = (("in_port", nic.port), *_IPV4, ("ipv4_src", nic.ip))
        actions = (SetField("ipv4_src", nic.public_ip or ""), Output(port))
        yield Flow(EGRESS.id, 100, match, actions, note=f"{nic.label} is {nic.public_ip} outside")


def _internet_flows(index: FabricIndex) -> Iterator[Flow]:
    """The Internet's bridge: from whoever has a public address to whoever has one (E9)."""
    yield from _misses()
    for match, reason in _NEVER_CARRIED:
        yield Flow(CLASSIFY.id, 300, match, note=reason)
    for nic in index.nics_of[INTERNET]:
        yield from _nic_flows(index, nic)
    for port in index.vnet_ports.values():
        yield Flow(CLASSIFY.id, 150, (("in_port", port), *_IPV4), goto=RESOLVE.id, note="from a VNet")
    yield Flow(ROUTE.id, 100, _IPV4, goto=RESOLVE.id, note="the Internet knows public addresses alone")
    yield Flow(RESOLVE.id, 1, _IPV4, note="E9: nothing on the Internet has this address")
    for nic in index.nics.values():
        if nic.vnet == INTERNET:
            yield Flow(RESOLVE.id, 100, (*_IPV4, ("ipv4_dst", nic.ip)), (SetField("eth_dst", nic.mac),), DELIVER.id, note=nic.label)
        elif nic.public_ip is not None:
            inside = (SetField("ipv4_dst", nic.ip), SetField("eth_dst", nic.mac), Output(index.vnet_ports[nic.vnet]))
            yield Flow(RESOLVE.id, 100, (*_IPV4, ("ipv4_dst", nic.public_ip)), inside, note=f"{nic.label} inside is {nic.ip}")


def _arp_reply(port: int) -> tuple[Action, ...]:
    """Turn an ARP request into the fabric's reply and send it back (E7)."""
    return (
        Move("eth_src", "eth_dst"),
        SetField("eth_src", FABRIC_MAC),
        SetField("arp_op", 2),
        Move("arp_sha", "arp_tha"),
        SetField("arp_sha", FABRIC_MAC),
        Move("arp_spa", REG_SCRATCH),
        Move("arp_tpa", "arp_spa"),
        Move(REG_SCRATCH, "arp_tpa"),
        Output(port),
    )


def _resolve(index: FabricIndex, bridge: Bridge) -> Iterator[Flow]:
    for address, hop in index.addresses(bridge.vnet).items():
        actions, following = hop_actions(hop)
        yield Flow(RESOLVE.id, 100, (*_IPV4, ("ipv4_dst", address)), actions, following, note=hop_name(hop))


def _arrival(index: FabricIndex, bridge: Bridge, end: PeeringEnd) -> Iterator[Flow]:
    """What a VNet admits over one peering (P4): all, sources of the peered VNet and its gateways only, or nothing."""
    port: Match = (("in_port", end.port),)
    yield Flow(CLASSIFY.id, 150, (*port, *_IPV4), goto=ARRIVAL.id, note=f"from peering {end.peer_vnet}")
    if end.accept == "none":
        yield Flow(ARRIVAL.id, 200, port, note=f"P4: allow_virtual_network_access towards {end.peer_vnet} is false")
    elif end.accept == "all":
        yield Flow(ARRIVAL.id, 200, (*port, *_IPV4), goto=DELIVER.id, note=f"all from {end.peer_vnet}")
    else:
        for prefix in end.peer_space:
            yield Flow(ARRIVAL.id, 200, (*port, *_IPV4, ("ipv4_src", prefix)), goto=DELIVER.id, note=f"from {end.peer_vnet} itself")
        for mac in index.transit_macs(bridge.vnet, end.peer_vnet):
            yield Flow(ARRIVAL.id, 200, (*port, ("eth_src", mac), *_IPV4), goto=DELIVER.id, note=f"gateway transit from {end.peer_vnet}")
