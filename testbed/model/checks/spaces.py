"""Address spaces: subnets inside their VNet, nothing that overlaps where it may not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network

from testbed.model.design import Design
from testbed.model.findings import Finding

SMALLEST_SUBNET = 29
FORBIDDEN = tuple(
    IPv4Network(prefix)
    for prefix in ("0.0.0.0/8", "127.0.0.0/8", "168.63.129.16/32", "169.254.0.0/16", "224.0.0.0/4", "255.255.255.255/32")
)
"""Ranges that Azure refuses in a VNet: loopback, link-local, multicast, broadcast, its own DNS and DHCP address."""

Labelled = tuple[IPv4Network, str]


def overlaps(networks: Iterable[Labelled]) -> Iterator[tuple[Labelled, Labelled]]:
    """Pairs of networks where the first lies in (or equals) the second; each network with the nearest one around it."""
    around: list[Labelled] = []
    for network, label in sorted(networks, key=lambda each: (int(each[0].network_address), each[0].prefixlen)):
        while around and around[-1][0].broadcast_address < network.network_address:
            around.pop()
        if around:
            yield (network, label), around[-1]
        around.append((network, label))


def address_spaces(design: Design) -> Iterator[Finding]:
    """The ranges of a VNet do not overlap and are none that Azure refuses."""
    for vnet, path in design.vnet_paths.items():
        spaces = [(space, f"{path}.address_space[{number}]") for number, space in enumerate(design.vnets[vnet].address_space)]
        for space, place in spaces:
            for forbidden in FORBIDDEN:
                if space.overlaps(forbidden):
                    yield Finding(place, f"{space} overlaps {forbidden}, which Azure refuses in a VNet", "use a private range")
                    break
        for (inner, place), (outer, _) in overlaps(spaces):
            yield Finding(place, f"{inner} overlaps {outer} of the same VNet", "remove one of them")


def subnets(design: Design) -> Iterator[Finding]:
    """Subnets lie in one range of their VNet, do not overlap, and are not smaller than Azure's /29."""
    for vnet, path in design.vnet_paths.items():
        declared = design.vnets[vnet]
        for name, subnet in declared.subnets.items():
            place = f"{path}.subnets.{name}"
            if not any(subnet.subnet_of(space) for space in declared.address_space):
                ranges = ", ".join(str(space) for space in declared.address_space)
                yield Finding(place, f"{subnet} is outside the VNet's {ranges} (Azure: NetcfgSubnetRangeOutsideVnet)")
            if subnet.prefixlen > SMALLEST_SUBNET:
                yield Finding(place, f"{subnet} is smaller than /{SMALLEST_SUBNET}, the smallest subnet Azure makes")
        for (inner, name), (outer, other) in overlaps([(subnet, name) for name, subnet in declared.subnets.items()]):
            yield Finding(f"{path}.subnets.{name}", f"{inner} overlaps {outer} of subnet {other} (Azure: NetcfgSubnetRangesOverlap)")


def peered_vnets(design: Design) -> Iterator[Finding]:
    """A VNet does not overlap one it is peered with, nor two VNets peered with it each other."""
    told: set[frozenset[str]] = set()
    for vnet, peerings in design.peered.items():
        group = [vnet, *peerings]
        spaces = [(space, name) for name in group for space in design.vnets[name].address_space]
        for (inner, one), (outer, other) in overlaps(spaces):
            pair = frozenset((one, other))
            if len(pair) == 2 and pair not in told:
                told.add(pair)
                yield _overlap(design, vnet, (inner, one), (outer, other))


def _overlap(design: Design, vnet: str, inner: Labelled, outer: Labelled) -> Finding:
    late, early = sorted((inner[1], outer[1]), key=design.vnet_order.__getitem__, reverse=True)
    path = f"{design.vnet_paths[late]}.address_space"
    if vnet in (inner[1], outer[1]):
        message = f"{inner[0]} overlaps {outer[0]}: {late} and {early} are peered (Azure: VnetAddressSpacesOverlap)"
    else:
        code = "VnetAddressSpaceOverlapsWithAlreadyPeeredVnet"
        message = f"{inner[0]} overlaps {outer[0]}: {late} and {early} are both peered with {vnet} (Azure: {code})"
    return Finding(path, message, "give each its own range")


def overlay_pool(design: Design) -> Iterator[Finding]:
    """Tunnel addresses come from a range that nothing else uses, two for each tunnel."""
    pool = design.topology.overlay_pool
    for vnet, declared in design.vnets.items():
        for space in declared.address_space:
            if pool.overlaps(space):
                yield Finding("overlay_pool", f"{pool} overlaps {space} of VNet {vnet}", "choose a range that nothing else uses")
    for name, site in design.topology.sites.items():
        for prefix in (*site.prefixes, *site.loopbacks):
            if pool.overlaps(prefix) and prefix.prefixlen:
                yield Finding("overlay_pool", f"{pool} overlaps {prefix} of site {name}", "choose a range that nothing else uses")
    if pool.num_addresses < 2 * len(design.topology.tunnels):
        yield Finding("overlay_pool", f"{pool} is too small for {len(design.topology.tunnels)} tunnels", "each tunnel takes two addresses")


CHECKS = (address_spaces, subnets, peered_vnets, overlay_pool)
