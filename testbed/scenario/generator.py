"""Random designs as plain topology data, made from bytes: the same bytes give the same design, and zeros give the simplest one."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, TypeVar

T = TypeVar("T")
Design = dict[str, Any]

LENGTH = 320
"""Bytes that a design may take; those that are missing count as zero."""

_ODD_PREFIXES = ("0.0.0.0/0", "10.0.0.0/8", "10.0.0.0/9", "0.0.0.0/1", "128.0.0.0/1", "172.16.0.0/12", "192.168.7.0/24")


_SITE = "198.51.100.100"
_OWN = ("RouteServerSubnet", "GatewaySubnet")


class Choices:
    """Decisions taken from bytes, one each. Every choice has a plain option, which a zero stands for."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._next = 0

    def below(self, limit: int) -> int:
        """A number from 0 to ``limit - 1``."""
        value = self._data[self._next] if self._next < len(self._data) else 0
        self._next += 1
        return value % limit

    def one_in(self, many: int) -> bool:
        """True once in so many times."""
        return self.below(many) == many - 1

    def of(self, options: Sequence[T]) -> T:
        """One of the options; the first is the plain one."""
        return options[self.below(len(options))]

    def some(self, options: Sequence[T], most: int) -> list[T]:
        """Up to ``most`` different ones of the options."""
        left = list(options)
        return [left.pop(self.below(len(left))) for _ in range(min(self.below(most + 1), len(left)))]


def seeded(seed: int, number: int) -> bytes:
    """The bytes of design ``number`` of a series."""
    return random.Random(f"{seed}/{number}").randbytes(LENGTH)


def design(data: bytes, name: str = "fuzz") -> Design:
    """A design that the loader accepts, of up to three regions with up to three spokes each and up to three NVAs in all.

    Left out is what no session, and so no lab, could come up with: user-defined routes that cut NVAs off from their Route Servers,
    and tunnels between VNets without a peering.
    """
    return _Maker(Choices(data), name).make()


class _Maker:
    """Makes one design, section by section."""

    def __init__(self, choices: Choices, name: str) -> None:
        self.choose = choices
        self.name = name
        self.design: Design = {}
        self.hubs: list[str] = []
        self.spaces: dict[str, list[str]] = {}
        self.hub_of: dict[str, str] = {}
        self.addresses: list[str] = []

    def make(self) -> Design:
        self.design = {"name": self.name, "regions": {}, "peerings": [], "route_servers": {}, "nvas": {}, "vms": {}}
        for number in range(1, self.choose.below(3) + 2):
            self._region(number)
        self._peerings_of_hubs()
        self._nvas()
        self._between_nvas()
        self._load_balancers()
        self._policies()
        self._on_premises()
        self._vms()
        self._route_tables()
        self._settings()
        return {key: value for key, value in self.design.items() if value}

    def _region(self, number: int) -> None:
        hub = f"hub{number}"
        vnets: dict[str, Any] = {}
        self.design["regions"][f"region{number}"] = {"vnets": vnets}
        self.hubs.append(hub)
        space = [f"10.{number}.0.0/16", *([f"172.{16 + number}.0.0/16"] if self.choose.one_in(8) else [])]
        subnets = {"nva": f"10.{number}.0.0/24", "workload": f"10.{number}.2.0/24"}
        if not self.choose.one_in(8):
            subnets["RouteServerSubnet"] = f"10.{number}.1.0/26"
            server: Design = {"vnet": hub, "peers": []}
            if self.choose.one_in(4):
                server["allow_branch_to_branch"] = True
            if preference := self.choose.of(("", "", "", "VpnGateway", "ASPath")):
                server["hub_routing_preference"] = preference
            self.design["route_servers"][f"rs{number}"] = server
        self._vnet(vnets, hub, hub, space, subnets)
        for place in range(1, self.choose.below(4) + 1):
            self._spoke(vnets, hub, number, place)

    def _vnet(self, vnets: Design, hub: str, name: str, space: list[str], subnets: dict[str, str]) -> None:
        vnets[name] = {"address_space": space, "subnets": subnets}
        self.spaces[name] = space
        self.hub_of[name] = hub

    def _spoke(self, vnets: Design, hub: str, number: int, place: int) -> None:
        name, start = f"spoke{number}{place}", f"10.{number}{place}"
        subnets = {"workload": f"{start}.0.0/24"}
        if self.choose.one_in(4):
            subnets["apps"] = f"{start}.1.0/24"
        self._vnet(vnets, hub, name, [f"{start}.0.0/16"], subnets)
        if self.choose.one_in(10):
            return
        has_server = any(server["vnet"] == hub for server in self.design["route_servers"].values())
        near: Design = {"from": hub, "to": name}
        far: Design = {"from": name, "to": hub}
        self._flag(near, "allow_gateway_transit", not self.choose.one_in(8))
        self._flag(far, "use_remote_gateways", has_server and not self.choose.one_in(8))
        self._flag(far, "allow_forwarded_traffic", not self.choose.one_in(4))
        self._flag(near, "allow_forwarded_traffic", self.choose.one_in(3))
        for side in (near, far):
            if self.choose.one_in(24):
                side["allow_virtual_network_access"] = False
        self.design["peerings"] += [near, far]

    def _flag(self, where: Design, key: str, value: bool) -> None:
        if value:
            where[key] = True

    def _pair(self, one: str, other: str) -> None:
        sides: list[Design] = [{"from": one, "to": other}, {"from": other, "to": one}]
        for side in sides:
            self._flag(side, "allow_forwarded_traffic", not self.choose.one_in(4))
            if self.choose.one_in(32):
                side["allow_virtual_network_access"] = False
        self.design["peerings"] += sides

    def _peerings_of_hubs(self) -> None:
        """Hub to hub mostly; a spoke with a spoke or with another hub now and then."""
        for place, one in enumerate(self.hubs):
            for other in self.hubs[place + 1 :]:
                if not self.choose.one_in(5):
                    self._pair(one, other)
        spokes = [name for name in self.spaces if name not in self.hubs]
        for _ in range(self.choose.below(3)):
            pair = self.choose.some(spokes, 2) or self.choose.some(spokes, 1)
            other = pair[1] if len(pair) > 1 else self.choose.of(self.hubs)
            if pair and other != pair[0] and not self._connected(pair[0], other):
                self._pair(pair[0], other)

    def _connected(self, one: str, other: str) -> Design | None:
        """The side that ``one`` declares towards ``other``."""
        return next((side for side in self.design["peerings"] if (side["from"], side["to"]) == (one, other)), None)

    def _reaches(self, one: str, other: str) -> bool:
        sides = self._connected(one, other), self._connected(other, one)
        return one == other or all(side is not None and side.get("allow_virtual_network_access", True) for side in sides)

    # --- BGP ---

    def _nvas(self) -> None:
        for number in range(1, self.choose.below(4) + 1):
            hub = self.hubs[(number - 1 + self.choose.below(len(self.hubs))) % len(self.hubs)]
            subnet = f"{hub}/nva"
            spokes = [name for name in self.spaces if self.hub_of[name] == hub != name and self._reaches(name, hub)]
            if self.choose.one_in(12) and spokes:
                subnet = f"{self.choose.of(spokes)}/workload"
            vnet = subnet.partition("/")[0]
            address = f"{self.spaces[vnet][0].removesuffix('.0.0/16')}.0.{10 + number}"
            asn = 65000 + (self.choose.below(number) + 1 if self.choose.one_in(6) else number)
            nva: Design = {"subnet": subnet, "ip": address, "asn": asn}
            self._what_it_says(nva, number)
            self.design["nvas"][f"nva{number}"] = nva
            self.addresses.append(address)
            for name, server in self.design["route_servers"].items():
                close = server["vnet"] == hub
                if self._reaches(vnet, server["vnet"]) and (not self.choose.one_in(10) if close else self.choose.one_in(6)):
                    server["peers"].append(f"nva{number}")
                    self._towards_server(nva, name)

    def _what_it_says(self, nva: Design, number: int) -> None:
        how = self.choose.below(4)
        if how == 1:
            nva["as_override"] = True
        elif how == 2:
            nva["as_path_exclude"] = [65515]
        elif how == 3 and self.choose.one_in(2):
            nva["as_override"] = True
        if self.choose.one_in(2):
            nva["loopbacks"] = [f"192.0.2.{number}/32"]
        advertise = self.choose.some([*nva.get("loopbacks", ()), "203.0.113.0/24", *self._prefixes()], 3)
        if advertise:
            nva["advertise"] = sorted(set(advertise))
        if self.choose.one_in(8):
            nva["default_originate"] = True
        prepend = self.choose.below(5)
        if prepend in (2, 3):
            nva["prepend"] = prepend - 1
        elif prepend == 4 and advertise:
            nva["prepend"] = {advertise[0]: 2}
        if self.choose.one_in(10):
            nva["filter_route_server_routes"] = False

    def _towards_server(self, nva: Design, server: str) -> None:
        """Settings for one Route Server, now and then."""
        what = self.choose.below(16)
        prefix = self.choose.of(self._prefixes())
        settings: dict[int, Design] = {
            10: {"advertise": [prefix]},
            11: {"prepend": {prefix: 2}},
            12: {"instances": [self.choose.below(2)]},
            13: {"communities": ["no-advertise"]},
            14: {"prepend": 1},
            15: {"as_override": True, "communities": ["65001:7"]},
        }
        if what in settings:
            nva.setdefault("neighbors", {})[server] = settings[what]

    def _prefixes(self) -> list[str]:
        """Prefixes that mean something in this design: ranges, subnets, what contains and what splits them."""
        found = [space for spaces in self.spaces.values() for space in spaces]
        for spaces in list(self.spaces.values()):
            start = spaces[0].removesuffix(".0.0/16")
            found += [f"{start}.0.0/24", f"{start}.128.0/17"]
        return [*found, *_ODD_PREFIXES]

    def _between_nvas(self) -> None:
        names = list(self.design["nvas"])
        tunnels: list[Design] = []
        sessions: list[Design] = []
        for place, one in enumerate(names):
            for other in names[place + 1 :]:
                way = self.choose.below(4)
                homes = self._home(one), self._home(other)
                if way in (1, 3) and homes[0] != homes[1] and self._reaches(*homes):
                    tunnels.append({"type": "vxlan", "between": [one, other], **({"bgp": False} if self.choose.one_in(10) else {})})
                elif way == 2:
                    sessions.append({"between": [one, other], **({"bfd": False} if self.choose.one_in(3) else {})})
        self.design["tunnels"], self.design["bgp_sessions"] = tunnels, sessions

    def _home(self, nva: str) -> str:
        return str(self.design["nvas"][nva]["subnet"]).partition("/")[0]

    def _load_balancers(self) -> None:
        balancers: Design = {}
        for hub in self.hubs:
            backends = [name for name in self.design["nvas"] if self.design["nvas"][name]["subnet"] == f"{hub}/nva"]
            if backends and self.choose.one_in(4):
                address = f"{self.spaces[hub][0].removesuffix('.0.0/16')}.0.100"
                balancers[f"ilb-{hub}"] = {"subnet": f"{hub}/nva", "ip": address, "backends": backends}
                self.addresses.append(address)
        self.design["load_balancers"] = balancers

    def _policies(self) -> None:
        """Third-party next hops towards Route Servers, and settings between NVAs."""
        for name, nva in self.design["nvas"].items():
            for server, declared in self.design["route_servers"].items():
                if name in declared["peers"] and self.choose.one_in(8) and self.addresses:
                    nva.setdefault("neighbors", {}).setdefault(server, {})["next_hop"] = self.choose.of(self.addresses)
            for link in (*self.design["tunnels"], *self.design["bgp_sessions"]):
                if name in link["between"] and self.choose.one_in(8):
                    other = next(each for each in link["between"] if each != name)
                    settings = self.choose.of(({"prepend": 1}, {"as_override": True}, {"as_path_exclude": [65515]}))
                    nva.setdefault("neighbors", {}).setdefault(other, settings)

    def _on_premises(self) -> None:
        """A site behind the gateways of one or two hubs, on a circuit as a rule."""
        if not self.choose.one_in(4):
            return
        private = not self.choose.one_in(4)
        gateways: Design = {}
        for hub in self.choose.some(self.hubs, 2) or self.hubs[:1]:
            vnets = next(region["vnets"] for region in self.design["regions"].values() if hub in region["vnets"])
            vnets[hub]["subnets"]["GatewaySubnet"] = f"{self.spaces[hub][0].removesuffix('.0.0/16')}.3.0/27"
            gateways[f"gw-{hub}"] = {"type": "expressroute" if private else "vpn", "vnet": hub}
        site: Design = {"asn": 65100, "prefixes": ["10.100.0.0/16"], "hosts": {"client": "10.100.0.10"}}
        if self.choose.one_in(3):
            site["prefixes"] += [self.choose.of(("192.168.0.0/16", "172.20.0.0/16", "10.64.0.0/10"))]
        if self.choose.one_in(4):
            site["prepend"] = 2
        if private:
            self.design["circuits"] = {"circuit": {"gateways": list(gateways)}}
            site["circuits"] = ["circuit"]
        else:
            site |= {"connections": list(gateways), "public_ip": _SITE}
        self.design["gateways"], self.design["sites"] = gateways, {"onprem": site}

    # --- the rest ---

    def _vms(self) -> None:
        for region in self.design["regions"].values():
            for vnet, declared in region["vnets"].items():
                for subnet in declared["subnets"]:
                    if subnet in ("workload", "apps") and not self.choose.one_in(8):
                        name = f"vm-{vnet}" if subnet == "workload" else f"vm-{vnet}-{subnet}"
                        vm: Design = {"subnet": f"{vnet}/{subnet}"}
                        self._flag(vm, "enable_ip_forwarding", self.choose.one_in(16))
                        self.design["vms"][name] = vm
                        self.addresses.append(declared["subnets"][subnet].replace(".0/24", ".4"))

    def _route_tables(self) -> None:
        tables: Design = {}
        free = [f"{vnet}/{subnet}" for vnet, subnets in self._subnets().items() for subnet in subnets if subnet not in _OWN]
        for number in range(1, self.choose.below(4)):
            subnets = self.choose.some(free, 3)
            free = [each for each in free if each not in subnets]
            if not subnets:
                continue
            table: Design = {"subnets": subnets}
            self._flag(table, "disable_bgp_route_propagation", self.choose.one_in(3))
            routes = self._user_routes(with_nvas=any(self._holds_nva(subnet) for subnet in subnets))
            if routes:
                table["routes"] = routes
            tables[f"table{number}"] = table
        for name, gateway in self.design.get("gateways", {}).items():
            if gateway["type"] == "vpn":  # what NVAs announce must not cut its tunnels
                way_out = {"site": {"prefix": f"{_SITE}/32", "next_hop_type": "Internet"}}
                tables[name] = {"subnets": [f"{gateway['vnet']}/GatewaySubnet"], "routes": way_out}
        self.design["route_tables"] = tables

    def _subnets(self) -> dict[str, list[str]]:
        return {vnet: list(declared["subnets"]) for region in self.design["regions"].values() for vnet, declared in region["vnets"].items()}

    def _holds_nva(self, subnet: str) -> bool:
        return any(nva["subnet"] == subnet for nva in self.design["nvas"].values())

    def _user_routes(self, *, with_nvas: bool) -> Design:
        """Routes of one table; a subnet with NVAs keeps its way to the VNets in which Route Servers and other NVAs are."""
        kept = {self._home(nva) for nva in self.design["nvas"]} | {server["vnet"] for server in self.design["route_servers"].values()}
        ranges = [prefix.rpartition(".0/")[0].removesuffix(".0") + "." for name in kept for prefix in self.spaces[name]]
        prefixes = self._prefixes() + [f"{address}/32" for address in self.addresses]
        routes: Design = {}
        for number, prefix in enumerate(self.choose.some(prefixes, 4), start=1):
            kind = self.choose.of(("VirtualAppliance", "VirtualAppliance", "None", "Internet", "VnetLocal", "VirtualNetworkGateway"))
            if with_nvas and any(prefix.startswith(start) for start in ranges):
                continue
            route: Design = {"prefix": prefix, "next_hop_type": kind}
            if kind == "VirtualAppliance":
                route["next_hop_ip"] = self.choose.of([*self.addresses, "10.1.0.200"])
            routes[f"route{number}"] = route
        return routes

    def _settings(self) -> None:
        assumptions = self.choose.below(12)
        if assumptions == 10:
            self.design["assumptions"] = {"transit_without_allow_forwarded_traffic": True}
        elif assumptions == 11:
            self.design["assumptions"] = {"reflect_nva_routes_with_branch_to_branch": True, "own_vnet_prefixes_learned": True}
        if self.choose.one_in(10):
            self.design["limits"] = {"ecmp": 1 + self.choose.below(2)}
