"""BGP on paper: the decision process, loop detection, what is sent and how it is rewritten, classes of prefixes, oscillation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from msgspec.structs import replace

from testbed.azure.bgp import (
    WEIGHT_OF_LOCAL_ROUTES,
    Adjacency,
    Candidate,
    End,
    Exports,
    Flow,
    Imports,
    Network,
    Outcome,
    Route,
    Router,
    Simulation,
    decide,
    export,
    receive,
)

P = "192.0.2.0/24"
ALL = frozenset({"local", "peer", "other"})


def router(name: str, asn: int, *originates: str, **more: Any) -> Router:
    return Router(name, asn, f"10.0.0.{ord(name[0]) - ord('a') + 1}", frozenset(originates), **more)


def end(name: str, exports: Exports = Exports(ALL), imports: Imports = Imports(), role: str = "peer") -> End:  # noqa: B008
    return End(name, f"10.0.0.{ord(name[0]) - ord('a') + 1}", role, imports, exports)


def network(routers: Iterable[Router], *adjacencies: Adjacency) -> Network:
    return Network({each.name: each for each in routers}, adjacencies)


def only(net: Network, **options: Any) -> Outcome:
    outcomes = Simulation(net).converge(**options)
    assert len(outcomes) == 1
    return outcomes[0]


def flow(sender: Router, receiver: Router, exports: Exports = Exports(ALL), imports: Imports = Imports(), **more: Any) -> Flow:  # noqa: B008
    source, target = end(sender.name, exports), end(receiver.name, imports=imports)
    link = Adjacency("test", source, target, **more)
    return Flow(0, sender, receiver, source, target, link, sender.asn == receiver.asn, 1, 1)


def heard(asn: int, path: tuple[int, ...], number: int = 1, ibgp: bool = False, **more: Any) -> Candidate:
    """A route from router ``number`` of AS ``asn``."""
    found = flow(router("b", asn), router("a", asn if ibgp else 1))
    weight = more.pop("weight", 0)
    return Candidate(Route(path, f"10.0.0.{number}", **more), replace(found, router_id=number, peer_address=number), weight)


class TestDecide:
    """Each step decides only where all earlier ones tie."""

    @pytest.mark.parametrize(
        ("winner", "loser"),
        [
            (heard(9, (9, 9, 9), 2, weight=1), heard(8, (8,), local_pref=500)),
            (heard(9, (9, 9, 9), 2, local_pref=200), heard(8, (8,))),
            (Candidate(Route(), None), heard(8, ())),
            (heard(9, (9,), 2), heard(8, (8, 7))),
            (heard(9, (9,), 2, origin="igp"), heard(8, (8,), origin="incomplete")),
            (heard(9, (9,), 2, med=5), heard(9, (9,), med=10)),
            (heard(9, (9,), 2), heard(1, (8,), ibgp=True)),
            (heard(9, (9,), 1), heard(8, (8,), 2)),
        ],
        ids=["weight", "local preference", "own", "AS path length", "origin", "MED", "eBGP", "router id"],
    )
    def test_steps(self, winner: Candidate, loser: Candidate) -> None:
        assert decide([loser, winner])[0] == winner
        assert decide([winner, loser])[0] == winner

    def test_med_counts_between_routes_of_one_neighbour_only(self) -> None:
        first, second = heard(9, (9,), 1, med=10), heard(8, (8,), 2, med=5)
        assert decide([second, first])[0] == first

    def test_multipath_takes_what_ties_before_router_id(self) -> None:
        one, two, longer = heard(9, (9, 5), 1), heard(8, (8, 5), 2), heard(7, (7, 6, 5), 3)
        assert decide([longer, two, one], 8) == (one, two)
        assert decide([two, one], 1) == (one,)
        assert decide([two, one], 8, relax=False) == (one,)

    def test_two_paths_with_one_next_hop_are_one_way(self) -> None:
        one, same, other = heard(9, (9,), 1), heard(8, (8,), 2), heard(7, (7,), 3)
        same = same._replace(route=same.route._replace(next_hop=one.route.next_hop))
        assert decide([other, same, one], 8) == (one, other)
        assert decide([other, same, one], 2) == (one, other)

    def test_own_route_is_used_alone(self) -> None:
        own = Candidate(Route(), None, WEIGHT_OF_LOCAL_ROUTES)
        assert decide([heard(9, (9,)), own], 8) == (own,)

    def test_nothing(self) -> None:
        assert decide([]) == ()


class TestReceive:
    def test_own_asn_in_the_path_is_a_loop(self) -> None:
        way = flow(router("b", 2), router("a", 1))
        assert "own ASN 1" in receive(way, Route((2, 1, 3), "10.0.0.2"), P).dropped
        assert receive(way, Route((2, 3), "10.0.0.2"), P).accepted is not None

    def test_loop_detection_can_be_off(self) -> None:
        way = flow(router("b", 2), router("a", 1), imports=Imports(allow_own_as=True))
        assert receive(way, Route((2, 1), "10.0.0.2"), P).accepted is not None

    def test_own_address_as_next_hop(self) -> None:
        assert receive(flow(router("b", 2), router("a", 1)), Route((2,), "10.0.0.1"), P).accepted is None

    def test_local_preference_is_set_on_ebgp_and_carried_on_ibgp(self) -> None:
        policy = Imports(local_pref=200)
        ebgp = receive(flow(router("b", 2), router("a", 1), imports=policy), Route((2,), "10.0.0.2"), P).accepted
        ibgp = receive(flow(router("b", 1), router("a", 1), imports=policy), Route((2,), "10.0.0.2", local_pref=150), P).accepted
        assert ebgp is not None
        assert ibgp is not None
        assert (ebgp.route.local_pref, ibgp.route.local_pref) == (200, 150)


class TestExport:
    def rewritten(self, path: tuple[int, ...], policy: Exports, prefix: str = P) -> tuple[int, ...]:
        sent = export(flow(router("b", 65001), router("a", 65515), policy), heard(9, path), prefix)
        assert sent is not None
        return sent.as_path

    def test_path_rewriting(self) -> None:
        crossed = (65002, 65515)
        assert self.rewritten(crossed, Exports(ALL)) == (65001, 65002, 65515)
        assert self.rewritten(crossed, Exports(ALL, as_override=True)) == (65001, 65002, 65001)
        assert self.rewritten(crossed, Exports(ALL, exclude=frozenset({65515}))) == (65001, 65002)
        assert self.rewritten(crossed, Exports(ALL, as_override=True, prepend=2)) == (65001, 65001, 65001, 65002, 65001)
        assert self.rewritten((65002, 3356, 4200000000), Exports(ALL, remove_private=True)) == (65001, 3356)

    def test_prepend_by_prefix_goes_before_prepend(self) -> None:
        policy = Exports(ALL, prepend=1, prepend_by_prefix={P: 2})
        assert len(self.rewritten((), policy)) == 3
        assert len(self.rewritten((), policy, "10.0.0.0/8")) == 2

    def test_what_is_not_sent(self) -> None:
        way, best = flow(router("b", 2), router("a", 1)), heard(9, (9,))
        assert export(way, best, P) is not None
        assert export(way, heard(9, (9,), communities=("no-advertise",)), P) is None
        assert export(way, heard(9, (9,), communities=("no-export",)), P) is None
        assert export(flow(router("b", 2), router("a", 1), Exports(frozenset({"local"}))), best, P) is None
        assert export(flow(router("b", 2), router("a", 1), Exports(ALL, deny=frozenset({P}))), best, P) is None
        own = Candidate(Route(), None)
        limited = Exports(ALL, only=frozenset({"10.0.0.0/8"}))
        assert export(flow(router("b", 2), router("a", 1), limited), own, P) is None
        assert export(flow(router("b", 2), router("a", 1), limited), best, P) is not None

    def test_not_back_to_the_peer_it_came_from(self) -> None:
        way = flow(router("b", 2), router("a", 1))
        assert export(way, best := heard(9, (9,)), P) is not None
        assert best.flow is not None
        assert export(way, best._replace(flow=replace(best.flow, index=1)), P) is None

    def test_ibgp_passes_on_no_ibgp_routes_unless_it_reflects(self) -> None:
        inner = heard(1, (9,), ibgp=True)
        assert export(flow(router("b", 1), router("c", 1)), inner, P) is None
        sent = export(flow(router("b", 1), router("c", 1), Exports(ALL, reflect=True)), inner, P)
        assert sent == inner.route
        assert export(flow(router("b", 1), router("c", 1)), heard(9, (9,), communities=("no-export",)), P) is not None

    def test_next_hops(self) -> None:
        best = heard(9, (9,), 7)
        ebgp, ibgp = (router("b", 2), router("a", 1)), (router("b", 1), router("a", 1))

        def hop(way: Flow, candidate: Candidate = best) -> str:
            sent = export(way, candidate, P)
            assert sent is not None
            return sent.next_hop

        assert hop(flow(*ebgp)) == "10.0.0.2"
        assert hop(flow(*ebgp, shared="10.0.0.0/24")) == "10.0.0.7"
        assert hop(flow(*ebgp, shared="10.9.0.0/24")) == "10.0.0.2"
        assert hop(flow(*ebgp, Exports(ALL, keep_next_hop=True))) == "10.0.0.7"
        assert hop(flow(*ebgp, Exports(ALL, next_hop="10.0.0.100"))) == "10.0.0.100"
        assert hop(flow(*ibgp)) == "10.0.0.7"
        assert hop(flow(*ibgp), Candidate(Route(), None)) == "10.0.0.2"

    def test_communities_are_added_once(self) -> None:
        sent = export(
            flow(router("b", 2), router("a", 1), Exports(ALL, communities=("9:9",))), heard(9, (9,), communities=("9:9", "8:8")), P
        )
        assert sent is not None
        assert sent.communities == ("9:9", "8:8")


class TestConverge:
    def test_chain(self) -> None:
        net = network(
            [router("a", 1, P), router("b", 2), router("c", 3)],
            Adjacency("test", end("a"), end("b")),
            Adjacency("test", end("b"), end("c")),
        )
        outcome = only(net)
        assert outcome.settled
        assert outcome.chosen["c"][0].route.as_path == (2, 1)
        assert 1 not in outcome.learned  # b does not send back to a
        assert outcome.chosen["a"][0].flow is None

    def test_session_that_is_down_carries_nothing(self) -> None:
        net = network([router("a", 1, P), router("b", 2)], Adjacency("test", end("a"), end("b"), down="no peering"))
        assert only(net).learned == {}

    def test_triangle_drops_loops_and_takes_the_short_way(self) -> None:
        routers = [router("a", 1, P), router("b", 2), router("c", 3)]
        links = [Adjacency("test", end(one), end(two)) for one, two in ("ab", "bc", "ca")]
        outcome = only(network(routers, *links))
        assert outcome.chosen["c"][0].route.as_path == (1,)
        assert {each.received.as_path for each in outcome.learned.values()} == {(1,), (2, 1), (3, 1)}

    def test_prefixes_with_one_fate_share_a_class(self) -> None:
        prefixes = [f"10.{number}.0.0/16" for number in range(8)]
        special = Exports(ALL, prepend_by_prefix={prefixes[0]: 1, prefixes[1]: 1, prefixes[2]: 2}, deny=frozenset({prefixes[3]}))
        net = network(
            [router("a", 1, *prefixes[:6]), router("b", 2, *prefixes[5:])],
            Adjacency("test", end("a", special), end("b")),
        )
        classes = {frozenset(each) for each in Simulation(net).classes}
        expected = [prefixes[:2], prefixes[2:3], prefixes[3:4], prefixes[4:5], prefixes[5:6], prefixes[6:]]
        assert classes == {frozenset(each) for each in expected}

    def test_oscillation_is_reported(self) -> None:
        """Griffin's BAD GADGET: each of three prefers the way over its neighbour to its own, and none has both for long."""
        origin = end("o", role="x")
        spokes = [Adjacency("test", origin, end(name, Exports(frozenset()), role="origin")) for name in "abc"]
        around = [
            Adjacency("test", end(one, Exports(frozenset({"origin"}))), end(two, Exports(frozenset()), Imports(local_pref=200)))
            for one, two in ("ab", "bc", "ca")
        ]
        outcome = only(network([router("o", 9, P), router("a", 1), router("b", 2), router("c", 3)], *spokes, *around), max_rounds=50)
        assert not outcome.settled
        assert outcome.prefixes == (P,)
