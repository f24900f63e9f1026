"""Does a running lab agree with the model? Routers, controller, switches and kernels, each held to what was worked out on paper."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import permutations

from testbed.azure.fib import FABRIC, LOCAL, FibHop
from testbed.azure.lookup import PrefixMap
from testbed.azure.types import Address, Row
from testbed.emulation import enter, switch_state
from testbed.emulation.switch_trace import SwitchTracer
from testbed.errors import InputError, LabError
from testbed.plan.types import Node
from testbed.plan.walk import DELIVERED, LOOPS
from testbed.scenario import observed, routers
from testbed.scenario.agreement import Disagreement, Paper
from testbed.scenario.live import LiveLab
from testbed.scenario.switch_agreement import expected_tables, switch_differences
from testbed.scenario.table_agreement import table_differences

_RESULTS = {DELIVERED: "delivered", LOOPS: "loop"}


def live_disagreements(lab: LiveLab, paper: Paper) -> Iterator[Disagreement]:
    """All that a lab that is up does not do as the model says, from the control plane to packets. ``paper`` has the lab's plan."""
    yield from router_differences(lab, paper)
    yield from controller_differences(lab, paper)
    found = switch_state.dump(lab.client.paths, paper.plan.bridges)
    for line in switch_differences(paper.plan, expected_tables(paper.plan, paper.control), found):
        yield Disagreement("the flows", words=line)
    yield from trace_differences(lab, paper)
    yield from kernel_differences(lab, paper)
    yield from probe_differences(lab, paper)


def router_differences(lab: LiveLab, paper: Paper) -> Iterator[Disagreement]:
    """The BGP table of every router: each path, which is the best, and which are used beside it."""
    tables = {node: routers.bgp_table(lab.client, paper.plan, node) for node in paper.control.nodes}
    for line in table_differences(paper.control, tables):
        yield Disagreement("the BGP tables", words=line)


def controller_differences(lab: LiveLab, paper: Paper) -> Iterator[Disagreement]:
    """What the controller heard on every session of a Route Server or gateway, and the effective routes that it has programmed."""
    for server, peer in dict.fromkeys((session.server, session.peer) for session in paper.control.sessions):
        model, found = _received(paper, server, peer), _learned(lab, server, peer)
        for instance, prefix in sorted(model.keys() | found.keys()):
            said = model.get((instance, prefix), ""), found.get((instance, prefix), "")
            if said[0] != said[1]:
                yield Disagreement(f"{server} instance {instance} from {peer}, {prefix}", *said)
    for nic in paper.nics:
        rows, programmed = set(paper.tracer.table(nic)), set(lab.effective(nic.label))
        for row in sorted(rows ^ programmed, key=str):
            yield Disagreement(f"effective routes of {nic.label}", *((_row(row), "") if row in rows else ("", _row(row))))


def _received(paper: Paper, server: str, peer: str) -> dict[tuple[int, str], str]:
    return {
        (session.instance, each.path.prefix): f"{each.path.as_path} via {each.path.next_hop} {'dropped' if each.dropped else 'taken'}"
        for session in paper.control.sessions
        if (session.server, session.peer) == (server, peer)
        for each in paper.control.received(session)
    }


def _learned(lab: LiveLab, server: str, peer: str) -> dict[tuple[int, str], str]:
    try:
        rows = observed.learned(lab.client, server, peer)
    except (InputError, LabError):  # the controller has not heard of a session that never came up
        return {}
    return {(row.instance, row.prefix): f"{row.as_path} via {row.next_hop} {'dropped' if row.dropped else 'taken'}" for row in rows}


def _row(row: Row) -> str:
    return f"{row.prefix} {row.next_hop_type} {', '.join(row.next_hops)} {'active' if row.active else 'invalid'} {row.name}".strip()


def trace_differences(lab: LiveLab, paper: Paper) -> Iterator[Disagreement]:
    """What the real switch says to a packet of every NIC to every class of destinations."""
    with SwitchTracer(paper.plan, lab.client.paths) as switch:
        for nic in paper.nics:
            for address in paper.classes:
                found = switch.follow(nic, address)
                model = {each.nic for each in paper.tracer.sends(nic.label, address)}
                places = {(each.nic or "", each.vnet, each.table) for each in paper.fabric.outcomes(nic.label, address)}
                if found.nic not in model or (found.nic, found.vnet, found.table) not in places:
                    text = found.nic or f"dropped in {found.vnet}, table {found.table}"
                    yield Disagreement(f"the switch's trace from {nic.label} to {address}", f"{sorted(model)} {sorted(places)}", text)


def kernel_differences(lab: LiveLab, paper: Paper) -> Iterator[Disagreement]:
    """Where every NVA's kernel sends a packet of every class."""
    for node in paper.plan.nodes:
        if node.kind == "nva":
            fib = PrefixMap(paper.control.fib(node.name))
            for address, found in _kernel_routes(lab, node, paper.classes).items():
                hops = fib.lookup(address) or ()
                model = {_hop(hop) for hop in hops}
                if found not in model:
                    yield Disagreement(f"the kernel of {node.name} to {address}", " or ".join(sorted(model)), found)


def _hop(hop: FibHop) -> str:
    if hop.device == LOCAL:
        return LOCAL
    return f"{hop.nic if hop.device == FABRIC else hop.device} via {hop.gateway or 'itself'}"


def _kernel_routes(lab: LiveLab, node: Node, addresses: tuple[Address, ...]) -> dict[Address, str]:
    """What ``ip route get`` says of each address, in the words of `_hop`."""
    asked = "".join(f"route get {address}\n" for address in addresses)
    done = enter.run(lab.plan, lab.client.paths, node.name, ("ip", "-json", "-force", "-batch", "-"), text=asked)
    devices = {nic.name: nic.label for nic in node.nics}
    for tunnel in lab.plan.tunnels:
        devices |= {device: tunnel.name for name, device in zip(tunnel.nodes, tunnel.device, strict=True) if name == node.name}
    found = dict.fromkeys(addresses, "no route")
    for line in done.stdout.splitlines():
        for route in json.loads(line):
            local = route.get("type") == "local"
            found[route["dst"]] = LOCAL if local else f"{devices.get(route['dev'], route['dev'])} via {route.get('gateway', 'itself')}"
    return found


def probe_differences(lab: LiveLab, paper: Paper) -> Iterator[Disagreement]:
    """Whether one real datagram from every VM and host to every other arrives, is dropped or loops."""
    ends = {label: paper.tracer.index.nics[label].ip for label in lab.vms()}
    ends |= {host: str(address) for site in paper.topology.sites.values() for host, address in site.hosts.items()}
    pairs = list(permutations(ends, 2))
    for delivery in lab.probe(pairs) if pairs else ():
        walks = paper.tracer.traces(delivery.source, ends[delivery.target])
        model = {_RESULTS.get(walk.verdict, "dropped") for walk in walks}
        if "loop" in model:
            model.add("dropped")  # the message that tells of the loop may itself not find its way back
        down = {walk.ttl_down for walk in walks if walk.verdict == DELIVERED}
        if delivery.result not in model or (delivery.delivered and delivery.ttl_down not in down):
            said = f"{' or '.join(sorted(model))} (TTL down by {sorted(down)})"
            yield Disagreement(
                f"a packet from {delivery.source} to {delivery.target}", said, f"{delivery.result} (TTL down by {delivery.ttl_down})"
            )
