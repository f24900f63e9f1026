"""The programmer against a fake switch: whatever happens, the incremental table is the one computed from scratch."""

from __future__ import annotations

import random
from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.azure import route_server as brain
from testbed.azure.types import Announced, Event, Path, Session, SessionDown, SessionUp, Withdrawn
from testbed.controller.programmer import Programmer
from testbed.controller.tables import Operation, Operations, PutFlow, PutGroup, Table, order
from testbed.plan.fabric_index import FabricIndex
from testbed.plan.openflow import Flow, ToGroup
from testbed.plan.pipeline import ROUTE, SLOTS

from .designs import plan
from .fakeswitch import FakeSwitch

INDEX = FabricIndex(plan())
SESSIONS = [
    *(Session("rs1", instance, nva) for instance in (0, 1) for nva in ("nva1", "nva2", "nva3")),
    *(Session("rs2", instance, "nva4") for instance in (0, 1)),
]
HOPS = {"nva1": "10.1.0.4", "nva2": "10.1.0.5", "nva3": "10.1.0.6", "nva4": "10.2.0.4"}
PREFIXES = ["0.0.0.0/0", "10.0.0.0/8", "10.30.0.0/16", "10.40.0.0/16", "10.11.7.0/24", "192.168.0.0/16", "192.0.2.1/32"]
PATHS = [(65001,), (65001, 65009), (65001, 65515)]


def announced(session: Session, prefix: str, as_path: tuple[int, ...] = (65001,), next_hop: str = "") -> Announced:
    return Announced(session, Path(prefix, as_path, next_hop or HOPS[session.peer]))


def up_with(prefixes: Iterable[str], sessions: Iterable[Session] = SESSIONS) -> list[Event]:
    prefixes = list(prefixes)
    return [event for each in sessions for event in (SessionUp(each, 3.0), *(announced(each, prefix) for prefix in prefixes))]


class Run:
    """A brain, a programmer and the switches behind it, as the engine drives them."""

    def __init__(self) -> None:
        self.state = brain.initial(plan().hubs)
        self.programmer = Programmer(INDEX, self.state)
        self.switches = {bridge: FakeSwitch() for bridge in self.programmer.tables}
        for bridge, table in self.programmer.tables.items():
            self.switches[bridge].apply(table.everything())

    def step(self, events: list[Event], shuffle: random.Random | None = None) -> tuple[Operations, Operations]:
        self.state, changes = brain.step(self.state, events, 1.0)
        urgent = self.programmer.urgent(self.state, changes.liveness)
        self._apply(urgent, shuffle)
        rest = self.programmer.program(self.state, changes.prefixes())
        self._apply(rest, shuffle)
        return urgent, rest

    def _apply(self, operations: Operations, shuffle: random.Random | None) -> None:
        for bridge, some in operations.items():
            if shuffle is not None:
                some = reordered(some, shuffle)
                self.switches[bridge].apply(some)
            self.switches[bridge].apply(some)

    def check(self) -> None:
        scratch = Programmer(INDEX, self.state)
        for bridge, table in scratch.tables.items():
            assert self.programmer.tables[bridge] == table
            assert self.switches[bridge].equals(table)

    def table(self, vnet: str) -> Table:
        return self.programmer.tables[INDEX.bridges[vnet].id]


def reordered(operations: list[Operation], shuffle: random.Random) -> list[Operation]:
    """The operations in another order that respects their phases."""
    some = list(operations)
    shuffle.shuffle(some)
    return sorted(some, key=order)


def slots_of(table: Table | FakeSwitch, group: int) -> list[Flow]:
    return [flow for flow in table.flows.values() if flow.table == SLOTS.id and ("reg4", group) in flow.match]


def messages(operations: Operations) -> int:
    return sum(len(some) for some in operations.values())


sessions = st.sampled_from(SESSIONS)
routes = st.builds(
    announced, sessions, st.sampled_from(PREFIXES), st.sampled_from(PATHS), st.sampled_from(["", "", "10.1.0.100", "10.99.0.1"])
)
events = st.one_of(
    st.builds(SessionUp, sessions, st.just(3.0)),
    st.builds(SessionDown, sessions, st.sampled_from(["closed", "lost"])),
    routes,
    routes,
    st.builds(Withdrawn, sessions, st.sampled_from(PREFIXES)),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(events, min_size=1, max_size=12), max_size=12), st.randoms(use_true_random=False))
def test_incremental_equals_from_scratch_and_batches_are_idempotent(batches: list[list[Event]], shuffle: random.Random) -> None:
    run = Run()
    run.step(up_with(PREFIXES[:3], SESSIONS[:4]))
    for batch in batches:
        run.step(batch, shuffle)
        run.check()


@settings(max_examples=30, deadline=None)
@given(st.lists(events, max_size=60))
def test_with_all_sessions_down_nothing_injected_remains(some: list[Event]) -> None:
    run = Run()
    before = Programmer(INDEX, run.state).tables
    run.step(up_with(PREFIXES))
    run.step(some)
    run.step([SessionDown(session, "closed") for session in SESSIONS])
    assert run.programmer.tables == before
    for bridge, switch in run.switches.items():
        assert switch.equals(before[bridge])


def test_ecmp_of_three_is_a_flow_a_group_and_three_slots_for_each_home() -> None:
    run = Run()
    run.step(up_with(["10.40.0.0/16"]))
    table = run.table("spoke11")
    flows = [flow for flow in table.flows.values() if flow.table == ROUTE.id and "10.40.0.0/16" in str(flow.match)]
    assert sorted(dict(flow.match)["reg1"] for flow in flows) == [0, 1]
    groups = [action.id for flow in flows for action in flow.actions if isinstance(action, ToGroup)]
    assert len(set(groups)) == 2, "the homes' candidates came over other sessions, so they can differ after a failure"
    for group in groups:
        assert len(slots_of(table, group)) == 3


def test_a_death_costs_the_same_whatever_the_number_of_prefixes() -> None:
    costs = []
    for count in (10, 300):
        run = Run()
        run.step(up_with([f"10.{60 + number // 256}.{number % 256}.0/24" for number in range(count)]))
        urgent, rest = run.step([SessionDown(session, "closed") for session in SESSIONS if session.peer == "nva1"])
        costs.append(messages(urgent))
        assert any(isinstance(operation, PutGroup) for some in urgent.values() for operation in some)
        assert messages(rest) > count
        run.check()
    assert costs[0] == costs[1]


def test_the_urgent_step_alone_takes_the_dead_next_hop_out_of_every_bucket() -> None:
    run = Run()
    run.step(up_with(["10.40.0.0/16"]))
    run.state, changes = brain.step(run.state, [SessionDown(each, "closed") for each in SESSIONS if each.peer == "nva1"], 2.0)
    for bridge, some in run.programmer.urgent(run.state, changes.liveness).items():
        run.switches[bridge].apply(some)
    dead = INDEX.nics["nva1"].mac
    for vnet in ("spoke11", "spoke12", "hub1"):
        table = run.switches[INDEX.bridges[vnet].id]
        dynamic = [number for number in table.groups if number < 0x80000000]
        assert dynamic
        assert all(len(slots_of(table, number)) == 2 for number in dynamic)
        assert all(dead not in str(flow.actions) for number in dynamic for flow in slots_of(table, number))


def test_protected_prefixes_and_domains_without_propagation_get_nothing() -> None:
    run = Run()
    run.step(up_with(["10.11.7.0/24", "10.40.0.0/16"]))
    injected = [flow for flow in run.table("spoke11").flows.values() if flow.table == ROUTE.id and "VirtualNetworkGateway" in flow.note]
    assert {flow.note.split()[0] for flow in injected} == {"10.40.0.0/16"}, "RS9: 10.11.7.0/24 is inside the VNet"
    dark = INDEX.nics["dark11"].domain
    assert not [flow for flow in injected if ("reg0", dark) in flow.match], "E5"


def test_a_looped_path_is_withdrawn() -> None:
    run = Run()
    run.step(up_with(["10.40.0.0/16"]))
    run.step([announced(session, "10.40.0.0/16", (65001, 65515)) for session in SESSIONS])
    assert not [flow for flow in run.table("spoke12").flows.values() if "10.40.0.0/16" in flow.note]
    run.check()


def test_homes_that_differ_get_a_flow_each_and_share_one_again_when_equal() -> None:
    run = Run()
    one = [session for session in SESSIONS if session.server == "rs1"]
    run.step([SessionUp(each, 3.0) for each in one])
    run.step([announced(each, "10.40.0.0/16") for each in one if each.instance == 0])

    def flows() -> set[int | None]:
        found = [flow for flow in run.table("spoke11").flows.values() if "10.40.0.0/16" in flow.note]
        return {dict(flow.match).get("reg1") for flow in found}  # type: ignore[misc]

    assert flows() == {0}, "RS3: only the NICs of home 0 get what instance 0 alone learned"
    run.step([announced(each, "10.40.0.0/16") for each in one if each.instance == 1])
    assert flows() == {0, 1} or flows() == {None}
    run.check()


def test_a_default_route_removes_the_none_rows() -> None:
    run = Run()
    run.step(up_with(["0.0.0.0/0"]))
    domain = INDEX.nics["vm11a"].domain
    match = [flow for flow in run.table("spoke11").flows.values() if flow.table == ROUTE.id and ("reg0", domain) in flow.match]
    assert not [flow for flow in match if "None" in flow.note], "E3"
    run.check()


def test_a_group_is_put_before_what_names_it_and_deleted_after() -> None:
    run = Run()
    _, rest = run.step(up_with(["10.40.0.0/16"]))
    for some in rest.values():
        kinds = [order(operation) for operation in some]
        assert kinds == sorted(kinds)
        assert isinstance(some[-1], PutFlow)
