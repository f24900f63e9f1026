"""Names: each stands for one thing, and what is referred to exists."""

from __future__ import annotations

from collections.abc import Iterator

from testbed.model.design import Design, steps
from testbed.model.findings import Finding


def vnets_are_unique(design: Design) -> Iterator[Finding]:
    """One VNet name belongs to one region: peerings and subnets name VNets alone."""
    seen: dict[str, str] = {}
    for region_name, region in design.topology.regions.items():
        for vnet in region.vnets:
            if vnet in seen:
                path = f"regions.{region_name}.vnets.{vnet}"
                yield Finding(path, f"region {seen[vnet]} has a VNet of this name too", "give each VNet a name of its own")
            seen.setdefault(vnet, region_name)


def node_names(design: Design) -> Iterator[tuple[str, str, str]]:
    """All that becomes a node, and what BGP neighbours are named by, as (name, path, what it is)."""
    topology = design.topology
    for name in topology.vms:
        yield name, f"vms.{name}", "a VM"
    for name in topology.nvas:
        yield name, f"nvas.{name}", "an NVA"
    for name, site in topology.sites.items():
        yield name, f"sites.{name}", "a site"
        for host in site.hosts:
            yield host, f"sites.{name}.hosts.{host}", f"a host of site {name}"
    for name in topology.route_servers:
        yield from _instances(name, f"route_servers.{name}", "a Route Server")
    for name in topology.gateways:
        yield from _instances(name, f"gateways.{name}", "a gateway")
    for name in topology.circuits:
        for number in (0, 1):
            yield f"{name}-msee{number}", f"circuits.{name}", f"the edge router of circuit {name}"


def _instances(name: str, path: str, what: str) -> Iterator[tuple[str, str, str]]:
    yield name, path, what
    for number in (0, 1):
        yield f"{name}-{number}", path, f"an instance of {name}"


def nodes_are_unique(design: Design) -> Iterator[Finding]:
    """Two nodes never share a name: VMs, NVAs, sites, hosts, and the instances of Route Servers, gateways and circuits."""
    seen: dict[str, str] = {}
    told: set[str] = set()
    for name, path, what in node_names(design):
        if name in seen and path not in told:
            told.add(path)
            yield Finding(path, f"the name {name} stands for {seen[name]} too", "give each a name of its own")
        seen.setdefault(name, what)


def nics_of_an_nva_are_unique(design: Design) -> Iterator[Finding]:
    """The interfaces of one NVA have different names."""
    for name, nva in design.topology.nvas.items():
        seen: set[str] = set()
        for number, nic in enumerate(nva.extra_nics):
            if nic.name in seen:
                yield Finding(f"nvas.{name}.extra_nics[{number}].name", f"{nic.name} is there twice", "give each interface its own name")
            seen.add(nic.name)


def subnets_exist(design: Design) -> Iterator[Finding]:
    """Every ``VNET/SUBNET`` names a subnet that is declared."""
    topology = design.topology
    for name, nva in topology.nvas.items():
        yield from design.unknown_subnet(f"nvas.{name}.subnet", nva.subnet)
        for number, nic in enumerate(nva.extra_nics):
            yield from design.unknown_subnet(f"nvas.{name}.extra_nics[{number}].subnet", nic.subnet)
    for name, vm in topology.vms.items():
        yield from design.unknown_subnet(f"vms.{name}.subnet", vm.subnet)
    for name, balancer in topology.load_balancers.items():
        yield from design.unknown_subnet(f"load_balancers.{name}.subnet", balancer.subnet)
    for name, table in topology.route_tables.items():
        for number, subnet in enumerate(table.subnets):
            yield from design.unknown_subnet(f"route_tables.{name}.subnets[{number}]", subnet)


def vnets_exist(design: Design) -> Iterator[Finding]:
    """Peerings, Route Servers and gateways name VNets that are declared."""
    for path, peering in design.entries("peerings", design.topology.peerings):
        yield from design.unknown(f"{path}.from", peering.from_, "vnets")
        yield from design.unknown(f"{path}.to", peering.to, "vnets")
    for name, server in design.topology.route_servers.items():
        yield from design.unknown(f"route_servers.{name}.vnet", server.vnet, "vnets")
    for name, gateway in design.topology.gateways.items():
        yield from design.unknown(f"gateways.{name}.vnet", gateway.vnet, "vnets")


def neighbours_exist(design: Design) -> Iterator[Finding]:
    """BGP peers, neighbours and backends name what is declared, of the right kind."""
    topology = design.topology
    for name, server in topology.route_servers.items():
        for number, peer in enumerate(server.peers):
            yield from design.unknown(f"route_servers.{name}.peers[{number}]", peer, "nvas")
    for name, nva in topology.nvas.items():
        for neighbor in nva.neighbors:
            yield from design.unknown(f"nvas.{name}.neighbors.{neighbor}", neighbor, "route_servers", "nvas", "sites")
    for name, balancer in topology.load_balancers.items():
        for number, backend in enumerate(balancer.backends):
            yield from design.unknown(f"load_balancers.{name}.backends[{number}]", backend, "nvas", "vms")


def ends_exist(design: Design) -> Iterator[Finding]:
    """Tunnels and sessions end at what is declared."""
    topology = design.topology
    for path, tunnel in design.entries("tunnels", topology.tunnels):
        for number, end in enumerate(tunnel.between):
            yield from design.unknown(f"{path}.between[{number}]", end, "nvas", "sites")
    for path, session in design.entries("bgp_sessions", topology.bgp_sessions):
        for number, end in enumerate(session.between):
            yield from design.unknown(f"{path}.between[{number}]", end, "nvas")


def circuits_and_connections_exist(design: Design) -> Iterator[Finding]:
    """Circuits name gateways, sites name circuits and gateways."""
    for name, circuit in design.topology.circuits.items():
        for step, gateway in steps(circuit.gateways):
            yield from design.unknown(f"circuits.{name}.gateways{step}", gateway, "gateways")
    for name, site in design.topology.sites.items():
        for step, used in steps(site.circuits):
            yield from design.unknown(f"sites.{name}.circuits{step}", used, "circuits")
        for number, connection in enumerate(site.connections):
            yield from design.unknown(f"sites.{name}.connections[{number}]", connection, "gateways")


CHECKS = (
    vnets_are_unique,
    nodes_are_unique,
    nics_of_an_nva_are_unique,
    subnets_exist,
    vnets_exist,
    neighbours_exist,
    ends_exist,
    circuits_and_connections_exist,
)
