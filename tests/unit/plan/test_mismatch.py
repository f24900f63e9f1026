"""BGP passwords and IPsec keys in configurations, and a second end that has others."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.azure.control_plane import converge
from testbed.emulation.readiness import SessionState
from testbed.errors import InputError
from testbed.model.loader import load_topology
from testbed.plan.compile import compile_plan
from testbed.plan.difference import node_changes
from testbed.plan.mismatch import OTHER_PROPOSALS, mismatched
from testbed.plan.templates import load_templates
from testbed.plan.types import Plan
from testbed.scenario.table_agreement import session_differences

TOPOLOGY = load_topology(Path(__file__).parents[3] / "topologies" / "internet-overlay.yaml").topology


@pytest.fixture(scope="module")
def plan() -> Plan:
    return compile_plan(TOPOLOGY, templates=load_templates())


def lines(plan: Plan, node: str, file: str, word: str) -> list[str]:
    return [line.strip() for line in plan.node(node).files[file].splitlines() if f" {word} " in f" {line.strip()} "]


def test_both_ends_of_a_session_have_the_same_password_and_no_other_session_has_one(plan: Plan) -> None:
    own, other = lines(plan, "nva2", "bgpd.conf", "password"), lines(plan, "onprem", "bgpd.conf", "password")
    assert [line.split()[2:] for line in (*own, *other)] == [
        ["password", "{secret:bgp-nva1-nva2}"],
        ["password", "{secret:bgp-nva1-onprem}"],
    ]
    assert sorted(line.split()[-1] for line in lines(plan, "nva1", "bgpd.conf", "password")) == [
        "{secret:bgp-nva1-nva2}",
        "{secret:bgp-nva1-onprem}",
    ]
    assert lines(plan, "rs1-0", "bgpd.conf", "password") == []


@pytest.mark.parametrize(
    ("what", "file", "word", "own"),
    [
        ("key", "swanctl.conf", "secret", 'secret = "{secret:nva1-nva2.other}"'),
        ("proposals", "swanctl.conf", "proposals", f"proposals = {OTHER_PROPOSALS}"),
        ("password", "bgpd.conf", "password", "password {secret:bgp-nva1-nva2.other}"),
    ],
)
def test_the_second_end_alone_has_another(plan: Plan, what: str, file: str, word: str, own: str) -> None:
    other = mismatched(plan, "nva1-nva2", what)
    (changed,) = node_changes(plan, other)
    assert changed.node == "nva2"
    assert [line.partition("198.18.0.0 ")[2] or line for line in lines(other, "nva2", file, word)] == [own]
    assert mismatched(plan, "nva1-onprem", what).node("nva2") == plan.node("nva2")


def test_what_a_tunnel_does_not_have_cannot_differ(plan: Plan) -> None:
    with pytest.raises(InputError, match="no tunnel named nva1-nva9"):
        mismatched(plan, "nva1-nva9", "key")
    open_tunnel = TOPOLOGY.model_copy(
        update={"tunnels": tuple(each.model_copy(update={"bgp_password": False}) for each in TOPOLOGY.tunnels)}
    )
    with pytest.raises(InputError, match="tunnel nva1-nva2 has no password"):
        mismatched(compile_plan(open_tunnel, templates=load_templates()), "nva1-nva2", "password")


def test_sessions_are_held_against_the_prediction(plan: Plan) -> None:
    control = converge(TOPOLOGY)
    states = [SessionState(each, "Active" if each.kind == "overlay" else "Established") for each in plan.sessions]
    assert session_differences(control, states) == (
        "BGP nva1 - nva2: predicted up, observed down (Active)",
        "BGP nva1 - onprem: predicted up, observed down (Active)",
    )
