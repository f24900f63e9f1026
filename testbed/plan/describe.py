"""A plan for people: everything that `up` would build, as text in sections."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from testbed.azure.effective_routes import NOTHING, effective_routes
from testbed.plan.fabric_index import FabricIndex
from testbed.plan.flows import route_flows, static_flows, static_groups
from testbed.plan.openflow import Flow
from testbed.plan.render import listing
from testbed.plan.shapes import in_words
from testbed.plan.types import Nic, Node, PeeringEnd, Plan


def describe(plan: Plan) -> str:
    """The whole plan: bridges, peerings, nodes, tunnels, BGP sessions, files, flows as they are before any BGP session is up."""
    sections = (_head, _bridges, _peerings, _nics, _tunnels, _sessions, _wires, _nodes, _flows)
    return "\n".join(line for section in sections for line in section(plan))


def columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Rows as lines with aligned columns; the first row is the header."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _section(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    found = list(rows)
    if found:
        yield from ("", f"{title} ({len(found)})", *columns([header, *found]))


def _head(plan: Plan) -> Iterator[str]:
    yield f"lab {plan.lab} of topology {plan.topology}: fabric namespace {plan.fabric}, datapath {plan.capabilities.datapath}"
    for missing in plan.unsupported:
        yield f"  not emulated here: {missing}"


def _bridges(plan: Plan) -> Iterator[str]:
    rows = [(bridge.vnet, bridge.region, ", ".join(bridge.address_space), bridge.id, f"{bridge.dpid:016x}") for bridge in plan.bridges]
    yield from _section("VNets", ("vnet", "region", "address space", "bridge", "dpid"), rows)


def _peerings(plan: Plan) -> Iterator[str]:
    vnet = {bridge.id: bridge.vnet for bridge in plan.bridges}
    rows = [
        (f"{vnet[a.bridge]} - {vnet[b.bridge]}", link.kind, _port(a), _port(b), f"{a.accept}/{b.accept}", in_words(link.shape))
        for link in plan.peerings
        for a, b in [link.ends]
    ]
    yield from _section("peerings", ("between", "link", "port", "port", "admits", "shaped"), rows)


def _port(end: PeeringEnd) -> str:
    return f"{end.id}:{end.port}"


def _nics(plan: Plan) -> Iterator[str]:
    header = ("nic", "kind", "address", "mac", "subnet", "namespace", "port", "domain", "home", "")
    yield from _section("NICs", header, (_nic(node, nic) for node in plan.nodes for nic in node.nics))


def _nic(node: Node, nic: Nic) -> tuple[str, ...]:
    extra = ["forwards"] if nic.ip_forwarding else []
    extra += [f"public {nic.public_ip}"] if nic.public_ip else []
    address = f"{nic.ip}/{nic.prefix_len}"
    return (
        nic.label,
        node.kind,
        address,
        nic.mac,
        nic.subnet,
        node.id,
        f"{nic.id}:{nic.port}",
        str(nic.domain),
        str(nic.home),
        ", ".join(extra),
    )


def _tunnels(plan: Plan) -> Iterator[str]:
    rows = [
        (each.name, each.type, " - ".join(each.outer), " - ".join(each.inner), " / ".join(each.device), str(each.vni), str(each.mtu))
        for each in plan.tunnels
    ]
    yield from _section("tunnels", ("tunnel", "type", "outer", "inner", "devices", "vni", "mtu"), rows)


def _sessions(plan: Plan) -> Iterator[str]:
    rows = [(each.kind, " - ".join(each.nodes), " - ".join(each.addresses), " - ".join(map(str, each.asns))) for each in plan.sessions]
    yield from _section("BGP sessions", ("kind", "between", "addresses", "asns"), rows)


def _wires(plan: Plan) -> Iterator[str]:
    rows = [(" - ".join(each.nodes), " - ".join(each.names), " - ".join(each.addresses), in_words(each.shape)) for each in plan.wires]
    yield from _section("wires outside the fabric", ("between", "interfaces", "addresses", "shaped"), rows)


def _nodes(plan: Plan) -> Iterator[str]:
    for node in plan.nodes:
        yield from ("", f"{node.name} ({node.kind}, namespace {node.id})")
        yield from (f"  ip {line}" for line in node.setup)
        for daemon in node.daemons:
            after = f"  (after {', '.join(daemon.after)})" if daemon.after else ""
            yield f"  run {' '.join(daemon.argv)}{after}"
        for name, text in node.files.items():
            yield f"  file {name}"
            yield from (f"    | {line}" for line in text.splitlines())


def _flows(plan: Plan) -> Iterator[str]:
    index = FabricIndex(plan)
    fixed, balanced = static_flows(index), static_groups(index)
    routed: dict[str, list[Flow]] = {bridge.id: [] for bridge in plan.bridges}
    for domain in plan.domains:
        routed[index.bridges[domain.vnet].id] += route_flows(index, domain, effective_routes(domain, NOTHING), {})
    for bridge in plan.bridges:
        groups, slots = balanced[bridge.id]
        flows = (*fixed[bridge.id], *slots, *routed[bridge.id])
        yield from ("", f"flows of {bridge.vnet} (bridge {bridge.id}) before any BGP session is up")
        yield from (f"  {line}" for line in listing(flows, groups).splitlines())
