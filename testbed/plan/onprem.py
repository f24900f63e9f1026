"""On-premises and the circuits: MSEEs, customer edges and their hosts, and the wires that join them outside the fabric (GW3)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from testbed.azure.networks import EXPRESSROUTE, Layout, msee_name
from testbed.model.links import to_gateway
from testbed.model.topology import Site, Topology
from testbed.plan import addressing, frr
from testbed.plan.nodes import Design, first_host, own_addresses, sysctls
from testbed.plan.shapes import shape_of
from testbed.plan.types import INTERNET, Capabilities, Node, Shape, Wire

_LAN = "", Shape()


def names(topology: Topology) -> tuple[str, ...]:
    """The nodes outside the fabric: two MSEEs a circuit, the sites' routers, their hosts."""
    edges = (msee_name(circuit, number) for circuit in topology.circuits for number in (0, 1))
    hosts = (host for site in topology.sites.values() for host in site.hosts)
    return (*edges, *topology.sites, *hosts)


def wires(lab: str, topology: Topology, plan: Layout, can: Capabilities) -> tuple[Wire, ...]:
    """Circuits as the BGP sessions over them have them, then the LANs of the sites; interfaces are named w0, w1 … in each node."""
    lines = dict(_lines(topology, can))
    used: Counter[str] = Counter()
    found: list[Wire] = []
    for adjacency in plan.network.adjacencies:
        if adjacency.kind == EXPRESSROUTE:
            addresses = f"{adjacency.a.address}/31", f"{adjacency.b.address}/31"
            nodes = adjacency.a.router, adjacency.b.router
            found.append(_wire(lab, nodes, addresses, used, len(found), lines[nodes]))
    for name, site in topology.sites.items():
        for host, address in site.hosts.items():
            found.append(_wire(lab, (name, host), ("", f"{address}/32"), used, len(found)))
    return tuple(found)


def _lines(topology: Topology, can: Capabilities) -> Iterator[tuple[tuple[str, str], tuple[str, Shape]]]:
    """By their ends, the lines of all circuits: which circuit's each is, and what it is like."""
    for name, circuit in topology.circuits.items():
        for edge in (msee_name(name, number) for number in (0, 1)):
            for gateway in circuit.gateways:
                for instance in (0, 1):
                    yield (f"{gateway}-{instance}", edge), (name, shape_of(to_gateway(circuit, gateway), can))
            for site, declared in topology.sites.items():
                if name in declared.circuits:
                    yield (edge, site), (name, shape_of(circuit.line, can))


def _wire(
    lab: str, nodes: tuple[str, str], addresses: tuple[str, str], used: Counter[str], number: int, line: tuple[str, Shape] = _LAN
) -> Wire:
    circuit, shape = line
    names = f"w{used[nodes[0]]}", f"w{used[nodes[1]]}"
    used.update(nodes)
    macs = addressing.wire_mac(lab, number, 0), addressing.wire_mac(lab, number, 1)
    return Wire(addressing.wire_id(lab, number), nodes, names, addresses, macs, shape, circuit)


def node(number: str, name: str, design: Design, links: tuple[Wire, ...]) -> Node:
    """An MSEE, a site's router or a host."""
    if name in design.topology.sites:
        return _site(number, name, design, links)
    site = next((site for site in design.topology.sites.values() if name in site.hosts), None)
    return _msee(number, name, design, links) if site is None else _host(number, name, site, links)


def _interfaces(name: str, links: tuple[Wire, ...]) -> Iterator[tuple[str, str]]:
    """A node's wires: the interface there, and the node at the other end."""
    for wire in links:
        for own, other in ((0, 1), (1, 0)):
            if wire.nodes[own] == name:
                yield wire.names[own], wire.nodes[other]


def _msee(number: str, name: str, design: Design, links: tuple[Wire, ...]) -> Node:
    router = design.layout.network.routers[name]
    running = frr.router(design.templates, "msee.conf.j2", router, design.sessions.neighbors[name], design.topology.timers)
    return design.routed(number, name, "msee", running, (), [interface for interface, _ in _interfaces(name, links)])


def _site(number: str, name: str, design: Design, links: tuple[Wire, ...]) -> Node:
    """A customer edge: its networks, which it answers for as far as no host does, and the ways to its tunnels' far ends."""
    site, router = design.topology.sites[name], design.layout.network.routers[name]
    running = frr.router(design.templates, "site.conf.j2", router, design.sessions.neighbors[name], design.topology.timers)
    lines = [
        *own_addresses(f"{first_host(str(prefix)).partition('/')[0]}/32" for prefix in site.prefixes),
        *own_addresses(first_host(str(prefix)) for prefix in site.loopbacks),
        *(f"route add local {prefix} dev lo table main" for prefix in site.prefixes if prefix.prefixlen < 32),
        *(f"route add {site.hosts[host]}/32 dev {interface}" for interface, host in _interfaces(name, links) if host in site.hosts),
        *_ways_to_tunnel_ends(name, design),
    ]
    return design.routed(number, name, "site", running, lines, [interface for interface, _ in _interfaces(name, links)])


def _ways_to_tunnel_ends(name: str, design: Design) -> Iterator[str]:
    """Far ends of tunnels: private ones over the circuits, public ones over the Internet, whatever is learned inside the tunnels.

    What nobody announced is unreachable; the metric is FRR's for a route that any other beats.
    """
    edges = [each.a.address for each in design.layout.network.adjacencies if each.kind == EXPRESSROUTE and each.b.router == name]
    line = next((nic.name for nic in design.nics.get(name, ())), None)
    public = {str(nic.public_ip) for nics in design.nics.values() for nic in nics if nic.public_ip is not None}
    public |= {nic.ip for nics in design.nics.values() for nic in nics if nic.vnet == INTERNET}
    for remote in dict.fromkeys(tunnel.outer[1 - end] for tunnel, end in design.ends(name)):
        if remote in public and line is not None:
            yield f"route add {remote}/32 dev {line}"
        elif edges:
            yield f"route add {remote}/32 " + " ".join(f"nexthop via {edge}" for edge in edges)
    yield "route add unreachable default metric 4278198272"


def _host(number: str, name: str, site: Site, links: tuple[Wire, ...]) -> Node:
    """A host: everything to its customer edge, which answers at the first address of the site's network."""
    interface = next(interface for interface, _ in _interfaces(name, links))
    gateway = first_host(str(next(prefix for prefix in site.prefixes if site.hosts[name] in prefix))).partition("/")[0]
    lines = (f"route add {gateway}/32 dev {interface}", f"route add default via {gateway} dev {interface}")
    return Node(name, "host", number, (), setup=lines, sysctls=sysctls([interface], forwarding=False))
