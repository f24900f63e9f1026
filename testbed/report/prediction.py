"""A predicted control plane as text for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from testbed.azure.control_plane import ControlPlane
from testbed.azure.json_shapes import as_path_text
from testbed.azure.predict_json import effective_rows
from testbed.azure.predict_stream import summaries
from testbed.azure.types import NextHopType, Row
from testbed.report.tables import table

MANY_ROWS = 50_000


def text(plane: ControlPlane, nics: Sequence[str]) -> str:
    """What each Route Server and gateway learns and advertises, then the effective routes of the given NICs."""
    injected = max((len(plane.injected(hub.vnet, 0)) for hub in plane.hubs), default=0)
    tables = _summaries(plane, nics) if len(nics) * injected > MANY_ROWS else (_nic(plane, label) for label in nics)
    parts = [_unsettled(plane), *_unmodelled(plane), _sessions(plane), *tables]
    return "\n\n".join(part for part in parts if part)


def _unsettled(plane: ControlPlane) -> str:
    return "" if plane.settled else f"does not settle: {', '.join(plane.oscillating)} change for ever"


def _unmodelled(plane: ControlPlane) -> Iterable[str]:
    return (f"not modelled: {name}: {reason}" for name, reason in plane.unmodelled.items())


def _sessions(plane: ControlPlane) -> str:
    rows = []
    for session in plane.sessions:
        who = f"{session.server}-{session.instance}", session.peer
        if reason := plane.down(session):
            rows.append((*who, "down", "", reason, ""))
            continue
        rows += [(*who, "learns", each.path.prefix, as_path_text(each.path.as_path), each.dropped) for each in plane.received(session)]
        rows += [(*who, "advertises", path.prefix, as_path_text(path.as_path), "") for path in plane.advertised(session)]
    return table(("speaker", "peer", "", "network", "AS path", "dropped"), rows) if rows else "no Route Server and no gateway"


def _nic(plane: ControlPlane, label: str) -> str:
    return f"effective routes of {label}\n" + effective_table(effective_rows(plane, label))


def _summaries(plane: ControlPlane, nics: Sequence[str]) -> Iterable[str]:
    """The effective routes where writing all out would fill books: injected rows by next hops."""
    yield f"Injected routes are counted, as there are many; all of a NIC: --nic {nics[0]}; all of all: --json."
    for label, rows, bulks in summaries(plane, nics):
        gateway = NextHopType.VIRTUAL_NETWORK_GATEWAY
        counted = [(gateway, "Active", f"{bulk.first} … ({bulk.count} prefixes)", gateway, ", ".join(bulk.next_hops), "") for bulk in bulks]
        yield f"effective routes of {label}\n" + table(_HEADERS, [*map(_cells, rows), *counted])


_HEADERS = ("source", "state", "prefix", "next hop type", "next hop", "user route")


def effective_table(rows: Iterable[Row]) -> str:
    """Effective routes as Azure's portal lists them."""
    return table(_HEADERS, [_cells(row) for row in rows])


def _cells(row: Row) -> tuple[str, ...]:
    state = "Active" if row.active else "Invalid"
    return (row.source, state, row.prefix, row.next_hop_type, ", ".join(row.next_hops) or "-", row.name)
