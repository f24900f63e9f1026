"""What a fault does to the links, sessions and processes of a lab, and what its healing undoes."""

from __future__ import annotations

from testbed.emulation.client import LabClient
from testbed.errors import InputError
from testbed.model.scenario import Fault
from testbed.plan.types import Plan
from testbed.scenario.breakage import shut
from testbed.scenario.places import links_of, node_called
from testbed.vty import Vty


def set_links(client: LabClient, plan: Plan, fault: Fault, *, up: bool) -> None:
    """Cut the links that a fault names, or join them again. Raises LabError when there are none."""
    for which in links_of(plan, fault):
        client.set_link(up=up, **which)


def set_session(client: LabClient, plan: Plan, fault: Fault, *, up: bool) -> None:
    """Shut the node's sessions with a neighbour down in good order (it says so before it closes), or open them again.

    Raises InputError when there is none.
    """
    node = node_called(plan, str(fault.node))
    ends = [(peering, peering.nodes.index(node.name)) for peering in shut(plan, fault)]
    found = [(peering.asns[end], peering.addresses[1 - end]) for peering, end in ends]
    if not found:
        raise InputError(f"{node.name} has no BGP session with {fault.session}")
    with Vty(client.paths.node(node) / "bgpd.vty") as vty:
        for command in ("configure terminal", f"router bgp {found[0][0]}"):
            vty.run(command)
        for _, address in found:
            vty.run(f"{'no ' if up else ''}neighbor {address} shutdown")


def set_power(client: LabClient, plan: Plan, name: str, *, up: bool) -> None:
    """Cut a node from all that it is plugged into, or plug it in again."""
    for nic in node_called(plan, name).nics:
        client.set_link(up=up, nic=nic.label)
    for wire in (each for each in plan.wires if name in each.nodes):
        client.set_link(up=up, wire=list(wire.nodes))


def daemons_of(plan: Plan, fault: Fault) -> list[tuple[str, str]]:
    """Which processes a fault ends, as node and daemon: the one it names; none at a power-off, where the silence is the point.

    Raises InputError when the node has no such daemon.
    """
    if fault.node is None or fault.power or fault.session is not None:
        return []
    node = node_called(plan, fault.node)
    names = [daemon.name for daemon in node.daemons]
    if fault.daemon is not None and fault.daemon not in names:
        raise InputError(f"{node.name} has no daemon {fault.daemon}", f"it has {', '.join(names) or 'none'}")
    return [(node.name, name) for name in names if fault.daemon in (None, name)]
