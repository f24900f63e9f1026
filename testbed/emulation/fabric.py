"""The network of a lab, made in batches: namespaces, links with both ends in their places, addresses, settings, and Open vSwitch."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import PIPE, Popen
from typing import NamedTuple

from testbed.emulation import netns, syscalls
from testbed.emulation.keys import Keys, holds_keys, write_private
from testbed.emulation.ledger import Entry
from testbed.emulation.paths import LabPaths
from testbed.emulation.shaping import queueing
from testbed.errors import LabError
from testbed.plan.delay_lines import delay_lines, delayed, peering_line, wire_ends
from testbed.plan.types import Node, PeeringLink, Plan

MTU = 1500
_EVERYWHERE = {
    # a namespace starts with the machine's own settings (net.core.devconf_inherit_init_net): what forwards says so in the plan, and nothing
    # that listens on 127.0.0.1, such as the controller, is reached from a link
    "net.ipv4.ip_forward": "0",
    "net.ipv4.conf.all.route_localnet": "0",
    "net.ipv4.conf.default.route_localnet": "0",
    "net.ipv6.conf.all.disable_ipv6": "1",
    "net.ipv6.conf.default.disable_ipv6": "1",
    # an ARP request sent before the flows were there is repeated at once, not after a second: Azure's fabric answers always
    "net.ipv4.neigh.default.retrans_time_ms": "50",
}
_FABRIC = _EVERYWHERE | {
    # the switches read from the links; the kernel sees the same frames, and with strict filtering and no route takes none of them
    "net.ipv4.conf.all.rp_filter": "1",
}
_ALIAS_LIMIT = 255


class Batch(NamedTuple):
    """Lines for the ``-batch`` mode of ip, tc or nft, to be run in one namespace; ``owner`` is whom an error is reported for."""

    owner: str
    namespace: str
    argv: tuple[str, ...]
    lines: Sequence[str]


def announce(plan: Plan) -> list[Entry]:
    """The ledger's entries for all namespaces, links and bridges of the plan."""
    entries = [Entry("namespace", plan.fabric, "fabric"), *(Entry("namespace", node.id, node.name) for node in plan.nodes)]
    entries += [Entry("bridge", bridge.id, bridge.vnet) for bridge in plan.bridges]
    entries += [Entry("link", nic.id, nic.label) for nic in plan.nics()]
    return entries + announce_peerings(plan.peerings)


def announce_peerings(links: Iterable[PeeringLink]) -> list[Entry]:
    """The ledger's entries for peering links."""
    return [Entry("link", end.id, f"{end.bridge}->{end.peer_vnet}") for link in links for end in link.ends]


def create_namespaces(plan: Plan, names: Sequence[str]) -> None:
    """Make these of the plan's namespaces, with their sysctls. The names must be reserved (`netns.names_reserved`)."""
    settings = {node.id: _EVERYWHERE | node.sysctls for node in plan.nodes}
    netns.create(names, lambda name: _drop(netns.write_sysctls(settings.get(name, _FABRIC))))


def _drop(missing: dict[str, str]) -> None:
    """Settings of interfaces that are not there yet are written again by `configure_nodes`."""


def create_links(plan: Plan) -> None:
    """Make all veths, each end in its namespace under its final name and MAC, and shape those between regions."""
    ids = {node.name: node.id for node in plan.nodes}
    lines = [
        f"link add {nic.id} mtu {MTU} type veth peer name {nic.name} mtu {MTU} address {nic.mac} netns {ids[nic.node]}"
        for nic in plan.nics()
    ]
    lines += wire_lines(plan)
    lines += [f"link set {nic.id} up alias {_alias(nic.label)}" for nic in plan.nics()]
    lines += peering_lines(plan, plan.peerings)
    run_batches([Batch("fabric", plan.fabric, ("ip", "-batch", "-"), lines)])
    run_batches([Batch("fabric", plan.fabric, ("tc", "-batch", "-"), shaping_lines(plan, plan.peerings))])


def peering_lines(plan: Plan, links: Iterable[PeeringLink]) -> list[str]:
    """Lines for ``ip -batch`` that make the veths of peerings across regions: one, or two with a delay line between them."""
    lines = []
    for link in links:
        if link.kind == "veth":
            outer, line = [end.id for end in link.ends], peering_line(plan, link)
            pairs = [(outer[0], outer[1])] if line is None else list(zip(outer, line.spans[0].devices, strict=True))
            lines += [f"link add {outer} mtu {MTU} type veth peer name {inner} mtu {MTU}" for outer, inner in pairs]
            lines += [f"link set {inner} up" for _, inner in pairs]
            lines += [f"link set {end.id} up alias {_alias(f'{end.bridge}->{end.peer_vnet}')}" for end in link.ends]
    return lines


def removal_lines(plan: Plan, links: Iterable[PeeringLink]) -> list[str]:
    """Lines for ``ip -batch`` that remove the veths of peerings; ``plan`` is the one they were made by."""
    veths = [link for link in links if link.kind == "veth"]
    return [f"link delete {end.id}" for link in veths for end in (link.ends if peering_line(plan, link) else link.ends[:1])]


def shaping_lines(plan: Plan, links: Iterable[PeeringLink]) -> list[str]:
    """Lines for ``tc -batch`` that shape the veths of peerings, each direction by itself."""
    ends = [(end.id, link.shape) for link in links if link.kind == "veth" for end in link.ends]
    return [line for device, shape in ends for line in queueing(device, shape, netem=plan.capabilities.netem)]


def wire_lines(plan: Plan) -> list[str]:
    """Lines for ``ip -batch`` that make the veths of wires: one, or two with a delay line between them."""
    ids = {node.name: node.id for node in plan.nodes}
    lines = []
    for wire in plan.wires:
        ends = [
            f"{name} mtu {MTU} address {mac} netns {ids[node]}" for node, name, mac in zip(wire.nodes, wire.names, wire.macs, strict=True)
        ]
        if delayed(plan, wire.shape):
            inner = wire_ends(wire)
            lines += [f"link add {end} type veth peer name {device} mtu {MTU}" for end, device in zip(ends, inner, strict=True)]
            lines += [f"link set {device} up" for device in inner]
        else:
            lines.append(f"link add {ends[0]} type veth peer name {ends[1]}")
    return lines


def _alias(text: str) -> str:
    """Names are checked by the model; here they only must stay one word of limited length."""
    return "".join(character if character.isprintable() and not character.isspace() else "_" for character in text)[:_ALIAS_LIMIT]


def configure_nodes(plan: Plan) -> None:
    """Addresses, routes, settings and packet filters of all nodes: one ``ip`` (and ``nft``) process a node, all at once."""
    wires = _wire_ends(plan)
    run_batches([Batch(node.name, node.id, ("ip", "-batch", "-"), node_lines(node, wires.get(node.name, []))) for node in plan.nodes])
    run_batches([Batch(node.name, node.id, ("tc", "-batch", "-"), lines) for node, lines in _wire_shaping(plan)])
    run_batches([Batch(node.name, node.id, ("nft", "-f", "-"), [node.nftables]) for node in plan.nodes if node.nftables.strip()])
    for node in plan.nodes:
        _settle(plan, node, [name for name, _ in wires.get(node.name, [])])


def _wire_ends(plan: Plan) -> dict[str, list[tuple[str, str]]]:
    """By node: the interfaces of its wires with their addresses (which may be empty)."""
    ends: dict[str, list[tuple[str, str]]] = {}
    for wire in plan.wires:
        for node, name, address in zip(wire.nodes, wire.names, wire.addresses, strict=True):
            ends.setdefault(node, []).append((name, address))
    return ends


def _wire_shaping(plan: Plan) -> list[tuple[Node, list[str]]]:
    return [
        (plan.node(node), lines)
        for wire in plan.wires
        for node, name in zip(wire.nodes, wire.names, strict=True)
        if (lines := queueing(name, wire.shape, netem=plan.capabilities.netem))
    ]


def node_lines(node: Node, wires: Iterable[tuple[str, str]]) -> list[str]:
    """Lines for ``ip -batch`` inside a node: its NICs and wires, the default route by the subnet's .1, then the plan's own."""
    lines = []
    for nic in node.nics:
        lines.append(f"address add {nic.ip}/{nic.prefix_len} dev {nic.name}")
        lines.append(f"link set {nic.name} up alias {_alias(nic.label)}")
    for name, address in wires:
        if address:
            lines.append(f"address add {address} dev {name}")
        lines.append(f"link set {name} up")
    if node.nics and not any("default" in line or "0.0.0.0/0" in line for line in node.setup):
        lines.append(f"route add default via {node.nics[0].gateway} dev {node.nics[0].name}")
    return [*lines, *node.setup]


def _settle(plan: Plan, node: Node, wires: Sequence[str]) -> None:
    with netns.inside(node.id):
        if missing := netns.write_sysctls(_of_interfaces(node.sysctls)):
            raise LabError(f"{node.name}: there is no sysctl {next(iter(missing))}", "the kernel lacks a feature that the plan needs")
        if plan.capabilities.datapath == "netdev" or delay_lines(plan):  # both forward packets as they are, unfinished sums and all
            for name in [*(nic.name for nic in node.nics), *wires]:
                syscalls.transmit_checksums_in_software(name)


def _of_interfaces(sysctls: dict[str, str]) -> dict[str, str]:
    """Those that may have missed their interface when the namespace was made; the others are written already."""
    return {key: value for key, value in sysctls.items() if ".conf." in key and ".all." not in key and ".default." not in key}


def run_batches(batches: Sequence[Batch]) -> None:
    """Run all batches at once, each in its namespace. Raises LabError with the first one's words; any error is fatal."""
    running: list[tuple[Batch, Popen[str]]] = []
    for batch in batches:
        if batch.lines:
            with netns.inside(batch.namespace), _in_memory("\n".join(batch.lines) + "\n") as lines:
                running.append((batch, Popen(batch.argv, stdin=lines, stdout=PIPE, stderr=PIPE, text=True, start_new_session=True)))
    failures = []
    for batch, process in running:
        output, errors = process.communicate()
        if process.returncode != 0:
            failures.append(f"{batch.owner}: {' '.join(batch.argv)} failed: {_explained(batch, errors or output)}")
    if failures:
        raise LabError("\n".join(failures))


@contextmanager
def _in_memory(text: str) -> Iterator[int]:
    """A file without a name that holds ``text``: a child can read it at its own pace while the next one is started."""
    descriptor = os.memfd_create("batch", os.MFD_CLOEXEC)
    try:
        with open(descriptor, "w", closefd=False) as file:
            file.write(text)
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)


def _explained(batch: Batch, text: str) -> str:
    """The tool's words, with the line that it only gives the number of."""
    text = text.strip()
    _, _, tail = text.rpartition("Command failed -:")
    if tail.strip().isdigit():
        with suppress(IndexError):
            return f"{text.splitlines()[0]} (line: {batch.lines[int(tail) - 1]})"
    return text


def write_files(plan: Plan, paths: LabPaths, nodes: Iterable[Node] | None = None) -> None:
    """Write the files of all nodes, ``{dir}`` filled in; a node's folder belongs to the user its daemons drop to.

    A file with a key or password can be read by nobody but who needs it: root (charon), or FRR's user where that is bgpd.
    """
    keys = Keys(paths)
    for node in plan.nodes if nodes is None else nodes:
        folder = paths.node(node)
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        users = {daemon.user for daemon in node.daemons if daemon.user}
        owner = pwd.getpwnam(next(iter(users))) if users else None
        for name, content in node.files.items():
            file = _place(folder, name)
            text = content.replace("{dir}", str(folder))
            if holds_keys(text):
                write_private(file, keys.filled(text))
                if owner and any(daemon.user and name == f"{daemon.name}.conf" for daemon in node.daemons):
                    os.chown(file, owner.pw_uid, owner.pw_gid)
                continue
            file.touch(mode=0o640)
            file.write_text(text)
            if owner:
                for path in {folder, file.parent, file}:
                    os.chown(path, owner.pw_uid, owner.pw_gid)


def _place(folder: Path, name: str) -> Path:
    """Where a file of the plan goes. Raises LabError when that is not below its node's folder."""
    file = (folder / name).resolve()
    if not file.is_relative_to(folder.resolve()):
        raise LabError(f"the plan's file {name!r} lies outside of its node's folder")
    file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    return file
