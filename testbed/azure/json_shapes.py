"""Effective, learned and advertised routes in the shape in which Azure's command line prints them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from testbed.azure.types import Address, Path, Row

LEARNED_WEIGHT = 32768
ADVERTISED_WEIGHT = 0
ROLE = "RouteServiceRole_IN_"


def effective_json(rows: Iterable[Row], disable_bgp_route_propagation: bool = False) -> dict[str, Any]:
    """Rows as ``az network nic show-effective-route-table -o json`` prints them, in their order."""
    return {"value": [_effective(row, disable_bgp_route_propagation) for row in rows]}


def learned_json(tables: Mapping[Address, Iterable[Path]], source_peer: Address, origin: str = "EBgp") -> dict[str, Any]:
    """Paths as ``az network routeserver peering list-learned-routes -o json`` prints them.

    ``tables`` holds, in the order of the instances, each instance's address and the paths it keeps from ``source_peer``. Paths that
    were dropped are not among them: they show nowhere (RS8).
    """

    def row(local: Address, path: Path) -> dict[str, Any]:
        known = _bgp(local, path, origin, LEARNED_WEIGHT)
        return {key: source_peer if key == "sourcePeer" else known[key] for key in sorted({*known, "sourcePeer"})}

    return {f"{ROLE}{number}": [row(local, path) for path in paths] for number, (local, paths) in enumerate(tables.items())}


def advertised_json(tables: Mapping[Address, Iterable[Path]], origin: str = "Igp") -> dict[str, Any]:
    """Paths as ``az network routeserver peering list-advertised-routes -o json`` prints them: no source peer, weight 0."""
    return {
        f"{ROLE}{number}": [_bgp(local, path, origin, ADVERTISED_WEIGHT) for path in paths]
        for number, (local, paths) in enumerate(tables.items())
    }


def as_path_text(as_path: Iterable[int]) -> str:
    """An AS path as Azure prints it: ``65001-65002``."""
    return "-".join(map(str, as_path))


def _effective(row: Row, disable_bgp_route_propagation: bool) -> dict[str, Any]:
    return {
        "addressPrefix": [row.prefix],
        "disableBgpRoutePropagation": disable_bgp_route_propagation,
        "name": row.name or None,
        "nextHopIpAddress": list(row.next_hops),
        "nextHopType": row.next_hop_type.value,
        "source": row.source.value,
        "state": "Active" if row.active else "Invalid",
    }


def _bgp(local: Address, path: Path, origin: str, weight: int) -> dict[str, Any]:
    return {
        "asPath": as_path_text(path.as_path),
        "localAddress": local,
        "network": path.prefix,
        "nextHop": path.next_hop,
        "origin": origin,
        "weight": weight,
    }
