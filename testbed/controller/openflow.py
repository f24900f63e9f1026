"""Flows and groups as bytes of OpenFlow 1.3, through os-ken's serialisers; a shape is serialised once, then only patched."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Sequence
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
_MARK = 0x80000000

parser: Any = ofproto_v1_3_parser
DATAPATH: Any = ProtocolDesc(ofp.OFP_VERSION)
"""What os-ken's messages want to know of a switch: the protocol version."""


class _Template(Struct, frozen=True):
    """A serialised message, and where in it the values stand that differ from one flow to the next (four bytes each)."""

    data: bytes
    holes: tuple[int, ...]

    def filled(self, values: Sequence[bytes], xid: int, cookie: int | None = None) -> bytes:
        """The message with these values, transaction number and (flow mods only) cookie."""
        data = bytearray(self.data)
        _XID.pack_into(data, _XID_OFFSET, xid)
        if cookie is not None:
            _COOKIE.pack_into(data, _COOKIE_OFFSET, cookie)
        for at, value in zip(self.holes, values, strict=True):
            data[at : at + 4] = value
        return bytes(data)


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
    _, actions, values = _blanked((), group.actions)
    return _group_template(actions).filled([_XID.pack(group.id), *values], xid)


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
    match, actions, values = _blanked(flow.match, actions)
    return _flow_template(flow.table, flow.priority, match, actions, goto, command).filled(values, xid, cookie)


Match = tuple[tuple[str, Value], ...]
_Blanked = tuple[Match, tuple[Action, ...], list[bytes]]


def _blanked(match: Match, actions: tuple[Action, ...], mark: int = -1) -> _Blanked:
    """Match and actions with a 0 for each value that differs from route to route, and those values.

    They are registers, the destination address and group numbers. ``mark`` is the position of one of them that gets its
    first bit set instead: where two serialised messages differ then, that value stands.
    """
    values: list[bytes] = []
    fields: list[tuple[str, Value]] = []
    for name, value in match:
        if name.startswith("reg") and isinstance(value, int):
            fields.append((name, _MARK if len(values) == mark else 0))
            values.append(_XID.pack(value))
        elif name == "ipv4_dst":
            address, slash, length = str(value).partition("/")
            fields.append((name, f"{'128' if len(values) == mark else '0'}.0.0.0{slash}{length}"))
            values.append(socket.inet_aton(address))
        else:
            fields.append((name, value))
    return tuple(fields), tuple(_blank_action(action, values, mark) for action in actions), values


def _blank_action(action: Action, values: list[bytes], mark: int) -> Action:
    number = _MARK if len(values) == mark else 0
    if isinstance(action, ToGroup):
        values.append(_XID.pack(action.id))
        return ToGroup(number)
    if isinstance(action, SetField) and isinstance(action.value, int) and action.field.startswith("reg"):
        values.append(_XID.pack(action.value))
        return SetField(action.field, number)
    return action


def _hole(plain: bytes, marked: bytes) -> int:
    """Where two messages first differ."""
    return next(index for index, (one, other) in enumerate(zip(plain, marked, strict=True)) if one != other)


@lru_cache(maxsize=4096)
def _flow_template(table: int, priority: int, match: Match, actions: tuple[Action, ...], goto: int | None, command: int) -> _Template:
    plain = _serialised_flow(table, priority, match, actions, goto, command)
    count = len(_blanked(match, actions)[2])
    marked = (_blanked(match, actions, position)[:2] for position in range(count))
    return _Template(plain, tuple(_hole(plain, _serialised_flow(table, priority, *each, goto, command)) for each in marked))


@lru_cache(maxsize=1024)
def _group_template(actions: tuple[Action, ...]) -> _Template:
    plain = _serialised_group(0, actions)
    count = len(_blanked((), actions)[2])
    marked = (_serialised_group(0, _blanked((), actions, position)[1]) for position in range(count))
    return _Template(plain, (_hole(plain, _serialised_group(_MARK, actions)), *(_hole(plain, each) for each in marked)))


def _serialised_group(number: int, actions: tuple[Action, ...]) -> bytes:
    kind, buckets = ofp.OFPGT_ALL, []
    if actions:
        kind, buckets = ofp.OFPGT_INDIRECT, [parser.OFPBucket(actions=_actions(actions))]
    return serialise(parser.OFPGroupMod(DATAPATH, _GROUP_ADD_OR_MODIFY, kind, number, buckets), 0)


def _serialised_flow(table: int, priority: int, match: Match, actions: tuple[Action, ...], goto: int | None, command: int) -> bytes:
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
        match=parser.OFPMatch(**{name: _value(value) for name, value in match}),
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
