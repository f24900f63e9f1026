"""Makes a design that fails as small as it can be while it still fails: takes things away, one after another."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

from testbed.errors import InputError
from testbed.model.loader import parse_topology
from testbed.scenario.generator import Design

Fails = Callable[[Design], bool]
Path = tuple[str | int, ...]

_KEPT = frozenset(
    {"name", "subnet", "asn", "ip", "address_space", "subnets", "between", "from", "to", "vnet", "prefix", "next_hop_type", "type"}
)
"""Keys without which their parent is nothing: the parent goes as a whole."""


def shrunk(design: Design, fails: Fails, most: int = 400) -> Design:
    """The smallest design found by taking parts away, of which ``fails`` still says that it fails; asked ``most`` times at most.

    Big things go first: regions, VNets, NVAs; then their parts. What refers to a part that is gone goes with it.
    """
    asked = 0
    again = True
    while again:
        again = False
        for path in sorted(paths(design), key=len):
            smaller = without(design, path)
            if smaller is None or smaller == design or not _is_design(smaller):
                continue
            if asked == most:
                return design
            asked += 1
            if fails(smaller):
                design, again = smaller, True
    return design


def paths(design: Any, here: Path = ()) -> Iterator[Path]:
    """The way to every part of a design that can be taken away."""
    parts = design.items() if isinstance(design, dict) else enumerate(design) if isinstance(design, list) else ()
    for key, value in parts:
        if key not in _KEPT:
            yield (*here, key)
        if key != "address_space":
            yield from paths(value, (*here, key))


def without(design: Design, path: Path) -> Design | None:
    """The design without one part and without all that refers to what is gone; None when that part is not there (any more)."""
    smaller = copy.deepcopy(design)
    parent: Any = smaller
    try:
        for key in path[:-1]:
            parent = parent[key]
        del parent[path[-1]]
    except (KeyError, IndexError, TypeError):
        return None
    return pruned(smaller)


def pruned(design: Design) -> Design:
    """The design without references to what it does not have, and without empty parts."""
    regions = {name: region for name, region in design.get("regions", {}).items() if region.get("vnets")}
    vnets = {name: vnet for region in regions.values() for name, vnet in region["vnets"].items()}
    subnets = {f"{name}/{subnet}" for name, vnet in vnets.items() for subnet in vnet.get("subnets", ())}
    servers = {name: server for name, server in design.get("route_servers", {}).items() if f"{server['vnet']}/RouteServerSubnet" in subnets}
    nvas = {name: nva for name, nva in design.get("nvas", {}).items() if nva["subnet"] in subnets}
    gateways = {name: each for name, each in design.get("gateways", {}).items() if f"{each['vnet']}/GatewaySubnet" in subnets}
    circuits = {
        name: {**each, "gateways": [gateway for gateway in each.get("gateways", ()) if gateway in gateways]}
        for name, each in design.get("circuits", {}).items()
    }
    vms = {name: vm for name, vm in design.get("vms", {}).items() if vm["subnet"] in subnets}
    made: Design = {
        **design,
        "regions": regions,
        "peerings": _peerings(design.get("peerings", []), set(vnets), {each["vnet"] for each in (*servers.values(), *gateways.values())}),
        "route_servers": {
            name: {**each, "peers": [peer for peer in each.get("peers", ()) if peer in nvas]} for name, each in servers.items()
        },
        "nvas": {name: _with_neighbors(nva, {*servers, *nvas}) for name, nva in nvas.items()},
        "vms": vms,
        "load_balancers": _balancers(design, subnets, {*nvas, *vms}),
        "route_tables": _tables(design, subnets),
        "gateways": gateways,
        "circuits": circuits,
        "sites": {name: _with_ways(site, gateways, circuits) for name, site in design.get("sites", {}).items()},
    }
    for kind in ("tunnels", "bgp_sessions"):
        made[kind] = [each for each in design.get(kind, ()) if set(each["between"]) <= {*nvas, *made["sites"]}]
    return {key: value for key, value in made.items() if value}


def _peerings(sides: list[Design], vnets: set[str], served: set[str]) -> list[Design]:
    pairs = {(side["from"], side["to"]) for side in sides}
    kept = [side for side in sides if {side["from"], side["to"]} <= vnets and (side["to"], side["from"]) in pairs]
    return [{key: value for key, value in side.items() if key != "use_remote_gateways" or side["to"] in served} for side in kept]


def _with_neighbors(nva: Design, known: set[str]) -> Design:
    neighbors = {name: settings for name, settings in nva.get("neighbors", {}).items() if name in known and settings}
    rest = {key: value for key, value in nva.items() if key != "neighbors"}
    return rest | ({"neighbors": neighbors} if neighbors else {})


def _with_ways(site: Design, gateways: Design, circuits: Design) -> Design:
    known = {"connections": gateways, "circuits": circuits}
    return {key: [each for each in value if each in known[key]] if key in known else value for key, value in site.items()}


def _balancers(design: Design, subnets: set[str], known: set[str]) -> Design:
    found = {
        name: {**each, "backends": [backend for backend in each.get("backends", ()) if backend in known]}
        for name, each in design.get("load_balancers", {}).items()
        if each["subnet"] in subnets
    }
    return {name: each for name, each in found.items() if each["backends"]}


def _tables(design: Design, subnets: set[str]) -> Design:
    found = {
        name: {**each, "subnets": [subnet for subnet in each.get("subnets", ()) if subnet in subnets]}
        for name, each in design.get("route_tables", {}).items()
    }
    return {name: each for name, each in found.items() if each["subnets"]}


def _is_design(design: Design) -> bool:
    try:
        parse_topology(json.dumps(design))
    except InputError:
        return False
    return True
