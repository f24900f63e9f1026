"""Each expectation holds when it should, and otherwise says what was expected and what was observed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from testbed.azure.types import NextHopType, RouteSource, Row
from testbed.errors import LabError
from testbed.measure.journey import Journey
from testbed.measure.packets import Header
from testbed.measure.reachability import Delivery
from testbed.measure.sizes import Fit, Transfer
from testbed.measure.spread import FlowPath
from testbed.model.scenario import Action, Expectation, Scenario
from testbed.plan.explain import Direction, Explanation
from testbed.plan.walk import Walk
from testbed.scenario.expectations import check, describe
from testbed.scenario.lab_view import LearnedRow, SessionRow, TableRow
from testbed.scenario.runner import CheckResult, take

BGP_ROUTE = Row("10.21.0.0/16", NextHopType.VIRTUAL_NETWORK_GATEWAY, RouteSource.VIRTUAL_NETWORK_GATEWAY, ("10.1.0.4",))
LOCAL = Row("10.11.0.0/16", NextHopType.VNET_LOCAL, RouteSource.DEFAULT)
VXLAN = (Header("10.1.0.4", "10.2.0.4", 64, "udp/4789"), Header("10.11.0.4", "10.21.0.4", 63, "udp/33999"))


@dataclass
class FakeLab:
    """A lab made of canned answers."""

    session_rows: tuple[SessionRow, ...] = ()
    learned_rows: tuple[LearnedRow, ...] = ()
    routes: dict[str, tuple[Row, ...]] = field(default_factory=lambda: {"vm11": (LOCAL, BGP_ROUTE), "vm21": (LOCAL,)})
    predicted: dict[str, tuple[Row, ...]] = field(default_factory=dict)
    deliveries: Callable[[str, str], Delivery] = lambda a, b: Delivery(a, b, True, ttl_down=2)
    journey: Journey = field(default_factory=lambda: Journey("vm11", "vm21", ("vm11", "nva1", "nva2", "vm21"), ()))
    walk: tuple[str, ...] = ("vm11", "nva1", "nva2", "vm21")
    verdict: str = ""
    reason: str = ""
    advertised_rows: tuple[LearnedRow, ...] = ()
    table_rows: tuple[TableRow, ...] = ()
    speaking: tuple[str, ...] = ()
    shown: tuple[str | None, ...] = ()
    flows: tuple[FlowPath, ...] = ()
    touched: dict[str, int] = field(default_factory=dict)
    switches: tuple[str, ...] = ()
    unmodelled: str = ""
    link: tuple[tuple[Header, ...], ...] = (VXLAN,)
    tables: tuple[str, ...] = ()
    readable: int = 0
    largest: int = 1350
    acted: list[Action] = field(default_factory=list)

    def vms(self) -> tuple[str, ...]:
        return tuple(self.routes)

    def nics(self) -> tuple[str, ...]:
        return tuple(self.routes)

    def sessions(self) -> tuple[SessionRow, ...]:
        return self.session_rows

    def learned(self, route_server: str, peer: str) -> tuple[LearnedRow, ...]:
        return self.learned_rows

    def advertised(self, route_server: str, peer: str) -> tuple[LearnedRow, ...]:
        return self.advertised_rows

    def bgp_table(self, node: str) -> tuple[TableRow, ...]:
        return self.table_rows

    def refuses(self, route_server: str, nva: str) -> tuple[str, ...]:
        return self.speaking

    def effective(self, nic: str) -> tuple[Row, ...]:
        return self.routes[nic]

    def controlled(self) -> bool:
        return True

    def unpredictable(self) -> str:
        return self.unmodelled

    def switch_differences(self) -> tuple[str, ...]:
        return self.switches

    def predicted_walks(self, source: str, target: str) -> tuple[Walk, ...]:
        """What the fake observes, unless a verdict is set."""
        found = self.deliveries(source, target)
        verdict = self.verdict or {"delivered": "delivered", "loop": "loops", "dropped": "dropped"}[found.result]
        return (Walk(source, target, self.walk, (), verdict, "spoke11", self.reason, found.ttl_down or 0),)

    def explained(self, source: str, target: str) -> Explanation:
        return Explanation(Direction(self.predicted_walks(source, target), ("RS8: rs1 dropped it",)), None)

    def round_trip(self, source: str, target: str) -> tuple[float, ...]:
        return (0.085, 0.081)

    def hops(self, source: str, target: str) -> tuple[str | None, ...]:
        return self.shown

    def spread(self, source: str, target: str, flows: int) -> tuple[FlowPath, ...]:
        return self.flows

    def seen_at(self, nodes: Sequence[str], meanwhile: Callable[[], object]) -> dict[str, int]:
        meanwhile()
        return {node: self.touched.get(node, 0) for node in nodes}

    def end_captures(self) -> tuple[Path, ...]:
        return ()

    def predicted_effective(self, nic: str) -> tuple[Row, ...]:
        return self.predicted.get(nic, self.routes[nic])

    def probe(self, pairs: Iterable[tuple[str, str]]) -> tuple[Delivery, ...]:
        return tuple(self.deliveries(a, b) for a, b in pairs)

    def trace(self, source: str, target: str) -> Journey:
        return self.journey

    def on_link(self, link: tuple[str, str], meanwhile: Callable[[], object]) -> tuple[tuple[Header, ...], ...]:
        meanwhile()
        return self.link

    def table_differences(self) -> tuple[str, ...]:
        return self.tables

    def readable_on_link(self, link: tuple[str, str], pairs: Sequence[tuple[str, str]], meanwhile: Callable[[], object]) -> tuple[int, int]:
        meanwhile()
        return self.readable, len(self.link)

    def coming_back(self, node: str, kinds: Sequence[str]) -> tuple[Header, ...]:
        return tuple(packet[0] for packet in self.link)

    def fit(self, source: str, target: str, size: int) -> Fit:
        return Fit(size, size <= self.largest, *(() if size <= self.largest else ("10.1.0.4", self.largest)))

    def transfer(self, source: str, target: str, amount: int) -> Transfer:
        return Transfer(amount, 1310, 1460)

    def act(self, action: Action) -> None:
        if action.verb == "fail":
            raise LabError("no such node")
        self.acted.append(action)


FRAGMENT = Header("10.1.0.4", "10.2.0.4", 64, "fragment")
ON_LINK: dict[str, Any] = {"link": ["hub1", "hub2"], "from": "vm11", "to": "vm21"}


def verdict(lab: FakeLab, expectation: dict[str, Any]) -> str | None:
    return check(lab, Expectation.model_validate(expectation))


UP = SessionRow("route_server", ("nva1", "rs1-0"), True)
DOWN = SessionRow("overlay", ("nva1", "nva2"), False, "Active")
LEARNED = tuple(LearnedRow(i, "10.21.0.0/16", (65001, 65002), "10.1.0.4") for i in (0, 1))
RS_DOWN = SessionRow("route_server", ("nva1", "rs1-0"), False, "max-prefix")
PEER = {"route_server": "rs1", "peer": "nva1", "prefix": "10.21.0.0/16"}
TABLE = (TableRow("10.21.0.0/16", (65002,), "198.18.0.1", True, True), TableRow("10.21.0.0/16", (65002,), "198.18.0.3", False, True))
SPREAD = (FlowPath(("nva1",), ("nva1",), True), FlowPath(("nva1b",), ("nva1",), True))
SPREAD_OVER = {"from": "vm11", "to": "vm21", "over": ["nva1", "nva1b"]}


def learned(**more: str) -> dict[str, Any]:
    return {"learned": PEER | more}


LOOPED = LearnedRow(0, "10.21.0.0/16", (65001, 65515), "10.1.0.4", "RS8: 65515 in the AS path")


@pytest.mark.parametrize(
    ("lab", "expectation", "reason"),
    [
        (FakeLab((UP,)), {"sessions": {}}, None),
        (FakeLab((UP, DOWN)), {"sessions": {}}, "nva1 ↔ nva2 (overlay): Active"),
        (FakeLab((UP, DOWN)), {"sessions": {"kind": "route_server", "established": 1}}, None),
        (FakeLab((UP, DOWN)), {"sessions": {"kind": "route_server", "established": 4}}, "expected 4 established, observed 1"),
        (FakeLab(), {"sessions": {"kind": "overlay"}}, "the plan has no session of kind overlay"),
        (FakeLab(learned_rows=LEARNED), {"learned": {"route_server": "rs1", "peer": "nva1", "prefix": "10.21.0.0/16"}}, None),
        (
            FakeLab(learned_rows=LEARNED[:1]),
            {"learned": {"route_server": "rs1", "peer": "nva1", "prefix": "10.21.0.0/16"}},
            "instance 1: expected 10.21.0.0/16, observed nothing",
        ),
        (
            FakeLab(learned_rows=LEARNED),
            {"learned": {"route_server": "rs1", "peer": "nva1", "prefix": "10.21.0.0/16", "as_path": [65001]}},
            "with AS path 65001, observed instance 0: 10.21.0.0/16 via 10.1.0.4, AS path 65001-65002",
        ),
        (
            FakeLab(learned_rows=LEARNED),
            {"learned": {"route_server": "rs1", "peer": "nva1", "prefix": "10.21.0.0/16", "absent": True}},
            "expected nothing",
        ),
        (
            FakeLab(learned_rows=(LOOPED,)),
            {"learned": {"route_server": "rs1", "peer": "nva1", "prefix": "10.21.0.0/16", "absent": True}},
            None,
        ),
        (
            FakeLab(learned_rows=(LOOPED,)),
            {"learned": {"route_server": "rs1", "peer": "nva1", "prefix": "10.21.0.0/16", "dropped": "RS8", "instances": [0]}},
            None,
        ),
        (
            FakeLab(learned_rows=LEARNED),
            {"learned": {"route_server": "rs1", "peer": "nva1", "prefix": "10.21.0.0/16", "dropped": "RS8", "instances": [0]}},
            "expected it dropped (RS8)",
        ),
        (FakeLab(), {"effective_route": {"nic": "vm11", "prefix": "10.21.0.0/16", "next_hops": ["10.1.0.4"]}}, None),
        (FakeLab(), {"effective_route": {"nic": "vm11", "prefix": "10.21.0.0/16", "next_hops": ["10.1.0.5"]}}, "observed 10.21.0.0/16"),
        (FakeLab(), {"effective_route": {"nic": "all", "prefix": "10.21.0.0/16"}}, "vm21: expected 10.21.0.0/16, observed nothing"),
        (FakeLab(), {"effective_route": {"nic": "vm21", "prefix": "10.21.0.0/16", "absent": True}}, None),
        (FakeLab(), {"effective_route": {"nic": "vm11", "prefix": "10.21.0.0/16", "absent": True}}, "vm11: expected no such route"),
        (FakeLab(), {"delivered": {"from": "vm11", "to": "vm21", "ttl_down": 2}}, None),
        (FakeLab(), {"delivered": {"from": "vm11", "to": "vm21", "ttl_down": 1}}, "TTL down by 2, expected 1"),
        (FakeLab(), {"delivered": {"from": "vm11", "to": "vm11"}}, "no pair to try"),
        (FakeLab(deliveries=lambda a, b: Delivery(a, b, False)), {"delivered": {"from": "vm11", "to": "vm21"}}, "vm11 → vm21: dropped"),
        (FakeLab(deliveries=lambda a, b: Delivery(a, b, False)), {"dropped": {"from": "vm11", "to": "vm21"}}, None),
        (FakeLab(), {"dropped": {"from": "vm11", "to": "vm21"}}, "vm11 → vm21: delivered, expected dropped"),
        (
            FakeLab(deliveries=lambda a, b: Delivery(a, b, False, loop_at="10.1.0.4")),
            {"looping": {"from": "vm11", "to": "vm21", "at": "10.1.0.4"}},
            None,
        ),
        (
            FakeLab(deliveries=lambda a, b: Delivery(a, b, False, loop_at="10.9.0.4")),
            {"looping": {"from": "vm11", "to": "vm21", "at": "10.1.0.4"}},
            "TTL exceeded sent by 10.9.0.4, expected loop at 10.1.0.4",
        ),
        (FakeLab(), {"path": {"from": "vm11", "to": "vm21", "through": ["nva1", "nva2"]}}, None),
        (FakeLab(), {"path": {"from": "vm11", "to": "vm21", "through": ["nva1"]}}, "observed vm11 → nva1 → nva2 → vm21"),
        (
            FakeLab(walk=("vm11", "vm21")),
            {"path": {"from": "vm11", "to": "vm21", "through": ["nva1", "nva2"]}},
            "but the walk over the plan is vm11 → vm21",
        ),
        (FakeLab(), {"only_on_link": {"link": ["hub1", "hub2"], "kinds": ["udp/4789"], "from": "vm11", "to": "vm21"}}, None),
        (
            FakeLab(link=(VXLAN, VXLAN[1:])),
            {"only_on_link": {"link": ["hub1", "hub2"], "kinds": ["udp/4789"], "from": "vm11", "to": "vm21"}},
            "1 packets of udp/33999",
        ),
        (
            FakeLab(link=()),
            {"only_on_link": {"link": ["hub1", "hub2"], "kinds": ["udp/4789"], "from": "vm11", "to": "vm21"}},
            "no packet of udp/4789 was seen",
        ),
        (FakeLab(), {"agreement": {}}, None),
        (FakeLab(tables=("onprem: predicted and not in its BGP table: 10.1.0.0/16",)), {"agreement": {}}, "onprem: predicted and not in"),
        (FakeLab(), {"only_on_link": ON_LINK | {"kinds": ["udp/4789"], "beside": ["tcp/179"], "bytes": 1350}}, None),
        (FakeLab(link=((FRAGMENT,), VXLAN)), {"only_on_link": ON_LINK | {"kinds": ["udp/4789"]}}, "1 packets of fragment"),
        (FakeLab(largest=1300), {"only_on_link": ON_LINK | {"kinds": ["udp/4789"], "bytes": 1350}}, "1350 bytes are refused by 10.1.0.4"),
        (FakeLab(), {"nothing_in_clear": ON_LINK}, None),
        (FakeLab(readable=1), {"nothing_in_clear": ON_LINK}, "1 of 1 frames show a packet of theirs in clear"),
        (FakeLab(link=()), {"nothing_in_clear": ON_LINK}, "they went another way"),
        (FakeLab(), {"nothing_in_clear": ON_LINK | {"delivered": False}}, "vm11 → vm21: delivered, expected lost"),
        (FakeLab(deliveries=lambda a, b: Delivery(a, b, False)), {"nothing_in_clear": ON_LINK | {"delivered": False}}, None),
        (FakeLab(), {"comes_back": {"node": "nva1", "kinds": ["udp/4789"]}}, None),
        (FakeLab(link=()), {"comes_back": {"node": "nva1", "kinds": ["udp/4500"]}}, "no packet of udp/4500 came back to nva1"),
        (FakeLab(), {"mtu": {"from": "vm11", "to": "vm21", "bytes": 1350, "refused_by": "10.1.0.4"}}, None),
        (
            FakeLab(),
            {"mtu": {"from": "vm11", "to": "vm21", "bytes": 1350, "refused_by": "10.2.0.4"}},
            "to be refused by 10.2.0.4, naming 1350",
        ),
        (FakeLab(), {"mtu": {"from": "vm11", "to": "vm21", "bytes": 1400}}, "expected 1400 bytes to arrive: 1400 bytes are refused"),
        (FakeLab(largest=1450), {"mtu": {"from": "vm11", "to": "vm21", "bytes": 1350}}, "naming 1350: 1351 bytes arrive"),
        (FakeLab(), {"tcp": {"from": "vm11", "to": "vm21"}}, None),
        (FakeLab(), {"tcp": {"from": "vm11", "to": "vm21", "mss": 1310}}, "vm11 is told 1460, expected 1310"),
        (FakeLab((UP,)), {"session": {"between": ["rs1", "nva1"]}}, None),
        (FakeLab(switches=("switch of hub1 lacks a flow",)), {"agreement": {}}, "switch of hub1 lacks a flow"),
        (FakeLab(unmodelled="the configuration of nva1 is the user's own"), {"agreement": {}}, "nothing to compare with"),
        (FakeLab(verdict="dropped"), {"delivered": {"from": "vm11", "to": "vm21"}}, "but the walk over the plan: dropped vm11 →"),
        (FakeLab(verdict="dropped", unmodelled="own"), {"delivered": {"from": "vm11", "to": "vm21"}}, None),
        (FakeLab((RS_DOWN,)), {"session": {"between": ["rs1", "nva1"], "up": False, "reason": "max-prefix"}}, None),
        (FakeLab((RS_DOWN,)), {"session": {"between": ["nva1", "rs1-0"]}}, "expected up, observed nva1 ↔ rs1-0 (route_server): max-prefix"),
        (FakeLab((RS_DOWN,)), {"session": {"between": ["nva1", "rs1"], "up": False, "reason": "closed"}}, "expected down (closed)"),
        (FakeLab((UP,)), {"session": {"between": ["nva1", "rs1"]}}, None),
        (FakeLab((UP,)), {"session": {"between": ["nva2", "rs1"]}}, "the plan has no session between nva2 and rs1"),
        (FakeLab(), {"refused": {"route_server": "rs1", "nva": "nva2"}}, None),
        (FakeLab(speaking=("rs1-0 speaks BGP",)), {"refused": {"route_server": "rs1", "nva": "nva2"}}, "rs1-0 speaks BGP"),
        (FakeLab(learned_rows=LEARNED), learned(next_hop="10.1.0.4"), None),
        (FakeLab(learned_rows=LEARNED), learned(next_hop="10.1.0.100"), "expected 10.21.0.0/16 via 10.1.0.100"),
        (FakeLab(advertised_rows=LEARNED), {"advertised": PEER | {"as_path": [65001, 65002]}}, None),
        (FakeLab(advertised_rows=LEARNED[:1]), {"advertised": PEER}, "instance 1: expected 10.21.0.0/16"),
        (FakeLab(advertised_rows=LEARNED), {"advertised": PEER | {"absent": True}}, "expected nothing"),
        (FakeLab(advertised_rows=()), {"advertised": PEER | {"absent": True}}, None),
        (FakeLab(table_rows=TABLE), {"table": {"node": "nva1", "prefix": "10.21.0.0/16", "as_path": [65002], "used": 2}}, None),
        (
            FakeLab(table_rows=TABLE),
            {"table": {"node": "nva1", "prefix": "10.21.0.0/16", "used": 1}},
            "expected 1 paths in use, observed 2",
        ),
        (FakeLab(table_rows=TABLE), {"table": {"node": "nva1", "prefix": "10.21.0.0/16", "as_path": [65003]}}, "as best, observed"),
        (FakeLab(table_rows=TABLE), {"table": {"node": "nva1", "prefix": "10.21.0.0/16", "absent": True}}, "expected nothing"),
        (FakeLab(shown=("10.1.0.4",) * 3), {"traceroute": {"from": "vm11", "to": "vm21", "repeats": "10.1.0.4"}}, None),
        (FakeLab(shown=("10.1.0.4", None)), {"traceroute": {"from": "vm11", "to": "vm21", "repeats": "10.1.0.4"}}, "observed 10.1.0.4 *"),
        (FakeLab(shown=("10.1.0.4",)), {"traceroute": {"from": "vm11", "to": "vm21", "hops": ["10.1.0.4"]}}, None),
        (FakeLab(shown=()), {"traceroute": {"from": "vm11", "to": "vm21", "hops": ["10.1.0.4"]}}, "observed nothing"),
        (FakeLab(), {"round_trip": {"from": "vm11", "to": "vm21", "above": "80ms", "below": "90ms"}}, None),
        (FakeLab(), {"round_trip": {"from": "vm11", "to": "vm21", "above": "82ms"}}, "vm11 → vm21: 81.0 ms"),
        (FakeLab(), {"round_trip": {"from": "vm11", "to": "vm21", "below": "80ms"}}, "vm11 → vm21: 81.0 ms"),
        (FakeLab(flows=SPREAD), {"spread": SPREAD_OVER}, None),
        (FakeLab(flows=SPREAD), {"spread": SPREAD_OVER | {"asymmetric": True}}, None),
        (FakeLab(flows=SPREAD[:1]), {"spread": SPREAD_OVER}, "no flow through nva1b of 1 (nva1 1)"),
        (FakeLab(flows=SPREAD[:1]), {"spread": SPREAD_OVER | {"asymmetric": True}}, "every flow came back"),
        (FakeLab(flows=(*SPREAD, FlowPath((), (), False))), {"spread": SPREAD_OVER}, "1 of 3 flows did not arrive"),
        (FakeLab(), {"untouched": {"nva": "nva1", "from": "vm11", "to": "vm21"}}, None),
        (FakeLab(touched={"nva1": 4}), {"untouched": {"nva": "nva1", "from": "vm11", "to": "vm21"}}, "4 packets at nva1, expected none"),
        (FakeLab(), {"explained": {"from": "vm11", "to": "vm21", "verdict": "delivered"}}, None),
        (FakeLab(verdict="dropped"), {"explained": {"from": "vm11", "to": "vm21", "verdict": "dropped", "because": "RS8"}}, None),
        (FakeLab(verdict="dropped"), {"explained": {"from": "vm11", "to": "vm21", "verdict": "dropped", "because": "P1"}}, "found ; RS8"),
        (
            FakeLab(verdict="dropped", reason="E3: None"),
            {"explained": {"from": "vm11", "to": "vm21", "verdict": "loops"}},
            "dropped at spoke11: E3: None",
        ),
        (FakeLab(predicted={"vm11": (LOCAL,)}), {"agreement": {}}, "vm11: observed and not predicted: 10.21.0.0/16"),
        (FakeLab(predicted={"vm21": (LOCAL, BGP_ROUTE)}), {"agreement": {"nics": ["vm21"]}}, "vm21: predicted and not observed"),
    ],
)
def test_an_expectation_holds_or_says_why_not(lab: FakeLab, expectation: dict[str, Any], reason: str | None) -> None:
    found = verdict(lab, expectation)
    assert found is None if reason is None else (found is not None and reason in found), found
    assert describe(Expectation.model_validate(expectation))


def test_delivery_is_tried_both_ways_unless_told_otherwise() -> None:
    tried: list[tuple[str, str]] = []
    lab = FakeLab(deliveries=lambda a, b: tried.append((a, b)) or Delivery(a, b, True), unmodelled="so that no walk is asked for")  # type: ignore[func-returns-value]
    verdict(lab, {"delivered": {"from": "vm11", "to": "vm21"}})
    verdict(lab, {"delivered": {"from": "vm11", "to": "vm21", "both_ways": False}})
    assert tried == [("vm11", "vm21"), ("vm21", "vm11"), ("vm11", "vm21")]


def scenario(*steps: dict[str, Any]) -> Scenario:
    return Scenario.model_validate({"name": "s", "topology": "t.yaml", "steps": list(steps)})


def test_all_failures_are_reported_not_only_the_first() -> None:
    heard: list[object] = []
    wrong = {"path": {"from": "vm11", "to": "vm21", "through": []}}
    right = {"agreement": {}}
    results = take(
        scenario({"stage": "a", "within": 0, "expect": [wrong, right]}, {"stage": "b", "within": 0, "expect": [wrong]}),
        FakeLab(),
        lambda step, what: heard.append(what),
    )
    assert [[check.ok for check in step.checks] for step in results] == [[True, False], [False]]
    assert [step.ok for step in results] == [False, False]
    assert len(heard) == 3


AGREE = "prediction, controller and switches agree"


def test_agreement_is_looked_at_before_everything_and_after_every_change() -> None:
    right = {"path": {"from": "vm11", "to": "vm21", "through": ["nva1", "nva2"]}}
    act = {"announce": {"nva": "nva2", "prefix": "192.0.2.0/24"}}
    steps = scenario(
        {"stage": "a"}, {"stage": "b", "expect": [right]}, {"stage": "c", "within": 0, "do": [act], "expect": [{"agreement": {}}, right]}
    )
    assert [[each.expected for each in step.checks][:1] for step in take(steps, FakeLab(), lambda s, w: None)] == [
        [AGREE],
        ["path: vm11 → nva1 → nva2 → vm21, as predicted"],
        [AGREE],
    ]
    (first, *_) = take(steps, FakeLab(unmodelled="own configuration"), lambda s, w: None)
    assert first.checks == []


def test_a_time_out_names_its_budget() -> None:
    steps = Scenario.model_validate(
        {
            "name": "s",
            "topology": "t.yaml",
            "budgets": {"hold-timer": "10ms"},
            "steps": [{"stage": "a", "budget": "hold-timer", "expect": [{"path": {"from": "vm11", "to": "vm21", "through": []}}]}],
        }
    )
    (result,) = take(steps, FakeLab(), lambda s, w: None)
    assert result.checks[-1].reason.endswith("(budget hold-timer: 0.01 s)")


def test_an_action_that_fails_skips_its_own_expectations_and_goes_on() -> None:
    lab = FakeLab()
    results = take(
        scenario(
            {"stage": "break", "do": [{"fail": {"node": "nva9"}}], "expect": [{"agreement": {}}]},
            {"stage": "act", "do": [{"announce": {"nva": "nva2", "prefix": "192.0.2.0/24"}}], "expect": [{"agreement": {}}]},
        ),
        lab,
        lambda step, what: None,
    )
    assert [(step.ok, len(step.checks)) for step in results] == [(False, 0), (True, 1)]
    assert results[0].error == "no such node"
    assert [action.verb for action in lab.acted] == ["announce"]
    assert results[1].actions == ["announce nva nva2 prefix 192.0.2.0/24"]


def test_a_check_is_repeated_within_its_budget() -> None:
    answers = iter([Delivery("vm11", "vm21", False)] * 3)
    lab = FakeLab(deliveries=lambda a, b: next(answers, Delivery(a, b, True, ttl_down=2)))
    (result,) = take(
        scenario({"stage": "s", "within": 5, "expect": [{"delivered": {"from": "vm11", "to": "vm21", "both_ways": False}}]}),
        lab,
        lambda step, what: None,
    )
    assert isinstance(result.checks[0], CheckResult)
    assert result.ok


@pytest.mark.parametrize("wrong", [{}, {"agreement": {}, "path": {"from": "a", "to": "b", "through": []}}])
def test_a_step_names_exactly_one_expectation(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="exactly one of"):
        Expectation.model_validate(wrong)


def test_who_does_not_answer_yet_is_asked_again() -> None:
    class Starting(FakeLab):
        def sessions(self) -> tuple[SessionRow, ...]:
            if not self.acted:
                self.acted.append(None)  # type: ignore[arg-type]
                raise LabError("the controller does not answer")
            return (UP,)

    step = {"stage": "a", "within": 1, "expect": [{"sessions": {"kind": "all"}}]}
    (result,) = take(scenario(step), Starting(), lambda s, w: None)
    assert result.ok
    (dead,) = take(scenario(step | {"within": 0}), Starting(), lambda s, w: None)
    assert dead.checks[-1].reason == "the controller does not answer"


def test_without_a_controller_effective_routes_are_not_asked_for() -> None:
    class Headless(FakeLab):
        def controlled(self) -> bool:
            return False

        def effective(self, nic: str) -> tuple[Row, ...]:
            raise AssertionError("nobody is there to say")

    assert verdict(Headless(), {"agreement": {}}) is None
