"""Interfaces: addresses inside their subnet, none twice, public ones from the documentation ranges."""

from __future__ import annotations

from collections.abc import Iterator

from testbed.model.addresses import GATEWAY_SUBNET, PUBLIC, ROUTE_SERVER_SUBNET, allocate, fixed_addresses, nics, public_addresses, usable
from testbed.model.design import Design, repeated
from testbed.model.findings import Finding


def addresses_fit(design: Design) -> Iterator[Finding]:
    """A given address lies in its subnet and is none that Azure keeps (.0 to .3 and the last)."""
    for path, reference, address in fixed_addresses(design.topology):
        subnet = design.subnets.get(reference)
        if subnet is None or path.startswith(("route_servers.", "gateways.")):
            continue
        if address not in subnet:
            text = f"{address} is outside {subnet} of subnet {reference} (Azure: PrivateIPAddressNotInSubnet)"
            yield Finding(path, text, f"use {subnet[4]} or higher" if subnet.num_addresses > 4 else "")
        elif not usable(address, subnet):
            text = f"{address} is kept by Azure: the first four and the last of {subnet} (Azure: PrivateIPAddressInReservedRange)"
            yield Finding(path, text, f"use {subnet[4]} or higher" if subnet.num_addresses > 5 else "")


def addresses_are_unique(design: Design) -> Iterator[Finding]:
    """In a VNet each address belongs to one interface, load balancer or instance."""
    seen: dict[tuple[str, str], str] = {}
    for path, reference, address in fixed_addresses(design.topology):
        key = (reference.partition("/")[0], str(address))
        if key in seen and not path.startswith(("route_servers.", "gateways.")):
            yield Finding(path, f"{address} is taken by {seen[key].removesuffix('.ip')}", "give each its own address")
        seen.setdefault(key, path)


def subnets_are_large_enough(design: Design) -> Iterator[Finding]:
    """Every interface without a given address finds a free one."""
    for path in allocate(design.topology).full:
        yield Finding(path, "its subnet has no free address", "make the subnet larger")


def dedicated_subnets(design: Design) -> Iterator[Finding]:
    """RouteServerSubnet and GatewaySubnet hold Route Servers and gateways alone."""
    places = [(path, nic.subnet) for path, nic in nics(design.topology)]
    places += [(f"load_balancers.{name}", balancer.subnet) for name, balancer in design.topology.load_balancers.items()]
    for path, reference in places:
        if reference.partition("/")[2] in (ROUTE_SERVER_SUBNET, GATEWAY_SUBNET):
            text = f"{reference} is for Route Servers and gateways alone"
            yield Finding(f"{path}.subnet", text, "use another subnet")


def public_addresses_fit(design: Design) -> Iterator[Finding]:
    """Public addresses come from the documentation ranges, each once: nothing here may look like a real one."""
    seen: dict[str, str] = {}
    for path, address in public_addresses(design.topology):
        if not any(address in network for network in PUBLIC):
            yield Finding(path, f"{address} is not in a documentation range", f"use one of {', '.join(str(network) for network in PUBLIC)}")
        if str(address) in seen:
            yield Finding(path, f"{address} is taken by {seen[str(address)]}", "give each its own address")
        seen.setdefault(str(address), path)


def backends_are_in_the_vnet(design: Design) -> Iterator[Finding]:
    """A load balancer's backends have an interface in its VNet, and each is named once."""
    for name, balancer in design.topology.load_balancers.items():
        vnet = balancer.subnet.partition("/")[0]
        for number, backend in repeated(balancer.backends):
            yield Finding(f"load_balancers.{name}.backends[{number}]", f"{backend} is there twice", "name each backend once")
        for number, backend in enumerate(balancer.backends):
            path = f"load_balancers.{name}.backends[{number}]"
            homes = _vnets_of(design, backend)
            if homes and vnet not in homes and "nvas" not in design.incomplete:
                yield Finding(path, f"{backend} has no interface in VNet {vnet}", "backends are in the VNet of the frontend")


def _vnets_of(design: Design, name: str) -> set[str]:
    if name in design.topology.nvas:
        nva = design.topology.nvas[name]
        return {subnet.partition("/")[0] for subnet in (nva.subnet, *(nic.subnet for nic in nva.extra_nics))}
    vm = design.topology.vms.get(name)
    return {vm.subnet.partition("/")[0]} if vm is not None else set()


CHECKS = (
    addresses_fit,
    addresses_are_unique,
    subnets_are_large_enough,
    dedicated_subnets,
    public_addresses_fit,
    backends_are_in_the_vnet,
)
