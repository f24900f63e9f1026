"""Which routes of a node are put back when a wire comes up again."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.model.loader import load_topology
from testbed.plan.compile import compile_plan
from testbed.plan.templates import load_templates
from testbed.plan.types import Plan
from testbed.plan.wire_routes import routes_over_wires


@pytest.fixture(scope="module")
def plan() -> Plan:
    file = Path(__file__).parents[3] / "topologies" / "expressroute-overlay.yaml"
    return compile_plan(load_topology(file).topology, lab="wires", templates=load_templates())


def test_a_customer_edge_has_its_tunnel_ends_and_hosts_again(plan: Plan) -> None:
    first, second = (wire.addresses[0].partition("/")[0] for wire in plan.wires if wire.nodes[1] == "onprem")
    assert routes_over_wires(plan, "onprem") == (
        "route replace 10.100.0.10/32 dev w2",
        f"route replace 10.1.0.4/32 nexthop via {first} nexthop via {second}",
    )


@pytest.mark.parametrize(("down", "gone"), [("w0", 0), ("w1", 1)])
def test_a_way_that_is_still_down_is_left_out(plan: Plan, down: str, gone: int) -> None:
    edges = [wire.addresses[0].partition("/")[0] for wire in plan.wires if wire.nodes[1] == "onprem"]
    *_, tunnel = routes_over_wires(plan, "onprem", {down})
    assert tunnel == f"route replace 10.1.0.4/32 nexthop via {edges[1 - gone]}"
    assert routes_over_wires(plan, "onprem", {"w0", "w1"}) == ("route replace 10.100.0.10/32 dev w2",)
    assert routes_over_wires(plan, "onprem", {"w0", "w1", "w2"}) == ()


def test_a_host_has_its_gateway_before_what_leads_over_it(plan: Plan) -> None:
    assert routes_over_wires(plan, "client") == ("route replace 10.100.0.1/32 dev w0", "route replace default via 10.100.0.1 dev w0")


def test_what_leads_over_no_wire_is_left_alone(plan: Plan) -> None:
    assert routes_over_wires(plan, "london-msee0") == ()
    assert routes_over_wires(plan, "nva1") == ()
    assert routes_over_wires(plan, "vm11") == ()
