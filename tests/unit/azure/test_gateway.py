"""Gateways and the Microsoft edge (GW2-GW5)."""

from __future__ import annotations

from msgspec.structs import replace

from testbed.azure import gateway
from testbed.azure.hubs import hubs
from testbed.azure.types import Path

from .designs import topology, two_regions


def test_gw2_routes_are_exchanged_with_branch_to_branch_only() -> None:
    hub = hubs(topology(two_regions(), gateways={"vpn1": {"type": "vpn", "vnet": "hub1"}}))[0]
    assert not gateway.exchanges_routes(hub)
    assert gateway.exchanges_routes(replace(hub, branch_to_branch=True))
    assert not gateway.exchanges_routes(replace(hub, branch_to_branch=True, gateways=()))
    assert not gateway.exchanges_routes(replace(hub, branch_to_branch=True, route_server=None))


def test_gw1_gateways_originate_what_the_route_server_does() -> None:
    hub = hubs(topology(two_regions(), gateways={"vpn1": {"type": "vpn", "vnet": "hub1"}}))[0]
    assert gateway.originated(hub) == ("10.1.0.0/16", "10.11.0.0/16")


def test_gw3_the_gateway_learns_12076_and_the_on_premises_path() -> None:
    assert gateway.learned_from_msee((65100, 65100)) == (12076, 65100, 65100)


def test_gw3_gw2_65515_appears_once_on_the_circuit() -> None:
    assert gateway.towards_msee((65001,)) == (65515, 65001)
    assert gateway.towards_msee((65515, 65001)) == (65515, 65001)
    assert gateway.towards_msee(()) == (65515,)


def test_gw3_on_premises_sees_12076_only_prepends_included() -> None:
    assert gateway.towards_on_premises((65515, 65001, 65001, 65001)) == (12076,)
    assert gateway.towards_on_premises((65515, 4200000001)) == (12076,)
    assert gateway.towards_on_premises((65515, 3356)) == (12076, 3356)


def test_gw3_the_msee_accepts_its_own_asn() -> None:
    assert gateway.accepted_by_msee((65100, 12076))
    assert not gateway.accepted_by_msee(())


def test_gw5_what_a_gateway_sent_does_not_come_in_at_another() -> None:
    assert not gateway.accepted_by_gateway((12076, 65515, 65001))
    assert gateway.accepted_by_gateway((12076, 65100))


def test_gw4_a_vpn_gateway_never_advertises_the_default_route() -> None:
    assert not gateway.sends("vpn", "0.0.0.0/0")
    assert gateway.sends("vpn", "0.0.0.0/1")
    assert gateway.sends("expressroute", "0.0.0.0/0")


def test_rs6_routes_over_the_limit_to_a_circuit_counted_by_prefix() -> None:
    paths = [Path(f"10.0.{number % 5}.0/24", (65515,), "10.1.2.4") for number in range(10)]
    assert gateway.over_limit(paths, 5) == 0
    assert gateway.over_limit(paths, 3) == 2
