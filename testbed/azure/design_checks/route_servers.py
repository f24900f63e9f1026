"""Route Servers and their peers: subnet, instances, limits, and the way to them (RS1-RS7)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from testbed.azure.control_plane import OVER_LIMIT
from testbed.azure.design_checks.finding import Case, Finding, counted, some
from testbed.azure.limits import ROUTE_SERVER_SUBNET as SIZE
from testbed.azure.limits import is_two_octet
from testbed.azure.lookup import contains
from testbed.azure.nva_policy import instances
from testbed.azure.types import Session
from testbed.model.addresses import ROUTE_SERVER_SUBNET, subnet_of

_STATIC_ROUTE = re.compile(r"^\s*ip route ([0-9.]+/[0-9]{1,2})\s", re.MULTILINE)


def subnet_size(case: Case) -> Iterator[Finding]:
    """RS1: /26 since 2025."""
    for server in case.topology.route_servers.values():
        subnet = subnet_of(case.topology, f"{server.vnet}/{ROUTE_SERVER_SUBNET}")
        if subnet.prefixlen > SIZE.recommended:
            yield Finding(
                "RS001",
                f"{case.vnet_paths[server.vnet]}.subnets.{ROUTE_SERVER_SUBNET}",
                f"{subnet} is a /{subnet.prefixlen}",
                f"{ROUTE_SERVER_SUBNET}: {subnet.network_address}/{SIZE.recommended}",
            )


def next_hops(case: Case) -> Iterator[Finding]:
    """RS2: a Route Server is never a next hop."""
    for name, table in case.topology.route_tables.items():
        for route_name, route in table.routes.items():
            server = case.route_server_addresses.get(str(route.next_hop_ip))
            if server is not None:
                path = f"route_tables.{name}.routes.{route_name}.next_hop_ip"
                peers = case.topology.route_servers[server].peers
                hop = case.topology.nvas[peers[0]].ip if peers else "the NVA's address"
                yield Finding("RS002", path, f"{route.prefix} leads to {route.next_hop_ip}, an instance of {server}", f"next_hop_ip: {hop}")


def both_instances(case: Case) -> Iterator[Finding]:
    """RS3: an NVA peers with both instances."""
    for name, server in case.topology.route_servers.items():
        for peer in server.peers:
            nva = case.topology.nvas[peer]
            missing = [instance for instance in (0, 1) if instance not in instances(nva, name)]
            for instance in missing:
                address = next(a for a, owner in _addresses(case, name) if owner == instance)
                yield Finding(
                    "RS003",
                    f"nvas.{peer}.neighbors.{name}.instances",
                    f"{peer} does not peer with {name}-{instance} ({address}); NICs programmed from it miss the routes of {peer}",
                    f"neighbors: {{{name}: {{instances: [0, 1]}}}}",
                )


def _addresses(case: Case, server: str) -> list[tuple[str, int]]:
    own = [address for address, name in case.route_server_addresses.items() if name == server]
    return [(address, instance) for instance, address in enumerate(own)]


def same_routes(case: Case) -> Iterator[Finding]:
    """RS3: both instances learn the same from an NVA."""
    for hub, session in case.nva_sessions:
        other = Session(session.server, 1, session.peer)
        if session.instance or other not in case.plane.sessions or case.plane.down(session) or case.plane.down(other):
            continue
        one, two = ({r.path.prefix for r in case.plane.received(each) if not r.dropped} for each in (session, other))
        if one != two:
            known = dict.fromkeys(one - two, 0) | dict.fromkeys(two - one, 1)
            shown = some(f"{prefix} (instance {instance} only)" for prefix, instance in sorted(known.items()))
            yield Finding(
                "RS103",
                f"nvas.{session.peer}",
                f"{hub.route_server} learns {counted(len(known), 'prefix')} from {session.peer} on one instance: {shown}",
                "filter_route_server_routes: true",
            )


def asns(case: Case) -> Iterator[Finding]:
    """RS4: two octets."""
    for name in dict.fromkeys(session.peer for _, session in case.nva_sessions):
        asn = case.topology.nvas[name].asn
        if not is_two_octet(asn):
            yield Finding("RS004", f"nvas.{name}.asn", f"AS {asn} of {name} needs four octets", "asn: 65001")


def limits(case: Case) -> Iterator[Finding]:
    """RS6: routes of a peer and in all, VNets of a hub, and what a refresh may count to."""
    limit = case.topology.limits
    totals: Counter[str] = Counter()
    for _, session in case.nva_sessions:
        down = case.plane.down(session)
        if down.startswith(OVER_LIMIT) and session.instance == _first(case, session):
            yield Finding("RS006", f"nvas.{session.peer}", down.removeprefix("RS6: "), "advertise summaries instead of single prefixes")
        if down:
            continue
        received = case.plane.received(session)
        count = len(received)
        totals[session.server] += sum(not each.dropped for each in received) if session.instance == _first(case, session) else 0
        if 2 * count > limit.routes_per_peer and session.instance == _first(case, session):
            yield Finding(
                "RS106",
                f"nvas.{session.peer}",
                f"{session.peer} sends {session.server} {count} routes; a refresh counts {2 * count}, {limit.routes_per_peer} are allowed",
                f"keep below {limit.routes_per_peer // 2} routes: advertise summaries",
            )
    for server, count in totals.items():
        if count > limit.routes_total:
            yield Finding(
                "RS006", f"route_servers.{server}", f"{count} routes in all, {limit.routes_total} are allowed", "advertise summaries"
            )
    for hub in case.plane.hubs:
        if hub.route_server is not None and len(hub.served) > limit.vnets:
            text = f"{hub.vnet} serves {len(hub.served)} VNets, {limit.vnets} are allowed"
            yield Finding("RS006", f"route_servers.{hub.route_server}", text, "a second hub for some of the spokes")


def _first(case: Case, session: Session) -> int:
    """The lower of the instances that the NVA peers with: what counts for both is said once."""
    return min(instances(case.topology.nvas[session.peer], session.server))


def circuit_limits(case: Case) -> Iterator[Finding]:
    """RS6: routes advertised to ExpressRoute."""
    limit = case.topology.limits.routes_to_expressroute
    told: set[str] = set()
    for session in case.plane.sessions:
        gateway = case.topology.gateways.get(session.server)
        if gateway is None or gateway.type != "expressroute" or session.server in told or session.peer in case.plane.layout.speakers:
            continue
        count = len(case.plane.advertised(session))
        if count > limit:
            told.add(session.server)
            text = f"{session.server} advertises {count} routes to {session.peer}, {limit} are allowed"
            yield Finding("RS006", f"gateways.{session.server}", text, "advertise summaries")


def way_to_route_server(case: Case) -> Iterator[Finding]:
    """RS7: an NVA with a configuration of its own needs a static route; where the testbed writes it, it has one."""
    for name, server in case.topology.route_servers.items():
        subnet = str(subnet_of(case.topology, f"{server.vnet}/{ROUTE_SERVER_SUBNET}"))
        spaces = [str(space) for space in case.topology.vnets()[server.vnet].address_space]
        for peer in (peer for peer in server.peers if peer in case.frr_texts):
            routes = _STATIC_ROUTE.findall(case.frr_texts[peer])
            if not any(contains(route, subnet) and any(contains(space, route) for space in spaces) for route in routes):
                nva = case.topology.nvas[peer]
                first = subnet_of(case.topology, nva.subnet).network_address + 1
                yield Finding(
                    "RS007",
                    f"nvas.{peer}.frr_config",
                    f"{nva.frr_config} has no static route to {subnet}; {name} advertises {', '.join(spaces)} with itself as next hop",
                    f"ip route {subnet} {first}",
                )


def not_a_peer(case: Case) -> Iterator[Finding]:
    """RS3: a peer must be configured at the Route Server."""
    for name, nva in case.topology.nvas.items():
        for neighbor in nva.neighbors:
            server = case.topology.route_servers.get(neighbor)
            if server is not None and name not in server.peers:
                text = f"{name} has settings for {neighbor}, which does not list it as a peer"
                yield Finding(
                    "RS203", f"nvas.{name}.neighbors.{neighbor}", text, f"{neighbor}: {{peers: [{', '.join((*server.peers, name))}]}}"
                )


CHECKS = (subnet_size, next_hops, both_instances, same_routes, asns, limits, circuit_limits, way_to_route_server, not_a_peer)
