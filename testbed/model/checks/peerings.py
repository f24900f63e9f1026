"""Peerings: both sides declared, once each, and gateway transit as Azure allows it (P1, P3)."""

from __future__ import annotations

from collections.abc import Iterator

from testbed.model.design import Design
from testbed.model.findings import Finding


def pairs(design: Design) -> Iterator[Finding]:
    """A peering has two sides (P1), each declared once, between two different VNets."""
    sides = {(peering.from_, peering.to) for peering in design.topology.peerings}
    seen: dict[tuple[str, str], str] = {}
    for path, peering in design.entries("peerings", design.topology.peerings):
        side = (peering.from_, peering.to)
        if peering.from_ == peering.to:
            yield Finding(path, f"{peering.from_} is peered with itself", "name two VNets")
            continue
        if side in seen:
            code = "AnotherPeeringAlreadyReferencesRemoteVnet"
            yield Finding(
                path, f"{peering.from_} has a peering to {peering.to} already, at {seen[side]} (Azure: {code})", "keep one of them"
            )
            continue
        seen[side] = path
        known = peering.from_ in design.declared["vnets"] and peering.to in design.declared["vnets"]
        if known and side[::-1] not in sides and "peerings" not in design.incomplete:
            missing = f"{{from: {peering.to}, to: {peering.from_}}}"
            yield Finding(path, f"{peering.to} has no peering to {peering.from_}: Azure leaves this one Initiated (P1)", f"add {missing}")


def remote_gateways(design: Design) -> Iterator[Finding]:
    """A VNet uses the gateways of one other at most, has none of its own, and the other has some (P3)."""
    owners = _gateway_owners(design)
    users: dict[str, str] = {}
    for path, peering in design.entries("peerings", design.topology.peerings):
        if not peering.use_remote_gateways:
            continue
        place = f"{path}.use_remote_gateways"
        one, other = peering.from_, peering.to
        if one in users and users[one] != other:
            text = f"{one} uses the gateways of {users[one]} already; UseRemoteGateways can be set on one peering of a VNet (P3)"
            yield Finding(place, text, "set it on one peering only")
        users.setdefault(one, other)
        if one in owners:
            yield Finding(place, f"{one} has {owners[one]} of its own, so it cannot use remote gateways (P3)", "remove one of them")
        if other in design.vnets and other not in owners and not {"gateways", "route_servers"} & design.incomplete:
            yield Finding(
                place, f"{other} has neither a gateway nor a Route Server (P3; Azure: RemoteVnetHasNoGateways)", f"add one to {other}"
            )


def _gateway_owners(design: Design) -> dict[str, str]:
    owners = {gateway.vnet: f"gateway {name}" for name, gateway in design.topology.gateways.items()}
    return owners | {server.vnet: f"Route Server {name}" for name, server in design.topology.route_servers.items()}


CHECKS = (pairs, remote_gateways)
