"""Gateways, circuits and sites: each gateway in a GatewaySubnet, circuits on ExpressRoute, connections on VPN (GW1)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator
from ipaddress import IPv4Address, IPv4Network, collapse_addresses

from testbed.model.addresses import GATEWAY_SUBNET, instance_addresses, usable
from testbed.model.design import Design, repeated, steps
from testbed.model.findings import Finding


def gateway_homes(design: Design) -> Iterator[Finding]:
    """A gateway needs a GatewaySubnet with room for its instances; a VNet has one gateway of a kind (GW1)."""
    seen: dict[tuple[str, str], str] = {}
    instances: dict[str, list[IPv4Address]] = {}
    for path, _, address in instance_addresses(design.topology):
        instances.setdefault(path, []).append(address)
    for name, gateway in design.topology.gateways.items():
        path = f"gateways.{name}"
        key = (gateway.vnet, gateway.type)
        if key in seen:
            yield Finding(f"{path}.vnet", f"{gateway.vnet} has {gateway.type} gateway {seen[key]} already", "one gateway of a kind a VNet")
        seen.setdefault(key, name)
        if gateway.vnet not in design.vnets:
            continue
        subnet = design.subnets.get(f"{gateway.vnet}/{GATEWAY_SUBNET}")
        if subnet is not None:
            if not all(usable(address, subnet) for address in instances[path]):
                yield Finding(path, f"{GATEWAY_SUBNET} {subnet} has no room for its two instances", "make it a /27 or larger")
        elif f"{gateway.vnet}/{GATEWAY_SUBNET}" not in design.declared["subnets"]:
            yield Finding(
                f"{path}.vnet", f"VNet {gateway.vnet} has no {GATEWAY_SUBNET} (GW1)", f"add one, /27 or larger, to {gateway.vnet}"
            )


def gateway_public_addresses(design: Design) -> Iterator[Finding]:
    """A VPN gateway has as many public addresses as instances that carry tunnels, an ExpressRoute gateway none."""
    for name, gateway in design.topology.gateways.items():
        most = 0 if gateway.type == "expressroute" else 2 if gateway.active_active else 1
        if len(gateway.public_ips) > most:
            kind = {0: "an ExpressRoute gateway", 1: "a VPN gateway that is not active_active", 2: "a VPN gateway"}[most]
            yield Finding(f"gateways.{name}.public_ips", f"{kind} has {most} public addresses at most, found {len(gateway.public_ips)}")


def kinds(design: Design) -> Iterator[Finding]:
    """Circuits end at ExpressRoute gateways, connections at VPN gateways; each is named once."""
    for name, circuit in design.topology.circuits.items():
        yield from _gateways(design, f"circuits.{name}.gateways", circuit.gateways, "expressroute", "a circuit")
    for name, site in design.topology.sites.items():
        yield from _gateways(design, f"sites.{name}.connections", site.connections, "vpn", "a connection")
        for number, circuit_name in repeated(site.circuits):
            yield Finding(f"sites.{name}.circuits[{number}]", f"{circuit_name} is there twice", "name each once")


def _gateways(design: Design, path: str, names: Collection[str], kind: str, what: str) -> Iterator[Finding]:
    for step, name in steps(names):
        gateway = design.topology.gateways.get(name)
        if gateway is not None and gateway.type != kind:
            yield Finding(f"{path}{step}", f"{name} is of type {gateway.type}; {what} needs {kind}", f"name a gateway of type {kind}")
    for number, name in repeated(names):
        yield Finding(f"{path}[{number}]", f"{name} is there twice", "name each once")


def hosts(design: Design) -> Iterator[Finding]:
    """The hosts of a site have different addresses inside its prefixes."""
    for name, site in design.topology.sites.items():
        seen: dict[IPv4Address, str] = {}
        inside = _membership(site.prefixes)
        wide = [prefix for prefix in site.prefixes if prefix.prefixlen < 31]
        edges = {edge: prefix for prefix in wide for edge in (prefix.network_address, prefix.broadcast_address)}
        for host, address in site.hosts.items():
            path = f"sites.{name}.hosts.{host}"
            if address in seen:
                yield Finding(path, f"{address} is taken by {seen[address]}", "give each its own address")
            seen.setdefault(address, host)
            if not inside(address) and "sites" not in design.incomplete:
                yield Finding(path, f"{address} is in none of the site's prefixes", "add its prefix to the site")
            elif address in edges:
                yield Finding(path, f"{address} is the network or broadcast address of {edges[address]}", "use one in between")


def _membership(prefixes: tuple[IPv4Network, ...]) -> Callable[[IPv4Address], bool]:
    """Whether an address is in one of many prefixes, found by bisection."""
    ranges = sorted(collapse_addresses(prefixes))
    starts = [prefix.network_address for prefix in ranges]

    def inside(address: IPv4Address) -> bool:
        place = bisect_right(starts, address)
        return place > 0 and address in ranges[place - 1]

    return inside


CHECKS = (gateway_homes, gateway_public_addresses, kinds, hosts)
