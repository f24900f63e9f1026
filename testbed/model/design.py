"""A topology as the checks see it: perhaps with parts left out that are wrong in themselves, and indexed by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv4Network
from typing import Any, TypeVar

from testbed.model.findings import Finding
from testbed.model.topology import Peering, Topology, VNet

T = TypeVar("T")

NAMED = ("route_servers", "nvas", "vms", "load_balancers", "route_tables", "gateways", "circuits", "sites")
NOUNS = {
    "vnets": "VNet",
    "route_servers": "Route Server",
    "nvas": "NVA",
    "vms": "VM",
    "gateways": "gateway",
    "circuits": "circuit",
    "sites": "site",
}


@dataclass(frozen=True)
class Design:
    """A topology under check.

    ``topology`` lacks what did not fit the format; ``declared`` holds the names of the file all the same, by section, so that
    nothing is called missing that is merely wrong; ``incomplete`` names the sections that lack something, ``numbers`` says for
    each list that does which of its entries are left.
    """

    topology: Topology
    declared: Mapping[str, frozenset[str]]
    incomplete: frozenset[str] = frozenset()
    numbers: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    _sorted: dict[tuple[str, ...], tuple[str, ...]] = field(default_factory=dict, repr=False, compare=False)

    def entries(self, section: str, items: Iterable[T]) -> Iterator[tuple[str, T]]:
        """The entries of a top-level list, each with its path in the file."""
        numbers = self.numbers.get(section)
        for number, item in enumerate(items):
            yield f"{section}[{numbers[number] if numbers else number}]", item

    @cached_property
    def vnets(self) -> dict[str, VNet]:
        """All VNets by name."""
        return self.topology.vnets()

    @cached_property
    def vnet_order(self) -> dict[str, int]:
        """The place of each VNet in the file."""
        return {name: number for number, name in enumerate(self.vnets)}

    @cached_property
    def vnet_paths(self) -> dict[str, str]:
        """Where each VNet stands in the file."""
        return {vnet: f"regions.{name}.vnets.{vnet}" for name, region in self.topology.regions.items() for vnet in region.vnets}

    @cached_property
    def subnets(self) -> dict[str, IPv4Network]:
        """All subnets as ``VNET/SUBNET``."""
        return {f"{name}/{subnet}": prefix for name, vnet in self.vnets.items() for subnet, prefix in vnet.subnets.items()}

    @cached_property
    def peered(self) -> dict[str, dict[str, Peering]]:
        """The peerings of each VNet by the other VNet's name, sides of VNets that do not exist left out."""
        peered: dict[str, dict[str, Peering]] = {name: {} for name in self.vnets}
        for peering in self.topology.peerings:
            if peering.from_ in self.vnets and peering.to in self.vnets:
                peered[peering.from_].setdefault(peering.to, peering)
        return peered

    def connected(self, one: str, other: str) -> bool:
        """Whether both VNets declare the peering (P1)."""
        return other in self.peered.get(one, {}) and one in self.peered.get(other, {})

    def unknown(self, path: str, name: str, *sections: str) -> Iterator[Finding]:
        """A finding if no section declares that name."""
        if any(name in self.declared[section] for section in sections):
            return
        yield Finding(path, f"there is no {_either(sections)} {name}", wrong=name, known=self._known(sections))

    def _known(self, sections: tuple[str, ...]) -> tuple[str, ...]:
        if sections not in self._sorted:
            self._sorted[sections] = tuple(sorted(set().union(*(self.declared[section] for section in sections))))
        return self._sorted[sections]

    @cached_property
    def _subnets_of(self) -> dict[str, tuple[str, ...]]:
        names: dict[str, list[str]] = {}
        for reference in sorted(self.declared["subnets"]):
            vnet, _, subnet = reference.partition("/")
            names.setdefault(vnet, []).append(subnet)
        return {vnet: tuple(subnets) for vnet, subnets in names.items()}

    def unknown_subnet(self, path: str, reference: str) -> Iterator[Finding]:
        """A finding if ``VNET/SUBNET`` names no VNet or no subnet of it."""
        if reference in self.declared["subnets"]:
            return
        vnet, _, subnet = reference.partition("/")
        if vnet not in self.declared["vnets"]:
            yield from self.unknown(path, vnet, "vnets")
            return
        yield Finding(path, f"VNet {vnet} has no subnet {subnet}", wrong=subnet, known=self._subnets_of.get(vnet, ()))


def _either(sections: tuple[str, ...]) -> str:
    *others, last = (NOUNS[section] for section in sections)
    return f"{', '.join(others)} or {last}" if others else last


def steps(named: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Each name with the end of its path in the file: a list has numbers, a mapping the names themselves."""
    for number, name in enumerate(named):
        yield (f".{name}" if isinstance(named, dict) else f"[{number}]"), name


def repeated(names: Iterable[str]) -> Iterator[tuple[int, str]]:
    """The names in a list that were there before, with their places."""
    seen: set[str] = set()
    for number, name in enumerate(names):
        if name in seen:
            yield number, name
        seen.add(name)


def declared_names(data: Any) -> dict[str, frozenset[str]]:
    """The names a file's data declares, by section, whether or not what they name is right; ``subnets`` as ``VNET/SUBNET``."""
    vnets: set[str] = set()
    subnets: set[str] = set()
    for region in _mapping(_mapping(data).get("regions")).values():
        for name, vnet in _mapping(_mapping(region).get("vnets")).items():
            vnets.add(name)
            subnets.update(f"{name}/{subnet}" for subnet in _mapping(_mapping(vnet).get("subnets")))
    names = {section: frozenset(_mapping(_mapping(data).get(section))) for section in NAMED}
    regions = frozenset(_mapping(_mapping(data).get("regions")))
    return names | {"regions": regions, "vnets": frozenset(vnets), "subnets": frozenset(subnets)}


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
