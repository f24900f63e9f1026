"""Why a BGP session of a live lab is down, in the words of those concerned: dead daemons, charon, the kernel's TCP, bgpd."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from testbed.emulation import charon, netns
from testbed.emulation.client import LabClient
from testbed.emulation.processes import last_lines
from testbed.plan.types import BgpPeering, Node, Plan

_REFUSED = ("TCPMD5NotFound", "TCPMD5Unexpected", "TCPMD5Failure")
_LOG_LINES = 200


def words(client: LabClient, plan: Plan, status: Mapping[str, Any], peering: BgpPeering) -> str:
    """What both ends of a session say, dead daemons first; nothing when nobody says anything. ``status`` is labd's."""
    found: list[str] = []
    for node, other in zip(peering.nodes, reversed(peering.addresses), strict=True):
        found += _dead(status, node)
        found += _spoken(client, plan, plan.node(node), peering, other)
    return "; ".join(dict.fromkeys(found))


def _dead(status: Mapping[str, Any], name: str) -> Iterator[str]:
    for node in status["nodes"]:
        for daemon in node["daemons"] if node["name"] == name else ():
            if daemon["state"] in ("dead", "stopped"):
                last = daemon["last_words"].splitlines()[-1:]
                yield f"{name}: {daemon['name']} is dead ({daemon['how']})" + "".join(f", last words: {line}" for line in last)


def _spoken(client: LabClient, plan: Plan, node: Node, peering: BgpPeering, neighbor: str) -> Iterator[str]:
    protected = {frozenset(each.inner) for each in plan.tunnels if each.type == "ipsec"}
    if frozenset(peering.addresses) in protected and (said := charon.last_words(client.paths, node)):
        yield f"{node.name}: charon: {said}"
    if refused := _md5_refused(node.id):
        yield f"{node.name}: {refused} TCP segments refused, their MD5 signature is missing or made with another password"
    lines = last_lines(client.paths.node(node) / "bgpd.log", _LOG_LINES).splitlines()
    about = [line.partition("] ")[2] for line in lines if f" {neighbor}" in line and "[FSM]" not in line]
    if about:
        yield f"{node.name}: bgpd: {about[-1]}"


def _md5_refused(namespace: str) -> int:
    """The TCP segments that a kernel refused because of their signature (RFC 2385), since the namespace was made."""
    with netns.inside(namespace):
        lines = Path("/proc/thread-self/net/netstat").read_text().splitlines()
    names, values = (line.split() for line in lines if line.startswith("TcpExt:"))
    counters = dict(zip(names, values, strict=True))
    return sum(int(counters.get(name, "0")) for name in _REFUSED)
