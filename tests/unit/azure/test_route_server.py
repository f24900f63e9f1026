"""The brain: what is kept, chosen, injected and passed on, and what changes with each event (RS3-RS15, GW1, GW2, GW4)."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from testbed.azure import route_server as rs
from testbed.azure.types import Announced, Candidate, Event, Hub, Path, Session, SessionDown, SessionUp, Speaker, Withdrawn

ON_PREM = "10.100.0.0/16"
SPEAKERS = (
    Speaker("rs1", 0, "route_server", "10.1.1.4", 65515),
    Speaker("rs1", 1, "route_server", "10.1.1.5", 65515),
    Speaker("er1", 0, "expressroute", "10.1.2.4", 65515),
    Speaker("er1", 1, "expressroute", "10.1.2.5", 65515),
    Speaker("vpn1", 0, "vpn", "10.1.2.6", 65515),
    Speaker("vpn1", 1, "vpn", "10.1.2.7", 65515),
)
HUB = Hub(
    vnet="hub1",
    route_server="rs1",
    gateways=("er1", "vpn1"),
    speakers=SPEAKERS,
    preference="ExpressRoute",
    branch_to_branch=False,
    served=("hub1", "spoke11"),
    advertised=("10.1.0.0/16", "10.11.0.0/16"),
    unlearned=("10.1.0.0/16",),
)
NVA1 = (Session("rs1", 0, "nva1"), Session("rs1", 1, "nva1"))
NVA2 = (Session("rs1", 0, "nva2"), Session("rs1", 1, "nva2"))
ER = (Session("er1", 0, "london-msee0"), Session("er1", 1, "london-msee1"))
VPN = (Session("vpn1", 0, "onprem"), Session("vpn1", 1, "onprem"))
ADDRESS = {"nva1": "10.1.0.4", "nva2": "10.1.0.5", "onprem": "203.0.113.9", "london-msee0": "172.31.0.1", "london-msee1": "172.31.0.3"}


def up(*sessions: Session) -> list[Event]:
    return [SessionUp(session, 3.0) for session in sessions]


def tell(
    sessions: Iterable[Session], prefix: str = ON_PREM, path: tuple[int, ...] = (65001,), hop: str = "", **more: object
) -> list[Event]:
    """The same announcement on several sessions."""
    return [Announced(s, Path(prefix, path, hop or ADDRESS[s.peer], **more)) for s in sessions]  # type: ignore[arg-type]


def after(*events: Event, hub: Hub = HUB) -> rs.State:
    return rs.step(rs.initial([hub]), events, 1.0)[0]


def hops(state: rs.State, prefix: str = ON_PREM, home: int = 0) -> list[tuple[str, ...]]:
    """The candidates of a prefix as next hops by tier."""
    ranked = rs.candidates(state, "hub1", home).get(prefix, ())
    return [tuple(candidate.next_hop for candidate in tier) for tier in ranked]


# --- what is kept ------------------------------------------------------------------------------------------------------


def test_rs8_a_path_with_65515_is_kept_for_display_and_never_chosen() -> None:
    state = after(*up(*NVA1), *tell(NVA1, path=(65001, 65002, 65515)))
    assert rs.received(state, NVA1[0])[ON_PREM].dropped == "RS8: 65515 in the AS path"
    assert hops(state) == []


def test_rs8_a_path_that_becomes_looped_is_withdrawn() -> None:
    state = after(*up(*NVA1), *tell(NVA1))
    assert hops(state) == [("10.1.0.4",)]
    state, changes = rs.step(state, tell(NVA1, path=(65001, 65515)), 2.0)
    assert hops(state) == []
    assert changes.routes == {("hub1", 0): (ON_PREM,), ("hub1", 1): (ON_PREM,)}


def test_rs8_with_the_asn_stripped_the_route_is_back() -> None:
    state = after(*up(*NVA1), *tell(NVA1, path=(65001, 65515)), *tell(NVA1, path=(65001, 65002)))
    assert hops(state) == [("10.1.0.4",)]


def test_gw5_a_gateway_drops_paths_through_its_own_asn() -> None:
    state = after(*up(*ER), *tell(ER, path=(12076, 65515, 65001)))
    assert rs.received(state, ER[0])[ON_PREM].dropped == "GW5: 65515 in the AS path"
    assert hops(state) == []


def test_rs6_over_the_limit_the_session_ends_with_all_its_routes() -> None:
    hub = replace(HUB, routes_per_peer=3)
    prefixes = [f"10.{number}.0.0/16" for number in range(50, 54)]
    state = after(*up(NVA1[0]), *(event for p in prefixes[:3] for event in tell(NVA1[:1], p)), hub=hub)
    assert len(rs.received(state, NVA1[0])) == 3
    state, changes = rs.step(state, tell(NVA1[:1], prefixes[3]), 2.0)
    assert changes.down == (NVA1[0],)
    assert rs.sessions(state)[NVA1[0]] == rs.SessionState(False, 2.0, "max-prefix", 3.0, True)
    assert rs.received(state, NVA1[0]) == {}
    assert rs.candidates(state, "hub1", 0) == {}
    assert set(changes.routes["hub1", 0]) == set(prefixes[:3])
    # what bgpd says afterwards does not hide the reason, and what is still on its way is ignored
    state, changes = rs.step(state, [*tell(NVA1[:1], prefixes[0]), SessionDown(NVA1[0], "notification")], 3.0)
    assert rs.sessions(state)[NVA1[0]].reason == "max-prefix"
    assert len(changes.ignored) == 1


def test_rs6_replaced_and_withdrawn_routes_do_not_count() -> None:
    hub = replace(HUB, routes_per_peer=1)
    events = [
        *up(NVA1[0]),
        *tell(NVA1[:1]),
        *tell(NVA1[:1], path=(65001, 65001)),
        Withdrawn(NVA1[0], ON_PREM),
        *tell(NVA1[:1], "10.8.0.0/16"),
    ]
    assert rs.sessions(after(*events, hub=hub))[NVA1[0]].up


@pytest.mark.parametrize(("prefix", "path"), [("10.9.0.0/16", (65001, 65515)), ("10.1.0.0/16", (65001,))], ids=["RS8", "RS9"])
def test_rs6_what_a_peer_sends_counts_even_if_it_is_dropped(prefix: str, path: tuple[int, ...]) -> None:
    hub = replace(HUB, routes_per_peer=1)
    state = after(*up(NVA1[0]), *tell(NVA1[:1]), hub=hub)
    state, changes = rs.step(state, tell(NVA1[:1], prefix, path=path), 2.0)
    assert changes.down == (NVA1[0],)
    assert rs.sessions(state)[NVA1[0]].reason == "max-prefix"


def test_rs6_the_limit_is_the_route_servers_towards_its_peers() -> None:
    hub = replace(HUB, routes_per_peer=1)
    state = after(*up(VPN[0]), *tell(VPN[:1]), *tell(VPN[:1], "10.8.0.0/16"), hub=hub)
    assert rs.sessions(state)[VPN[0]].up


@pytest.mark.parametrize("prefix", ["10.1.0.0/16", "10.1.9.0/24"])
def test_chapter_7_own_vnet_prefixes_are_not_learned_unless_assumed(prefix: str) -> None:
    state = after(*up(NVA1[0]), *tell(NVA1[:1], prefix))
    assert rs.received(state, NVA1[0])[prefix].dropped == "RS9: inside 10.1.0.0/16, the VNet's own address space"
    assumed = after(*up(NVA1[0]), *tell(NVA1[:1], prefix), hub=replace(HUB, unlearned=()))
    assert rs.received(assumed, NVA1[0])[prefix].dropped == ""


def test_rs9_other_vnets_prefixes_and_supernets_are_learned() -> None:
    state = after(*up(NVA1[0]), *tell(NVA1[:1], "10.11.0.0/16"), *tell(NVA1[:1], "10.0.0.0/8"))
    assert [each.dropped for each in rs.received(state, NVA1[0]).values()] == ["", ""]


def test_routes_of_sessions_that_are_not_up_and_of_unknown_speakers_are_ignored() -> None:
    stranger = Session("rs9", 0, "nva1")
    third = Session("rs1", 2, "nva1")
    events = [*tell(NVA1[:1]), SessionUp(stranger), SessionUp(third), Withdrawn(NVA1[0], ON_PREM)]
    state, changes = rs.step(rs.initial([HUB]), events, 1.0)
    assert changes.ignored == tuple(events)
    assert (changes.up, rs.sessions(state)) == ((), {})


# --- what is chosen ----------------------------------------------------------------------------------------------------


def test_rs10_shortest_as_path_the_longer_one_stands_by() -> None:
    state = after(*up(*NVA1, *NVA2), *tell(NVA1, path=(65001, 65001, 65100)), *tell(NVA2, path=(65002, 65100)))
    assert hops(state) == [("10.1.0.5",), ("10.1.0.4",)]
    assert rs.injected(state, "hub1", 0) == {ON_PREM: ("10.1.0.5",)}


def test_rs10_equal_length_is_ecmp_in_the_order_of_addresses() -> None:
    sessions = [Session("rs1", 0, f"nva{number}") for number in range(4)]
    events = [event for s, hop in zip(sessions, ("17", "12", "13", "9"), strict=True) for event in tell([s], hop=f"10.1.0.{hop}")]
    state = after(*up(*sessions), *events)
    assert hops(state) == [("10.1.0.9", "10.1.0.12", "10.1.0.13", "10.1.0.17")]


def test_rs10_ecmp_is_capped_and_a_ninth_takes_the_place_of_one_that_ends() -> None:
    sessions = [Session("rs1", 0, f"nva{number}") for number in range(3)]
    events = [event for number, s in enumerate(sessions) for event in tell([s], hop=f"10.1.0.{number + 4}")]
    state = after(*up(*sessions), *events, hub=replace(HUB, ecmp=2))
    ranked = rs.candidates(state, "hub1", 0)[ON_PREM]
    assert rs.live(state, ranked) == ("10.1.0.4", "10.1.0.5")
    state, _ = rs.step(state, [SessionDown(sessions[0], "closed")], 2.0)
    assert rs.live(state, ranked) == ("10.1.0.5", "10.1.0.6")


def test_rs10_origin_does_not_count() -> None:
    state = after(*up(*NVA1, *NVA2), *tell(NVA1, origin="incomplete"), *tell(NVA2))
    assert hops(state) == [("10.1.0.4", "10.1.0.5")]


PREFERENCES = {
    "ExpressRoute": [("10.1.2.4", "10.1.2.5"), ("10.1.2.6", "10.1.2.7"), ("10.1.0.4",)],
    "VpnGateway": [("10.1.2.6", "10.1.2.7"), ("10.1.0.4",), ("10.1.2.4", "10.1.2.5")],
    "ASPath": [("10.1.2.6", "10.1.2.7"), ("10.1.0.4", "10.1.2.4", "10.1.2.5")],
}


@pytest.mark.parametrize("preference", PREFERENCES)
def test_rs10_hub_routing_preference(preference: str) -> None:
    """The circuit's path is as long as the NVA's and longer than the VPN's."""
    events = [*up(*NVA1, *ER, *VPN), *tell(NVA1, path=(65001, 65100)), *tell(ER, path=(12076, 65100)), *tell(VPN, path=(65100,))]
    assert hops(after(*events, hub=replace(HUB, preference=preference))) == PREFERENCES[preference]


def test_rs10_between_vpn_and_nva_only_the_length_counts() -> None:
    for preference in ("ExpressRoute", "VpnGateway"):
        state = after(*up(*NVA1, *VPN), *tell(NVA1), *tell(VPN, path=(65100,)), hub=replace(HUB, preference=preference))
        assert hops(state) == [("10.1.0.4", "10.1.2.6", "10.1.2.7")]


def test_chapter_7_an_aspath_tie_can_be_assumed_to_go_to_the_circuit() -> None:
    events = [*up(*NVA1, *ER), *tell(NVA1, path=(65001, 65100)), *tell(ER, path=(12076, 65100))]
    hub = replace(HUB, preference="ASPath", aspath_tie="ExpressRoute")
    assert hops(after(*events, hub=hub)) == [("10.1.2.4", "10.1.2.5"), ("10.1.0.4",)]
    shorter = after(*events, *tell(NVA1), hub=hub)
    assert hops(shorter) == [("10.1.0.4",), ("10.1.2.4", "10.1.2.5")]


def test_rs11_a_third_party_next_hop_is_kept_and_counts_once() -> None:
    state = after(*up(*NVA1, *NVA2), *tell((*NVA1, *NVA2), hop="10.1.0.100"))
    assert rs.injected(state, "hub1", 0) == {ON_PREM: ("10.1.0.100",)}
    state, _ = rs.step(state, [SessionDown(NVA1[0], "closed")], 2.0)
    assert rs.injected(state, "hub1", 0) == {ON_PREM: ("10.1.0.100",)}


def test_gw1_e4_gateway_routes_count_for_both_homes_with_the_gateways_addresses() -> None:
    state = after(*up(*VPN), *tell(VPN, path=(65100,)))
    assert hops(state, home=0) == hops(state, home=1) == [("10.1.2.6", "10.1.2.7")]


def test_gw2_what_route_server_and_gateways_tell_each_other_is_shown_and_not_counted_twice() -> None:
    ibgp = (Session("rs1", 0, "vpn1-0"), Session("vpn1", 0, "rs1-0"))
    events = [Announced(session, Path(ON_PREM, (65100,), "10.1.2.6")) for session in ibgp]
    state = after(*up(*ibgp), *events)
    assert [list(rs.received(state, session)) for session in ibgp] == [[ON_PREM], [ON_PREM]]
    assert hops(state) == []


def test_rs12_no_advertise_is_programmed() -> None:
    state = after(*up(*NVA1), *tell(NVA1, communities=("no-advertise",)))
    assert hops(state) == [("10.1.0.4",)]


# --- homes -------------------------------------------------------------------------------------------------------------


def test_rs3_one_instance_peered_the_other_home_misses_the_routes() -> None:
    state = after(*up(NVA1[0]), *tell(NVA1[:1]))
    assert (hops(state, home=0), hops(state, home=1)) == ([("10.1.0.4",)], [])
    assert not rs.instance_dead(state, "hub1", 1)


def test_rs3_a_session_that_never_came_up_does_not_make_its_instance_dead() -> None:
    state = after(*up(NVA1[0]), *tell(NVA1[:1]), SessionDown(NVA1[1], "closed"))
    assert hops(state, home=1) == []


@pytest.mark.parametrize("reason", ["closed", "lost"])
def test_chapter_7_homes_of_a_dead_instance_take_the_survivors_routes(reason: str) -> None:
    state = after(*up(*NVA1, *NVA2), *tell((*NVA1, *NVA2)))
    before = rs.candidates(state, "hub1", 0)[ON_PREM]
    state, changes = rs.step(state, [SessionDown(NVA1[0], reason), SessionDown(NVA2[0], reason)], 2.0)
    assert rs.instance_dead(state, "hub1", 0)
    assert rs.live(state, before) == ("10.1.0.4", "10.1.0.5")  # old groups go on
    assert changes.liveness == frozenset()
    assert changes.lost_next_hops == {}
    assert hops(state, home=0) == [("10.1.0.4", "10.1.0.5")]
    assert {c.session.instance for tier in rs.candidates(state, "hub1", 0)[ON_PREM] for c in tier} == {1}


def test_an_instance_that_is_back_takes_over_once_it_has_heard_what_the_survivor_knows() -> None:
    state = after(*up(*NVA1, *NVA2), *tell((*NVA1, *NVA2)), SessionDown(NVA1[0], "lost"), SessionDown(NVA2[0], "lost"))
    state, changes = rs.step(state, up(NVA1[0]), 3.0)  # established, and nothing heard yet
    assert rs.instance_dead(state, "hub1", 0)
    assert hops(state, home=0) == [("10.1.0.4", "10.1.0.5")]
    assert (changes.routes, changes.liveness) == ({}, frozenset())
    state, _ = rs.step(state, [*up(NVA2[0]), *tell((NVA1[0], NVA2[0]))], 3.1)
    assert not rs.instance_dead(state, "hub1", 0)
    assert {c.session.instance for tier in rs.candidates(state, "hub1", 0)[ON_PREM] for c in tier} == {0}


def test_an_instance_that_is_back_waits_for_nothing_that_the_survivor_does_not_have_either() -> None:
    state = after(*up(*NVA1), SessionDown(NVA1[0], "lost"), *up(NVA1[0]))
    assert not rs.instance_dead(state, "hub1", 0)


def test_an_instance_lost_before_it_was_ever_heard_of_is_dead() -> None:
    """A controller that starts while an instance is gone reports its sessions lost."""
    state = after(*up(NVA1[1]), *tell(NVA1[1:]), SessionDown(NVA1[0], "lost"))
    assert hops(state, home=0) == [("10.1.0.4",)]


def test_with_one_of_two_nvas_gone_the_instance_is_not_dead() -> None:
    state = after(*up(*NVA1, *NVA2), *tell(NVA1), SessionDown(NVA1[0], "closed"))
    assert (hops(state, home=0), hops(state, home=1)) == ([], [("10.1.0.4",)])


def test_with_both_instances_down_nothing_is_injected() -> None:
    state = after(*up(*NVA1), *tell(NVA1), *(SessionDown(session, "lost") for session in NVA1))
    assert [rs.candidates(state, "hub1", home) for home in (0, 1)] == [{}, {}]


# --- what changes ------------------------------------------------------------------------------------------------------


def test_rs15_a_session_down_takes_exactly_its_routes() -> None:
    state = after(*up(*NVA1, *NVA2), *tell(NVA1), *tell(NVA1, "10.8.0.0/16"), *tell(NVA2))
    old = rs.candidates(state, "hub1", 0)[ON_PREM]
    state, changes = rs.step(state, [SessionDown(NVA1[0], "hold-timer")], 7.5)
    assert changes.down == (NVA1[0],)
    assert changes.liveness == {NVA1[0]}
    assert changes.routes == {("hub1", 0): (ON_PREM, "10.8.0.0/16")}
    assert changes.prefixes() == {"hub1": (ON_PREM, "10.8.0.0/16")}
    assert rs.live(state, old) == ("10.1.0.5",)  # the group of the old candidates, before any prefix moves
    assert hops(state) == [("10.1.0.5",)]
    assert hops(state, home=1) == [("10.1.0.4", "10.1.0.5")]
    assert rs.sessions(state)[NVA1[0]] == rs.SessionState(False, 7.5, "hold-timer", 3.0, True)
    assert changes.lost_next_hops == {}
    state, changes = rs.step(state, [SessionDown(NVA1[1], "hold-timer")], 8.0)
    assert changes.lost_next_hops == {"hub1": ("10.1.0.4",)}


def test_rs15_the_standby_takes_over_and_gives_way() -> None:
    state = after(*up(*NVA1, *NVA2), *tell(NVA1), *tell(NVA2, path=(65002, 65002)))
    ranked = rs.candidates(state, "hub1", 0)[ON_PREM]
    assert rs.live(state, ranked) == ("10.1.0.4",)
    state, _ = rs.step(state, [SessionDown(NVA1[0], "closed")], 2.0)
    assert rs.live(state, ranked) == ("10.1.0.5",)
    state, _ = rs.step(state, [SessionDown(NVA2[0], "closed")], 3.0)
    assert rs.live(state, ranked) == ("10.1.0.4",)  # instance 0 has nobody left: its homes go by instance 1
    state, _ = rs.step(state, [*up(NVA1[0], NVA2[0]), *tell(NVA1[:1]), *tell(NVA2[:1], path=(65002, 65002))], 4.0)
    assert rs.candidates(state, "hub1", 0)[ON_PREM] == ranked
    assert rs.live(state, ranked) == ("10.1.0.4",)


def test_rs15_a_withdrawal_is_told_apart() -> None:
    state = after(*up(*NVA1), *tell(NVA1))
    state, changes = rs.step(state, [Withdrawn(NVA1[0], ON_PREM)], 2.0)
    assert changes.routes == {("hub1", 0): (ON_PREM,)}
    assert (changes.down, changes.liveness) == ((), frozenset())
    assert rs.sessions(state)[NVA1[0]].up


def test_nothing_changes_when_nothing_new_is_said() -> None:
    state = after(*up(*NVA1), *tell(NVA1))
    again, changes = rs.step(state, [*tell(NVA1), Withdrawn(NVA1[0], "10.7.0.0/16")], 2.0)
    assert changes == rs.Changes()
    assert again == state


def test_what_comes_and_goes_within_a_batch_is_no_change() -> None:
    state = after(*up(*NVA1))
    _, changes = rs.step(state, [*tell(NVA1), *(Withdrawn(session, ON_PREM) for session in NVA1)], 2.0)
    assert changes == rs.Changes()


def test_a_session_that_restarts_comes_back_without_its_routes() -> None:
    state = after(*up(*NVA1), *tell(NVA1))
    for restart in ([SessionUp(NVA1[0])], [SessionDown(NVA1[0], "lost"), SessionUp(NVA1[0])]):
        restarted, changes = rs.step(state, restart, 2.0)
        assert (changes.down, changes.up) == ((NVA1[0],), (NVA1[0],))
        assert rs.received(restarted, NVA1[0]) == {}
        assert changes.routes == {("hub1", 0): (ON_PREM,)}
    resent, changes = rs.step(state, [SessionUp(NVA1[0]), *tell(NVA1[:1])], 2.0)
    assert changes.routes == {}
    assert hops(resent) == hops(state)


def test_a_later_word_on_why_a_session_ended_replaces_the_first() -> None:
    state = after(*up(NVA1[0]), SessionDown(NVA1[0], "lost"))
    state, changes = rs.step(state, [SessionDown(NVA1[0], "hold-timer")], 9.0)
    assert (rs.sessions(state)[NVA1[0]].reason, rs.sessions(state)[NVA1[0]].since) == ("hold-timer", 1.0)
    assert changes == rs.Changes()


def test_states_are_not_changed_by_steps_from_them() -> None:
    state = after(*up(*NVA1), *tell(NVA1))
    before = (dict(rs.candidates(state, "hub1", 0)), dict(rs.received(state, NVA1[0])), rs.sessions(state))
    rs.step(state, [*tell(NVA1, "10.8.0.0/16"), SessionDown(NVA1[0], "closed")], 2.0)
    assert (dict(rs.candidates(state, "hub1", 0)), dict(rs.received(state, NVA1[0])), rs.sessions(state)) == before


def test_candidates_name_next_hop_and_session() -> None:
    state = after(*up(*NVA1), *tell(NVA1))
    assert rs.candidates(state, "hub1", 1) == {ON_PREM: ((Candidate("10.1.0.4", NVA1[1]),),)}
    assert rs.candidates(state, "spoke11", 0) == {}
    assert rs.live(state, ()) == ()


def test_two_hubs_do_not_meet() -> None:
    other = replace(HUB, vnet="hub2", route_server="rs2", gateways=(), speakers=(Speaker("rs2", 0, "route_server", "10.2.1.4", 65515),))
    state, changes = rs.step(rs.initial([HUB, other]), [*up(Session("rs2", 0, "nva1")), *tell([Session("rs2", 0, "nva1")])], 1.0)
    assert changes.prefixes() == {"hub2": (ON_PREM,)}
    assert rs.candidates(state, "hub1", 0) == {}


# --- changed hubs ------------------------------------------------------------------------------------------------------


def test_rs10_a_changed_preference_reorders_without_touching_sessions() -> None:
    state = after(*up(*NVA1, *ER), *tell(NVA1), *tell(ER, path=(12076, 65100)))
    changed, changes = rs.replace_hubs(state, [replace(HUB, preference="VpnGateway")])
    assert hops(changed) == [("10.1.0.4",), ("10.1.2.4", "10.1.2.5")]
    assert changes.routes == {("hub1", 0): (ON_PREM,), ("hub1", 1): (ON_PREM,)}
    assert (changes.up, changes.down) == ((), ())
    assert rs.sessions(changed) == rs.sessions(state)


def test_rs14_a_peering_more_leaves_routes_as_they_are_and_is_advertised() -> None:
    state = after(*up(*NVA1), *tell(NVA1))
    changed, changes = rs.replace_hubs(state, [replace(HUB, advertised=(*HUB.advertised, "10.12.0.0/16"))])
    assert changes == rs.Changes()
    assert [path.prefix for path in rs.advertised(changed, NVA1[0])] == ["10.1.0.0/16", "10.11.0.0/16", "10.12.0.0/16"]


def test_a_gateway_that_is_gone_takes_its_routes_with_it() -> None:
    state = after(*up(*VPN), *tell(VPN))
    changed, changes = rs.replace_hubs(state, [replace(HUB, speakers=SPEAKERS[:4], gateways=("er1",))])
    assert changes.down == VPN
    assert changes.routes == {("hub1", 0): (ON_PREM,), ("hub1", 1): (ON_PREM,)}
    assert rs.candidates(changed, "hub1", 0) == {}
    gone, changes = rs.replace_hubs(state, [])
    assert changes.prefixes() == {"hub1": (ON_PREM,)}
    assert rs.sessions(gone) == {}


# --- what is passed on -------------------------------------------------------------------------------------------------


def sent(state: rs.State, session: Session = NVA1[0]) -> list[tuple[str, tuple[int, ...], str]]:
    return [(path.prefix, path.as_path, path.next_hop) for path in rs.advertised(state, session)]


OWN = [("10.1.0.0/16", (65515,), "10.1.1.4"), ("10.11.0.0/16", (65515,), "10.1.1.4")]
BRANCHES = replace(HUB, branch_to_branch=True)


def test_rs7_address_spaces_with_the_instances_own_address_as_next_hop() -> None:
    state = after(*up(*NVA1))
    assert sent(state) == OWN
    assert {hop for _, _, hop in sent(state, NVA1[1])} == {"10.1.1.5"}
    assert sent(state, NVA2[0]) == []  # no session, nothing sent


def test_rs13_what_an_nva_announced_goes_to_no_other() -> None:
    events = [*up(*NVA1, *NVA2), *tell(NVA2, path=(65002,))]
    assert sent(after(*events)) == OWN
    assert sent(after(*events, hub=BRANCHES)) == OWN


def test_chapter_7_reflection_between_nvas_can_be_assumed() -> None:
    events = [*up(*NVA1, *NVA2), *tell(NVA2, path=(65002,))]
    state = after(*events, hub=replace(BRANCHES, reflect_nva_routes=True))
    assert sent(state) == [*OWN, (ON_PREM, (65515, 65002), "10.1.1.4")]
    assert sent(state, NVA2[0]) == OWN


def test_rs7_gateway_routes_go_to_nvas_with_branch_to_branch_only() -> None:
    events = [*up(*NVA1, *VPN), *tell(VPN, path=(65100,))]
    assert sent(after(*events)) == OWN
    assert sent(after(*events, hub=BRANCHES)) == [*OWN, (ON_PREM, (65515, 65100), "10.1.1.4")]


def test_only_the_best_path_is_passed_on() -> None:
    events = [*up(*NVA1, *NVA2, *VPN), *tell(VPN, path=(65100, 65100)), *tell(NVA2, path=(65002,))]
    assert sent(after(*events, hub=BRANCHES)) == OWN


def test_of_paths_that_tie_the_one_from_an_nva_is_passed_on() -> None:
    """bgpd prefers what came over eBGP to what came over iBGP."""
    gateway = Session("rs1", 0, "vpn1-0")
    events = [*up(*NVA1, *NVA2, *VPN, gateway), *tell(VPN, path=(65100,)), *tell(NVA2, path=(65002,))]
    state = after(*events, hub=replace(BRANCHES, preference="VpnGateway"))
    assert {each.session for each in rs.candidates(state, "hub1", 0)[ON_PREM][0]} == {*VPN, NVA2[0]}
    assert sent(state) == OWN
    assert [path.as_path for path in rs.advertised(state, gateway)] == [(65002,)]


def test_rs7_what_it_originates_itself_is_not_sent_twice() -> None:
    state = after(*up(*NVA1, *VPN), *tell(VPN, "10.11.0.0/16", path=(65100,)), hub=BRANCHES)
    assert sent(state) == OWN


def test_gw4_of_several_circuits_one_path_is_passed_on() -> None:
    events = [*up(*NVA1, *ER), *tell(ER[:1], path=(12076, 65100)), *tell(ER[1:], path=(12076, 65200))]
    assert sent(after(*events, hub=BRANCHES)) == [*OWN, (ON_PREM, (65515, 12076, 65100), "10.1.1.4")]


def test_gw2_nva_routes_go_to_gateways_unchanged_with_branch_to_branch_only() -> None:
    gateway = Session("rs1", 0, "vpn1-0")
    events = [*up(*NVA1, gateway), *tell(NVA1, communities=("65001:7",))]
    assert rs.advertised(after(*events), gateway) == ()
    assert rs.advertised(after(*events, hub=BRANCHES), gateway) == (Path(ON_PREM, (65001,), "10.1.0.4", ("65001:7",)),)


@pytest.mark.parametrize("community", ["no-advertise", "65535:65282", "NO_ADVERTISE"])
def test_rs12_no_advertise_is_passed_on_to_nobody(community: str) -> None:
    gateway = Session("rs1", 0, "vpn1-0")
    state = after(*up(*NVA1, gateway), *tell(NVA1, communities=(community,)), hub=BRANCHES)
    assert rs.advertised(state, gateway) == ()
    assert not rs.may_advertise(Path(ON_PREM, (), "10.1.0.4", (community,)))


def test_rs12_other_communities_are_preserved() -> None:
    state = after(*up(*NVA1, *VPN), *tell(VPN, path=(65100,), communities=("65100:1",)), hub=BRANCHES)
    assert rs.advertised(state, NVA1[0])[-1].communities == ("65100:1",)


# --- properties --------------------------------------------------------------------------------------------------------

SESSIONS = st.sampled_from([*NVA1, *NVA2, *ER, *VPN, Session("rs1", 0, "vpn1-0"), Session("rs1", 1, "vpn1-0")])
PREFIXES = st.sampled_from([ON_PREM, "10.8.0.0/16", "10.8.1.0/24", "0.0.0.0/0", "10.1.4.0/24"])
AS_PATHS = st.lists(st.sampled_from([65001, 65002, 65100, 65515]), max_size=3).map(tuple)
EVENTS = st.lists(
    st.one_of(
        st.builds(SessionUp, SESSIONS, st.just(3.0)),
        st.builds(SessionDown, SESSIONS, st.sampled_from(["closed", "hold-timer", "lost"])),
        st.builds(Announced, SESSIONS, st.builds(Path, PREFIXES, AS_PATHS, st.sampled_from(["10.1.0.4", "10.1.0.5", "10.1.0.100"]))),
        st.builds(Withdrawn, SESSIONS, PREFIXES),
    ),
    max_size=40,
)
SMALL = replace(HUB, routes_per_peer=3)
ALL_UP = up(*NVA1, *NVA2, *ER, *VPN)


@given(EVENTS, st.integers(0, 40))
def test_how_events_are_cut_into_batches_does_not_matter(events: list[Event], cut: int) -> None:
    start = after(*ALL_UP, hub=SMALL)
    whole, _ = rs.step(start, events, 2.0)
    first, _ = rs.step(start, events[:cut], 2.0)
    second, _ = rs.step(first, events[cut:], 2.0)
    assert second == whole
    one_by_one = start
    for event in events:
        one_by_one, _ = rs.step(one_by_one, [event], 2.0)
    assert one_by_one == whole


@given(EVENTS, EVENTS)
def test_changes_are_the_difference_of_the_states(before: list[Event], events: list[Event]) -> None:
    old, _ = rs.step(after(*ALL_UP, hub=SMALL), before, 2.0)
    new, changes = rs.step(old, events, 3.0)
    for home in (0, 1):
        tables = [rs.candidates(state, "hub1", home) for state in (old, new)]
        differing = {prefix for table in tables for prefix in table if tables[0].get(prefix) != tables[1].get(prefix)}
        assert set(changes.routes.get(("hub1", home), ())) == differing
        for ranked in tables[0].values():
            if rs.live(old, ranked) != rs.live(new, ranked):
                assert any(candidate.session in changes.liveness for tier in ranked for candidate in tier)


@given(EVENTS, st.sets(SESSIONS))
def test_what_ends_is_known_before_any_route_is_looked_at(before: list[Event], over: set[Session]) -> None:
    """The quick answer is that of the whole step: the same sessions answer otherwise, by the same next hops."""
    old, _ = rs.step(after(*ALL_UP, hub=SMALL), before, 2.0)
    over &= set(rs.sessions(old))  # one that was never heard of has no route to answer for
    quick, liveness = rs.ended(old, over, 3.0)
    new, changes = rs.step(old, [SessionDown(session, "closed") for session in sorted(over)], 3.0)
    assert liveness == changes.liveness
    for home in (0, 1):
        for ranked in rs.candidates(old, "hub1", home).values():
            assert rs.live(quick, ranked) == rs.live(new, ranked)


@given(EVENTS)
def test_the_kept_candidates_are_those_worked_out_anew(events: list[Event]) -> None:
    state, _ = rs.step(after(*ALL_UP, hub=SMALL), events, 2.0)
    anew, changes = rs.replace_hubs(state, [SMALL])
    assert anew == state
    assert changes == rs.Changes()


@given(EVENTS, SESSIONS)
def test_a_session_down_removes_its_routes_and_no_others(events: list[Event], ended: Session) -> None:
    state, _ = rs.step(after(*ALL_UP, hub=SMALL), events, 2.0)
    after_it, _ = rs.step(state, [SessionDown(ended, "closed")], 3.0)
    assert rs.received(after_it, ended) == {}
    for session in rs.sessions(state):
        if session != ended:
            assert rs.received(after_it, session) == rs.received(state, session)


@given(EVENTS)
def test_what_is_injected_comes_from_sessions_that_are_up(events: list[Event]) -> None:
    state, _ = rs.step(after(*ALL_UP, hub=SMALL), events, 2.0)
    for home in (0, 1):
        table = rs.candidates(state, "hub1", home)
        assert rs.injected(state, "hub1", home) == {prefix: rs.live(state, ranked) for prefix, ranked in table.items()}
        for prefix, ranked in table.items():
            for candidate in (each for tier in ranked for each in tier):
                assert rs.sessions(state)[candidate.session].up
                assert rs.received(state, candidate.session)[prefix].dropped == ""
    down, _ = rs.step(state, [SessionDown(session, "closed") for session in rs.sessions(state)], 3.0)
    assert [rs.injected(down, "hub1", home) for home in (0, 1)] == [{}, {}]
