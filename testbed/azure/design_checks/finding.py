"""What the checks of a design give back, and what they all look at."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from functools import cached_property

from msgspec import Struct

from testbed.azure.control_plane import ControlPlane
from testbed.azure.design_checks.catalogue import CATALOGUE, Severity
from testbed.azure.lookup import MASKS, parse
from testbed.azure.networks import nva_nics
from testbed.azure.peering import Connections, connections
from testbed.azure.types import Address, Domain, Hub, Prefix, Session
from testbed.model.addresses import route_server_addresses
from testbed.model.topology import Topology

SHOWN = 5


class Finding(Struct, frozen=True):
    """One mistake: where it stands (a dotted path of the topology file), what is concerned, and what to write instead.

    ``override`` replaces the catalogue's severity where the case is milder.
    """

    code: str
    path: str
    message: str
    remedy: str
    override: Severity | None = None

    @property
    def severity(self) -> Severity:
        """How much it matters."""
        return self.override or CATALOGUE[self.code].severity


class Injections:
    """Injected routes, and quickly those inside a space: hundreds of VNets ask about thousands of routes."""

    def __init__(self, hops: Mapping[Prefix, tuple[Address, ...]]) -> None:
        self.hops = hops
        self._ordered = sorted((*parse(prefix), prefix) for prefix in hops)

    def inside(self, space: Prefix) -> list[Prefix]:
        """The prefixes equal to a space or inside it."""
        network, length = parse(space)
        end = network | ~MASKS[length] & 0xFFFFFFFF
        return [
            prefix for _, _, prefix in self._ordered[bisect_left(self._ordered, (network, length)) : bisect_left(self._ordered, (end, 33))]
        ]

    def protected(self, domain: Domain) -> set[Prefix]:
        """Those that a domain never gets, as they are inside its VNet or a peer (RS9)."""
        return {prefix for space in domain.protected for prefix in self.inside(space)}


class Case:
    """A design under examination: the topology, its converged control plane, and what is often asked of them.

    ``frr_texts`` are the texts of the NVAs' own FRR configurations, by NVA.
    """

    def __init__(self, plane: ControlPlane, frr_texts: Mapping[str, str] | None = None) -> None:
        self.plane = plane
        self.topology: Topology = plane.topology
        self.frr_texts = frr_texts or {}

    @cached_property
    def connected(self) -> Connections:
        """The connected peerings."""
        return connections(self.topology)

    @cached_property
    def hubs(self) -> dict[str, Hub]:
        """The hubs by VNet."""
        return {hub.vnet: hub for hub in self.plane.hubs}

    @cached_property
    def sides(self) -> dict[tuple[str, str], str]:
        """The path of each side of a peering."""
        return {(side.from_, side.to): f"peerings[{number}]" for number, side in reversed([*enumerate(self.topology.peerings)])}

    @cached_property
    def vnet_paths(self) -> dict[str, str]:
        """The path of each VNet."""
        return {vnet: f"regions.{name}.vnets.{vnet}" for name, region in self.topology.regions.items() for vnet in region.vnets}

    @cached_property
    def owners(self) -> dict[Address, list[tuple[str, str]]]:
        """Who has an address: (VNet, label) of NICs and load balancers; the same address may be in VNets that do not meet."""
        found: dict[Address, list[tuple[str, str]]] = {}
        for name, nva in self.topology.nvas.items():
            for label, nic in nva_nics(name, nva):
                found.setdefault(str(nic.ip), []).append((nic.subnet.partition("/")[0], label))
        for name, vm in self.topology.vms.items():
            found.setdefault(str(vm.ip), []).append((vm.subnet.partition("/")[0], name))
        for name, balancer in self.topology.load_balancers.items():
            found.setdefault(str(balancer.ip), []).append((balancer.subnet.partition("/")[0], name))
        for node, speaker in self.plane.layout.speakers.items():
            vnet = next(hub.vnet for hub in self.plane.hubs if speaker in hub.speakers)
            found.setdefault(speaker.address, []).append((vnet, node))
        return found

    @cached_property
    def route_server_addresses(self) -> dict[Address, str]:
        """The Route Server instances' addresses, and whose they are."""
        return {address: name for name in self.topology.route_servers for address in route_server_addresses(self.topology, name)}

    @cached_property
    def nva_sessions(self) -> tuple[tuple[Hub, Session], ...]:
        """The sessions of Route Servers with NVAs, with the hub."""
        hubs = {hub.route_server: hub for hub in self.plane.hubs if hub.route_server is not None}
        return tuple(
            (hubs[session.server], session)
            for session in self.plane.sessions
            if session.server in hubs and session.peer in self.topology.nvas
        )

    def injected(self, hub: str) -> Injections:
        """What the Route Server and gateways of a hub inject, from either instance."""
        if hub not in self._injections:
            self._injections[hub] = Injections({**self.plane.injected(hub, 1), **self.plane.injected(hub, 0)})
        return self._injections[hub]

    @cached_property
    def _injections(self) -> dict[str, Injections]:
        return {}

    def nva_of(self, label: str) -> str | None:
        """The NVA that a NIC label belongs to, or None."""
        name = label.partition("/")[0]
        return name if name in self.topology.nvas else None


def some(names: Iterable[object], limit: int = SHOWN) -> str:
    """The first few of a list, and how many more there are."""
    every = [str(name) for name in dict.fromkeys(names)]
    rest = f" and {len(every) - limit} more" if len(every) > limit else ""
    return f"{', '.join(every[:limit])}{rest}"


def counted(number: int, noun: str) -> str:
    """``1 prefix``, ``3 prefixes``."""
    ending = "es" if noun.endswith(("x", "s")) else "s"
    return f"{number} {noun}" if number == 1 else f"{number} {noun}{ending}"
