"""The compiler: a topology becomes a plan in a flat list of passes, each a pure function of what the earlier ones found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from testbed.azure.domains import domains
from testbed.azure.hubs import hubs
from testbed.azure.networks import layout
from testbed.azure.peering import Connections, connections
from testbed.model.addresses import public_addresses
from testbed.model.links import link_between
from testbed.model.topology import Probe, Topology
from testbed.plan import addressing, nodes, onprem
from testbed.plan.inventory import Station, plug, public_sites, stations
from testbed.plan.overlay import tunnels
from testbed.plan.sessions import sessions
from testbed.plan.shapes import shape_of, unsupported
from testbed.plan.templates import Templates
from testbed.plan.time_lapse import quickened
from testbed.plan.types import INTERNET, Bridge, Capabilities, LoadBalancerPlan, Nic, Node, PeeringEnd, PeeringLink, Plan, ProbePlan, Wire

FORMAT = 1


def compile_plan(
    topology: Topology, *, lab: str | None = None, templates: Mapping[str, str], capabilities: Capabilities | None = None
) -> Plan:
    """What to build for a topology. The same arguments give the same plan, byte for byte as JSON.

    ``topology`` comes from ``load_topology`` (all addresses filled in); ``lab`` is its own name when None; ``templates`` are the texts
    of ``load_templates``, and under ``user/NVA`` each NVA's own ``frr_config``. Raises InputError for a broken template.
    """
    name = lab or topology.name
    able = capabilities or Capabilities()
    connected = connections(topology)
    bridges = _bridges(name, topology)
    all_domains = domains(topology, connected)
    placed = stations(topology)
    nics = plug(name, topology, (*placed, *public_sites(topology)), bridges, all_domains)
    found = hubs(topology, connected)
    plan = layout(topology, found, connected)
    overlay = tunnels(topology, plan, nics)
    spoken = sessions(topology, plan)
    design = nodes.Design(topology, plan, found, nics, overlay, spoken, Templates(templates), templates, able)
    wires = onprem.wires(name, topology, plan, able)
    return Plan(
        format=FORMAT,
        lab=name,
        lab_id=addressing.lab_id(name),
        topology=topology.name,
        fabric=addressing.fabric_name(name),
        capabilities=able,
        bridges=tuple(bridges.values()),
        peerings=(*_peerings(name, topology, connected, bridges, able), *_uplinks(name, bridges, nics)),
        nodes=tuple(quickened(node, topology.timers.time_lapse) for node in _nodes(name, placed, design, wires)),
        wires=wires,
        tunnels=overlay,
        sessions=spoken.peerings,
        load_balancers=_load_balancers(topology),
        hubs=found,
        domains=all_domains,
        time_lapse=topology.timers.time_lapse,
        restart=topology.supervision.restart,
        unsupported=tuple(unsupported(topology, able)),
    )


def _bridges(lab: str, topology: Topology) -> dict[str, Bridge]:
    """A bridge a VNet, by the VNet's name; and the Internet's where anyone has a public address (E9)."""
    bridges = {
        vnet: Bridge(
            id=addressing.bridge_id(lab, number),
            dpid=addressing.dpid(lab, number),
            vnet=vnet,
            region=topology.region_of(vnet),
            address_space=tuple(str(prefix) for prefix in declared.address_space),
        )
        for number, (vnet, declared) in enumerate(topology.vnets().items(), start=1)
    }
    if any(public_addresses(topology)):
        number = len(bridges) + 1
        bridges[INTERNET] = Bridge(addressing.bridge_id(lab, number), addressing.dpid(lab, number), INTERNET, "", ())
    return bridges


def _uplinks(lab: str, bridges: dict[str, Bridge], nics: Mapping[str, tuple[Nic, ...]]) -> tuple[PeeringLink, ...]:
    """A link to the Internet from each VNet that has a public address."""
    number = {vnet: place for place, vnet in enumerate(bridges, start=1)}
    public = {nic.vnet for each in nics.values() for nic in each if nic.public_ip is not None}
    return tuple(
        PeeringLink((_uplink(lab, bridges, number, vnet, INTERNET), _uplink(lab, bridges, number, INTERNET, vnet)), "patch")
        for vnet in bridges
        if vnet in public
    )


def _uplink(lab: str, bridges: dict[str, Bridge], number: dict[str, int], vnet: str, peer: str) -> PeeringEnd:
    port_id, port = addressing.peering_port_id(lab, number[vnet], number[peer]), addressing.peering_port(number[peer])
    return PeeringEnd(port_id, bridges[vnet].id, port, peer, (), "translated")


def _peerings(
    lab: str, topology: Topology, connected: Connections, bridges: dict[str, Bridge], capabilities: Capabilities
) -> Iterator[PeeringLink]:
    """A link for each connected peering (P1)."""
    number = {vnet: place for place, vnet in enumerate(bridges, start=1)}
    for vnet in bridges:
        for peer in (each.peer for each in connected.peers(vnet) if number[vnet] < number[each.peer]):
            ends = _end(lab, connected, bridges, number, vnet, peer), _end(lab, connected, bridges, number, peer, vnet)
            one, other = bridges[vnet].region, bridges[peer].region
            if one == other:
                yield PeeringLink(ends, "patch")
            else:
                yield PeeringLink(ends, "veth", shape_of(link_between(topology, one, other), capabilities))


def _end(lab: str, connected: Connections, bridges: dict[str, Bridge], number: dict[str, int], vnet: str, peer: str) -> PeeringEnd:
    return PeeringEnd(
        id=addressing.peering_port_id(lab, number[vnet], number[peer]),
        bridge=bridges[vnet].id,
        port=addressing.peering_port(number[peer]),
        peer_vnet=peer,
        peer_space=bridges[peer].address_space,
        accept=connected.accept(vnet, peer),
    )


def _load_balancers(topology: Topology) -> tuple[LoadBalancerPlan, ...]:
    return tuple(
        LoadBalancerPlan(name, balancer.subnet.partition("/")[0], str(balancer.ip), balancer.backends, _probe(balancer.probe))
        for name, balancer in topology.load_balancers.items()
    )


def _nodes(lab: str, placed: tuple[Station, ...], design: nodes.Design, links: tuple[Wire, ...]) -> tuple[Node, ...]:
    """Every node with what is set inside it; those outside the fabric last, so that they renumber none of the others."""
    makers = {"nva": nodes.nva, "vm": nodes.vm, "route_server": nodes.route_server}
    built = [
        makers.get(each.kind, nodes.gateway)(addressing.node_id(lab, place), each, design) for place, each in enumerate(placed, start=1)
    ]
    outside = enumerate(onprem.names(design.topology), start=len(built) + 1)
    return (*built, *(onprem.node(addressing.node_id(lab, place), name, design, links) for place, name in outside))


def _probe(probe: Probe | None) -> ProbePlan | None:
    return None if probe is None else ProbePlan(probe.port, probe.interval, probe.threshold)
