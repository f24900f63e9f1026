"""Look-up structures over a plan, computed once, so that thousands of flows cost a dictionary access each."""

from __future__ import annotations

import hashlib
from functools import cached_property

from testbed.azure.types import Address, Domain, Hub
from testbed.plan.types import INTERNET, Bridge, LoadBalancerPlan, Nic, PeeringEnd, Plan

Hop = Nic | LoadBalancerPlan | str
"""Where an address leads as seen from a VNet: a NIC, a load balancer's frontend, or the reason why nowhere."""

_GATEWAY_KINDS = ("vpn", "expressroute")


def stable_hash(*parts: object, bits: int) -> int:
    """A number of so many bits that depends on the parts alone (not on the process, as Python's own ``hash`` does)."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") & ((1 << bits) - 1)


class FabricIndex:
    """A plan's bridges, NICs, peerings and addresses by VNet. ``hop`` answers P1: what an address means seen from a VNet."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.bridges: dict[str, Bridge] = {bridge.vnet: bridge for bridge in plan.bridges}
        self.domains: dict[int, Domain] = {domain.id: domain for domain in plan.domains}
        self.hubs: dict[str, Hub] = {hub.vnet: hub for hub in plan.hubs}
        self.nics: dict[str, Nic] = {nic.label: nic for nic in plan.nics()}
        self.kinds: dict[str, str] = {nic.label: node.kind for node in plan.nodes for nic in node.nics}
        self.nics_of: dict[str, list[Nic]] = {vnet: [] for vnet in self.bridges}
        for nic in self.nics.values():
            self.nics_of[nic.vnet].append(nic)
        self.ends_of: dict[str, dict[str, PeeringEnd]] = self._ends()
        self._own: dict[str, dict[Address, Hop]] = self._own_addresses()
        self._cache: dict[tuple[str, Address], Hop] = {}

    def _ends(self) -> dict[str, dict[str, PeeringEnd]]:
        vnet_of = {bridge.id: bridge.vnet for bridge in self.bridges.values()}
        ends: dict[str, dict[str, PeeringEnd]] = {vnet: {} for vnet in self.bridges}
        for link in self.plan.peerings:
            for end in link.ends:
                if INTERNET not in (end.peer_vnet, vnet_of[end.bridge]):
                    ends[vnet_of[end.bridge]][end.peer_vnet] = end
        return ends

    @cached_property
    def internet_ports(self) -> dict[str, int]:
        """Each VNet's port towards the Internet (E9)."""
        vnet_of = {bridge.id: bridge.vnet for bridge in self.bridges.values()}
        ends = (end for link in self.plan.peerings for end in link.ends)
        return {vnet_of[end.bridge]: end.port for end in ends if end.peer_vnet == INTERNET}

    @cached_property
    def vnet_ports(self) -> dict[str, int]:
        """The Internet's ports towards the VNets that have public addresses (E9)."""
        internet = self.bridges[INTERNET].id if INTERNET in self.bridges else ""
        return {end.peer_vnet: end.port for link in self.plan.peerings for end in link.ends if end.bridge == internet}

    def _own_addresses(self) -> dict[str, dict[Address, Hop]]:
        own: dict[str, dict[Address, Hop]] = {vnet: {nic.ip: nic for nic in nics} for vnet, nics in self.nics_of.items()}
        for balancer in self.plan.load_balancers:
            own[balancer.vnet][balancer.ip] = balancer
        return own

    def hop(self, vnet: str, address: Address) -> Hop:
        """What an address leads to, seen from a VNet: only that VNet and its direct peers count (P1), access allowed (P4)."""
        key = (vnet, address)
        found = self._cache.get(key)
        if found is None:
            found = self._cache[key] = self._find(vnet, address)
        return found

    def _find(self, vnet: str, address: Address) -> Hop:
        if (own := self._own[vnet].get(address)) is not None:
            return own
        for peer, end in self.ends_of[vnet].items():
            if (found := self._own[peer].get(address)) is not None:
                return found if end.accept != "none" else f"P4: access to {peer} is not allowed"
        return f"P1: no NIC in {vnet} or a VNet peered with it has the address {address}"

    def addresses(self, vnet: str) -> dict[Address, Hop]:
        """Every address that can be reached directly from a VNet, its own first."""
        found: dict[Address, Hop] = dict(self._own[vnet])
        for peer in self.ends_of[vnet]:
            for address in self._own[peer]:
                found.setdefault(address, self.hop(vnet, address))
        return found

    def transit_macs(self, vnet: str, peer: str) -> tuple[str, ...]:
        """The MACs of the peer's gateways if they serve this VNet: what they send over the peering is not "forwarded" (P4)."""
        hub = self.hubs.get(peer)
        if hub is None or vnet not in hub.served:
            return ()
        return tuple(nic.mac for nic in self.nics_of[peer] if self.kinds[nic.label] in _GATEWAY_KINDS)

    @cached_property
    def frontends(self) -> dict[str, tuple[Address, ...]]:
        """The frontend addresses that a NIC answers for as a load balancer's backend, by NIC label (floating IP)."""
        return {label: tuple(balancer.ip for balancer in self.plan.load_balancers if label in balancer.backends) for label in self.nics}
