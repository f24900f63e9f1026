"""What is set inside each node: sysctls, addresses and routes that BGP must not decide, files and daemons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from testbed.azure.nva_policy import ROUTE_SERVER
from testbed.azure.types import Address, Hub
from testbed.model.addresses import ROUTE_SERVER_SUBNET, subnet_of
from testbed.model.topology import Topology
from testbed.plan import frr
from testbed.plan.inventory import Station
from testbed.plan.overlay import device_lines
from testbed.plan.sessions import Sessions, route_server_peers
from testbed.plan.templates import Templates
from testbed.plan.types import Nic, Node, TunnelPlan

Nics = dict[str, tuple[Nic, ...]]


def sysctls(interfaces: Iterable[str], forwarding: bool) -> dict[str, str]:
    """The kernel settings of a node. Redirects and reverse-path filters would betray or break what the fabric does; ICMP
    errors must not be rate-limited where loops and traceroutes are measured."""
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


def host(number: str, station: Station, nics: tuple[Nic, ...], frontends: Iterable[Address]) -> Node:
    """A VM."""
    lines = (default_route(nics), *_loopbacks(f"{address}/32" for address in frontends))
    return Node(station.name, station.kind, number, nics, setup=lines, sysctls=sysctls([nic.name for nic in nics], forwarding=False))


def route_server(number: str, station: Station, nics: Nics, topology: Topology, hub: Hub, templates: Templates) -> Node:
    """An instance of a Route Server: bgpd alone; it forwards nothing (RS2)."""
    own = nics[station.name]
    peers = route_server_peers(topology, hub.route_server or "", nics)
    running = frr.route_server(templates, station.name, own[0].ip, hub, peers, gateways=())
    return Node(
        name=station.name,
        kind=station.kind,
        id=number,
        nics=own,
        asn=hub.asn,
        router_id=own[0].ip,
        setup=(default_route(own),),
        sysctls=sysctls(["eth0"], forwarding=False),
        files=running.files,
        daemons=running.daemons,
    )


def nva(
    number: str,
    station: Station,
    nics: Nics,
    topology: Topology,
    tunnels: tuple[TunnelPlan, ...],
    spoken: Sessions,
    frontends: Iterable[Address],
    templates: Templates,
    texts: Mapping[str, str],
) -> Node:
    """An NVA: a router with FRR and its tunnels."""
    own, declared = nics[station.name], topology.nvas[station.name]
    running = frr.nva(templates, texts, station.name, declared, own[0].ip, spoken.neighbors[station.name], topology.timers)
    ends = [(tunnel, tunnel.nodes.index(station.name)) for tunnel in tunnels if station.name in tunnel.nodes]
    lines = [
        default_route(own),
        *_kernel_routes(topology, station.name, own[0], ends, spoken),
        *_loopbacks(_first_host(str(prefix)) for prefix in declared.loopbacks),
        *_loopbacks(f"{address}/32" for address in frontends),
        *(line for tunnel, end in ends for line in device_lines(tunnel, end)),
    ]
    return Node(
        name=station.name,
        kind=station.kind,
        id=number,
        nics=own,
        asn=declared.asn,
        router_id=own[0].ip,
        setup=tuple(lines),
        sysctls=sysctls([nic.name for nic in own], forwarding=True),
        files=running.files,
        daemons=running.daemons,
    )


def _kernel_routes(topology: Topology, name: str, eth0: Nic, ends: list[tuple[TunnelPlan, int]], spoken: Sessions) -> list[str]:
    """Routes that BGP must not decide: to each Route Server's subnet (RS7), to each remote tunnel end and to each multihop neighbour."""
    servers = dict.fromkeys(neighbor.name for neighbor in spoken.neighbors[name] if neighbor.role == ROUTE_SERVER)
    subnets = [str(subnet_of(topology, f"{topology.route_servers[server].vnet}/{ROUTE_SERVER_SUBNET}")) for server in servers]
    remote = [f"{tunnel.outer[1 - end]}/32" for tunnel, end in ends]
    multihop = [f"{each.address}/32" for each in spoken.neighbors[name] if each.update_source and each.role != ROUTE_SERVER]
    return [f"route add {prefix} via {eth0.gateway} dev {eth0.name}" for prefix in dict.fromkeys((*subnets, *remote, *multihop))]


def _loopbacks(addresses: Iterable[str]) -> list[str]:
    lines = [f"address add {address} dev lo" for address in addresses]
    return ["link set lo up", *lines] if lines else []


def _first_host(prefix: str) -> str:
    """``10.50.0.1/24`` of 10.50.0.0/24: on lo the kernel answers for the whole network; a /32 or /31 as it is."""
    address, _, length = prefix.partition("/")
    if int(length) > 30:
        return prefix
    head, _, last = address.rpartition(".")
    return f"{head}.{int(last) + 1}/{length}"
