"""Which sessions a design has, and which cannot come up and why."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from testbed.azure.hubs import hubs
from testbed.azure.networks import Layout, layout, link_addresses
from testbed.azure.peering import connections
from testbed.azure.types import Session
from testbed.errors import InputError
from testbed.model.loader import parse_topology
from testbed.model.topology import Topology

from .paper_designs import ONPREM, OVERLAY, Change, spoke


def topology(design: dict[str, Any], *changes: Change) -> Topology:
    data = copy.deepcopy(design)
    for change in changes:
        change(data)
    return parse_topology(json.dumps(data)).topology


def laid_out(design: dict[str, Any], *changes: Change) -> Layout:
    made = topology(design, *changes)
    connected = connections(made)
    return layout(made, hubs(made, connected), connected)


def pairs(made: Layout, kind: str) -> list[tuple[str, str]]:
    return [(each.a.router, each.b.router) for each in made.network.adjacencies if each.kind == kind]


def test_route_server_instances_tunnels_and_underlay() -> None:
    made = laid_out(OVERLAY, lambda data: data.update(bgp_sessions=[{"between": ["nva1", "nva2"]}]))
    assert pairs(made, "route_server") == [("rs1-0", "nva1"), ("rs1-1", "nva1"), ("rs2-0", "nva2"), ("rs2-1", "nva2")]
    assert pairs(made, "overlay") == [("nva1", "nva2")]
    assert pairs(made, "underlay") == [("nva1", "nva2")]
    assert not any(each.down for each in made.network.adjacencies)


def test_a_tunnel_without_bgp_has_no_session() -> None:
    made = laid_out(OVERLAY, lambda data: data["tunnels"][0].update(bgp=False))
    assert pairs(made, "overlay") == []


def test_gateways_mseees_and_sites() -> None:
    made = laid_out(ONPREM, lambda data: data["route_servers"]["rs1"].update(allow_branch_to_branch=True))
    assert pairs(made, "gateway") == [(f"rs1-{one}", f"er1-{two}") for one in (0, 1) for two in (0, 1)]
    assert pairs(made, "expressroute") == [
        pair for msee in ("london-msee0", "london-msee1") for pair in (("er1-0", msee), ("er1-1", msee), (msee, "dc"))
    ]


def test_sessions_are_found_from_both_ends() -> None:
    made = laid_out(ONPREM, lambda data: data["route_servers"]["rs1"].update(allow_branch_to_branch=True))
    flows = {session: flow for flow, session in made.sessions()}
    assert flows[Session("rs1", 0, "er1-1")] == flows[Session("er1", 1, "rs1-0")] ^ 1


def test_ninth_peer_is_refused() -> None:
    """The loader refuses it already; the limit holds for topologies made otherwise too."""
    made = topology(OVERLAY)
    limited = made.model_copy(update={"limits": made.limits.model_copy(update={"peers": 0})})
    connected = connections(limited)
    found = layout(limited, hubs(limited, connected), connected)
    assert all(each.down.startswith("RS6") for each in found.network.adjacencies if each.kind == "route_server")


def test_tunnel_between_hubs_that_are_not_peered_needs_public_addresses() -> None:
    def apart(data: dict[str, Any]) -> None:
        data["peerings"] = [*spoke("hub1", "s11"), *spoke("hub2", "s21")]

    def public(data: dict[str, Any]) -> None:
        data["tunnels"][0]["over"] = "public"

    (private,) = [each for each in laid_out(OVERLAY, apart).network.adjacencies if each.kind == "overlay"]
    (internet,) = [each for each in laid_out(OVERLAY, apart, public).network.adjacencies if each.kind == "overlay"]
    assert private.down == "P1: hub1 and hub2 are not connected by a peering"
    assert internet.down == ""


def test_links_are_numbered_from_the_pool_tunnels_first() -> None:
    def tunnel(data: dict[str, Any]) -> None:
        data["tunnels"] = [{"type": "ipsec", "between": ["nva1", "dc"]}]

    links = link_addresses(topology(ONPREM, tunnel))
    assert links["tunnel", "0"] == ("198.18.0.0", "198.18.0.1")
    assert links["circuit", "er1-0 london-msee0"] == ("198.18.0.2", "198.18.0.3")
    assert len({address for pair in links.values() for address in pair}) == 2 * len(links)


def test_a_pool_that_is_too_small() -> None:
    with pytest.raises(InputError, match="too small"):
        link_addresses(topology(ONPREM, lambda data: data.update(overlay_pool="198.18.0.0/30")))
