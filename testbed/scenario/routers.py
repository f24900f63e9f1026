"""What BGP routers themselves say: what they send to a neighbour, and what is in their own tables."""

from __future__ import annotations

from typing import Any

from testbed.emulation.client import LabClient
from testbed.errors import InputError, LabError
from testbed.plan.types import BgpPeering, Plan
from testbed.scenario.lab_view import LearnedRow, TableRow
from testbed.vty import show


def advertised(client: LabClient, plan: Plan, server: str, peer: str) -> tuple[LearnedRow, ...]:
    """What both instances of a Route Server or gateway send to a peer. Raises InputError when they have no session with it."""
    rows: list[LearnedRow] = []
    found = False
    for peering in plan.sessions:
        for own, other in ((0, 1), (1, 0)):
            name, _, instance = peering.nodes[own].rpartition("-")
            if name == server and peering.nodes[other] == peer:
                found = True
                rows += _sent(client, plan, peering, own, int(instance))
    if not found:
        raise InputError(f"no session of {server} with {peer}")
    return tuple(rows)


def _sent(client: LabClient, plan: Plan, peering: BgpPeering, own: int, instance: int) -> list[LearnedRow]:
    """FRR shows the path before its own ASN is put in front, which it is on eBGP."""
    command = f"show bgp ipv4 unicast neighbors {peering.addresses[1 - own]} advertised-routes json"
    sent = _ask(client, plan, peering.nodes[own], command).get("advertisedRoutes", {})
    first = () if peering.asns[0] == peering.asns[1] else (peering.asns[own],)
    address = peering.addresses[own]
    return [LearnedRow(instance, prefix, (*first, *_as_path(route.get("path", ""))), address) for prefix, route in sorted(sent.items())]


def bgp_table(client: LabClient, plan: Plan, node: str) -> tuple[TableRow, ...]:
    """The BGP table of a router: every path, the best and the used ones marked. Raises InputError when it has no bgpd."""
    routes = _ask(client, plan, node, "show bgp ipv4 unicast json").get("routes", {})
    return tuple(_row(prefix, path) for prefix, paths in routes.items() for path in paths)


def _row(prefix: str, path: dict[str, Any]) -> TableRow:
    hops = tuple(str(hop["ip"]) for hop in path.get("nexthops", ()) if "ip" in hop)
    best = bool(path.get("bestpath"))
    return TableRow(
        prefix, _as_path(path.get("path", "")), hops[0] if hops else "", best, best or bool(path.get("multipath")), path.get("locPrf") == 0
    )


def _as_path(text: str) -> tuple[int, ...]:
    return tuple(int(step) for step in str(text).split() if step.isdigit())


def _ask(client: LabClient, plan: Plan, name: str, command: str) -> Any:
    node = next((node for node in plan.nodes if node.name == name), None)
    if node is None or "bgpd" not in {daemon.name for daemon in node.daemons}:
        raise InputError(f"{name} is not a BGP router")
    try:
        return show(client.paths.node(node) / "bgpd.vty", command)
    except (OSError, ValueError) as error:
        raise LabError(f"bgpd of {name} does not answer: {error}") from error
