"""Reserved numbers (RS4, RS5) and subnet sizes (RS1)."""

from __future__ import annotations

import pytest

from testbed.azure.limits import ROUTE_SERVER_SUBNET, AsnRange, is_private, is_two_octet, reserved_by


@pytest.mark.parametrize("asn", [8074, 8075, 12076, 65515, 65517, 65518, 65519, 65520])
def test_rs5_azure_reserves(asn: int) -> None:
    assert reserved_by(asn) == "Azure"


@pytest.mark.parametrize("asn", [0, 23456, 64496, 64511, 65535, 65536, 65551, 4294967295])
def test_rs5_iana_reserves(asn: int) -> None:
    assert reserved_by(asn) == "IANA"


@pytest.mark.parametrize("asn", [1, 8073, 8076, 12075, 12077, 64495, 64512, 65001, 65514, 65516, 65521, 65534, 65552, 65555])
def test_rs5_everything_else_is_free(asn: int) -> None:
    assert reserved_by(asn) is None


def test_reserved_ranges_are_a_parameter() -> None:
    assert reserved_by(65001, (AsnRange(65000, 65010, "us"),)) == "us"
    assert reserved_by(65515, ()) is None


def test_rfc6996_private_asns() -> None:
    assert [asn for asn in (64511, 64512, 65534, 65535, 4199999999, 4200000000, 4294967294, 4294967295) if is_private(asn)] == [
        64512,
        65534,
        4200000000,
        4294967294,
    ]


def test_rs4_two_octets() -> None:
    assert is_two_octet(65535)
    assert not is_two_octet(65536)
    assert not is_two_octet(0)


def test_rs1_subnet_size() -> None:
    assert (ROUTE_SERVER_SUBNET.recommended, ROUTE_SERVER_SUBNET.longest) == (26, 27)
