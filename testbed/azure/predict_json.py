"""The predicted state as JSON: effective, learned and advertised routes in Azure's own shape, tables of gateways, MSEEs and sites."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec.structs import replace

from testbed.azure.control_plane import ControlPlane
from testbed.azure.domains import home
from testbed.azure.effective_routes import effective_routes
from testbed.azure.json_shapes import advertised_json, as_path_text, effective_json, learned_json
from testbed.azure.networks import MSEES, VPN, msee_name, nva_nics
from testbed.azure.types import Address, Domain, Path, Prefix, Row, Session
from testbed.model.addresses import GATEWAY_SUBNET, ROUTE_SERVER_SUBNET
from testbed.model.topology import Topology


def predict_json(plane: ControlPlane, nics: Iterable[str] | None = None) -> dict[str, Any]:
    """Everything predicted, for ``predict --json``. ``nics`` limits the effective routes to some labels; all when None.

    ``effectiveRoutes`` is by NIC label, ``learnedRoutes`` and ``advertisedRoutes`` by Route Server and peer, ``gateways`` by gateway,
    ``sites`` by site, ``msees`` by circuit and router.
    """
    topology = plane.topology
    labels = nic_subnets(topology) if nics is None else nics
    return {
        "name": topology.name,
        "settled": plane.settled,
        "oscillating": list(plane.oscillating),
        "unmodelled": dict(plane.unmodelled),
        "sessionsDown": {_title(session): plane.down(session) for session in plane.sessions if plane.down(session)},
        "effectiveRoutes": {label: effective_of(plane, label) for label in labels},
        "learnedRoutes": {
            rs: {peer: learned_of(plane, rs, peer) for peer in server.peers} for rs, server in topology.route_servers.items()
        },
        "advertisedRoutes": {
            rs: {peer: advertised_of(plane, rs, peer) for peer in server.peers} for rs, server in topology.route_servers.items()
        },
        "gateways": {name: gateway_learned(plane, name) for name in topology.gateways},
        "sites": {name: router_learned(plane, name) for name in topology.sites},
        "msees": {
            msee_name(name, number): router_learned(plane, msee_name(name, number)) for name in topology.circuits for number in MSEES
        },
    }


def nic_subnets(topology: Topology) -> dict[str, str]:
    """Every NIC in a VNet by label, with its subnet as ``VNET/SUBNET``: Route Server and gateway instances (which Azure itself
    does not show), NVAs, VMs.
    """
    found: dict[str, str] = {}
    for name, server in topology.route_servers.items():
        found |= {f"{name}-{instance}": f"{server.vnet}/{ROUTE_SERVER_SUBNET}" for instance in (0, 1)}
    for name, gateway in topology.gateways.items():
        instances = (0, 1) if gateway.active_active or gateway.type == "expressroute" else (0,)
        found |= {f"{name}-{instance}": f"{gateway.vnet}/{GATEWAY_SUBNET}" for instance in instances}
    for name, nva in topology.nvas.items():
        found |= {label: nic.subnet for label, nic in nva_nics(name, nva)}
    return found | {name: vm.subnet for name, vm in topology.vms.items()}


def domain_of(plane: ControlPlane, label: str) -> Domain:
    """The routing domain of a NIC. Raises KeyError when there is no such NIC."""
    subnet = nic_subnets(plane.topology)[label]
    return next(domain for domain in plane.domains if subnet in domain.subnets)


def effective_rows(plane: ControlPlane, label: str) -> tuple[Row, ...]:
    """The effective routes of a NIC. Raises KeyError when there is no such NIC."""
    domain = domain_of(plane, label)
    injected: Mapping[Prefix, tuple[Address, ...]] = plane.injected(domain.hub, home(label)) if domain.hub is not None else {}
    return effective_routes(domain, injected)


def effective_of(plane: ControlPlane, label: str) -> dict[str, Any]:
    """The effective routes of a NIC as Azure prints them. Raises KeyError when there is no such NIC."""
    return effective_json(effective_rows(plane, label), not domain_of(plane, label).propagate)


def learned_of(plane: ControlPlane, route_server: str, peer: str) -> dict[str, Any]:
    """What the two instances of a Route Server learned from a peer; dropped paths show nowhere (RS8). Raises KeyError."""
    nva = plane.topology.nvas[peer]
    tables: dict[Address, list[Path]] = {}
    source = str(nva.ip)
    for session, address in _sessions(plane, route_server, peer):
        tables[address] = [each.path for each in plane.received(session) if not each.dropped]
        source = plane.peer_address(session)
    return learned_json(tables, source)


def advertised_of(plane: ControlPlane, route_server: str, peer: str) -> dict[str, Any]:
    """What the two instances of a Route Server send to a peer (RS7)."""
    return advertised_json({address: plane.advertised(session) for session, address in _sessions(plane, route_server, peer)})


def gateway_learned(plane: ControlPlane, name: str) -> dict[str, Any]:
    """What a gateway knows, as ``az network vnet-gateway list-learned-routes -o json`` prints it: its own networks, and what it
    learned from on-premises (EBgp) and from the Route Server (IBgp, as its ASN is the gateway's own).
    """
    rows: list[dict[str, Any]] = []
    for address, instance in _instances(plane, name):
        for prefix, routes in plane.rib(instance).items():
            for route in routes:
                if not route.dropped:
                    origin = "Network" if not route.peer else "IBgp" if _asn(plane, route.peer) == _asn(plane, instance) else "EBgp"
                    rows.append(_row(prefix, route.path, address, route.peer or address, origin))
    return {"value": rows}


def router_learned(plane: ControlPlane, name: str) -> dict[str, Any]:
    """What a site or an MSEE learned and did not drop, in the same shape. A VPN gateway goes by its BGP address, that in GatewaySubnet."""
    shown = _bgp_addresses(plane)
    rows = [
        _row(prefix, replace(route.path, next_hop=shown.get(route.path.next_hop, route.path.next_hop)), "", route.peer, "EBgp")
        for prefix, routes in plane.rib(name).items()
        for route in routes
        if route.peer and not route.dropped
    ]
    return {"value": rows}


def _bgp_addresses(plane: ControlPlane) -> dict[Address, Address]:
    """The addresses of VPN gateways on the links of this testbed's own, which Azure has not, and what stands for them in Azure (GW1)."""
    links = ((each.a, plane.layout.speakers[each.a.router]) for each in plane.layout.network.adjacencies if each.kind == VPN)
    return {end.address: speaker.address for end, speaker in links}


def _row(prefix: Prefix, path: Path, local: Address, peer: str, origin: str) -> dict[str, Any]:
    return {
        "asPath": as_path_text(path.as_path),
        "localAddress": local,
        "network": prefix,
        "nextHop": path.next_hop,
        "origin": origin,
        "sourcePeer": peer,
    }


def _sessions(plane: ControlPlane, server: str, peer: str) -> list[tuple[Session, Address]]:
    """The sessions of a Route Server's instances with a peer, and the instances' addresses."""
    return [(each, plane.address(each)) for each in plane.sessions if each.server == server and each.peer == peer]


def _asn(plane: ControlPlane, router: str) -> int:
    return plane.layout.network.routers[router].asn


def _instances(plane: ControlPlane, server: str) -> list[tuple[Address, str]]:
    return [(speaker.address, node) for node, speaker in plane.layout.speakers.items() if speaker.server == server]


def _title(session: Session) -> str:
    return f"{session.server}-{session.instance} {session.peer}"
