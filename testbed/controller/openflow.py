"""Flows and groups as bytes of OpenFlow 1.3, through os-ken's serialisers; a shape is serialised once, then only patched."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from msgspec import Struct
from os_ken.ofproto import nicira_ext, ofproto_v1_3_parser
from os_ken.ofproto import ofproto_v1_3 as ofp
from os_ken.ofproto.ofproto_protocol import ProtocolDesc

from testbed.plan.openflow import Action, Flow, Group, Move, Multipath, Output, Resubmit, SetField, ToGroup, Value

EPOCH_BITS = 8
EPOCH_SHIFT = 64 - EPOCH_BITS
EPOCHS = 1 << EPOCH_BITS

_SYMMETRIC_L3L4_UDP = 3  # NX_HASH_FIELDS_SYMMETRIC_L3L4_UDP; os-ken names only the first two
_MODULO_N = 0  # NX_MP_ALG_MODULO_N
_GROUP_ADD_OR_MODIFY = 0x8000  # Open vSwitch's extension of ofp_group_mod_command: never an error, whatever was there
_BITS = {"eth_src": 48, "eth_dst": 48, "arp_sha": 48, "arp_tha": 48, "arp_op": 16}
_XID = struct.Struct("!I")
_COOKIE = struct.Struct("!Q")
_XID_OFFSET, _COOKIE_OFFSET = 4, 8

parser: Any = ofproto_v1_3_parser
DATAPATH: Any = ProtocolDesc(ofp.OFP_VERSION)
"""What os-ken's messages want to know of a switch: the protocol version."""


class _Template(Struct, frozen=True):
    """A serialised flow mod, and where in it the destination address stands (0: nowhere)."""

    data: bytes
    address_at: int


def serialise(message: Any, xid: int) -> bytes:
    """An os-ken message as bytes."""
    message.set_xid(xid)
    message.serialize()
    return bytes(message.buf)


def put_flow(flow: Flow, epoch: int, xid: int) -> bytes:
    """Add a flow, or replace the one of the same key, under a cookie that carries the epoch."""
    return _flow_mod(flow, flow.actions, flow.goto, ofp.OFPFC_ADD, (epoch << EPOCH_SHIFT) | flow.cookie, xid)


def delete_flow(flow: Flow, xid: int) -> bytes:
    """Delete exactly this flow (by its key); nothing happens when it is not there."""
    return _flow_mod(flow, (), None, ofp.OFPFC_DELETE_STRICT, 0, xid)


def put_group(group: Group, xid: int) -> bytes:
    """Add a group, or replace it."""
    kind, buckets = ofp.OFPGT_ALL, []
    if group.actions:
        kind, buckets = ofp.OFPGT_INDIRECT, [parser.OFPBucket(actions=_actions(group.actions))]
    return serialise(parser.OFPGroupMod(DATAPATH, _GROUP_ADD_OR_MODIFY, kind, group.id, buckets), xid)


def delete_group(number: int, xid: int) -> bytes:
    """Delete a group, and every flow that still points at it; nothing happens when it is not there."""
    return serialise(parser.OFPGroupMod(DATAPATH, ofp.OFPGC_DELETE, ofp.OFPGT_ALL, number, []), xid)


def sweep(epoch: int, xid: int) -> bytes:
    """Delete every flow of any other epoch: for each bit of the epoch, the flows that differ in it."""
    return b"".join(_delete_by_cookie((epoch ^ (1 << bit)) << EPOCH_SHIFT, 1 << (bit + EPOCH_SHIFT), xid) for bit in range(EPOCH_BITS))


def barrier(xid: int) -> bytes:
    """Ask the switch to answer when everything sent before is done."""
    return serialise(parser.OFPBarrierRequest(DATAPATH), xid)


def list_groups(xid: int) -> bytes:
    """Ask the switch which groups it has."""
    return serialise(parser.OFPGroupDescStatsRequest(DATAPATH, 0), xid)


def _delete_by_cookie(cookie: int, mask: int, xid: int) -> bytes:
    message = parser.OFPFlowMod(
        DATAPATH,
        cookie=cookie,
        cookie_mask=mask,
        table_id=ofp.OFPTT_ALL,
        command=ofp.OFPFC_DELETE,
        out_port=ofp.OFPP_ANY,
        out_group=ofp.OFPG_ANY,
    )
    return serialise(message, xid)


def _flow_mod(flow: Flow, actions: tuple[Action, ...], goto: int | None, command: int, cookie: int, xid: int) -> bytes:
    address, shape = _split(flow.match)
    template = _template(flow.table, flow.priority, shape, actions, goto, command)
    data = bytearray(template.data)
    _XID.pack_into(data, _XID_OFFSET, xid)
    _COOKIE.pack_into(data, _COOKIE_OFFSET, cookie)
    if template.address_at:
        data[template.address_at : template.address_at + 4] = address
    return bytes(data)


Match = tuple[tuple[str, Value], ...]


def _split(match: Match) -> tuple[bytes, Match]:
    """The destination address as bytes, and the match with that address zeroed: what thousands of routes have in common."""
    if not match or match[-1][0] != "ipv4_dst":
        return b"", match
    address, _, length = str(match[-1][1]).partition("/")
    return socket.inet_aton(address), (*match[:-1], ("ipv4_dst", f"0.0.0.0/{length}" if length else "0.0.0.0"))


@lru_cache(maxsize=65536)
def _template(table: int, priority: int, match: Match, actions: tuple[Action, ...], goto: int | None, command: int) -> _Template:
    fields = {name: _value(value) for name, value in match}
    if match and match[-1][0] == "ipv4_dst":
        zero, marked = (
            _bare(table, priority, {**fields, "ipv4_dst": _mark(fields["ipv4_dst"], mark)}, actions, goto, command) for mark in (0, 1)
        )
        difference = next(index for index, (one, other) in enumerate(zip(zero, marked, strict=True)) if one != other)
        return _Template(zero, difference)
    return _Template(_bare(table, priority, fields, actions, goto, command), 0)


def _mark(value: Any, mark: int) -> Any:
    """The address with its first bit set or not: where the two serialised flows first differ, the address begins."""
    address = "128.0.0.0" if mark else "0.0.0.0"
    return (address, value[1]) if isinstance(value, tuple) else address


def _bare(table: int, priority: int, fields: dict[str, Any], actions: tuple[Action, ...], goto: int | None, command: int) -> bytes:
    instructions = []
    if actions:
        instructions.append(parser.OFPInstructionActions(ofp.OFPIT_APPLY_ACTIONS, _actions(actions)))
    if goto is not None:
        instructions.append(parser.OFPInstructionGotoTable(goto))
    message = parser.OFPFlowMod(
        DATAPATH,
        table_id=table,
        command=command,
        priority=priority,
        out_port=ofp.OFPP_ANY,
        out_group=ofp.OFPG_ANY,
        match=parser.OFPMatch(**fields),
        instructions=instructions,
    )
    return serialise(message, 0)


def _value(value: Value) -> Any:
    """A match value as os-ken takes it: ``10.0.0.0/8`` and ``0x1/0xff`` are pairs of value and mask."""
    if not isinstance(value, str) or "/" not in value:
        return value
    base, _, mask = value.partition("/")
    if base.lower().startswith("0x"):
        return int(base, 16), int(mask, 16)
    bits = (0xFFFFFFFF << (32 - int(mask))) & 0xFFFFFFFF
    return base, socket.inet_ntoa(_XID.pack(bits))


def _actions(actions: tuple[Action, ...]) -> list[Any]:
    return [each for action in actions for each in _ENCODERS[type(action)](action)]


def _set_field(action: SetField) -> list[Any]:
    return [parser.OFPActionSetField(**{action.field: action.value})]


def _move(action: Move) -> list[Any]:
    return [parser.NXActionRegMove(src_field=action.source, dst_field=action.target, n_bits=_BITS.get(action.source, 32))]


def _output(action: Output) -> list[Any]:
    # Without this a packet that leaves by the port it came in on is dropped in silence, and a loop looks like a drop.
    ingress = parser.NXActionRegLoad(ofs_nbits=nicira_ext.ofs_nbits(0, 15), dst="in_port_nxm", value=0)
    return [ingress, parser.OFPActionOutput(action.port)]


def _resubmit(action: Resubmit) -> list[Any]:
    return [parser.NXActionResubmitTable(in_port=ofp.OFPP_IN_PORT & 0xFFFF, table_id=action.table)]


def _multipath(action: Multipath) -> list[Any]:
    width = nicira_ext.ofs_nbits(0, 31)
    choice = parser.NXActionMultipath(
        fields=_SYMMETRIC_L3L4_UDP,
        basis=action.basis,
        algorithm=_MODULO_N,
        max_link=action.links - 1,
        arg=0,
        ofs_nbits=width,
        dst=action.register,
    )
    return [choice]


def _to_group(action: ToGroup) -> list[Any]:
    return [parser.OFPActionGroup(action.id)]


_ENCODERS: dict[type, Callable[[Any], list[Any]]] = {
    SetField: _set_field,
    Move: _move,
    Output: _output,
    Resubmit: _resubmit,
    ToGroup: _to_group,
    Multipath: _multipath,
}
