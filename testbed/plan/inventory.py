"""Which nodes a topology has, with which NICs in which subnets; and those NICs numbered and plugged into the bridges."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from typing import NamedTuple

from testbed.azure.domains import home
from testbed.azure.types import Address, Domain
from testbed.errors import InputError
from testbed.model.addresses import GATEWAY_SUBNET, ROUTE_SERVER_SUBNET, gateway_addresses, route_server_addresses, subnet_of
from testbed.model.topology import Topology
from testbed.plan import addressing
from testbed.plan.types import INTERNET, Bridge, Nic


class Socket(NamedTuple):
    """A NIC that a node has: its label, the subnet as VNET/SUBNET, and what Azure knows of it."""

    label: str
    subnet: str
    ip: Address
    ip_forwarding: bool = False
    public_ip: Address | None = None


class Station(NamedTuple):
    """A node with a place in the fabric: its name, kind (as in `Node.kind`) and NICs, eth0 first."""

    name: str
    kind: str
    sockets: tuple[Socket, ...]


def stations(topology: Topology) -> tuple[Station, ...]:
    """All nodes with NICs in VNets: Route Server instances, gateway instances, NVAs, VMs, each in the order of the topology."""
    return (*_route_servers(topology), *_gateways(topology), *_nvas(topology), *_vms(topology))


def _route_servers(topology: Topology) -> Iterator[Station]:
    for name, server in topology.route_servers.items():
        for instance, address in enumerate(route_server_addresses(topology, name)):
            label = f"{name}-{instance}"
            yield Station(label, "route_server", (Socket(label, f"{server.vnet}/{ROUTE_SERVER_SUBNET}", address),))


def _gateways(topology: Topology) -> Iterator[Station]:
    for name, gateway in topology.gateways.items():
        both = gateway.type == "expressroute" or gateway.active_active
        for instance, address in enumerate(gateway_addresses(topology, name)[: 2 if both else 1]):
            label = f"{name}-{instance}"
            public = str(gateway.public_ips[instance]) if instance < len(gateway.public_ips) else None
            yield Station(label, gateway.type, (Socket(label, f"{gateway.vnet}/{GATEWAY_SUBNET}", address, True, public),))


def _nvas(topology: Topology) -> Iterator[Station]:
    for name, nva in topology.nvas.items():
        first = Socket(name, nva.subnet, _text(nva.ip, name), nva.enable_ip_forwarding, _public(nva.public_ip))
        extra = (
            Socket(f"{name}/{nic.name}", nic.subnet, _text(nic.ip, f"{name}/{nic.name}"), nic.enable_ip_forwarding, _public(nic.public_ip))
            for nic in nva.extra_nics
        )
        yield Station(name, "nva", (first, *extra))


def _vms(topology: Topology) -> Iterator[Station]:
    for name, vm in topology.vms.items():
        yield Station(name, "vm", (Socket(name, vm.subnet, _text(vm.ip, name), vm.enable_ip_forwarding, _public(vm.public_ip)),))


def _text(address: IPv4Address | None, label: str) -> Address:
    if address is None:
        raise InputError(f"{label} has no address", "load the topology with load_topology, which fills addresses in")
    return str(address)


def _public(address: IPv4Address | None) -> Address | None:
    return None if address is None else str(address)


def public_sites(topology: Topology) -> tuple[Station, ...]:
    """The sites with a line of their own to the Internet, plugged into its bridge (E9)."""
    return tuple(
        Station(name, "site", (Socket(name, f"{INTERNET}/", str(site.public_ip)),))
        for name, site in topology.sites.items()
        if site.public_ip is not None
    )


def plug(
    lab: str, topology: Topology, placed: tuple[Station, ...], bridges: dict[str, Bridge], domains: tuple[Domain, ...]
) -> dict[str, tuple[Nic, ...]]:
    """The NICs of every station by its name. Numbers (port names, MACs, OpenFlow ports) follow the order of the stations."""
    domain_of = {subnet: domain.id for domain in domains for subnet in domain.subnets}
    ports = dict.fromkeys(bridges, 0)
    plugged: dict[str, tuple[Nic, ...]] = {}
    number = 0
    for station in placed:
        nics: list[Nic] = []
        for place, socket in enumerate(station.sockets):
            number += 1
            vnet = socket.subnet.partition("/")[0]
            ports[vnet] += 1
            subnet = subnet_of(topology, socket.subnet) if vnet != INTERNET else IPv4Network(f"{socket.ip}/32")
            nics.append(
                Nic(
                    label=socket.label,
                    node=station.name,
                    name=f"eth{place}",
                    id=addressing.port_id(lab, number),
                    bridge=bridges[vnet].id,
                    port=ports[vnet],
                    mac=addressing.mac(lab, number),
                    vnet=vnet,
                    subnet=socket.subnet,
                    ip=socket.ip,
                    prefix_len=subnet.prefixlen,
                    gateway=str(subnet.network_address + 1) if vnet != INTERNET else "",
                    domain=domain_of.get(socket.subnet, 0),
                    home=home(socket.label),
                    ip_forwarding=socket.ip_forwarding,
                    public_ip=socket.public_ip,
                )
            )
        plugged[station.name] = tuple(nics)
    return plugged
