"""Route Servers and BGP: the subnet and the peers of a Route Server, reserved ASNs, tunnels and sessions (RS1, RS3, RS5, RS6)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from testbed.model.addresses import ROUTE_SERVER_SUBNET
from testbed.model.design import Design, repeated
from testbed.model.findings import Finding
from testbed.model.topology import Nva
from testbed.model.values import found

WELL_KNOWN = frozenset(
    (
        "no-advertise",
        "no-export",
        "no-peer",
        "local-AS",
        "internet",
        "blackhole",
        "graceful-shutdown",
        "accept-own",
        "llgr-stale",
        "no-llgr",
    )
)


def route_server_homes(design: Design) -> Iterator[Finding]:
    """A Route Server needs a RouteServerSubnet of /27 or larger, and is the only one of its VNet (RS1)."""
    largest = design.topology.limits.route_server_subnet
    seen: dict[str, str] = {}
    for name, server in design.topology.route_servers.items():
        path = f"route_servers.{name}.vnet"
        if server.vnet in seen:
            yield Finding(path, f"{server.vnet} has Route Server {seen[server.vnet]} already (RS1)", "one Route Server a VNet")
        seen.setdefault(server.vnet, name)
        if server.vnet not in design.vnets:
            continue
        subnet = design.subnets.get(f"{server.vnet}/{ROUTE_SERVER_SUBNET}")
        if subnet is None:
            if f"{server.vnet}/{ROUTE_SERVER_SUBNET}" not in design.declared["subnets"]:
                yield Finding(path, f"VNet {server.vnet} has no {ROUTE_SERVER_SUBNET} (RS1)", f"add one, /26 or larger, to {server.vnet}")
        elif subnet.prefixlen > largest:
            place = f"{design.vnet_paths[server.vnet]}.subnets.{ROUTE_SERVER_SUBNET}"
            yield Finding(place, f"{subnet} is smaller than /{largest} (RS1)", "make it a /26")


def route_server_peers(design: Design) -> Iterator[Finding]:
    """The peers of a Route Server are in its VNet or a directly peered one (RS3), named once, and not too many (RS6)."""
    most = design.topology.limits.peers
    for name, server in design.topology.route_servers.items():
        for number, peer in repeated(server.peers):
            yield Finding(f"route_servers.{name}.peers[{number}]", f"{peer} is there twice", "name each peer once")
        for number, peer in enumerate(server.peers):
            path = f"route_servers.{name}.peers[{number}]"
            nva = design.topology.nvas.get(peer)
            if nva is not None and server.vnet in design.vnets and not _reaches(design, nva, server.vnet):
                yield Finding(path, f"{peer} is neither in {server.vnet} nor in a VNet peered with it (RS3)", "peer the VNets, both sides")
            if number >= most:
                yield Finding(path, f"{peer} is peer {number + 1}; a Route Server has {most} at most (RS6)", "remove peers")


def _reaches(design: Design, nva: Nva, vnet: str) -> bool:
    """Whether an interface of the NVA is in the VNet or a peered one; unknown VNets count as reached: they are reported already."""
    homes = {subnet.partition("/")[0] for subnet in (nva.subnet, *(nic.subnet for nic in nva.extra_nics))}
    if {"peerings", "nvas"} & design.incomplete or not homes <= set(design.vnets):
        return True
    return any(home == vnet or design.connected(home, vnet) for home in homes)


def _contains(ranges: Iterable[range], asn: int) -> bool:
    return any(asn in each for each in ranges)


def _ranges(declared: Iterable[str]) -> tuple[range, ...]:
    """``65517-65520`` and the like, read once: there may be many NVAs."""
    pairs = [each.partition("-") for each in declared]
    return tuple(range(int(first), int(last or first) + 1) for first, _, last in pairs)


def reserved_asns(design: Design) -> Iterator[Finding]:
    """ASNs that Azure or IANA reserves are refused where Azure refuses them (RS5)."""
    azure, iana = _ranges(design.topology.limits.azure_asns), _ranges(design.topology.limits.iana_asns)
    for name, nva in design.topology.nvas.items():
        yield from _reserved(f"nvas.{name}.asn", nva.asn, azure, "Azure Route Server")
        yield from _reserved(f"nvas.{name}.asn", nva.asn, iana, "IANA and refused by Azure Route Server")
    for name, site in design.topology.sites.items():
        yield from _reserved(f"sites.{name}.asn", site.asn, azure, "Azure")
    for name, gateway in design.topology.gateways.items():
        if gateway.asn != 65515:
            yield from _reserved(f"gateways.{name}.asn", gateway.asn, (*azure, *iana), "Azure or IANA")


def _reserved(path: str, asn: int, ranges: Iterable[range], owner: str) -> Iterator[Finding]:
    if _contains(ranges, asn):
        yield Finding(path, f"{asn} is reserved by {owner}", "use e.g. 65001")


def tunnels(design: Design) -> Iterator[Finding]:
    """A tunnel joins two NVAs, or an NVA and a site; no two of one kind join the same."""
    seen: dict[tuple[str, str, frozenset[str]], str] = {}
    names: set[str] = set()
    for path, tunnel in design.entries("tunnels", design.topology.tunnels):
        one, other = tunnel.between
        if one == other:
            yield Finding(f"{path}.between", f"both ends are {one}", "name two different ends")
        elif one in design.topology.sites and other in design.topology.sites:
            yield Finding(f"{path}.between", f"{one} and {other} are both sites", "one end is an NVA")
        key = (tunnel.type, tunnel.over, frozenset(tunnel.between))
        if key in seen:
            yield Finding(path, f"{one} and {other} have a {tunnel.type} tunnel already, at {seen[key]}", "keep one of them")
        seen.setdefault(key, path)
        if tunnel.name is not None and tunnel.name in names:
            yield Finding(f"{path}.name", f"{tunnel.name} is the name of another tunnel", "give each its own name")
        names.add(tunnel.name or "")


def sessions(design: Design) -> Iterator[Finding]:
    """A BGP session joins two different NVAs, once."""
    seen: dict[frozenset[str], str] = {}
    for path, session in design.entries("bgp_sessions", design.topology.bgp_sessions):
        one, other = session.between
        key = frozenset(session.between)
        if one == other:
            yield Finding(f"{path}.between", f"both ends are {one}", "name two different NVAs")
        elif key in seen:
            yield Finding(path, f"{one} and {other} have a session already, at {seen[key]}", "keep one of them")
        seen.setdefault(key, path)


def policies(design: Design) -> Iterator[Finding]:
    """Communities are well-formed, an NVA is no neighbour of itself."""
    for name, nva in design.topology.nvas.items():
        path = f"nvas.{name}"
        for neighbor, policy in nva.neighbors.items():
            if neighbor == name:
                yield Finding(f"{path}.neighbors.{neighbor}", f"{name} is no neighbour of itself", "name another")
            for number, community in enumerate(policy.communities):
                if not _is_community(community):
                    place = f"{path}.neighbors.{neighbor}.communities[{number}]"
                    yield Finding(place, f"{found(community)} is no community", "write e.g. 65001:100, 65001:1:2 or no-advertise")


def _is_community(text: str) -> bool:
    if text in WELL_KNOWN:
        return True
    if not re.fullmatch(r"[0-9]{1,10}(:[0-9]{1,10}){1,2}", text):
        return False
    parts = [int(part) for part in text.split(":")]
    return max(parts) <= (65535 if len(parts) == 2 else 4294967295)


CHECKS = (route_server_homes, route_server_peers, reserved_asns, tunnels, sessions, policies)
