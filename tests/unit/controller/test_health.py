"""Health probes: what makes a backend healthy and what does not, and what the switches are told."""

from __future__ import annotations

from testbed.azure import route_server as brain
from testbed.controller.health import Backend, Counter, Health, Watch, watched
from testbed.controller.programmer import Programmer
from testbed.controller.tables import DropFlow, PutFlow, PutGroup
from testbed.model.loader import parse_topology
from testbed.model.scenario import Fault
from testbed.plan.compile import compile_plan
from testbed.plan.fabric_index import FabricIndex
from testbed.plan.groups import balancer_group_id
from testbed.plan.pipeline import SLOTS, SPREAD
from testbed.plan.templates import load_templates
from testbed.plan.types import ProbePlan
from testbed.scenario.switch_agreement import healthy_backends

DESIGN = """
name: balanced
regions:
  region1: {vnets: {hub1: {address_space: [10.1.0.0/16], subnets: {nva: 10.1.0.0/24, RouteServerSubnet: 10.1.1.0/26}}}}
route_servers: {rs1: {vnet: hub1, peers: [nva1, nva2]}}
nvas:
  nva1: {subnet: hub1/nva, ip: 10.1.0.4, asn: 65001}
  nva2: {subnet: hub1/nva, ip: 10.1.0.5, asn: 65001}
  nva3: {subnet: hub1/nva, ip: 10.1.0.6, asn: 65001}
load_balancers:
  ilb1: {subnet: hub1/nva, ip: 10.1.0.100, backends: [nva1, nva2, nva3], probe: {port: 179, interval: 5s, threshold: 3}}
  ilb2: {subnet: hub1/nva, ip: 10.1.0.101, backends: [nva1]}
"""
PLAN = compile_plan(parse_topology(DESIGN).topology, templates=load_templates())


def test_one_answer_makes_healthy_and_so_many_misses_in_a_row_do_not() -> None:
    counter = Counter(threshold=2)
    states = []
    for answered in (False, True, False, True, False, False, False, True):
        counter.count(answered)
        states.append(counter.healthy)
    assert states == [False, True, True, True, True, False, False, True]


def test_only_changes_are_told_and_the_first_result() -> None:
    told: list[Health] = []
    dead: set[str] = {"10.0.0.5"}
    backends = {name: Backend("ns", "eth0", address) for name, address in (("a", "10.0.0.4"), ("b", "10.0.0.5"))}
    watch = Watch("ilb1", ProbePlan(179, 1.0, 2), backends, told.append, lambda backend, port: port == 179 and backend.address not in dead)
    watch.look()
    watch.look()
    assert [each.healthy for each in told] == [("a",)]
    dead = {"10.0.0.4"}
    watch.look()
    watch.look()
    assert [each.healthy for each in told] == [("a",), ("a", "b"), ("b",)]
    watch.stop()
    dead = set()
    watch.look()
    assert len(told) == 3


def test_what_is_watched() -> None:
    ((name, (_, probe, backends)),) = watched(PLAN).items()
    assert (name, probe) == ("ilb1", ProbePlan(179, 5.0, 3))
    assert backends["nva2"] == Backend(PLAN.node("nva2").id, "eth0", "10.1.0.5")


def test_the_group_holds_the_healthy_backends() -> None:
    index = FabricIndex(PLAN)
    state = brain.initial(PLAN.hubs)
    programmer = Programmer(index, state)
    (bridge,) = programmer.tables
    number = balancer_group_id("ilb1")
    done = programmer.balance("ilb1", ("nva1", "nva3"))[bridge]
    assert [each.group.id for each in done if isinstance(each, PutGroup)] == [number]
    assert len([each for each in done if isinstance(each, DropFlow)]) == 1  # the third slot
    assert {flow.table for each in done if isinstance(each, PutFlow) for flow in [each.flow]} == {SLOTS.id, SPREAD.id}
    assert programmer.tables == Programmer(index, state, {"ilb1": ("nva1", "nva3")}).tables
    assert programmer.balance("ilb1", ("nva1", "nva3")) == {}
    programmer.balance("ilb1", ())
    assert programmer.tables[bridge].groups[number].actions == ()
    programmer.balance("ilb1", ("nva1", "nva2", "nva3"))
    assert programmer.tables == Programmer(index, state).tables


def test_which_faults_silence_a_backend() -> None:
    everybody = ("nva1", "nva2", "nva3")
    assert healthy_backends(PLAN, []) == {"ilb1": everybody}
    for fault in (Fault(node="nva2"), Fault(node="nva2", power=True), Fault(node="nva2", daemon="bgpd")):
        assert healthy_backends(PLAN, [fault]) == {"ilb1": ("nva1", "nva3")}, fault
    for fault in (Fault(node="nva2", daemon="zebra"), Fault(node="nva2", session="rs1"), Fault(controller=True)):
        assert healthy_backends(PLAN, [fault]) == {"ilb1": everybody}, fault
