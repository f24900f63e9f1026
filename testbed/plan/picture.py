"""A topology as a picture, in Graphviz's language: regions, VNets and what is in them, peerings, tunnels, BGP sessions."""

from __future__ import annotations

from collections.abc import Iterator

from testbed.azure.peering import Connected, connections
from testbed.model.addresses import route_server_addresses
from testbed.model.links import link_between, to_gateway
from testbed.model.topology import Link, Topology
from testbed.plan.shapes import in_words

_BLUE, _TEAL, _ORANGE, _PURPLE, _GREY, _RED = "#2563a8", "#0f766e", "#c2570c", "#6d3fc0", "#64748b", "#b91c1c"
_FONT = "Helvetica,Arial,sans-serif"
_HEAD = (
    "graph topology {",
    f'  graph [fontname="{_FONT}", fontsize=12, compound=true, newrank=true, bgcolor=white];',
    "  graph [rankdir=TB, nodesep=0.45, ranksep=0.75, pad=0.3, labelloc=t];",
    f'  node [fontname="{_FONT}", fontsize=10, shape=box, style="rounded,filled", penwidth=1.2, margin="0.12,0.06"];',
    f'  edge [fontname="{_FONT}", fontsize=9, penwidth=1.4];',
)
_STYLES = {
    "nva": (_ORANGE, "#ffedd5"),
    "route_server": (_BLUE, "#dbeafe"),
    "gateway": (_PURPLE, "#ede9fe"),
    "vm": (_GREY, "#f8fafc"),
    "load_balancer": (_TEAL, "#ccfbf1"),
    "site": ("#475569", "#e2e8f0"),
}


def dot(topology: Topology) -> str:
    """The picture as text for ``dot``. Solid grey: peering; double orange: tunnel; dashed blue: BGP session."""
    parts = (_HEAD, _regions(topology), _onprem(topology), _peerings(topology), _tunnels(topology), _sessions(topology), _title(topology))
    return "\n".join(line for part in parts for line in part) + "\n}\n"


def _quoted(*words: object) -> str:
    """A quoted string of Graphviz; several words are lines of a label."""
    lines = [str(word).replace("\\", "\\\\").replace('"', '\\"') for word in words]
    return '"' + "\\n".join(lines) + '"'


def _regions(topology: Topology) -> Iterator[str]:
    boxes = _boxes(topology)
    for region, declared in topology.regions.items():
        yield f"  subgraph {_quoted('cluster region ' + region)} {{"
        yield f'    label={_quoted(region)}; labeljust=l; fontsize=14; fontcolor="#475569";'
        yield '    style="rounded,dashed"; color="#94a3b8"; margin=16;'
        for vnet in declared.vnets:
            yield from _vnet(topology, vnet, [text for place, text in boxes if place == vnet])
        yield "  }"


def _vnet(topology: Topology, vnet: str, inside: list[str]) -> Iterator[str]:
    hubs = {server.vnet for server in topology.route_servers.values()} | {gateway.vnet for gateway in topology.gateways.values()}
    fill, border = ("#eff6ff", _BLUE) if vnet in hubs else ("#f1f5f9", "#94a3b8")
    spaces = ", ".join(str(prefix) for prefix in topology.vnets()[vnet].address_space)
    yield f"    subgraph {_quoted('cluster vnet ' + vnet)} {{"
    yield f"      label={_quoted(vnet + '  ' + spaces)}; labeljust=l; fontsize=11; fontcolor=black; margin=10;"
    yield f'      style="rounded,filled"; fillcolor="{fill}"; color="{border}";'
    yield from inside or [f"      {_quoted('vnet ' + vnet)} [shape=point, style=invis];"]
    yield "    }"


def _boxes(topology: Topology) -> list[tuple[str, str]]:
    """What is in VNets, as (VNet, node)."""
    found = []
    for name, server in topology.route_servers.items():
        found.append((server.vnet, _box(name, "route_server", "Route Server, AS 65515", *route_server_addresses(topology, name))))
    for name, gateway in topology.gateways.items():
        kind = "ExpressRoute gateway" if gateway.type == "expressroute" else "VPN gateway"
        found.append((gateway.vnet, _box(name, "gateway", f"{kind}, AS {gateway.asn}")))
    for name, nva in topology.nvas.items():
        found.append((_vnet_of(nva.subnet), _box(name, "nva", f"AS {nva.asn}", str(nva.ip))))
    for name, balancer in topology.load_balancers.items():
        found.append((_vnet_of(balancer.subnet), _box(name, "load_balancer", "load balancer", str(balancer.ip))))
    found += [(_vnet_of(vm.subnet), _box(name, "vm", str(vm.ip))) for name, vm in topology.vms.items()]
    return found


def _vnet_of(subnet: str) -> str:
    return subnet.partition("/")[0]


def _box(name: str, kind: str, *lines: str) -> str:
    color, fill = _STYLES[kind]
    return f'      {_quoted(name)} [label={_quoted(name, *lines)}, color="{color}", fillcolor="{fill}"];'


def _onprem(topology: Topology) -> Iterator[str]:
    for name, site in topology.sites.items():
        yield _box(name, "site", f"AS {site.asn}", *(str(prefix) for prefix in site.prefixes))
    for name, circuit in topology.circuits.items():
        label = _quoted(name, "ExpressRoute circuit", f"AS {circuit.asn}")
        yield f'  {_quoted("circuit " + name)} [shape=ellipse, label={label}, color="{_PURPLE}", fillcolor="#f5f3ff"];'
        for gateway in circuit.gateways:
            yield _line(gateway, f"circuit {name}", to_gateway(circuit, gateway))
        for site_name, site in topology.sites.items():
            if name in site.circuits:
                yield _line(f"circuit {name}", site_name, circuit.line)
    for site_name, site in topology.sites.items():
        for gateway in site.connections:
            yield f'  {_quoted(gateway)} -- {_quoted(site_name)} [color="{_PURPLE}:white:{_PURPLE}", label=" IPsec "];'


def _line(one: str, other: str, link: Link) -> str:
    label = f', fontcolor="{_PURPLE}", label={_quoted(" " + text + " ")}' if (text := in_words(link)) else ""
    return f'  {_quoted(one)} -- {_quoted(other)} [color="{_PURPLE}"{label}];'


def _anchor(topology: Topology, vnet: str, is_global: bool) -> str:
    """A node inside a VNet to which its peerings are tied: an NVA, but for global peerings, which tunnels run beside, another."""
    nvas = [name for name, nva in topology.nvas.items() if _vnet_of(nva.subnet) == vnet]
    servers = [name for name, server in topology.route_servers.items() if server.vnet == vnet]
    others = [name for name, gateway in topology.gateways.items() if gateway.vnet == vnet]
    others += [name for name, vm in topology.vms.items() if _vnet_of(vm.subnet) == vnet]
    nodes = [*servers, *nvas, *others] if is_global else [*nvas, *servers, *others]
    return nodes[0] if nodes else f"vnet {vnet}"


def _peerings(topology: Topology) -> Iterator[str]:
    connected = connections(topology)
    order = {vnet: place for place, vnet in enumerate(topology.vnets())}
    for vnet in order:
        for peer in (each for each in connected.peers(vnet) if order[vnet] < order[each.peer]):
            yield _peering(topology, peer, connected.accept(vnet, peer.peer) != "none")


def _peering(topology: Topology, peering: Connected, passes: bool) -> str:
    tail, head = peering.vnet, peering.peer
    distance = in_words(link_between(topology, topology.region_of(tail), topology.region_of(head))) if peering.is_global else ""
    label = ", ".join(part for part in ("global peering", distance) if part) if peering.is_global else ""
    color, style = (_GREY, "solid") if passes else (_RED, "dotted")
    rank = "constraint=false, " if peering.is_global else ""
    attributes = f'{rank}ltail={_quoted("cluster vnet " + tail)}, lhead={_quoted("cluster vnet " + head)}, color="{color}", style={style}'
    text = f', xlabel={_quoted(" " + label + " ")}, fontcolor="{_GREY}", penwidth=2.2' if label else ""
    ends = [_quoted(_anchor(topology, vnet, peering.is_global)) for vnet in (tail, head)]
    return f"  {ends[0]} -- {ends[1]} [{attributes}{text}];"


def _tunnels(topology: Topology) -> Iterator[str]:
    for tunnel in topology.tunnels:
        one, other = tunnel.between
        label = "VXLAN" if tunnel.type == "vxlan" else "IPsec"
        text = f"{label}, eBGP" if tunnel.bgp else label
        style = f'color="{_ORANGE}:white:{_ORANGE}", fontcolor="{_ORANGE}", penwidth=2'
        yield f"  {_quoted(one)} -- {_quoted(other)} [constraint=false, {style}, label={_quoted(' ' + text + ' ')}];"


def _sessions(topology: Topology) -> Iterator[str]:
    for name, server in topology.route_servers.items():
        for nva in server.peers:
            yield f'  {_quoted(name)} -- {_quoted(nva)} [style=dashed, color="{_BLUE}", fontcolor="{_BLUE}", label=" eBGP "];'
    for session in topology.bgp_sessions:
        one, other = session.between
        label = _quoted(" eBGP, no tunnel ")
        yield f'  {_quoted(one)} -- {_quoted(other)} [constraint=false, style=dashed, color="{_RED}", fontcolor="{_RED}", label={label}];'


def _title(topology: Topology) -> Iterator[str]:
    yield f"  label={_quoted(topology.name, topology.description) if topology.description else _quoted(topology.name)};"
