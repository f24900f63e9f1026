"""What changes in a lab that runs: links taken down and up, peerings added and removed, configurations of BGP daemons."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from testbed import rpc
from testbed.emulation import fabric, netns, openvswitch, ovsdb, syscalls
from testbed.emulation.daemons import filled
from testbed.emulation.delay_lines import silent_delay_line
from testbed.emulation.fabric import Batch
from testbed.emulation.keys import Keys, holds_keys
from testbed.emulation.lab import Lab, write_plan
from testbed.errors import LabError
from testbed.plan.delay_lines import DelayLine, peering_line
from testbed.plan.difference import NodeChange, node_changes
from testbed.plan.types import PeeringLink, Plan
from testbed.plan.wire_routes import routes_over_wires
from testbed.vty import Vty
from testbed.wait import wait_until


def set_link(plan: Plan, which: Mapping[str, Any], *, up: bool) -> None:
    """Take down or up the one link that ``which`` names: ``nic`` (label), ``peering`` (two VNets), ``tunnel`` (name), ``wire`` (two nodes).

    Both ends lose carrier. Raises LabError when there is no such link, or when it has no device (a peering inside a region).
    """
    for namespace, device in _devices(plan, which):
        with netns.inside(namespace):
            syscalls.set_link(device, up=up)
    if up and "wire" in which:
        for name in which["wire"]:
            _put_routes_back(plan, str(name))


def _put_routes_back(plan: Plan, name: str) -> None:
    """The routes over a node's wires that the kernel forgot when one went down."""
    node = plan.node(name)
    own = {device for wire in plan.wires for place, device in zip(wire.nodes, wire.names, strict=True) if place == name}
    with netns.inside(node.id):
        down = {device for device in own if not syscalls.is_up(device)}
    fabric.run_batches([Batch(node.name, node.id, ("ip", "-batch", "-"), routes_over_wires(plan, name, down))])


def _devices(plan: Plan, which: Mapping[str, Any]) -> list[tuple[str, str]]:
    if "nic" in which:
        return [(plan.fabric, nic.id) for nic in plan.nics() if nic.label == which["nic"]] or _no_link("NIC", which["nic"])
    ids = {node.name: node.id for node in plan.nodes}
    if "tunnel" in which:
        for tunnel in plan.tunnels:
            if tunnel.name == which["tunnel"]:
                return [(ids[node], device) for node, device in zip(tunnel.nodes, tunnel.device, strict=True)]
        return _no_link("tunnel", which["tunnel"])
    if "wire" in which:
        for wire in plan.wires:
            if set(wire.nodes) == set(which["wire"]):
                return [(ids[node], name) for node, name in zip(wire.nodes, wire.names, strict=True)]
        return _no_link("wire", which["wire"])
    return _peering_devices(plan, set(which.get("peering", ())))


def _peering_devices(plan: Plan, vnets: set[str]) -> list[tuple[str, str]]:
    for link in plan.peerings:
        if {end.peer_vnet for end in link.ends} == vnets:
            if link.kind != "veth":
                raise LabError(f"the peering {' - '.join(sorted(vnets))} has no link of its own: both VNets are in one region")
            return [(plan.fabric, end.id) for end in link.ends]
    return _no_link("peering", sorted(vnets))


def _no_link(kind: str, name: Any) -> list[tuple[str, str]]:
    raise LabError(f"there is no {kind} {name if isinstance(name, str) else ' - '.join(name)}")


def apply(lab: Lab, new: Mapping[str, Any], retire: Callable[[str], None]) -> dict[str, Any]:
    """Go over to another plan with the same nodes, NIC ports and bridges. ``new`` is the plan's JSON; gives back what was done.

    Ports and links first, then plan.json and the controller, then the BGP daemons whose configuration changed.
    ``retire`` ends a process of the lab's own, by name. Raises LabError when the plans differ in what cannot change while the lab runs.
    """
    old, plan = lab.plan, msgspec.convert(new, Plan)
    _check_same_shape(old, plan)
    added, removed = difference(old, plan)
    lab.ledger.note(fabric.announce_peerings(added))
    _change_ports(plan, lab, added, removed, retire)
    write_plan(plan, lab.paths)
    lab.plan = plan
    if lab.with_controller:
        rpc.call(lab.paths.controller_socket, "POST", "/reload")
    touched = node_changes(old, plan)
    for change in touched:
        _reconfigure(lab, change)
    return {
        "added": [_name(link) for link in added],
        "removed": [_name(link) for link in removed],
        "reconfigured": [change.node for change in touched],
    }


def difference(old: Plan, new: Plan) -> tuple[list[PeeringLink], list[PeeringLink]]:
    """The peering links that must be made and those that must go (a link whose ports or shaping changed is in both)."""

    def key(link: PeeringLink) -> tuple[Any, ...]:
        ends = tuple((end.id, end.bridge, end.port) for end in link.ends)
        return ends, link.kind, link.shape

    before, after = {key(link): link for link in old.peerings}, {key(link): link for link in new.peerings}
    return [link for k, link in after.items() if k not in before], [link for k, link in before.items() if k not in after]


def _name(link: PeeringLink) -> str:
    return " - ".join(sorted(end.peer_vnet for end in link.ends))


def _check_same_shape(old: Plan, new: Plan) -> None:
    def shape(plan: Plan) -> tuple[Any, ...]:
        nodes = tuple(
            (node.name, node.id, tuple((nic.id, nic.bridge, nic.port, nic.mac, nic.ip) for nic in node.nics)) for node in plan.nodes
        )
        return plan.lab, plan.lab_id, tuple((bridge.id, bridge.vnet) for bridge in plan.bridges), nodes, plan.wires

    if shape(old) != shape(new):
        raise LabError("only peerings and configurations can change while a lab runs", "for other nodes, NICs or VNets: `down`, then `up`")


def _change_ports(plan: Plan, lab: Lab, added: list[PeeringLink], removed: list[PeeringLink], retire: Callable[[str], None]) -> None:
    if not added and not removed:
        return
    with ovsdb.Connection(openvswitch.database_socket(lab.paths)) as connection:
        if removed:
            connection.transact(openvswitch.remove_ports(connection, [end.id for link in removed for end in link.ends]))
        for line in _delay_lines(lab.plan, removed):
            retire(line.process)
        gone = fabric.removal_lines(lab.plan, removed)
        fabric.run_batches([Batch("fabric", plan.fabric, ("ip", "-batch", "-"), [*gone, *fabric.peering_lines(plan, added)])])
        fabric.run_batches([Batch("fabric", plan.fabric, ("tc", "-batch", "-"), fabric.shaping_lines(plan, added))])
        lab.start_delay_lines(_delay_lines(plan, added))
        if added:
            connection.transact(openvswitch.add_peerings(added))

        def check() -> str | None:
            return openvswitch.applied(connection) or openvswitch.misplaced_port(connection, plan) or silent_delay_line(plan)

        wait_until(check, what="peerings on the switches", budget=10.0, interval=0.003)


def _delay_lines(plan: Plan, links: Iterable[PeeringLink]) -> list[DelayLine]:
    return [line for link in links if (line := peering_line(plan, link)) is not None]


def _reconfigure(lab: Lab, change: NodeChange) -> None:
    """Write the node's files, run its ``ip`` lines, and tell bgpd what is different."""
    node = lab.plan.node(change.node)
    folder = lab.paths.node(node)
    fabric.write_files(lab.plan, lab.paths, [node])
    fabric.run_batches([Batch(node.name, node.id, ("ip", "-batch", "-"), change.ip)])
    if change.bgpd:
        keys = Keys(lab.paths)
        with Vty(folder / "bgpd.vty") as vty:
            for command in change.bgpd:
                _tell(vty, filled(command, folder), keys)


def _tell(vty: Vty, command: str, keys: Keys) -> None:
    """Run a command of the plan; an error never shows the password in it."""
    try:
        vty.run(keys.filled(command))
    except LabError:
        if holds_keys(command):
            raise LabError(f"bgpd refused `{command}`") from None
        raise
