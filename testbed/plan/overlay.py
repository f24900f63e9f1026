"""The tunnels between NVAs: their devices, outer and inner addresses, VNIs and MTUs."""

from __future__ import annotations

from collections import Counter

from testbed.azure.fib import outer_addresses
from testbed.azure.networks import link_addresses, tunnel_name
from testbed.model.topology import Topology
from testbed.plan.addressing import VNI_BASE
from testbed.plan.types import TunnelPlan

VXLAN_PORT = 4789
UNDERLAY_MTU = 1500
VXLAN_MTU = UNDERLAY_MTU - 50
IPSEC_MTU = 1350
"""Inside IPsec; fits kernel ESP and the userspace backend alike, whose device is fixed at 1400."""


def tunnels(topology: Topology) -> tuple[TunnelPlan, ...]:
    """Every declared tunnel, in order; the first is vx0 in both its nodes. Raises InputError when the overlay pool is too small."""
    used: Counter[str] = Counter()
    found: list[TunnelPlan] = []
    links = link_addresses(topology)
    for number, declared in enumerate(topology.tunnels):
        first, second = declared.between
        devices = f"vx{used[first]}", f"vx{used[second]}"
        used.update((first, second))
        found.append(
            TunnelPlan(
                name=tunnel_name(declared),
                type=declared.type,
                nodes=(first, second),
                device=devices,
                outer=outer_addresses(topology, declared),
                inner=links["tunnel", str(number)],
                vni=VNI_BASE + number,
                mtu=VXLAN_MTU if declared.type == "vxlan" else IPSEC_MTU,
                bgp=declared.bgp,
            )
        )
    return tuple(found)


def device_lines(tunnel: TunnelPlan, end: int) -> tuple[str, ...]:
    """Lines for ``ip -batch`` that make a tunnel's device in the node at that end (0 or 1)."""
    device, local, remote = tunnel.device[end], tunnel.outer[end], tunnel.outer[1 - end]
    return (
        f"link add {device} type vxlan id {tunnel.vni} local {local} remote {remote} dstport {VXLAN_PORT} nolearning",
        f"link set {device} mtu {tunnel.mtu} up",
        f"address add {tunnel.inner[end]}/31 dev {device}",
    )
