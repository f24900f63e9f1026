"""The lab's own Open vSwitch: its two daemons in the fabric namespace, and the plan's bridges as one database transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from testbed.emulation import ovsdb
from testbed.emulation.ovsdb import Operation, named, to_map, to_set
from testbed.emulation.paths import LabPaths
from testbed.plan.types import Bridge, Nic, PeeringEnd, PeeringLink, Plan

SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
CONTROLLER = "tcp:127.0.0.1:6653"


def database_argv(paths: LabPaths) -> tuple[str, ...]:
    """Makes the empty database file."""
    return ("ovsdb-tool", "create", str(paths.ovs / "conf.db"), str(SCHEMA))


def server_argv(paths: LabPaths) -> tuple[str, ...]:
    """The database server, on a unix socket of the lab's."""
    folder = paths.ovs
    return (
        "ovsdb-server", str(folder / "conf.db"), f"--remote=punix:{database_socket(paths)}",
        f"--unixctl={folder / 'ovsdb-server.ctl'}", "--no-chdir", "-vconsole:warn", "-vsyslog:off", "-vfile:off",
    )  # fmt: skip


def switch_argv(paths: LabPaths) -> tuple[str, ...]:
    """The switch daemon."""
    return (
        "ovs-vswitchd", f"unix:{database_socket(paths)}", f"--unixctl={switch_control(paths)}",
        "--no-chdir", "-vconsole:warn", "-vsyslog:off", "-vfile:off",
    )  # fmt: skip


def environment(paths: LabPaths) -> dict[str, str]:
    """Tells Open vSwitch's programs to keep everything in the lab's folder."""
    folder = str(paths.ovs)
    return {"OVS_RUNDIR": folder, "OVS_LOGDIR": folder, "OVS_DBDIR": folder, "OVS_SYSCONFDIR": folder}


def database_socket(paths: LabPaths) -> Path:
    """Where the database answers."""
    return paths.ovs / "db.sock"


def switch_control(paths: LabPaths) -> Path:
    """The control socket of ovs-vswitchd, for ``ovs-appctl -t``."""
    return paths.ovs / "ovs-vswitchd.ctl"


def build(plan: Plan) -> list[Operation]:
    """The operations that make all bridges, ports and patch links of a plan, still without a controller."""
    operations = [_bridge(plan, bridge) for bridge in plan.bridges]
    for bridge in plan.bridges:
        operations += _port_and_interface(bridge.id, {"type": "internal"}, bridge.vnet)
    for nic in plan.nics():
        operations += _nic_port(nic)
    for link in plan.peerings:
        operations += _peering_ports(link)
    bridges = to_set([named(f"bridge_{bridge.id}") for bridge in plan.bridges])
    operations.append(_mutate_root("bridges", bridges))
    return [*operations, _next_configuration()]


def connect_controller(plan: Plan) -> list[Operation]:
    """The operations that point every bridge at the controller; run once it listens, so that the first attempt succeeds."""
    operations: list[Operation] = []
    for bridge in plan.bridges:
        row = {
            "target": CONTROLLER,
            "connection_mode": "out-of-band",
            "inactivity_probe": 5000,
            "max_backoff": 1000,
            "external_ids": to_map({"bridge": bridge.id}),
        }
        uuid_name = f"controller_{bridge.id}"
        operations.append({"op": "insert", "table": "Controller", "row": row, "uuid-name": uuid_name})
        operations.append(_update("Bridge", bridge.id, {"controller": named(uuid_name)}))
    return [*operations, _next_configuration()]


def add_peerings(links: Iterable[PeeringLink]) -> list[Operation]:
    """The operations that add the ports of new peerings to bridges that are there."""
    operations: list[Operation] = []
    for link in links:
        operations += _peering_ports(link)
        for end in link.ends:
            ports = to_set([named(f"port_{end.id}")])
            operations.append(_mutate("Bridge", end.bridge, [["ports", "insert", ports]]))
    return [*operations, _next_configuration()]


def remove_ports(connection: ovsdb.Connection, names: Sequence[str]) -> list[Operation]:
    """The operations that take ports of these names off their bridges."""
    rows = {row["name"]: row["_uuid"] for row in connection.select("Port", ["name", "_uuid"])}
    gone = to_set([rows[name] for name in names if name in rows])
    return [{"op": "mutate", "table": "Bridge", "where": [], "mutations": [["ports", "delete", gone]]}, _next_configuration()]


def _bridge(plan: Plan, bridge: Bridge) -> Operation:
    ends = [end for link in plan.peerings for end in link.ends if end.bridge == bridge.id]
    ids = [bridge.id, *(nic.id for nic in plan.nics() if nic.bridge == bridge.id), *(end.id for end in ends)]
    row = {
        "name": bridge.id,
        "datapath_type": plan.capabilities.datapath,
        "fail_mode": "secure",
        "protocols": "OpenFlow13",
        "other_config": to_map({"datapath-id": f"{bridge.dpid:016x}", "disable-in-band": "true", "dp-desc": bridge.vnet}),
        "external_ids": to_map({"vnet": bridge.vnet, "region": bridge.region, "lab": plan.lab}),
        "ports": to_set([named(f"port_{id_}") for id_ in ids]),
    }
    return {"op": "insert", "table": "Bridge", "row": row, "uuid-name": f"bridge_{bridge.id}"}


def _nic_port(nic: Nic) -> list[Operation]:
    return _port_and_interface(nic.id, {"ofport_request": nic.port}, nic.label, node=nic.node, nic=nic.name, vnet=nic.vnet)


def _peering_ports(link: PeeringLink) -> list[Operation]:
    first, second = link.ends
    return [*_peering_port(link, first, second), *_peering_port(link, second, first)]


def _peering_port(link: PeeringLink, end: PeeringEnd, other: PeeringEnd) -> list[Operation]:
    interface: dict[str, Any] = {"ofport_request": end.port}
    if link.kind == "patch":
        interface |= {"type": "patch", "options": to_map({"peer": other.id})}
    operations = _port_and_interface(end.id, interface, f"{other.peer_vnet}->{end.peer_vnet}", peer=end.peer_vnet)
    if link.kind == "veth" and (link.shape.rate or link.shape.impaired):  # or Open vSwitch would remove our queueing discipline
        operations[1]["row"]["qos"] = named(f"qos_{end.id}")
        operations.append({"op": "insert", "table": "QoS", "row": {"type": "linux-noop"}, "uuid-name": f"qos_{end.id}"})
    return operations


def _port_and_interface(name: str, interface: Mapping[str, Any], full_name: str, **ids: str) -> list[Operation]:
    described = to_map({"name": full_name, **ids})
    return [
        {
            "op": "insert",
            "table": "Interface",
            "row": {"name": name, "external_ids": described, **interface},
            "uuid-name": f"interface_{name}",
        },
        {"op": "insert", "table": "Port", "row": {"name": name, "interfaces": named(f"interface_{name}")}, "uuid-name": f"port_{name}"},
    ]


def _mutate_root(column: str, value: Any) -> Operation:
    return {"op": "mutate", "table": "Open_vSwitch", "where": [], "mutations": [[column, "insert", value]]}


def _mutate(table: str, name: str, mutations: list[Any]) -> Operation:
    return {"op": "mutate", "table": table, "where": [["name", "==", name]], "mutations": mutations}


def _update(table: str, name: str, row: Mapping[str, Any]) -> Operation:
    return {"op": "update", "table": table, "where": [["name", "==", name]], "row": row}


def _next_configuration() -> Operation:
    return {"op": "mutate", "table": "Open_vSwitch", "where": [], "mutations": [["next_cfg", "+=", 1]]}


def initialize(connection: ovsdb.Connection) -> None:
    """Give an empty database its one root row."""
    connection.transact([{"op": "insert", "table": "Open_vSwitch", "row": {}}])


def applied(connection: ovsdb.Connection) -> str | None:
    """None once ovs-vswitchd has carried out all that the database says, else the reason."""
    root = connection.select("Open_vSwitch", ["next_cfg", "cur_cfg"])[0]
    return "ovs-vswitchd has not carried out the configuration yet" if root["cur_cfg"] < root["next_cfg"] else None


def misplaced_port(connection: ovsdb.Connection, plan: Plan) -> str | None:
    """None when every port has the OpenFlow number that the plan gave it (all flows rely on it), else the first that has not."""
    wanted = {nic.id: nic.port for nic in plan.nics()} | {end.id: end.port for link in plan.peerings for end in link.ends}
    rows = {row["name"]: row for row in connection.select("Interface", ["name", "ofport", "error"])}
    for name, number in wanted.items():
        row = rows.get(name)
        if row is None or row["ofport"] != number:
            reason = row["error"] if row and isinstance(row["error"], str) else f"it has number {row['ofport'] if row else 'none'}"
            return f"port {name} is not on its switch as number {number}: {reason}"
    return None
