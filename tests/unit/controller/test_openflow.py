"""The encoder: what is patched into templates is what os-ken itself would have serialised, and fast."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st
from os_ken.ofproto import ofproto_v1_3 as ofp
from os_ken.ofproto import ofproto_v1_3_parser as parser

from testbed.controller import openflow
from testbed.plan.fabric_index import FabricIndex
from testbed.plan.flows import static_flows
from testbed.plan.openflow import Flow, Group, Multipath, Resubmit, SetField, ToGroup

from .designs import plan

ROUTE = (("reg0", 5), ("eth_type", 0x0800), ("ipv4_dst", "10.7.8.0/24"))


def parsed(data: bytes) -> object:
    """The message as os-ken reads it back."""
    version, kind, length, xid = ofp_header(data)
    return parser.msg_parser(openflow.DATAPATH, version, kind, length, xid, data)


def ofp_header(data: bytes) -> tuple[int, int, int, int]:
    return data[0], data[1], int.from_bytes(data[2:4], "big"), int.from_bytes(data[4:8], "big")


def fields(data: bytes) -> dict[str, object]:
    return dict(parsed(data).match.items())  # type: ignore[attr-defined]


def test_a_route_is_what_os_ken_would_serialise() -> None:
    message = parser.OFPFlowMod(
        openflow.DATAPATH,
        cookie=(3 << 56) | 9,
        table_id=20,
        priority=148,
        out_port=ofp.OFPP_ANY,
        out_group=ofp.OFPG_ANY,
        match=parser.OFPMatch(reg0=5, eth_type=0x0800, ipv4_dst=("10.7.8.0", "255.255.255.0")),
        instructions=[parser.OFPInstructionActions(ofp.OFPIT_APPLY_ACTIONS, [parser.OFPActionGroup(77)])],
    )
    assert openflow.put_flow(Flow(20, 148, ROUTE, (ToGroup(77),), cookie=9), 3, 11) == openflow.serialise(message, 11)


def test_a_set_of_next_hops_is_what_os_ken_would_serialise() -> None:
    actions = [parser.OFPActionSetField(reg4=0xCAFEBABE), parser.NXActionResubmitTable(in_port=0xFFF8, table_id=25)]
    expected = parser.OFPGroupMod(openflow.DATAPATH, 0x8000, ofp.OFPGT_INDIRECT, 0xCAFEBABE, [parser.OFPBucket(actions=actions)])
    assert openflow.put_group(Group(0xCAFEBABE, (SetField("reg4", 0xCAFEBABE), Resubmit(25))), 5) == openflow.serialise(expected, 5)
    empty = parser.OFPGroupMod(openflow.DATAPATH, 0x8000, ofp.OFPGT_ALL, 3, [])
    assert openflow.put_group(Group(3), 5) == openflow.serialise(empty, 5), "a group without next hop drops"


@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**31),
    st.integers(1, 32),
    st.integers(0, 2**32 - 1),
    st.integers(0, 255),
    st.integers(0, 2**32 - 1),
)
def test_values_come_back_as_they_went_in(domain: int, group: int, length: int, address: int, epoch: int, xid: int) -> None:
    network = address & (0xFFFFFFFF << (32 - length)) & 0xFFFFFFFF
    text = ".".join(str(byte) for byte in network.to_bytes(4, "big"))
    prefix = text if length == 32 else f"{text}/{length}"
    data = openflow.put_flow(
        Flow(20, 1, (("reg0", domain), ("eth_type", 0x0800), ("ipv4_dst", prefix)), (ToGroup(group),), cookie=7), epoch, xid
    )
    message = parsed(data)
    assert (message.xid, message.cookie) == (xid, (epoch << 56) | 7)  # type: ignore[attr-defined]
    found = dict(message.match.items())  # type: ignore[attr-defined]
    assert found["reg0"] == domain
    assert (found["ipv4_dst"] if length == 32 else found["ipv4_dst"][0]) == text
    assert message.instructions[0].actions[0].group_id == group  # type: ignore[attr-defined]


def test_every_static_flow_can_be_sent_and_keeps_its_match() -> None:
    for flows in static_flows(FabricIndex(plan())).values():
        for flow in flows:
            data = openflow.put_flow(flow, 1, 2)
            assert set(fields(data)) == {name for name, _ in flow.match}
            strict = parsed(openflow.delete_flow(flow, 2))
            assert strict.command == ofp.OFPFC_DELETE_STRICT  # type: ignore[attr-defined]
            assert strict.priority == flow.priority  # type: ignore[attr-defined]
            assert strict.match.items() == parsed(data).match.items()  # type: ignore[attr-defined]


def test_multipath_hashes_udp_ports_too() -> None:
    data = openflow.put_flow(Flow(24, 100, (("reg4", 9),), (Multipath(55, 3, "reg5"),), 25), 1, 1)
    action = parsed(data).instructions[0].actions[0]  # type: ignore[attr-defined]
    assert (action.fields, action.basis, action.algorithm, action.max_link, action.dst) == (3, 55, 0, 2, "reg5")


def test_the_sweep_spares_its_own_epoch_and_no_other() -> None:
    for epoch in (0, 1, 37, 255):
        data, deletes = openflow.sweep(epoch, 1), []
        while data:
            length = int.from_bytes(data[2:4], "big")
            deletes.append(parsed(data[:length]))
            data = data[length:]

        def swept(other: int, deletes: list[object] = deletes) -> bool:
            return any(((other << 56) ^ each.cookie) & each.cookie_mask == 0 for each in deletes)  # type: ignore[attr-defined]

        assert [other for other in range(256) if not swept(other)] == [epoch]


def test_ten_thousand_flows_are_encoded_in_a_fraction_of_half_a_second() -> None:
    flows = [Flow(20, 148, (*ROUTE[:2], ("ipv4_dst", f"10.{i >> 8}.{i & 255}.0/24")), (ToGroup(77 + i % 50),)) for i in range(10000)]
    start = time.perf_counter()
    data = b"".join(openflow.put_flow(flow, 1, 1) for flow in flows)
    assert len(data) == 10000 * 96
    assert time.perf_counter() - start < 0.5
