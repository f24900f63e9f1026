"""What is set inside each node of the fabric: sysctls, addresses and routes that BGP must not decide, files and daemons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct

from testbed.azure.networks import Layout
from testbed.azure.nva_policy import ROUTE_SERVER
from testbed.azure.types import Address, Hub
from testbed.model.addresses import ROUTE_SERVER_SUBNET, subnet_of
from testbed.model.topology import Topology
from testbed.plan import frr
from testbed.plan.inventory import Station
from testbed.plan.ipsec import ipsec
from testbed.plan.overlay import device_lines
from testbed.plan.sessions import Sessions
from testbed.plan.templates import Templates
from testbed.plan.types import Capabilities, Nic, Node, TunnelPlan


class Design(Struct, frozen=True):
    """What the makers of nodes have in common: the topology and what earlier passes found."""

    topology: Topology
    layout: Layout
    hubs: tuple[Hub, ...]
    nics: Mapping[str, tuple[Nic, ...]]
    tunnels: tuple[TunnelPlan, ...]
    sessions: Sessions
    templates: Templates
    texts: Mapping[str, str]
    able: Capabilities

    def ends(self, node: str) -> list[tuple[TunnelPlan, int]]:
        """The tunnels of a node, each with its end there (0 or 1)."""
        return [(tunnel, tunnel.nodes.index(node)) for tunnel in self.tunnels if node in tunnel.nodes]

    def routed(self, identity: str, name: str, kind: str, running: frr.Frr, lines: Iterable[str], interfaces: Iterable[str]) -> Node:
        """A node that forwards: FRR, its tunnels, and IPsec where one of these is protected."""
        nics, ends = self.nics.get(name, ()), self.ends(name)
        known = self.layout.network.routers.get(name)
        protection = ipsec(self.templates, name, ends, self.able)
        return Node(
            name=name,
            kind=kind,
            id=identity,
            nics=nics,
            asn=known.asn if known is not None else self.topology.nvas[name].asn,
            router_id=known.router_id if known is not None else nics[0].ip,
            setup=(*lines, *(line for tunnel, end in ends for line in device_lines(tunnel, end))),
            sysctls=sysctls((*(nic.name for nic in nics), *interfaces), forwarding=True),
            nftables=protection.nftables if protection else "",
            files=running.files | (protection.files if protection else {}),
            daemons=(*running.daemons, *((protection.daemon,) if protection else ())),
        )


def sysctls(interfaces: Iterable[str], forwarding: bool) -> dict[str, str]:
    """The kernel settings of a node.

    Redirects and reverse-path filters would betray or break what the fabric does; ICMP errors must not be rate-limited where loops
    and traceroutes are measured.
    """
    settings = {
        "net.ipv4.icmp_ratelimit": "0",
        "net.ipv4.icmp_msgs_per_sec": "10000",
        "net.ipv4.ip_forward": "1" if forwarding else "0",
    }
    if forwarding:
        settings["net.ipv4.fib_multipath_hash_policy"] = "1"
    for interface in ("all", "default", *interfaces):
        settings[f"net.ipv4.conf.{interface}.rp_filter"] = "0"
        settings[f"net.ipv4.conf.{interface}.send_redirects"] = "0"
        settings[f"net.ipv6.conf.{interface}.disable_ipv6"] = "1"
    return settings


def default_route(nics: tuple[Nic, ...]) -> str:
    """The line for ``ip -batch``: everything via the first address of eth0's subnet."""
    return f"route add default via {nics[0].gateway} dev {nics[0].name}"


def vm(number: str, station: Station, design: Design) -> Node:
    """A VM."""
    nics = design.nics[station.name]
    lines = (default_route(nics), *own_addresses(f"{address}/32" for address in _frontends(design.topology, station.name)))
    return Node(station.name, station.kind, number, nics, setup=lines, sysctls=sysctls([nic.name for nic in nics], forwarding=False))


def route_server(number: str, station: Station, design: Design) -> Node:
    """An instance of a Route Server: bgpd alone; it forwards nothing (RS2)."""
    nics, router = design.nics[station.name], design.layout.network.routers[station.name]
    hub = next(hub for hub in design.hubs if hub.vnet == nics[0].vnet)
    running = frr.route_server(design.templates, router, hub, design.sessions.neighbors[station.name], design.topology.timers)
    return Node(
        name=station.name,
        kind=station.kind,
        id=number,
        nics=nics,
        asn=router.asn,
        router_id=router.router_id,
        setup=(default_route(nics),),
        sysctls=sysctls(["eth0"], forwarding=False),
        files=running.files,
        daemons=running.daemons,
    )


def nva(number: str, station: Station, design: Design) -> Node:
    """An NVA: a router with FRR and its tunnels."""
    nics, declared = design.nics[station.name], design.topology.nvas[station.name]
    if declared.frr_config is not None:
        running = frr.own_file(design.texts, station.name, declared.frr_config)
    else:
        router, neighbors = design.layout.network.routers[station.name], design.sessions.neighbors[station.name]
        running = frr.router(design.templates, "nva.conf.j2", router, neighbors, design.topology.timers)
    lines = [
        default_route(nics),
        *_kernel_routes(design, station.name, nics),
        *own_addresses(first_host(str(prefix)) for prefix in declared.loopbacks),
        *own_addresses(f"{address}/32" for address in _frontends(design.topology, station.name)),
    ]
    return design.routed(number, station.name, station.kind, running, lines, ())


def gateway(number: str, station: Station, design: Design) -> Node:
    """An instance of a gateway: it forwards between its VNets, which the fabric knows, and what it learns outside (GW1)."""
    nics, router = design.nics[station.name], design.layout.network.routers[station.name]
    neighbors = design.sessions.neighbors[station.name]
    running = frr.gateway(design.templates, router, station.kind, neighbors, design.topology.timers)
    served = [f"route add {prefix} via {nics[0].gateway} dev {nics[0].name}" for prefix in sorted(router.originates)]
    return design.routed(number, station.name, station.kind, running, (default_route(nics), *served), ())


def _frontends(topology: Topology, node: str) -> list[Address]:
    """The load-balancer frontends that a backend answers for itself (floating IP)."""
    return [str(balancer.ip) for balancer in topology.load_balancers.values() if node in balancer.backends]


def _kernel_routes(design: Design, name: str, nics: tuple[Nic, ...]) -> list[str]:
    """Routes that BGP must not decide: to each Route Server's subnet (RS7), to each remote tunnel end and to each multihop neighbour."""
    topology = design.topology
    servers = [server.vnet for server in topology.route_servers.values() if name in server.peers]
    ways = {str(subnet_of(topology, f"{vnet}/{ROUTE_SERVER_SUBNET}")): nics[0] for vnet in servers}
    for tunnel, end in design.ends(name):
        ways[f"{tunnel.outer[1 - end]}/32"] = next((nic for nic in nics if nic.ip == tunnel.bound[end]), nics[0])
    neighbors = design.sessions.neighbors.get(name, ())
    ways |= {f"{each.address}/32": nics[0] for each in neighbors if each.update_source and not each.role.startswith(ROUTE_SERVER)}
    return [f"route add {prefix} via {nic.gateway} dev {nic.name}" for prefix, nic in ways.items()]


def own_addresses(addresses: Iterable[str]) -> list[str]:
    """Lines for ``ip -batch``: addresses on the loopback."""
    lines = [f"address add {address} dev lo" for address in addresses]
    return ["link set lo up", *lines] if lines else []


def first_host(prefix: str) -> str:
    """``10.50.0.1/24`` of 10.50.0.0/24: on lo the kernel answers for the whole network; a /32 or /31 as it is."""
    address, _, length = prefix.partition("/")
    if int(length) > 30:
        return prefix
    head, _, last = address.rpartition(".")
    return f"{head}.{int(last) + 1}/{length}"
