"""What a lab will take of the machine, computed from its plan before anything is built; pure. The figures are measured, and rounded up."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from testbed.plan.delay_lines import delay_lines
from testbed.plan.types import Daemon, Node, Plan

MB = 2**20
LABD, CONTROLLER, DATABASE, SWITCH, COMMAND, DELAY_LINE = 40.0, 45.0, 5.0, 16.0, 50.0, 20.0
"""MB, proportional set size: labd 38, controller 42, ovsdb-server 3.4, ovs-vswitchd 13.6 with 20 ports; the command; a delay line."""
PORT, NAMESPACE = 0.3, 0.6
"""MB more for each port of a switch, and of the kernel's memory for each namespace with its links (0.52)."""
DAEMONS = {"zebra": 9.5, "bgpd": 9.5, "bfdd": 3.1, "charon": 16.0}
OTHER = 10.0
SESSION = 1.0
"""MB of a bgpd for each of its sessions: 10.5 in all with one, 18.7 with nine. Many routes come on top: 3,900 take 8."""
TASKS = {"zebra": 7, "bgpd": 4, "bfdd": 1, "charon": 17}
"""Threads."""


class Needs(Struct, frozen=True):
    """What a lab takes: bytes of memory, processes and their threads, open files of the process that has most of them, namespaces,

    and entries of the kernel's neighbour table (ARP), which all namespaces share.
    """

    memory: int
    processes: int
    tasks: int
    files: int
    namespaces: int
    neighbours: int


class Limits(Struct, frozen=True):
    """What the machine has left: None where there is no limit, or none is known. ``*_by`` says what sets it."""

    memory: int | None = None
    memory_by: str = "free memory"
    tasks: int | None = None
    tasks_by: str = "kernel.pid_max"
    files: int | None = None
    namespaces: int | None = None
    neighbours: int | None = None


def needs(plan: Plan) -> Needs:
    """What this plan takes."""
    daemons = [(node, daemon) for node in plan.nodes for daemon in node.daemons]
    delays, speakers = len(delay_lines(plan)), sum(node.kind in ("route_server", "vpn", "expressroute") for node in plan.nodes)
    ports = len(plan.nics()) + 2 * len(plan.peerings) + len(plan.bridges)
    memory = LABD + CONTROLLER + DATABASE + COMMAND + SWITCH + PORT * ports + DELAY_LINE * delays
    memory += NAMESPACE * (1 + len(plan.nodes)) + sum(_megabytes(plan, node, daemon) for node, daemon in daemons)
    processes = 4 + delays + len(daemons)
    own = {"labd": 4, "controller": 8 + 2 * len(plan.bridges) + 2 * speakers, "ovsdb-server": 1, "ovs-vswitchd": 8}
    return Needs(
        memory=int(memory * MB),
        processes=processes,
        tasks=sum(own.values()) + 2 * delays + sum(TASKS.get(daemon.name, 2) for _, daemon in daemons),
        files=max(40 + processes + 2 * len(plan.tunnels), 30 + 2 * ports + 6 * len(plan.bridges), 20 + 2 * speakers + len(plan.bridges)),
        namespaces=1 + len(plan.nodes),
        neighbours=2 * (len(plan.nics()) + len(plan.tunnels) + len(plan.wires)),
    )


def _megabytes(plan: Plan, node: Node, daemon: Daemon) -> float:
    own = DAEMONS.get(daemon.name, OTHER)
    return own + SESSION * sum(node.name in session.nodes for session in plan.sessions) if daemon.name == "bgpd" else own


def shortfalls(wanted: Needs, have: Limits) -> Iterator[tuple[str, str]]:
    """What does not fit, in words with both figures, each with a remedy."""
    if have.memory is not None and wanted.memory > have.memory:
        text = f"it takes about {wanted.memory // MB} MB of memory, and {have.memory_by} leaves {have.memory // MB} MB"
        yield text, "take another lab down, or build a smaller one"
    if have.tasks is not None and wanted.tasks > have.tasks:
        text = f"it runs {wanted.processes} processes with {wanted.tasks} threads, and {have.tasks_by} leaves {max(have.tasks, 0)}"
        yield text, f"raise the limit ({have.tasks_by})"
    if have.files is not None and wanted.files > have.files:
        yield f"one of its processes opens {wanted.files} files, and the limit is {have.files}", f"ulimit -Hn {_rounded(wanted.files)}"
    if have.namespaces is not None and wanted.namespaces > have.namespaces:
        text = f"it has {wanted.namespaces} network namespaces, and user.max_net_namespaces is {have.namespaces}"
        yield text, f"sysctl -w user.max_net_namespaces={_rounded(wanted.namespaces)}"
    if have.neighbours is not None and wanted.neighbours > have.neighbours:
        text = f"its nodes know about {wanted.neighbours} neighbours (ARP), and the kernel has room for {max(have.neighbours, 0)} more"
        yield text, f"sysctl -w net.ipv4.neigh.default.gc_thresh3={_rounded(2 * wanted.neighbours)}"


def _rounded(number: int) -> int:
    """The next power of two."""
    return 1 << number.bit_length()


def in_words(wanted: Needs) -> str:
    """One line for people."""
    return f"about {wanted.memory // MB} MB, {wanted.processes} processes ({wanted.tasks} threads), {wanted.namespaces} namespaces"
