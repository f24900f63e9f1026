"""Effective routes: user-defined routes that lose, propagation that is off, peerings that win, NICs that do not forward (E1-E8)."""

from __future__ import annotations

from collections.abc import Iterator

from testbed.azure.design_checks.finding import Case, Finding, counted, some
from testbed.azure.domains import UserRoutes, user_routes
from testbed.azure.lookup import PrefixMap, contains, parse
from testbed.azure.networks import nva_nics
from testbed.azure.types import Address, Domain, NextHopType, Prefix, Row


def shorter_than_injected(case: Case) -> Iterator[Finding]:
    """E1: a UDR with injected routes inside it that lead elsewhere. 0.0.0.0/0 (or its halves) is for what nothing else knows: left out."""
    known: dict[tuple[str, UserRoutes], dict[Prefix, list[Prefix]]] = {}
    for domain in case.plane.domains:
        if not domain.propagate or domain.hub is None or not domain.user:
            continue
        key = domain.hub, user_routes(domain)
        if key not in known:
            known[key] = _beaten(case, domain.hub, domain)
        injected = case.injected(domain.hub)
        protected = injected.protected(domain) if known[key] else set()
        for row in domain.user:
            prefixes = [prefix for prefix in known[key].get(row.prefix, ()) if prefix not in protected]
            if prefixes:
                hops = injected.hops[prefixes[0]]
                what = f"{counted(len(prefixes), 'injected route')} in {domain.vnet}: {some(prefixes)} via {some(hops)}"
                remedy = f"prefix: {prefixes[0]} (one route each), or disable_bgp_route_propagation: true on {domain.route_table}"
                yield Finding("UD001", f"route_tables.{domain.route_table}.routes.{row.name}", f"{row.prefix} loses to {what}", remedy)


def _beaten(case: Case, hub: str, domain: Domain) -> dict[Prefix, list[Prefix]]:
    """For each UDR the injected routes inside it, and inside no longer one, that have other next hops."""
    rows, injected = PrefixMap({row.prefix: row for row in domain.user}), case.injected(hub)
    found: dict[Prefix, list[Prefix]] = {}
    for row in domain.user:
        if parse(row.prefix)[1] > 1:
            inside = (each for each in injected.inside(row.prefix) if each != row.prefix and injected.hops[each] != row.next_hops)
            prefixes = [prefix for prefix in inside if rows.covering(prefix) == row.prefix]
            if prefixes:
                found[row.prefix] = prefixes
    return found


def propagation_off(case: Case) -> Iterator[Finding]:
    """E5: injected routes that a subnet loses, and that no UDR replaces. An NVA's subnet does without the routes to itself."""
    inhabited = _inhabited(case)
    nvas = {str(nic.ip) for name, nva in case.topology.nvas.items() for _, nic in nva_nics(name, nva)}
    known: dict[tuple[str, UserRoutes], list[Prefix]] = {}
    for domain in case.plane.domains:
        if domain.propagate or domain.hub is None or not set(domain.subnets) & inhabited.keys():
            continue
        own = {address for subnet in domain.subnets for address in inhabited.get(subnet, ())}
        injected = case.injected(domain.hub)
        key = domain.hub, user_routes(domain)
        if key not in known:
            replaced = {prefix for row in domain.user for prefix in injected.inside(row.prefix)}
            known[key] = [prefix for prefix in injected.hops if prefix not in replaced]
        protected = injected.protected(domain)
        lost = [prefix for prefix in known[key] if prefix not in protected and not (own <= nvas and set(injected.hops[prefix]) & own)]
        if lost:
            text = (
                f"{some(domain.subnets)} loses {counted(len(lost), 'route')} of the Route Server and gateways in {domain.hub}: {some(lost)}"
            )
            hop = injected.hops[lost[0]][0]
            remedy = f"routes: {{r1: {{prefix: {lost[0]}, next_hop_type: VirtualAppliance, next_hop_ip: {hop}}}}}, or propagation left on"
            yield Finding("ER005", f"route_tables.{domain.route_table}.disable_bgp_route_propagation", text, remedy)


def _inhabited(case: Case) -> dict[str, list[Address]]:
    """The addresses in each subnet that has NVAs or VMs."""
    found: dict[str, list[Address]] = {}
    for name, nva in case.topology.nvas.items():
        for _, nic in nva_nics(name, nva):
            found.setdefault(nic.subnet, []).append(str(nic.ip))
    for vm in case.topology.vms.values():
        found.setdefault(vm.subnet, []).append(str(vm.ip))
    return found


def direct_peerings(case: Case) -> Iterator[Finding]:
    """E2: a route through an NVA to a VNet that is peered directly, where neither is a hub and no UDR puts the NVA back."""
    for domain in case.plane.domains:
        if domain.hub is None or domain.vnet in case.hubs:
            continue
        peers = {
            prefix: peer.peer for peer in case.connected.peers(domain.vnet) if peer.peer not in case.hubs for prefix in peer.peer_space
        }
        injected, rows = case.injected(domain.hub), PrefixMap({row.prefix: row for row in domain.user})
        for space, peer in peers.items():
            withheld = injected.inside(space)
            hops = injected.hops[withheld[0]] if withheld else ()
            nvas = [label for hop in hops for _, label in case.owners.get(hop, []) if case.nva_of(label)]
            if nvas and not _restored(space, rows):
                text = (
                    f"{domain.vnet} reaches {some(withheld)} over its peering with {peer}; {some(nvas)}, which advertises it, is bypassed"
                )
                remedy = f"a UDR in {domain.vnet}: {{prefix: {space}, next_hop_type: VirtualAppliance, next_hop_ip: {hops[0]}}}"
                yield Finding("ER002", case.sides[domain.vnet, peer], text, remedy)


def _restored(space: Prefix, rows: PrefixMap[Row]) -> bool:
    """Whether a UDR equal to the peer's range, or inside it, leads elsewhere: a shorter one would lose to the system route."""
    return any(contains(space, prefix) and rows[prefix].next_hop_type is not NextHopType.VNET_LOCAL for prefix in rows)


def forwarding(case: Case) -> Iterator[Finding]:
    """E8: a NIC that routes lead to, or that a load balancer of routes has behind it, and that does not forward."""
    hops = {hop for hub in case.plane.hubs for home in (0, 1) for hops in case.plane.injected(hub.vnet, home).values() for hop in hops}
    hops |= {hop for domain in case.plane.domains for row in domain.user for hop in row.next_hops}
    behind = {name for balancer in case.topology.load_balancers.values() if str(balancer.ip) in hops for name in balancer.backends}
    for name, nva in case.topology.nvas.items():
        for number, (label, nic) in enumerate(nva_nics(name, nva)):
            if not nic.enable_ip_forwarding and (str(nic.ip) in hops or label in behind):
                path = f"nvas.{name}.enable_ip_forwarding" if not number else f"nvas.{name}.extra_nics[{number - 1}].enable_ip_forwarding"
                yield Finding("ER008", path, f"routes lead to {label} ({nic.ip}), which does not forward", "enable_ip_forwarding: true")


CHECKS = (shorter_than_injected, propagation_off, direct_peerings, forwarding)
