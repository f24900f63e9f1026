"""What BGP routers hold in their tables against what the model says that they should: every accepted path of every prefix; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from testbed.azure.control_plane import ControlPlane, RibRoute
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


def _expected(prefix: str, routes: Iterable[RibRoute]) -> Iterable[TableRow]:
    for route in routes:
        if not route.dropped:
            yield TableRow(prefix, route.path.as_path, route.path.next_hop or OWN, route.best, route.used)


def _text(row: TableRow) -> str:
    return str(row)
