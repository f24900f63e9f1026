"""BGP sessions, and what routers hold in their tables, against what the model says: every session, every accepted path; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from testbed.azure.control_plane import ControlPlane, RibRoute
from testbed.emulation.readiness import SessionState
from testbed.scenario.lab_view import TableRow

OWN = "0.0.0.0"
"""The next hop by which FRR shows a router's own routes."""


def table_differences(control: ControlPlane, tables: Mapping[str, Sequence[TableRow]]) -> tuple[str, ...]:
    """Paths that a router should have and has not, or has and should not, in words. ``tables`` by router.

    Which path is best and which are used beside it counts too. Paths that a router only accepts to show them over BMP are left out,
    as are routers without a model.
    """
    lines: list[str] = []
    for node in (each for each in control.nodes if each in tables):
        expected = {_text(row) for prefix, routes in control.rib(node).items() for row in _expected(prefix, routes)}
        found = {_text(row) for row in tables[node] if not row.for_show}
        lines += [f"{node}: predicted and not in its BGP table: {each}" for each in sorted(expected - found)]
        lines += [f"{node}: in its BGP table and not predicted: {each}" for each in sorted(found - expected)]
    return tuple(lines)


def session_differences(control: ControlPlane, states: Iterable[SessionState]) -> tuple[str, ...]:
    """BGP sessions that are up and should not be, or the other way round, in words. Those of routers without a model may be either."""
    down = {
        _ends((each.a.router, each.b.router), (each.a.address, each.b.address)): each.down for each in control.layout.network.adjacencies
    }
    lines = []
    for state in states:
        why = down[_ends(state.peering.nodes, state.peering.addresses)]
        if state.up == bool(why) and not set(state.peering.nodes) & set(control.unmodelled):
            expected = f"down ({why})" if why else "up"
            found = "up" if state.up else f"down ({state.state})"
            lines.append(f"BGP {' - '.join(state.peering.nodes)}: predicted {expected}, observed {found}")
    return tuple(lines)


def _ends(nodes: tuple[str, str], addresses: tuple[str, str]) -> frozenset[tuple[str, str]]:
    return frozenset(zip(nodes, addresses, strict=True))


def _expected(prefix: str, routes: Iterable[RibRoute]) -> Iterable[TableRow]:
    for route in routes:
        if not route.dropped:
            yield TableRow(prefix, route.path.as_path, route.path.next_hop or OWN, route.best, route.used)


def _text(row: TableRow) -> str:
    return str(row)
