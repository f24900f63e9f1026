"""Flows and groups in the words of ``ovs-ofctl``: for ``testbed plan``, ``testbed show flows`` and the golden tests."""

from __future__ import annotations

from collections.abc import Iterable

from testbed.plan.openflow import Action, Flow, Group, Move, Multipath, Output, Resubmit, SetField, ToGroup, Value
from testbed.plan.pipeline import table

_FIELDS = {
    "eth_src": "dl_src",
    "eth_dst": "dl_dst",
    "ipv4_src": "nw_src",
    "ipv4_dst": "nw_dst",
    "ip_proto": "nw_proto",
}
_NXM = {
    "eth_src": "NXM_OF_ETH_SRC[]",
    "eth_dst": "NXM_OF_ETH_DST[]",
    "arp_sha": "NXM_NX_ARP_SHA[]",
    "arp_tha": "NXM_NX_ARP_THA[]",
    "arp_spa": "NXM_OF_ARP_SPA[]",
    "arp_tpa": "NXM_OF_ARP_TPA[]",
}
_SET = {"ipv4_src": "ip_src", "ipv4_dst": "ip_dst"}
_ETH_TYPES = {0x0800: "ip", 0x0806: "arp", 0x86DD: "ipv6"}


def render(item: Flow | Group) -> str:
    """A flow or a group as one line that ``ovs-ofctl -O OpenFlow13`` reads (``add-flows``, ``add-groups``)."""
    return _group(item) if isinstance(item, Group) else _flow(item)


def listing(flows: Iterable[Flow], groups: Iterable[Group] = ()) -> str:
    """A bridge's groups and flows for people: in the order in which a packet meets them, each with its note."""
    lines = [f"{_group(group)}  # {group.note}" for group in sorted(groups, key=lambda group: group.id)]
    number = -1
    for flow in sorted(flows, key=lambda flow: (flow.table, -flow.priority, [(field, str(value)) for field, value in flow.match])):
        if flow.table != number:
            number = flow.table
            lines.append(f"# table {number} {table(number).name}: {table(number).meaning}")
        lines.append(f"{_flow(flow)}  # {flow.note}")
    return "\n".join(lines) + "\n"


def _flow(flow: Flow) -> str:
    match = [_match(field, value) for field, value in flow.match]
    actions = [_action(action) for action in flow.actions]
    if flow.goto is not None:
        actions.append(f"goto_table:{flow.goto}")
    cookie = [f"cookie={flow.cookie:#x}"] if flow.cookie else []
    return ",".join([*cookie, f"table={flow.table}", f"priority={flow.priority}", *match]) + " actions=" + (",".join(actions) or "drop")


def _group(group: Group) -> str:
    if not group.actions:
        return f"group_id={group.id},type=all"
    return f"group_id={group.id},type=indirect,bucket=actions={','.join(_action(action) for action in group.actions)}"


def _match(field: str, value: Value) -> str:
    if field == "eth_type" and isinstance(value, int):
        return _ETH_TYPES.get(value, f"dl_type={value:#06x}")
    return f"{_FIELDS.get(field, field)}={value}"


def _action(action: Action) -> str:
    match action:
        case SetField(field, value):
            return f"set_field:{value}->{_SET.get(field, field)}"
        case Move(source, target):
            return f"move:{_nxm(source)}->{_nxm(target)}"
        case Output(port):
            return f"load:0->NXM_OF_IN_PORT[],output:{port}"
        case Resubmit(number):
            return f"resubmit(,{number})"
        case ToGroup(number):
            return f"group:{number}"
        case Multipath(basis, links, register):
            return f"multipath(symmetric_l3l4+udp,{basis},modulo_n,{links},0,{_nxm(register)})"


def _nxm(field: str) -> str:
    return _NXM.get(field, f"NXM_NX_{field.upper()}[]")
