"""Gives every interface its address: what the topology says, else the lowest free one, always the same for the same file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import TypeVar

from testbed.errors import InputError, Problem
from testbed.model.topology import ExtraNic, Gateway, Nva, Topology, Vm
from testbed.model.values import Address

ROUTE_SERVER_SUBNET = "RouteServerSubnet"
GATEWAY_SUBNET = "GatewaySubnet"
FIRST_USABLE = 4  # Azure keeps .0 to .3 and the last address of every subnet (RS1)
PUBLIC = (IPv4Network("203.0.113.0/24"), IPv4Network("198.51.100.0/24"), IPv4Network("192.0.2.0/24"))
"""The documentation ranges (RFC 5737): all the testbed's public addresses, taken in this order."""

Nic = TypeVar("Nic", Nva, Vm, ExtraNic)


@dataclass
class Allocation:
    """Addresses by the path of the ``ip``; ``full`` holds the paths that found no free one."""

    addresses: dict[str, IPv4Address] = field(default_factory=dict)
    full: list[str] = field(default_factory=list)


def usable(address: IPv4Address, subnet: IPv4Network) -> bool:
    """Whether Azure gives that address of a subnet to an interface: not .0 to .3, not the last (RS1)."""
    offset = int(address) - int(subnet.network_address)
    return FIRST_USABLE <= offset < subnet.num_addresses - 1


def subnet_of(topology: Topology, reference: str) -> IPv4Network:
    """The prefix of a subnet given as ``VNET/SUBNET``. Raises KeyError when there is none."""
    vnet, _, subnet = reference.partition("/")
    return topology.vnets()[vnet].subnets[subnet]


def route_server_addresses(topology: Topology, name: str) -> tuple[str, str]:
    """The addresses of a Route Server's two instances: the first two usable of RouteServerSubnet (RS1). Raises KeyError."""
    subnet = subnet_of(topology, f"{topology.route_servers[name].vnet}/{ROUTE_SERVER_SUBNET}")
    return _pair(subnet, 0)


def gateway_addresses(topology: Topology, name: str) -> tuple[str, str]:
    """The addresses of a gateway's two instances in GatewaySubnet (GW1); a second gateway there has the next two. Raises KeyError."""
    vnet = topology.gateways[name].vnet
    neighbours = [each for each, gateway in topology.gateways.items() if gateway.vnet == vnet]
    return _pair(subnet_of(topology, f"{vnet}/{GATEWAY_SUBNET}"), neighbours.index(name))


def _pair(subnet: IPv4Network, place: int) -> tuple[str, str]:
    first = subnet.network_address + FIRST_USABLE + 2 * place
    return str(first), str(first + 1)


def nics(topology: Topology) -> Iterator[tuple[str, Nva | ExtraNic | Vm]]:
    """Every interface of NVAs and VMs with its path, in the order in which they get their addresses."""
    for name, nva in topology.nvas.items():
        yield f"nvas.{name}", nva
    for name, nva in topology.nvas.items():
        for number, nic in enumerate(nva.extra_nics):
            yield f"nvas.{name}.extra_nics[{number}]", nic
    for name, vm in topology.vms.items():
        yield f"vms.{name}", vm


def instance_addresses(topology: Topology) -> Iterator[tuple[str, str, IPv4Address]]:
    """The addresses of all instances of Route Servers and gateways as (path, subnet, address)."""
    vnets = topology.vnets()
    homes = [(f"route_servers.{name}", server.vnet, ROUTE_SERVER_SUBNET) for name, server in topology.route_servers.items()]
    homes += [(f"gateways.{name}", gateway.vnet, GATEWAY_SUBNET) for name, gateway in topology.gateways.items()]
    places: dict[str, int] = {}
    for path, vnet, subnet in homes:
        reference = f"{vnet}/{subnet}"
        place = places.get(reference, 0)
        places[reference] = place if subnet == ROUTE_SERVER_SUBNET else place + 1
        if vnet in vnets and subnet in vnets[vnet].subnets:
            for address in _pair(vnets[vnet].subnets[subnet], place):
                yield path, reference, IPv4Address(address)


def fixed_addresses(topology: Topology) -> Iterator[tuple[str, str, IPv4Address]]:
    """Addresses that the topology fixes, as (path, subnet, address): of interfaces, load balancers, Route Servers and gateways."""
    yield from instance_addresses(topology)
    for path, nic in nics(topology):
        if nic.ip is not None:
            yield f"{path}.ip", nic.subnet, nic.ip
    for name, balancer in topology.load_balancers.items():
        yield f"load_balancers.{name}.ip", balancer.subnet, balancer.ip


def allocate(topology: Topology) -> Allocation:
    """The address of every interface that the topology leaves open: the lowest free one of its subnet from .4."""
    allocation = Allocation()
    subnets = {f"{vnet}/{name}": prefix for vnet, each in topology.vnets().items() for name, prefix in each.subnets.items()}
    taken: dict[str, set[int]] = {}
    for _, reference, address in fixed_addresses(topology):
        taken.setdefault(reference, set()).add(int(address))
    cursors: dict[str, int] = {}
    for path, nic in nics(topology):
        if nic.ip is not None or nic.subnet not in subnets:
            continue
        subnet = subnets[nic.subnet]
        used = taken.get(nic.subnet, set())
        number = cursors.get(nic.subnet, int(subnet.network_address) + FIRST_USABLE)
        while number in used:
            number += 1
        cursors[nic.subnet] = number + 1
        if usable(IPv4Address(number), subnet):
            allocation.addresses[path] = IPv4Address(number)
        else:
            allocation.full.append(path)
    return allocation


def assign_addresses(topology: Topology, file: str = "<topology>") -> Topology:
    """The topology with every ``ip`` filled in, and public addresses where a tunnel over the Internet needs one.

    Deterministic: explicit addresses first, then the lowest free one from .4, in the order NVAs, their further interfaces, VMs.
    Raises InputError, about ``file``, when a subnet or the documentation ranges are too small.
    """
    allocation = allocate(topology)
    if allocation.full:
        raise InputError([Problem(file, 0, path, "its subnet has no free address") for path in allocation.full])
    public = _free_public(topology, file)
    ends = {end for tunnel in topology.tunnels if tunnel.over == "public" for end in tunnel.between}
    nvas = {name: _nva(f"nvas.{name}", nva, allocation, public, name in ends) for name, nva in topology.nvas.items()}
    vms = {name: _with_ip(f"vms.{name}", vm, allocation) for name, vm in topology.vms.items()}
    gateways = {name: _gateway(gateway, public) for name, gateway in topology.gateways.items()}
    sites = {
        name: site.model_copy(update={"public_ip": next(public)}) if site.public_ip is None and (site.connections or name in ends) else site
        for name, site in topology.sites.items()
    }
    return topology.model_copy(update={"nvas": nvas, "vms": vms, "gateways": gateways, "sites": sites})


def _with_ip(path: str, nic: Nic, allocation: Allocation) -> Nic:
    return nic if nic.ip is not None else nic.model_copy(update={"ip": allocation.addresses[path]})


def _nva(path: str, nva: Nva, allocation: Allocation, public: Iterator[IPv4Address], needs_public: bool) -> Nva:
    extra = tuple(_with_ip(f"{path}.extra_nics[{number}]", nic, allocation) for number, nic in enumerate(nva.extra_nics))
    update: dict[str, object] = {"extra_nics": extra}
    if needs_public and nva.public_ip is None and all(nic.public_ip is None for nic in nva.extra_nics):
        update["public_ip"] = next(public)
    return _with_ip(path, nva, allocation).model_copy(update=update)


def _gateway(gateway: Gateway, public: Iterator[IPv4Address]) -> Gateway:
    if gateway.type != "vpn":
        return gateway
    wanted = 2 if gateway.active_active else 1
    given = gateway.public_ips
    return gateway.model_copy(update={"public_ips": (*given, *(next(public) for _ in range(wanted - len(given))))})


def public_addresses(topology: Topology) -> Iterator[tuple[str, Address]]:
    """The public addresses that the topology fixes, with their paths."""
    for path, nic in nics(topology):
        if nic.public_ip is not None:
            yield f"{path}.public_ip", nic.public_ip
    for name, gateway in topology.gateways.items():
        for number, address in enumerate(gateway.public_ips):
            yield f"gateways.{name}.public_ips[{number}]", address
    for name, site in topology.sites.items():
        if site.public_ip is not None:
            yield f"sites.{name}.public_ip", site.public_ip


def _free_public(topology: Topology, file: str) -> Iterator[IPv4Address]:
    """Free public addresses, lowest first; loopbacks from the same ranges are not touched."""
    used = {address for _, address in public_addresses(topology)}
    networks = {network for nva in topology.nvas.values() for network in nva.loopbacks}
    networks |= {network for site in topology.sites.values() for network in site.loopbacks}
    inside = [network for network in networks if any(network.overlaps(public) for public in PUBLIC)]
    for network in PUBLIC:
        for address in network.hosts():
            if address not in used and not any(address in loopback for loopback in inside):
                yield address
    raise InputError([Problem(file, 0, "", "has more public addresses than the documentation ranges hold")])
