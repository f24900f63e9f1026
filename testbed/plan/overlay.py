"""The tunnels: between NVAs, from NVAs to sites, and the connections of VPN gateways; devices, addresses, VNIs and MTUs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from ipaddress import IPv4Address

from testbed.azure.fib import outer_addresses
from testbed.azure.networks import VPN, Layout, link_addresses, tunnel_name
from testbed.azure.types import Address
from testbed.errors import InputError
from testbed.model.topology import Topology, Tunnel
from testbed.plan.types import Nic, TunnelPlan

VXLAN_PORT = 4789
VNI_BASE = 100
UNDERLAY_MTU = 1500
VXLAN_MTU = UNDERLAY_MTU - 50
IPSEC_MTU = 1350
"""Inside IPsec; fits kernel ESP and the userspace backend alike, whose device is fixed at 1400."""

_Ends = tuple[Address, Address]


def tunnels(topology: Topology, plan: Layout, nics: dict[str, tuple[Nic, ...]]) -> tuple[TunnelPlan, ...]:
    """Every declared tunnel, then the VPN connections; devices are named vx0, vx1 … in each node.

    Raises InputError when the overlay pool is too small.
    """
    used: Counter[str] = Counter()
    vteps = _vteps(topology)
    found: list[TunnelPlan] = []
    for number, (name, kind, nodes, inner, outer, bound, bgp) in enumerate(
        (*_declared(topology, plan, nics), *_connections(topology, plan, nics))
    ):
        devices = f"vx{used[nodes[0]]}", f"vx{used[nodes[1]]}"
        used.update(nodes)
        protected = kind == "ipsec"
        found.append(
            TunnelPlan(
                name=name,
                type=kind,
                nodes=nodes,
                device=devices,
                outer=outer,
                inner=inner,
                vni=VNI_BASE + number,
                mtu=IPSEC_MTU if protected else VXLAN_MTU,
                bgp=bgp,
                bound=bound,
                vtep=next(vteps) if protected else ("", ""),
            )
        )
    return tuple(found)


_Parts = tuple[str, str, tuple[str, str], _Ends, _Ends, _Ends, bool]


def _declared(topology: Topology, plan: Layout, nics: dict[str, tuple[Nic, ...]]) -> Iterator[_Parts]:
    for number, tunnel in enumerate(topology.tunnels):
        outer = outer_addresses(topology, tunnel)
        bound = _bound(tunnel, 0, outer, nics), _bound(tunnel, 1, outer, nics)
        yield tunnel_name(tunnel), tunnel.type, tunnel.between, plan.links["tunnel", str(number)], outer, bound, tunnel.bgp


def _bound(tunnel: Tunnel, end: int, outer: _Ends, nics: dict[str, tuple[Nic, ...]]) -> Address:
    """The address that an end sends from: behind 1:1 translation the private one of the NIC that has the public one."""
    own = nics.get(tunnel.between[end], ())
    return next((nic.ip for nic in own if nic.public_ip == outer[end]), outer[end])


def _connections(topology: Topology, plan: Layout, nics: dict[str, tuple[Nic, ...]]) -> Iterator[_Parts]:
    """A tunnel from each instance of a VPN gateway to each site connected with it, between public addresses (E9)."""
    for adjacency in plan.network.adjacencies:
        if adjacency.kind == VPN:
            gateway, site = nics[adjacency.a.router][0], topology.sites[adjacency.b.router]
            outer = gateway.public_ip or gateway.ip, str(site.public_ip)
            inner = adjacency.a.address, adjacency.b.address
            yield adjacency.device, "ipsec", (adjacency.a.router, adjacency.b.router), inner, outer, (gateway.ip, outer[1]), True


def _vteps(topology: Topology) -> Iterator[_Ends]:
    """Pairs of addresses for VXLAN inside IPsec, from the end of the overlay pool downwards."""
    last = int(topology.overlay_pool.broadcast_address) - 1
    floor = int(topology.overlay_pool.network_address) + 2 * len(link_addresses(topology))
    while last - 1 >= floor:
        yield str(IPv4Address(last - 1)), str(IPv4Address(last))
        last -= 2
    raise InputError(f"overlay_pool: {topology.overlay_pool} is too small for its IPsec tunnels", "use a larger network")


def device_lines(tunnel: TunnelPlan, end: int) -> tuple[str, ...]:
    """Lines for ``ip -batch`` that make a tunnel's device in the node at that end (0 or 1)."""
    device = tunnel.device[end]
    local, remote = (tunnel.vtep[end], tunnel.vtep[1 - end]) if tunnel.type == "ipsec" else (tunnel.bound[end], tunnel.outer[1 - end])
    own = ("link set lo up", f"address add {local}/32 dev lo") if tunnel.type == "ipsec" else ()
    return (
        *own,
        f"link add {device} type vxlan id {tunnel.vni} local {local} remote {remote} dstport {VXLAN_PORT} nolearning",
        f"link set {device} mtu {tunnel.mtu} up",
        f"address add {tunnel.inner[end]}/31 dev {device}",
    )
