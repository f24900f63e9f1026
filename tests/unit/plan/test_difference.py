"""A change of our rendered configuration becomes the commands that an engineer would type."""

from __future__ import annotations

from testbed.plan.difference import bgpd_commands

BASE = """\
route-map TO-RS permit 10
 match community OVERLAY
!
router bgp 65001
 bgp router-id 10.1.0.4
 address-family ipv4 unicast
  network 192.0.2.0/24
  neighbor 10.1.1.4 as-override
 exit-address-family
!
"""
APPLY = ("end", "clear bgp ipv4 unicast * soft")  # without it, bgpd looks at changed policies five seconds later
IN_FAMILY = ("configure terminal", "end", "configure terminal", "router bgp 65001", "address-family ipv4 unicast")


def test_no_difference_needs_no_command() -> None:
    assert bgpd_commands(BASE, BASE) == ()


def test_a_new_line_is_entered_in_its_block() -> None:
    new = BASE.replace("  network 192.0.2.0/24\n", "  network 192.0.2.0/24\n  network 198.51.100.0/24\n")
    assert bgpd_commands(BASE, new) == (*IN_FAMILY, "network 198.51.100.0/24")


def test_a_line_that_is_gone_is_undone_before_others_come() -> None:
    new = BASE.replace("network 192.0.2.0/24", "network 203.0.113.0/24")
    assert bgpd_commands(BASE, new) == (*IN_FAMILY, "no network 192.0.2.0/24", "network 203.0.113.0/24")


def test_a_block_that_is_gone_is_removed_as_a_whole() -> None:
    new = BASE.removeprefix("route-map TO-RS permit 10\n match community OVERLAY\n!\n")
    assert bgpd_commands(BASE, new) == ("configure terminal", "no route-map TO-RS permit 10", *APPLY)


def test_a_block_that_is_new_is_entered_before_its_lines() -> None:
    new = "route-map NEW permit 10\n set metric 5\n" + BASE
    assert bgpd_commands(BASE, new) == (
        "configure terminal",
        "route-map NEW permit 10",
        "end",
        "configure terminal",
        "route-map NEW permit 10",
        "set metric 5",
        *APPLY,
    )


PEER = """\
router bgp 65515
 neighbor 10.1.0.4 remote-as 65001
 neighbor 10.1.0.4 passive
 address-family ipv4 unicast
  neighbor 10.1.0.4 activate
 exit-address-family
!
"""


def test_a_neighbour_that_is_gone_is_undone_by_its_number_alone() -> None:
    assert bgpd_commands(PEER, "router bgp 65515\n address-family ipv4 unicast\n exit-address-family\n") == (
        "configure terminal",
        "end",
        "configure terminal",
        "router bgp 65515",
        "no neighbor 10.1.0.4 remote-as 65001",
    )


def test_what_is_set_in_a_route_map_is_undone_as_bgpd_wants_it() -> None:
    old = "route-map TO-rs1 permit 100\n set as-path prepend 65003 65003\n set community 65001:1 additive\n"
    assert bgpd_commands(old, "route-map TO-rs1 permit 100\n") == (
        "configure terminal",
        "end",
        "configure terminal",
        "route-map TO-rs1 permit 100",
        "no set as-path prepend",
        "no set community",
        *APPLY,
    )
