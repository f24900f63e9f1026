"""Azure's reserved numbers and subnet sizes, as parameters with today's defaults (RS1, RS5); the limits of RS6 are in the topology."""

from __future__ import annotations

from msgspec import Struct

ROUTE_SERVER_ASN = 65515
MSEE_ASN = 12076
AZURE = "Azure"
IANA = "IANA"


class AsnRange(Struct, frozen=True):
    """ASNs from ``first`` to ``last`` (inclusive) and who reserves them."""

    first: int
    last: int
    owner: str

    def __contains__(self, asn: int) -> bool:
        return self.first <= asn <= self.last


RESERVED_ASNS: tuple[AsnRange, ...] = (
    AsnRange(8074, 8075, AZURE),
    AsnRange(12076, 12076, AZURE),
    AsnRange(65515, 65515, AZURE),
    AsnRange(65517, 65520, AZURE),
    AsnRange(0, 0, IANA),
    AsnRange(23456, 23456, IANA),
    AsnRange(64496, 64511, IANA),
    AsnRange(65535, 65551, IANA),
    AsnRange(4294967295, 4294967295, IANA),
)
"""ASNs that an NVA may not use (RS5); 0 and 4294967295 besides, which no BGP speaker may use (RFC 7607, RFC 7300)."""

PRIVATE_ASNS: tuple[AsnRange, ...] = (AsnRange(64512, 65534, IANA), AsnRange(4200000000, 4294967294, IANA))
"""ASNs for private use (RFC 6996): the MSEE strips them towards on-premises (GW3)."""


class SubnetSize(Struct, frozen=True):
    """The prefix length that Azure asks for (``recommended``) and the longest that it accepts (``longest``)."""

    recommended: int
    longest: int


ROUTE_SERVER_SUBNET = SubnetSize(recommended=26, longest=27)
"""RouteServerSubnet: /26 in the documentation of 2025, /27 before (RS1)."""


def reserved_by(asn: int, reserved: tuple[AsnRange, ...] = RESERVED_ASNS) -> str | None:
    """Who reserves ``asn`` so that an NVA may not use it (``Azure`` or ``IANA``), or None (RS5)."""
    return next((known.owner for known in reserved if asn in known), None)


def is_private(asn: int, private: tuple[AsnRange, ...] = PRIVATE_ASNS) -> bool:
    """Whether ``asn`` is for private use (RFC 6996)."""
    return any(asn in known for known in private)


def is_two_octet(asn: int) -> bool:
    """Whether ``asn`` fits into two octets: the documentation supports no other (RS4)."""
    return 0 < asn <= 65535
