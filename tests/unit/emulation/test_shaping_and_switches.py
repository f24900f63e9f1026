"""What will be done to links and switches, read before it is done."""

from __future__ import annotations

import msgspec
import pytest

from testbed.emulation import changes, fabric, openvswitch
from testbed.emulation.delay_lines import delay_line_argv
from testbed.emulation.shaping import queueing
from testbed.errors import LabError
from testbed.plan.delay_lines import delay_lines
from testbed.plan.types import Bridge, Capabilities, Nic, Node, PeeringEnd, PeeringLink, Plan, Shape, TunnelPlan, Wire


def nic(label: str, number: int, bridge: str = "t0b1") -> Nic:
    return Nic(
        label,
        label,
        "eth0",
        f"t0p{number}",
        bridge,
        number,
        f"02:00:00:00:00:0{number}",
        "hub1",
        "hub1/nva",
        f"10.1.0.{number}",
        24,
        "10.1.0.1",
        0,
        0,
    )


def node(label: str, number: int, **more: object) -> Node:
    return Node(name=label, kind="vm", id=f"t0n{number}", nics=(nic(label, number),), **more)  # type: ignore[arg-type]


def link(number: int, kind: str, **more: float) -> PeeringLink:
    ends = tuple(
        PeeringEnd(f"t0p{number + side}", f"t0b{side + 1}", number + side, vnet, (), "all") for side, vnet in ((0, "hub2"), (1, "hub1"))
    )
    return PeeringLink((ends[0], ends[1]), kind, Shape(**more))


PLAN = Plan(
    format=1, lab="lab", lab_id="t0", topology="t", fabric="t0fab", capabilities=Capabilities(),
    bridges=(Bridge("t0b1", 1, "hub1", "r1", ("10.1.0.0/16",)), Bridge("t0b2", 2, "hub2", "r2", ("10.2.0.0/16",))),
    peerings=(link(20, "veth", rate=1e9),), nodes=(node("vm1", 4), node("nva1", 5, setup=("route add default via 10.1.0.1 dev eth0",))),
    wires=(Wire("t0w0", ("vm1", "nva1"), ("w0", "w1"), ("192.0.2.0/31", ""), ("02:00:00:00:01:00", "02:00:00:00:01:01")),),
    tunnels=(TunnelPlan("vx", "vxlan", ("vm1", "nva1"), ("vx0", "vx1"), ("10.1.0.4", "10.1.0.5"), ("198.18.0.0", "198.18.0.1"), 1, 1450),),
    sessions=(), load_balancers=(), hubs=(), domains=(),
)  # fmt: skip


def test_a_rate_alone_is_a_token_bucket() -> None:
    lines = queueing("p1", Shape(rate=1e8), netem=True)
    assert lines == ["qdisc replace dev p1 root handle 2: tbf rate 100000000bit burst 125000 latency 50ms"]


def test_delay_and_rate_are_nested_where_the_kernel_has_netem() -> None:
    lines = queueing("p1", Shape(0.04, 0.001, 0.5, 2, 1e9), netem=True)
    assert lines[0] == "qdisc replace dev p1 root handle 1: netem limit 10000 delay 40000us 1000us loss 0.5% reorder 2%"
    assert " parent 1:1 handle 2: tbf " in lines[1]


@pytest.mark.parametrize(("shape", "netem"), [(Shape(), True), (Shape(0.04), False)])
def test_what_is_not_asked_for_or_impossible_is_left_out(shape: Shape, netem: bool) -> None:
    assert queueing("p1", shape, netem=netem) == []


def test_a_slow_link_still_lets_a_full_frame_through() -> None:
    assert "burst 6056 " in queueing("p1", Shape(rate=64e3), netem=False)[0]


def test_all_bridges_and_ports_are_one_transaction_with_the_plans_numbers() -> None:
    operations = openvswitch.build(PLAN)
    rows = {operation["uuid-name"]: operation["row"] for operation in operations if operation["op"] == "insert"}
    assert rows["interface_t0p4"]["ofport_request"] == 4
    assert ["name", "vm1"] in rows["interface_t0p4"]["external_ids"][1]
    assert rows["bridge_t0b1"]["fail_mode"] == "secure"
    assert rows["bridge_t0b1"]["datapath_type"] == "netdev"
    ports = {uuid for _, uuid in rows["bridge_t0b1"]["ports"][1]}
    assert ports == {"port_t0b1", "port_t0p4", "port_t0p5", "port_t0p20"}
    assert rows["port_t0p20"]["qos"] == ["named-uuid", "qos_t0p20"]  # our qdisc must survive
    references = {value for row in rows.values() for column in row.values() for value in _named(column)}
    assert references <= rows.keys()


def _named(column: object) -> list[str]:
    if not isinstance(column, list):
        return []
    if column and column[0] == "named-uuid":
        return [column[1]]
    return [name for part in column for name in _named(part)]


def test_a_peering_in_a_region_is_a_pair_of_patch_ports() -> None:
    rows = {operation.get("uuid-name"): operation.get("row") for operation in openvswitch.add_peerings([link(30, "patch")])}
    assert rows["interface_t0p30"]["type"] == "patch"
    assert rows["interface_t0p30"]["options"] == ["map", [["peer", "t0p31"]]]
    assert "qos" not in rows["port_t0p30"]
    assert fabric.peering_lines(PLAN, [link(30, "patch")]) == []


def test_a_delayed_link_has_a_delay_line_between_two_veths_where_the_kernel_has_no_netem() -> None:
    delayed = link(20, "veth", delay=0.04, loss=0.5)
    plan = msgspec.structs.replace(PLAN, peerings=(delayed,))
    made = [line.split()[2] for line in fabric.peering_lines(plan, [delayed]) if line.startswith("link add")]
    assert made == ["t0p20", "t0p21"]
    assert fabric.removal_lines(plan, [delayed]) == ["link delete t0p20", "link delete t0p21"]
    (line,) = delay_lines(plan)
    assert delay_line_argv(line)[-6:] == ("t0p20d", "t0p21d", "0.04", "0.0", "0.5", "0.0")
    with_netem = msgspec.structs.replace(plan, capabilities=Capabilities(netem=True))
    assert delay_lines(with_netem) == ()
    assert fabric.removal_lines(with_netem, [delayed]) == ["link delete t0p20"]


def test_the_impaired_lines_of_a_circuit_are_carried_by_one_process() -> None:
    (lan,) = PLAN.wires
    far, near = Shape(0.04, jitter=0.001), Shape(0.002, loss=1)
    lines = tuple(
        msgspec.structs.replace(lan, id=f"t0w{number}", shape=shape, circuit=circuit)
        for number, (shape, circuit) in enumerate([(far, "london"), (near, "london"), (Shape(), "london"), (near, "dublin")], start=1)
    )
    plan = msgspec.structs.replace(PLAN, wires=(lan, *lines))
    assert {line.process: [span.devices for span in line.spans] for line in delay_lines(plan)} == {
        "delay-london": [("t0w1a", "t0w1b"), ("t0w2a", "t0w2b")],
        "delay-dublin": [("t0w4a", "t0w4b")],
    }
    london = delay_line_argv(delay_lines(plan)[0])
    assert london[-12:] == ("t0w1a", "t0w1b", "0.04", "0.001", "0.0", "0.0", "t0w2a", "t0w2b", "0.002", "0.0", "1", "0.0")
    made = fabric.wire_lines(plan)
    assert sum(line.startswith("link add") for line in made) == 1 + 2 + 2 + 1 + 2
    assert "link add w0 mtu 1500 address 02:00:00:00:01:00 netns t0n4 type veth peer name t0w1a mtu 1500" in made
    assert "link set t0w1a up" in made
    with_netem = msgspec.structs.replace(plan, capabilities=Capabilities(netem=True))
    assert delay_lines(with_netem) == ()
    assert len(fabric.wire_lines(with_netem)) == 5


def test_the_controller_is_tried_by_every_bridge() -> None:
    inserts = [operation for operation in openvswitch.connect_controller(PLAN) if operation["op"] == "insert"]
    assert [operation["row"]["target"] for operation in inserts] == ["tcp:127.0.0.1:6653"] * 2


def test_a_node_gets_its_addresses_then_its_own_lines_and_one_default_route() -> None:
    vm, nva = PLAN.nodes
    lines = fabric.node_lines(vm, [("w0", "192.0.2.0/31")])
    assert lines[:2] == ["address add 10.1.0.4/24 dev eth0", "link set eth0 up alias vm1"]
    assert lines[-1] == "route add default via 10.1.0.1 dev eth0"
    assert "address add 192.0.2.0/31 dev w0" in lines
    assert sum("default" in line for line in fabric.node_lines(nva, [])) == 1


def test_the_ledger_is_told_every_name_before_it_is_made() -> None:
    names = {(entry.kind, entry.name) for entry in fabric.announce(PLAN)}
    assert {("namespace", "t0fab"), ("namespace", "t0n4"), ("bridge", "t0b1"), ("link", "t0p4"), ("link", "t0p20")} <= names


def test_a_change_of_shape_replaces_a_link_and_a_change_of_policy_does_not() -> None:
    shaped = msgspec.structs.replace(PLAN, peerings=(link(20, "veth", rate=5e8),))
    assert changes.difference(PLAN, shaped) == ([shaped.peerings[0]], [PLAN.peerings[0]])
    first, second = PLAN.peerings[0].ends
    policy = PeeringLink((msgspec.structs.replace(first, accept="direct"), second), "veth", Shape(rate=1e9))
    assert changes.difference(PLAN, msgspec.structs.replace(PLAN, peerings=(policy,))) == ([], [])


@pytest.mark.parametrize("which", [{"nic": "vm9"}, {"tunnel": "x"}, {"wire": ["vm1", "vm9"]}, {"peering": ["hub1", "hub9"]}, {}])
def test_a_link_that_is_not_there_is_named(which: dict[str, object]) -> None:
    with pytest.raises(LabError, match="there is no"):
        changes.set_link(PLAN, which, up=True)
