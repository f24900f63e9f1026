"""Which senders and destinations of a design no table tells apart: one of each stands for all when packets are walked.

Two destinations are alike when the same prefixes of the same lengths with the same next hops contain them in every table: injected
routes, user-defined routes, forwarding tables of routers. VNets with nothing but VMs are alike when they also have the same peers, flags
and route tables; then one of them is walked against all others, itself, and one other of its kind.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

from msgspec import Struct

from testbed.azure.control_plane import ControlPlane
from testbed.azure.domains import user_routes
from testbed.azure.lookup import MASKS, PrefixMap, contains, parse, parse_address, render
from testbed.azure.system_routes import RESERVED_SPACES
from testbed.azure.types import Address, Prefix
from testbed.plan.decisions import NO_ROUTE, Decisions
from testbed.plan.fabric_index import FabricIndex
from testbed.plan.merged import Merged
from testbed.plan.types import Nic

ROUTERS = ("nva", "vpn", "expressroute", "msee", "site")


class Endpoint(Struct, frozen=True):
    """Something that sends and receives: a NIC of a VM or NVA, or a host on-premises (``vnet`` is empty). ``name`` is for people."""

    name: str
    node: str
    address: Address
    vnet: str
    kind: str


class Target(Struct, frozen=True):
    """A class of destinations without a NIC: ``prefix`` stands for ``members`` prefixes, ``address`` is in none more specific."""

    prefix: Prefix
    address: Address
    members: int = 1
    wider: bool = False  # more specific prefixes lie inside it
    inside: Prefix | None = None  # the VNet's range that contains it
    reserved: tuple[Prefix, ...] = ()  # the reserved spaces that contain it (E3)


class Classes:
    """The equivalence classes of one design."""

    def __init__(self, control: ControlPlane, index: FabricIndex) -> None:
        self.control = control
        self.index = index
        pool = str(control.topology.overlay_pool)
        routers = tuple(self._router_tables())
        self._routed = Merged(routers, pool)
        self._all = Merged((*routers, *self._user_tables(index.domains)), pool)
        self.groups = self._group()

    # --- all tables as one ---

    def _router_tables(self) -> Iterator[Mapping[Prefix, Any]]:
        """What a packet can meet after its first step: injected routes, user-defined ones of others than VMs, forwarding tables."""
        plane = self.control
        for hub in plane.hubs:
            yield plane.injected(hub.vnet, 0)
            if self.homes_differ(hub.vnet):
                yield plane.injected(hub.vnet, 1)
        yield from self._user_tables({nic.domain for nic in self.index.nics.values() if self.index.kinds[nic.label] != "vm"})
        for node in self.control.nodes:
            speaker = plane.speaker_of(node)
            if speaker is None or speaker.kind != "route_server":
                yield plane.fib(node)

    def _user_tables(self, wanted: Iterable[int]) -> Iterator[Mapping[Prefix, Any]]:
        domains = (self.index.domains[number] for number in sorted(wanted) if number in self.index.domains)  # not those on-premises
        for rows in dict.fromkeys(user_routes(domain) for domain in domains if domain.user):
            yield {prefix: (kind, hops) for prefix, kind, hops in rows}

    def homes_differ(self, hub: str) -> bool:
        """Whether the two instances of a hub inject different routes."""
        if hub not in self._differ:
            one, other = self.control.injected(hub, 0), self.control.injected(hub, 1)
            self._differ[hub] = len(one) != len(other) or any(other.get(prefix) != hops for prefix, hops in one.items())
        return self._differ[hub]

    @cached_property
    def _differ(self) -> dict[str, bool]:
        return {}

    # --- senders and receivers ---

    @cached_property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """NICs of VMs and NVAs, and hosts of sites."""
        found = [
            Endpoint(nic.label, nic.node, nic.ip, nic.vnet, self.index.kinds[label])
            for label, nic in self.index.nics.items()
            if self.index.kinds[label] in ("vm", "nva")
        ]
        for site in self.control.topology.sites.values():
            found += [Endpoint(host, host, str(address), "", "host") for host, address in site.hosts.items()]
        return tuple(found)

    def _group(self) -> dict[Hashable, list[Endpoint]]:
        groups: dict[Hashable, list[Endpoint]] = {}
        for endpoint in self.endpoints:
            groups.setdefault(self._key(endpoint), []).append(endpoint)
        return groups

    def _key(self, endpoint: Endpoint) -> Hashable:
        if endpoint.kind == "host":
            site = next(name for name, site in self.control.topology.sites.items() if endpoint.name in site.hosts)
            return site, self._all.chain(parse_address(endpoint.address))
        if endpoint.kind == "nva":
            return endpoint.name
        nic = self.index.nics[endpoint.name]
        return self.kind_of(nic.vnet), self._nic_key(nic), self._all.chain(parse_address(nic.ip))

    def _nic_key(self, nic: Nic) -> Hashable:
        """What tells the NICs of a VNet apart: route table, home, what they may send, load balancers."""
        domain = self.index.domains[nic.domain]
        home = nic.home if domain.hub is not None and self.homes_differ(domain.hub) else 0
        return domain.propagate, user_routes(domain), home, nic.ip_forwarding, bool(nic.public_ip), self.index.frontends[nic.label]

    def kind_of(self, vnet: str) -> Hashable:
        """The VNet's own name, or for one with nothing but VMs a number that it shares with others like it, machines included."""
        if vnet not in self._kinds:
            place = self._place(vnet, self._all)
            nics = frozenset(self._nic_key(nic) for nic in self.index.nics_of[vnet])
            self._kinds[vnet] = vnet if place == vnet else self._numbered((place, nics))
        return self._kinds[vnet]

    @cached_property
    def _kinds(self) -> dict[str, Hashable]:
        return {}

    def _numbered(self, key: Hashable) -> int:
        """A number for a key: what is large is compared once."""
        return self._numbers.setdefault(key, len(self._numbers))

    @cached_property
    def _numbers(self) -> dict[Hashable, int]:
        return {}

    def _place(self, vnet: str, tables: Merged) -> Hashable:
        """As `kind_of`, but for the machines in it and their route tables; alike in ``tables``."""
        key = vnet, tables is self._all
        if key not in self._places:
            signature = self._signature(vnet, tables)
            self._places[key] = vnet if signature is None else self._numbered(signature)
        return self._places[key]

    @cached_property
    def _places(self) -> dict[tuple[str, bool], Hashable]:
        return {}

    def _signature(self, vnet: str, tables: Merged) -> Hashable | None:
        index, bridge = self.index, self.index.bridges[vnet]
        balanced = any(balancer.vnet == vnet for balancer in index.plan.load_balancers)
        if vnet in index.hubs or balanced or any(index.kinds[nic.label] != "vm" for nic in index.nics_of[vnet]):
            return None
        if vnet in self._overlapping or any(tables.anything_inside(space) for space in bridge.address_space):
            return None
        peers = frozenset(
            (peer, end.accept, index.ends_of[peer][vnet].accept, index.transit_macs(vnet, peer), index.transit_macs(peer, vnet))
            for peer, end in index.ends_of[vnet].items()
        )
        domain = next((each for each in index.domains.values() if each.vnet == vnet), None)
        nothing = frozenset(row.prefix for row in domain.system if row.next_hop_type == "None") if domain is not None else None
        spaces = tuple(tables.chain(parse(space)[0]) for space in bridge.address_space)
        lengths = tuple(space in tables.prefixes for space in bridge.address_space)
        return bridge.region, domain.hub if domain else None, peers, nothing, spaces, lengths

    @cached_property
    def _spaces(self) -> list[tuple[int, int, str]]:
        return sorted((*parse(space), vnet) for vnet, bridge in self.index.bridges.items() for space in bridge.address_space)

    @cached_property
    def _overlapping(self) -> set[str]:
        """The VNets of which a range is equal to, inside or around another VNet's."""
        found: set[str] = set()
        around: list[tuple[int, str]] = []
        for start, size, vnet in self._spaces:
            while around and around[-1][0] < start:
                around.pop()
            if any(other != vnet for _, other in around):
                found.update((vnet, *(other for _, other in around)))
            around.append((start + (1 << 32 - size) - 1, vnet))
        return found

    # --- conversations ---

    def conversation(self, one: Endpoint, other: Endpoint | Target) -> Hashable:
        """What decides the ways of packets from ``one`` to ``other`` and back: equal keys, equal ways.

        Route tables of VMs count only by the row that each end's own NIC uses: they may differ in everything else.
        """
        there = self.sender(one), self.decisions(one)[self.places[other.address]]
        if isinstance(other, Target):
            return *there, self.receiver(other)
        return *there, self.sender(other), self.decisions(other)[self.places[one.address]], one.vnet == other.vnet

    def sender(self, endpoint: Endpoint) -> int:
        """A number that senders share which differ in nothing but the row by which they send."""
        if endpoint.name not in self._senders:
            self._senders[endpoint.name] = self._numbered(self._sender_key(endpoint))
        return self._senders[endpoint.name]

    @cached_property
    def _senders(self) -> dict[str, int]:
        return {}

    def _sender_key(self, endpoint: Endpoint) -> Hashable:
        if endpoint.kind != "vm":
            return self._key(endpoint)
        nic = self.index.nics[endpoint.name]
        domain = self.index.domains[nic.domain]
        home = nic.home if domain.hub is not None and self.homes_differ(domain.hub) else 0
        sends = nic.ip_forwarding, bool(nic.public_ip), self.index.frontends[nic.label], domain.propagate, domain.hub, home
        return self._place(nic.vnet, self._routed), sends, self._routed.chain(parse_address(nic.ip))

    def receiver(self, target: Target) -> int:
        """A number that destinations without a NIC share which only VMs' own route tables tell apart."""
        return self._numbered((target.inside, target.reserved, target.wider, self._routed.chain(parse_address(target.address))))

    def decisions(self, endpoint: Endpoint) -> list[int]:
        """By which row a VM's own NIC sends to each address, by `places`; other kinds have a table of their own, and are one class each."""
        if endpoint.kind != "vm":
            return self._nothing
        nic = self.index.nics[endpoint.name]
        return self._decided.of(self.index.domains[nic.domain], nic.home)

    @cached_property
    def places(self) -> dict[Address, int]:
        """Where the addresses of endpoints and targets stand in `decisions`."""
        return {address: self._decided.place(parse_address(address)) for address in self._addresses}

    @cached_property
    def _decided(self) -> Decisions:
        return Decisions(self.control, map(parse_address, self._addresses))

    @cached_property
    def _addresses(self) -> set[Address]:
        return {each.address for each in self.endpoints} | {each.address for each in self.targets}

    @cached_property
    def _nothing(self) -> list[int]:
        return [NO_ROUTE] * len(self.places)

    # --- destinations without a NIC ---

    @cached_property
    def targets(self) -> tuple[Target, ...]:
        """A destination for each class of prefixes that are no VNet's, and for what lies inside a VNet where no NIC is."""
        spaces = PrefixMap({render(start, size): None for start, size, _ in self._spaces})
        inhabited = {next(self._all.map.matches(parse_address(each.address)), None) for each in self.endpoints}
        addresses = {each.address for each in self.endpoints}
        found: dict[tuple[Prefix | None, tuple[Prefix, ...], bool, Hashable], list[tuple[Prefix, int]]] = {}
        for prefix, (address, wider) in gaps((*self._all.prefixes, *spaces)).items():
            inside = spaces.covering(prefix)
            if prefix not in self._all.prefixes or address is None or (inside is not None and prefix in inhabited):
                continue
            if prefix == inside or (parse(prefix)[1] == 32 and (inside is not None or prefix.removesuffix("/32") in addresses)):
                continue  # a whole VNet is walked by its NICs; a single address there without a NIC is nobody's
            reserved = tuple(each for each in RESERVED_SPACES if contains(each, render(address, 32)))
            found.setdefault((inside, reserved, wider, self._all.chain(address)), []).append((prefix, address))
        return tuple(
            Target(some[0][0], render(some[0][1], 32).removesuffix("/32"), len(some), wider, inside, reserved)
            for (inside, reserved, wider, _), some in found.items()
        )


def gaps(prefixes: Iterable[Prefix]) -> dict[Prefix, tuple[int | None, bool]]:
    """For each prefix an address that is in none more specific (None if there is no such), and whether anything lies inside it."""
    found: dict[Prefix, tuple[int | None, bool]] = {}
    stack: list[list[Any]] = []  # prefix, last address, first address not covered so far, address found, anything inside

    def close() -> None:
        prefix, end, free, address, wider = stack.pop()
        found[prefix] = (address if address is not None else _inner(free, end), wider)

    for network, length, prefix in sorted((*parse(prefix), prefix) for prefix in set(prefixes)):
        while stack and stack[-1][1] < network:
            close()
        end = network | ~MASKS[length] & 0xFFFFFFFF
        if stack:
            top = stack[-1]
            if top[3] is None:
                top[3] = _inner(top[2], network - 1)
            top[2], top[4] = max(top[2], end + 1), True
        stack.append([prefix, end, network, None, False])
    while stack:
        close()
    return found


def _inner(first: int, last: int) -> int | None:
    """An address from ``first`` to ``last``, the second one if there is more than one."""
    if first > last:
        return None
    return first + 1 if first < last else first
