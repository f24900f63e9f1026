"""Which BGP sessions a design has, between whom, and with which policies: the topology as a `bgp.Network`.

Azure's side is by the rules (RS3, RS7, RS13, GW2-GW5); what NVAs send is in `nva_policy`. A site is an eBGP router that passes on
what it learned, but keeps circuits, VPN connections and tunnels apart: MSEEs strip private ASNs, so a loop through a circuit would
not be seen. Between circuits it passes on what a gateway does not have already. A circuit for which it says what to ``advertise``
is transport for tunnels only (GW6): nothing learned there goes elsewhere, and routes learned in tunnels are preferred.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from msgspec import Struct

from testbed.azure import nva_policy
from testbed.azure.bgp import DEFAULT_ROUTE, LOCAL, Adjacency, End, Exports, Imports, Network, Router
from testbed.azure.lookup import PrefixMap, covers
from testbed.azure.nva_policy import OVERLAY, ROUTE_SERVER, SITE, UNDERLAY
from testbed.azure.peering import Connections
from testbed.azure.types import Address, Hub, Prefix, Session, Speaker
from testbed.errors import InputError
from testbed.model.addresses import subnet_of
from testbed.model.topology import ExtraNic, Nva, Site, SiteCircuit, Topology, Tunnel

NVA = "nva"
VPN = "vpn"
EXPRESSROUTE = "expressroute"
GATEWAY = "gateway"
MSEE = "msee"
TRANSPORT = "transport"
MSEES = (0, 1)
PREFERRED = 200


Links = Mapping[tuple[str, str], tuple[Address, Address]]


class Layout(Struct, frozen=True):
    """The BGP side of a design. ``speakers`` are Azure's instances by node name; ``unmodelled`` NVAs with the reason;
    ``links`` the addresses of all links outside the VNets (see `link_addresses`).
    """

    network: Network
    speakers: Mapping[str, Speaker]
    unmodelled: Mapping[str, str]
    links: Links

    def sessions(self) -> Iterator[tuple[int, Session]]:
        """Each session of an Azure-side speaker with the flow that leads to it; the flow away from it is that number XOR 1."""
        for number, adjacency in enumerate(self.network.adjacencies):
            for side, (end, peer) in enumerate(((adjacency.a, adjacency.b), (adjacency.b, adjacency.a))):
                speaker = self.speakers.get(end.router)
                if speaker is not None:
                    yield 2 * number + 1 - side, Session(speaker.server, speaker.instance, peer.router)


def layout(topology: Topology, hubs: Iterable[Hub], connected: Connections) -> Layout:
    """All routers and sessions of ``topology``, whose addresses must be filled in. Sessions that cannot come up say why."""
    hubs = tuple(hubs)
    speakers = {instance_name(speaker): speaker for hub in hubs for speaker in hub.speakers}
    unmodelled = {
        name: f"{name} runs an FRR configuration of its own ({nva.frr_config}), which is not modelled"
        for name, nva in topology.nvas.items()
        if nva.frr_config is not None
    }
    routers = {router.name: router for router in _routers(topology, hubs)}
    links = link_addresses(topology)
    prefixes = frozenset(prefix for router in routers.values() for prefix in router.originates)
    work = _Builder(topology, connected, unmodelled, links, prefixes)
    adjacencies = [adjacency for hub in hubs for adjacency in work.of_hub(hub)]
    adjacencies += [*work.tunnels(), *work.underlay(), *work.connections(hubs), *work.circuits(hubs)]
    return Layout(Network(routers, tuple(adjacencies)), speakers, unmodelled, links)


def instance_name(speaker: Speaker) -> str:
    """The node of an Azure-side instance: ``rs1-0``."""
    return f"{speaker.server}-{speaker.instance}"


def msee_name(circuit: str, number: int) -> str:
    """The node of a circuit's primary (0) or secondary (1) Microsoft edge router."""
    return f"{circuit}-msee{number}"


def tunnel_name(tunnel: Tunnel) -> str:
    """What a tunnel is called: its name, or its two ends."""
    return tunnel.name or "-".join(tunnel.between)


def nva_nics(name: str, nva: Nva) -> Iterator[tuple[str, Nva | ExtraNic]]:
    """The NICs of an NVA by label, the first one first."""
    yield name, nva
    for nic in nva.extra_nics:
        yield f"{name}/{nic.name}", nic


def link_addresses(topology: Topology) -> Links:
    """The /31 of each link outside the VNets, by a name of the link and of its kind, from the overlay pool in this order.

    Tunnels (``("tunnel", its place in the topology)``), VPN connections (``("vpn", GATEWAY-INSTANCE SITE)``: the gateway's end
    first), circuits (``("circuit", GATEWAY-INSTANCE MSEE)`` and ``("circuit", MSEE SITE)``). Raises InputError when there are too few.
    """
    keys = [("tunnel", str(number)) for number in range(len(topology.tunnels))]
    for site_name, site in topology.sites.items():
        keys += [("vpn", f"{gateway}-{instance} {site_name}") for gateway in site.connections for instance in (0, 1)]
    for name, circuit in topology.circuits.items():
        for number in MSEES:
            msee = msee_name(name, number)
            keys += [("circuit", f"{gateway}-{instance} {msee}") for gateway in circuit.gateways for instance in (0, 1)]
            keys += [("circuit", f"{msee} {site_name}") for site_name, site in topology.sites.items() if name in site.circuits]
    pool = topology.overlay_pool
    if 2 * len(keys) > pool.num_addresses:
        raise InputError(f"overlay_pool: {pool} is too small for {len(keys)} tunnels, connections and circuits", "use a larger network")
    pairs = islice(pool.subnets(new_prefix=31), len(keys)) if keys else ()
    return {key: (str(pair[0]), str(pair[1])) for key, pair in zip(keys, pairs, strict=True)}


def _routers(topology: Topology, hubs: Iterable[Hub]) -> Iterator[Router]:
    for hub in hubs:
        for speaker in hub.speakers:
            yield Router(
                name=instance_name(speaker),
                asn=speaker.asn,
                router_id=speaker.address,
                originates=frozenset(hub.advertised),
                maximum_paths=1 if speaker.kind == EXPRESSROUTE and hub.route_server else hub.ecmp,  # GW4
            )
    for name, nva in topology.nvas.items():
        if nva.frr_config is None:
            yield nva_policy.router(name, nva, str(nva.ip))
    for place, (name, circuit) in enumerate(topology.circuits.items()):
        for number in MSEES:
            yield Router(msee_name(name, number), circuit.asn, f"169.254.{place % 256}.{number + 1}", maximum_paths=topology.limits.ecmp)
    for place, (name, site) in enumerate(topology.sites.items()):
        yield Router(name, site.asn, f"169.254.{place % 256}.255", _site_prefixes(site), maximum_paths=topology.limits.ecmp)


def _site_prefixes(site: Site) -> frozenset[Prefix]:
    """All that a site originates on any session."""
    special = [settings.advertise or () for settings in site_circuits(site).values()]
    return frozenset(str(prefix) for prefixes in (site.prefixes, site.loopbacks, *special) for prefix in prefixes)


def site_circuits(site: Site) -> Mapping[str, SiteCircuit]:
    """What a site does on each of its circuits, by the circuit's name."""
    return site.circuits if isinstance(site.circuits, dict) else {name: SiteCircuit() for name in site.circuits}


def _preference(hub: Hub, kind: str) -> int:
    """The local preference by which an instance prefers what it learned: ExpressRoute before all else, or after it (RS10)."""
    if hub.preference == "ASPath":
        return 100
    return PREFERRED if (kind == EXPRESSROUTE) == (hub.preference == "ExpressRoute") else 100


class _Builder:
    """Makes the adjacencies of one topology."""

    def __init__(
        self,
        topology: Topology,
        connected: Connections,
        unmodelled: Mapping[str, str],
        links: Links,
        prefixes: frozenset[Prefix],
    ) -> None:
        self._topology = topology
        self._connected = connected
        self._unmodelled = unmodelled
        self._links = links
        self._prefixes = prefixes
        self._servers: dict[str, tuple[str, ...]] = {
            name: tuple(each for each, server in topology.route_servers.items() if name in server.peers) for name in topology.nvas
        }

    def of_hub(self, hub: Hub) -> Iterator[Adjacency]:
        """The sessions of a Route Server: with its NVAs, and by iBGP with the gateways of its VNet (RS3, GW2)."""
        instances = [speaker for speaker in hub.speakers if speaker.kind == ROUTE_SERVER]
        if hub.route_server is None:
            return
        spaces = PrefixMap(dict.fromkeys(hub.unlearned))
        own = frozenset(prefix for prefix in self._prefixes if spaces.covering(prefix) is not None)
        imports = Imports(_preference(hub, NVA), refuse=own, reason="RS9: inside the VNet's own address space")
        for place, peer in enumerate(self._topology.route_servers[hub.route_server].peers):
            for speaker in instances:
                if peer in self._topology.nvas and speaker.instance in nva_policy.instances(self._topology.nvas[peer], speaker.server):
                    yield self._with_nva(hub, speaker, peer, place, imports)
        if hub.branch_to_branch:
            gateways = [speaker for speaker in hub.speakers if speaker.kind != ROUTE_SERVER]
            yield from (_with_gateway(hub, speaker, gateway) for speaker in instances for gateway in gateways)

    def _with_nva(self, hub: Hub, speaker: Speaker, peer: str, place: int, imports: Imports) -> Adjacency:
        """RS7, RS13: towards an NVA go the address spaces and, with branch-to-branch, what the gateways learned."""
        sources = {LOCAL}
        if hub.branch_to_branch:
            sources |= {VPN, EXPRESSROUTE} | ({NVA} if hub.reflect_nva_routes else set())
        nva = self._topology.nvas[peer]
        nic = self._nic_towards(nva, hub.vnet)
        down = self._unmodelled.get(peer, "")
        if place >= self._topology.limits.peers:
            down = f"RS6: {speaker.server} has {self._topology.limits.peers} peers already"
        elif nic is None:
            down = f"RS3: {peer} is neither in {hub.vnet} nor in a VNet peered with it"
        return Adjacency(
            ROUTE_SERVER,
            End(instance_name(speaker), speaker.address, NVA, imports, Exports(frozenset(sources))),
            self._nva_end(peer, str((nic or nva).ip), speaker.server, self._server_role(peer, speaker.server)),
            down=down,
        )

    def _nva_end(self, name: str, address: Address, neighbor: str, role: str) -> End:
        servers = frozenset(self._server_role(name, server) for server in self._servers.get(name, ())) or nva_policy.ONE_SERVER
        return End(name, address, role, Imports(), nva_policy.exports(self._topology.nvas[name], neighbor, role, servers))

    def _server_role(self, nva: str, server: str) -> str:
        """What a Route Server is to an NVA: with its name where the NVA has several, between which it passes routes on."""
        return ROUTE_SERVER if len(self._servers.get(nva, ())) < 2 else f"{ROUTE_SERVER} {server}"

    def _nic_towards(self, nva: Nva, vnet: str) -> Nva | ExtraNic | None:
        """The first NIC of the NVA from which ``vnet`` is reached (P1, P4)."""
        return next((nic for _, nic in nva_nics("", nva) if self._reaches(nic.subnet.partition("/")[0], vnet)), None)

    def _reaches(self, vnet: str, other: str) -> bool:
        peering = self._connected.between(vnet, other)
        return vnet == other or (peering is not None and peering.access)

    def tunnels(self) -> Iterator[Adjacency]:
        """BGP inside the tunnels."""
        for number, tunnel in enumerate(self._topology.tunnels):
            if tunnel.bgp:
                addresses = self._links[("tunnel", str(number))]
                a, b = tunnel.between
                yield Adjacency(
                    OVERLAY,
                    self._tunnel_end(a, b, addresses[0]),
                    self._tunnel_end(b, a, addresses[1]),
                    device=tunnel_name(tunnel),
                    down=self._unmodelled.get(a) or self._unmodelled.get(b) or self._no_way(tunnel),
                )

    def _tunnel_end(self, name: str, other: str, address: Address) -> End:
        topology = self._topology
        if name in topology.sites:
            return _site_end(name, topology.sites[name], address, NVA, frozenset({NVA}))
        role = SITE if other in topology.sites else OVERLAY
        return self._nva_end(name, address, other, role)

    def _no_way(self, tunnel: Tunnel) -> str:
        """Why the outer packets of a tunnel between two NVAs cannot arrive: private addresses need a peering (P1)."""
        ends = [self._topology.nvas.get(name) for name in tunnel.between]
        if None in ends or tunnel.over == "public":
            return ""
        one, other = (end.subnet.partition("/")[0] for end in ends if end is not None)
        return "" if self._reaches(one, other) else f"P1: {one} and {other} are not connected by a peering"

    def underlay(self) -> Iterator[Adjacency]:
        """eBGP between NVAs without encapsulation."""
        for session in self._topology.bgp_sessions:
            a, b = session.between
            one, other = self._topology.nvas[a], self._topology.nvas[b]
            vnets = one.subnet.partition("/")[0], other.subnet.partition("/")[0]
            down = self._unmodelled.get(a) or self._unmodelled.get(b) or ""
            if not self._reaches(*vnets):
                down = f"P1: {vnets[0]} and {vnets[1]} are not connected by a peering"
            shared = str(subnet_of(self._topology, one.subnet))
            yield Adjacency(
                UNDERLAY,
                self._nva_end(a, str(one.ip), b, UNDERLAY),
                self._nva_end(b, str(other.ip), a, UNDERLAY),
                shared=shared if one.subnet == other.subnet and covers(shared, str(other.ip)) else None,
                down=down,
            )

    def connections(self, hubs: Iterable[Hub]) -> Iterator[Adjacency]:
        """VPN gateways and sites. A VPN gateway passes on between its sites and never sends 0.0.0.0/0 (GW4)."""
        for hub in hubs:
            for speaker in (each for each in hub.speakers if each.kind == VPN):
                for name, site in self._topology.sites.items():
                    if speaker.server in site.connections:
                        near, far = self._links[("vpn", f"{instance_name(speaker)} {name}")]
                        exports = Exports(frozenset({LOCAL, ROUTE_SERVER, SITE}), deny=frozenset({DEFAULT_ROUTE}))
                        gateway = End(instance_name(speaker), near, SITE, Imports(_preference(hub, VPN)), exports)
                        yield Adjacency(
                            VPN,
                            gateway,
                            _site_end(name, site, far, GATEWAY, frozenset({GATEWAY})),
                            device=f"{instance_name(speaker)}-{name}",
                        )

    def circuits(self, hubs: Iterable[Hub]) -> Iterator[Adjacency]:
        """ExpressRoute: gateway instances with both MSEEs of a circuit, these with the sites on it."""
        owners = {speaker: hub for hub in hubs for speaker in hub.speakers if speaker.kind == EXPRESSROUTE}
        for name, circuit in self._topology.circuits.items():
            for number in MSEES:
                msee = msee_name(name, number)
                for speaker, hub in owners.items():
                    if speaker.server in circuit.gateways:
                        yield self._gateway_on_circuit(hub, speaker, msee)
                for site_name, site in self._topology.sites.items():
                    if name in site.circuits:
                        yield self._site_on_circuit(name, msee, site_name, site)

    def _gateway_on_circuit(self, hub: Hub, speaker: Speaker, msee: str) -> Adjacency:
        """The MSEE tells a gateway of sites and of other gateways; the latter drops out by 65515 in the path (GW5)."""
        near, far = self._links[("circuit", f"{instance_name(speaker)} {msee}")]
        exports = Exports(frozenset({LOCAL, ROUTE_SERVER}))
        gateway = End(instance_name(speaker), near, MSEE, Imports(_preference(hub, EXPRESSROUTE)), exports)
        edge = End(msee, far, GATEWAY, Imports(allow_own_as=True), Exports(frozenset({SITE, GATEWAY})))
        return Adjacency(EXPRESSROUTE, gateway, edge, device=f"{instance_name(speaker)}-{msee}")

    def _site_on_circuit(self, circuit: str, msee: str, name: str, site: Site) -> Adjacency:
        """GW3: the MSEE accepts paths with its own ASN, and strips private ASNs towards on-premises."""
        near, far = self._links[("circuit", f"{msee} {name}")]
        edge = End(msee, near, SITE, Imports(allow_own_as=True), Exports(frozenset({GATEWAY}), remove_private=True))
        settings = site_circuits(site)[circuit]
        prepend = settings.prepend if "prepend" in settings.model_fields_set else site.prepend
        if settings.advertise is None:
            customer = _site_end(name, site, far, MSEE + circuit, frozenset(self._passed_on_to(circuit, site)), prepend)
        else:
            only = frozenset(map(str, settings.advertise))
            customer = End(name, far, TRANSPORT, Imports(), Exports(frozenset({LOCAL}), only=only, prepend=prepend))
        return Adjacency(EXPRESSROUTE, edge, customer, device=f"{msee}-{name}")

    def _passed_on_to(self, circuit: str, site: Site) -> Iterator[str]:
        """The site's other circuits, as the roles of their MSEEs, that share no gateway with this one."""
        gateways = {name: set(declared.gateways) for name, declared in self._topology.circuits.items()}
        return (MSEE + other for other in site_circuits(site) if other != circuit and not gateways[other] & gateways[circuit])


def _with_gateway(hub: Hub, speaker: Speaker, gateway: Speaker) -> Adjacency:
    """GW2: the gateway tells what it learned on-premises, with itself as next hop; the Route Server what NVAs told it, and it
    reflects between gateways of different kinds. RS11: next hops stay as they are.
    """
    other = EXPRESSROUTE if gateway.kind == VPN else VPN
    down = Exports(frozenset({NVA, other}), reflect=True, keep_next_hop=True)
    up = Exports(frozenset({SITE, MSEE}), next_hop=gateway.address)
    return Adjacency(
        GATEWAY,
        End(instance_name(speaker), speaker.address, gateway.kind, Imports(_preference(hub, gateway.kind)), down),
        End(instance_name(gateway), gateway.address, ROUTE_SERVER, Imports(_preference(hub, NVA)), up),
    )


def _site_end(name: str, site: Site, address: Address, role: str, passes: frozenset[str], prepend: int | None = None) -> End:
    """A site's end of a session; ``role`` is what its neighbour is to it, ``passes`` the roles whose routes it passes on there.

    Its loopbacks go on links, not into tunnels.
    """
    transport = any(settings.advertise is not None for settings in site_circuits(site).values())
    own = (*site.prefixes, *(() if role == NVA else site.loopbacks))
    exports = Exports(
        sources=passes | {LOCAL},
        only=frozenset(map(str, own)),
        prepend=site.prepend if prepend is None else prepend,
    )
    return End(name, address, role, Imports(PREFERRED if transport and role == NVA else 100), exports)
