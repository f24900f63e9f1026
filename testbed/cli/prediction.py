"""Learned, advertised and effective routes for `show`: live, or on paper."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed.azure.control_plane import ControlPlane, converge
from testbed.azure.json_shapes import advertised_json, as_path_text, learned_json
from testbed.azure.predict_json import effective_rows, nic_subnets
from testbed.azure.types import Address, Row, Session
from testbed.azure.types import Path as BgpPath
from testbed.errors import InputError
from testbed.model.loader import load_topology
from testbed.scenario import observed
from testbed.scenario.live import LiveLab


@dataclass(frozen=True)
class Table:
    """Paths of both instances of a server: by the instance's address, each with why it was dropped (or nothing).

    ``source`` is the peer's address for learned routes, None for advertised ones.
    """

    paths: dict[Address, list[tuple[BgpPath, str]]]
    source: Address | None

    def rows(self) -> list[tuple[str, ...]]:
        """Cells for people, dropped paths included."""
        return [
            (local, path.prefix, as_path_text(path.as_path) or "-", path.next_hop, " ".join(path.communities) or "-", dropped or "-")
            for local, entries in self.paths.items()
            for path, dropped in entries
        ]

    def to_json(self) -> dict[str, Any]:
        """Azure's shape; dropped paths are not in it, as Azure shows them nowhere (RS8)."""
        kept = {local: [path for path, dropped in entries if not dropped] for local, entries in self.paths.items()}
        return advertised_json(kept) if self.source is None else learned_json(kept, self.source)


def predicted_rows(topology: Path, nic: str) -> tuple[Row, ...]:
    """The effective routes of a NIC on paper. Raises InputError for an unknown NIC."""
    plane = converge(load_topology(topology).topology)
    known = nic_subnets(plane.topology)
    if nic not in known:
        raise InputError(f"no NIC named {nic}", f"known: {', '.join(known)}")
    return effective_rows(plane, nic)


def learned(topology: Path, server: str, peer: str) -> Table:
    """What the instances of a server learn from a peer on paper."""
    plane = converge(load_topology(topology).topology)
    sessions = _sessions(plane.sessions, server, peer)
    paths = {plane.address(session): [(each.path, each.dropped) for each in plane.received(session)] for session in sessions}
    return Table(paths, plane.peer_address(sessions[0]))


def advertised(topology: Path, server: str, peer: str) -> Table:
    """What the instances of a server advertise to a peer on paper."""
    plane: ControlPlane = converge(load_topology(topology).topology)
    sessions = _sessions(plane.sessions, server, peer)
    return Table({plane.address(session): [(path, "") for path in plane.advertised(session)] for session in sessions}, None)


def live_learned(lab: LiveLab, server: str, peer: str) -> Table:
    """What the instances of a server have received from a peer."""
    rows = observed.learned(lab.client, server, peer)
    addresses = _addresses(lab, server, peer)
    paths: dict[Address, list[tuple[BgpPath, str]]] = {own: [] for own, _ in addresses.values()}
    for row in rows:
        paths[addresses[row.instance][0]].append((BgpPath(row.prefix, row.as_path, row.next_hop), row.dropped))
    return Table(paths, next(iter(addresses.values()))[1])


def live_advertised(lab: LiveLab, server: str, peer: str) -> Table:
    """What the instances of a server really send to a peer, asked of their bgpd."""
    from testbed.vty import show

    paths: dict[Address, list[tuple[BgpPath, str]]] = {}
    for instance, (own, other) in _addresses(lab, server, peer).items():
        socket = lab.client.paths.node(lab.plan.node(f"{server}-{instance}")) / "bgpd.vty"
        sent = show(socket, f"show bgp ipv4 unicast neighbors {other} advertised-routes json").get("advertisedRoutes", {})
        asn = lab.plan.node(f"{server}-{instance}").asn
        paths[own] = [(_sent(prefix, route, asn, own), "") for prefix, route in sorted(sent.items())]
    return Table(paths, None)


def _sent(prefix: str, route: dict[str, Any], asn: int | None, own: Address) -> BgpPath:
    """FRR shows the path before its own ASN is put in front, and 0.0.0.0 for what it originates."""
    as_path = tuple(int(step) for step in str(route.get("path", "")).split() if step.isdigit())
    return BgpPath(prefix, (asn, *as_path) if asn else as_path, own)


def _sessions(sessions: Iterable[Session], server: str, peer: str) -> list[Session]:
    every = list(sessions)
    found = [each for each in every if each.server == server and each.peer == peer]
    if not found:
        known = dict.fromkeys(f"{each.server} {each.peer}" for each in every)
        raise InputError(f"no session of {server} with {peer}", f"sessions: {', '.join(known) or 'none'}")
    return found


def _addresses(lab: LiveLab, server: str, peer: str) -> dict[int, tuple[Address, Address]]:
    """By instance: its own address and the peer's. Raises InputError when there is no such session."""
    found: dict[int, tuple[Address, Address]] = {}
    for peering in lab.plan.sessions:
        for own, other in ((0, 1), (1, 0)):
            name, _, instance = peering.nodes[own].rpartition("-")
            if name == server and peering.nodes[other] == peer:
                found[int(instance)] = peering.addresses[own], peering.addresses[other]
    if not found:
        known: Sequence[str] = [" - ".join(peering.nodes) for peering in lab.plan.sessions]
        raise InputError(f"no session of {server} with {peer}", f"sessions: {', '.join(known) or 'none'}")
    return dict(sorted(found.items()))
