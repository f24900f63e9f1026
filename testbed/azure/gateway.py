"""What VPN and ExpressRoute gateways and the Microsoft edge do to BGP paths (GW2-GW5)."""

from __future__ import annotations

from collections.abc import Iterable

from testbed.azure.limits import MSEE_ASN, PRIVATE_ASNS, ROUTE_SERVER_ASN, AsnRange, is_private
from testbed.azure.system_routes import DEFAULT
from testbed.azure.types import Hub, Path, Prefix

AsPath = tuple[int, ...]


def exchanges_routes(hub: Hub) -> bool:
    """Whether Route Server and gateways of ``hub`` tell each other what they learned: with branch-to-branch only (GW2)."""
    return hub.branch_to_branch and hub.route_server is not None and bool(hub.gateways)


def originated(hub: Hub) -> tuple[Prefix, ...]:
    """The prefixes that the gateways of ``hub`` originate towards on-premises: whole address spaces of the VNets they serve (GW1)."""
    return hub.advertised


def learned_from_msee(on_premises: AsPath, msee: int = MSEE_ASN) -> AsPath:
    """The AS path with which an ExpressRoute gateway learns what on-premises announced with ``on_premises`` (GW3)."""
    return (msee, *on_premises)


def towards_msee(as_path: AsPath, gateway: int = ROUTE_SERVER_ASN) -> AsPath:
    """The AS path that a gateway sends on a circuit (GW3). 65515 appears once, however many of Azure's own speakers it passed (GW2)."""
    return (gateway, *(asn for asn in as_path if asn != gateway))


def towards_on_premises(as_path: AsPath, msee: int = MSEE_ASN, private: tuple[AsnRange, ...] = PRIVATE_ASNS) -> AsPath:
    """The AS path that on-premises sees on a circuit: the MSEE's ASN; private ASNs, hence prepends made of them, are gone (GW3)."""
    return (msee, *(asn for asn in as_path if not is_private(asn, private)))


def accepted_by_msee(as_path: AsPath) -> bool:
    """Whether the MSEE takes a path from on-premises: it does even if the path contains 12076 (GW3); an empty one is no eBGP path."""
    return bool(as_path)


def accepted_by_gateway(as_path: AsPath, gateway: int = ROUTE_SERVER_ASN) -> bool:
    """Whether a gateway keeps a path: not one through its own ASN; so NVA routes do not reach a second hub through the MSEE (GW5)."""
    return gateway not in as_path


def sends(kind: str, prefix: Prefix) -> bool:
    """Whether a gateway of that kind (``vpn`` or ``expressroute``) advertises ``prefix`` at all: a VPN gateway never 0.0.0.0/0 (GW4)."""
    return kind != "vpn" or prefix != DEFAULT


def over_limit(paths: Iterable[Path], limit: int) -> int:
    """By how many prefixes a gateway exceeds what it may announce to a circuit (RS6: 1,000 by default); 0 when it does not."""
    return max(0, len({path.prefix for path in paths}) - limit)
