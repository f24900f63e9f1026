"""What each node's kernel does with a packet: the routes that BGP must not decide, and BGP's routes resolved over them.

A kernel route beats a BGP route of the same prefix: zebra gives it distance 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct

from testbed.azure.bgp import Candidate, Outcome
from testbed.azure.lookup import PrefixMap
from testbed.azure.networks import EXPRESSROUTE, Layout, nva_nics, tunnel_name
from testbed.azure.nva_policy import OVERLAY
from testbed.azure.types import Address, Prefix
from testbed.model.addresses import GATEWAY_SUBNET, ROUTE_SERVER_SUBNET, subnet_of
from testbed.model.topology import Topology, Tunnel

FABRIC = "fabric"
LOCAL = "local"
INTERNET = "internet"
UNREACHABLE = "unreachable"
DEFAULT: Prefix = "0.0.0.0/0"


class FibHop(Struct, frozen=True):
    """One way out of a node. ``device``: `FABRIC` (by the NIC of label ``nic``), a tunnel's name, a link outside the fabric
    (``er1-0-london-msee0``), `INTERNET` (a site's own line), `LOCAL` or `UNREACHABLE`. ``gateway`` is whom the packet is handed
    to there; empty when it is the destination itself.
    """

    device: str
    gateway: Address = ""
    nic: str = ""


Fib = Mapping[Prefix, tuple[FibHop, ...]]
Routes = dict[Prefix, tuple[FibHop, ...]]
HERE = (FibHop(LOCAL),)


def kernel_routes(topology: Topology, layout: Layout, node: str) -> Routes:
    """The routes of a node that do not come from BGP. Raises KeyError when there is no such node with routes of its own."""
    if (host := _host(topology, node)) is not None:
        return host
    routes = {**_links(layout, node), **_tunnels(topology, layout, node)}
    if node in topology.nvas:
        routes |= _nva(topology, node)
    elif node in topology.vms:
        routes |= _vm(topology, node)
    elif node in layout.speakers:
        routes |= _instance(topology, layout, node)
    elif node in topology.sites:
        routes |= _site(topology, layout, node)
    elif node not in layout.network.routers:
        raise KeyError(node)
    return routes


def fib(kernel: Fib, node: str, outcomes: Iterable[Outcome]) -> Fib:
    """The forwarding table of ``node``: its kernel routes, and BGP's best routes with their next hops resolved over these."""
    resolver = PrefixMap(kernel)
    table: Routes = {}
    for outcome in outcomes:
        chosen = outcome.chosen.get(node, ())
        if chosen and chosen[0].flow is not None:
            hops = tuple(dict.fromkeys(hop for candidate in chosen for hop in _resolve(resolver, candidate)))
            table.update(dict.fromkeys(outcome.prefixes, hops))
    table.update(kernel)
    return table


def _resolve(kernel: PrefixMap[tuple[FibHop, ...]], candidate: Candidate) -> tuple[FibHop, ...]:
    next_hop = candidate.route.next_hop
    found = kernel.lookup(next_hop)
    if found is None or any(hop.device == LOCAL for hop in found):
        return (FibHop(UNREACHABLE),)
    return tuple(hop if hop.gateway else FibHop(hop.device, next_hop, hop.nic) for hop in found)


def _nva(topology: Topology, node: str) -> Routes:
    """An NVA: everything via its subnet's .1, above all what BGP must not send elsewhere (RS7, tunnel ends, multihop neighbours)."""
    nva = topology.nvas[node]
    out = (_gateway(topology, node, nva.subnet),)
    routes: Routes = {DEFAULT: out}
    for server in topology.route_servers.values():
        if node in server.peers:
            routes[str(subnet_of(topology, f"{server.vnet}/{ROUTE_SERVER_SUBNET}"))] = out
    for session in topology.bgp_sessions:
        if node in session.between:
            routes[f"{topology.nvas[_other(session.between, node)].ip}/32"] = out
    for remote in _remote_ends(topology, node):
        routes[f"{remote}/32"] = out
    for label, nic in nva_nics(node, nva):
        routes[str(subnet_of(topology, nic.subnet))] = (FibHop(FABRIC, "", label),)
        routes[f"{nic.ip}/32"] = HERE
    owned = [str(prefix) for prefix in nva.loopbacks]
    owned += [f"{balancer.ip}/32" for balancer in topology.load_balancers.values() if node in balancer.backends]
    return routes | dict.fromkeys(owned, HERE)


def _vm(topology: Topology, node: str) -> Routes:
    vm = topology.vms[node]
    owned = [f"{vm.ip}/32", *(f"{balancer.ip}/32" for balancer in topology.load_balancers.values() if node in balancer.backends)]
    return {DEFAULT: (_gateway(topology, node, vm.subnet),), **_connected(topology, node, vm.subnet), **dict.fromkeys(owned, HERE)}


def _instance(topology: Topology, layout: Layout, node: str) -> Routes:
    """A Route Server or gateway instance: the fabric knows the way to every VNet, so all that is not on-premises goes to .1."""
    speaker = layout.speakers[node]
    if speaker.server in topology.route_servers:
        subnet = f"{topology.route_servers[speaker.server].vnet}/{ROUTE_SERVER_SUBNET}"
    else:
        subnet = f"{topology.gateways[speaker.server].vnet}/{GATEWAY_SUBNET}"
    routes = {DEFAULT: (_gateway(topology, node, subnet),), **_connected(topology, node, subnet), f"{speaker.address}/32": HERE}
    return routes | dict.fromkeys(layout.network.routers[node].originates, routes[DEFAULT])


def _host(topology: Topology, node: str) -> Routes | None:
    """A host of a site: everything to the customer edge."""
    for name, site in topology.sites.items():
        if node in site.hosts:
            return {DEFAULT: (FibHop(name),), f"{site.hosts[node]}/32": HERE}
    return None


def _site(topology: Topology, layout: Layout, node: str) -> Routes:
    """A customer edge: its own networks, and the remote ends of its tunnels, which what it learns inside them must not cover:
    private ones over its circuits, public ones over its own Internet line (E9).
    """
    site = topology.sites[node]
    routes: Routes = dict.fromkeys((str(prefix) for prefix in (*site.prefixes, *site.loopbacks)), HERE)
    routes |= {f"{address}/32": (FibHop(host),) for host, address in site.hosts.items()}
    for name in site.connections:
        routes |= {f"{address}/32": (FibHop(INTERNET),) for address in topology.gateways[name].public_ips}
    circuits = tuple(_circuit_hops(layout, node))
    for tunnel in (each for each in topology.tunnels if node in each.between):
        way = (FibHop(INTERNET),) if tunnel.over == "public" else circuits
        remote = outer_addresses(topology, tunnel)[1 - tunnel.between.index(node)]
        if way and remote:
            routes[f"{remote}/32"] = way
    return routes if site.public_ip is None else routes | {f"{site.public_ip}/32": HERE}


def _circuit_hops(layout: Layout, site: str) -> Iterator[FibHop]:
    for adjacency in layout.network.adjacencies:
        if adjacency.kind == EXPRESSROUTE and adjacency.b.router == site:
            yield FibHop(adjacency.device, adjacency.a.address)


def outer_addresses(topology: Topology, tunnel: Tunnel) -> tuple[Address, Address]:
    """The addresses between which a tunnel's packets travel, as their receivers write them: public or private ones.

    A site without a loopback uses its public address; empty where there is none at all.
    """
    first, second = (_outer(topology, end, tunnel.over == "public") for end in tunnel.between)
    return first, second


def _outer(topology: Topology, end: str, public: bool) -> Address:
    if end in topology.sites:
        site = topology.sites[end]
        if site.loopbacks and not public:
            return str(site.loopbacks[0].network_address)
        return str(site.public_ip) if site.public_ip is not None else ""
    nva = topology.nvas[end]
    given = next((nic.public_ip for _, nic in nva_nics(end, nva) if nic.public_ip is not None), None)
    return str(given) if public and given is not None else str(nva.ip)


def _remote_ends(topology: Topology, node: str) -> list[Address]:
    ends = [outer_addresses(topology, tunnel)[1 - tunnel.between.index(node)] for tunnel in topology.tunnels if node in tunnel.between]
    return [address for address in ends if address]


def _tunnels(topology: Topology, layout: Layout, node: str) -> Routes:
    """The /31 inside each tunnel of the node."""
    routes: Routes = {}
    for number, tunnel in enumerate(topology.tunnels):
        if node in tunnel.between:
            routes |= _link(layout.links["tunnel", str(number)], tunnel.between.index(node), tunnel_name(tunnel))
    return routes


def _links(layout: Layout, node: str) -> Routes:
    """The /31 of each link outside the VNets: circuits and VPN connections."""
    routes: Routes = {}
    for adjacency in layout.network.adjacencies:
        ends = (adjacency.a, adjacency.b)
        for own, end in enumerate(ends):
            if end.router == node and adjacency.device and adjacency.kind != OVERLAY:
                routes |= _link((ends[0].address, ends[1].address), own, adjacency.device)
    return routes


def _link(addresses: tuple[Address, Address], own: int, device: str) -> Routes:
    return {f"{addresses[1 - own]}/32": (FibHop(device),), f"{addresses[own]}/32": HERE}


def _connected(topology: Topology, nic: str, subnet: str) -> Routes:
    return {str(subnet_of(topology, subnet)): (FibHop(FABRIC, "", nic),)}


def _gateway(topology: Topology, nic: str, subnet: str) -> FibHop:
    return FibHop(FABRIC, str(subnet_of(topology, subnet).network_address + 1), nic)


def _other(pair: tuple[str, str], name: str) -> str:
    return pair[1 - pair.index(name)]
