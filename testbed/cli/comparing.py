"""What `testbed compare` reads and prints."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from testbed.azure.captured import MAX_BYTES, Compared, compare_advertised, compare_effective, compare_learned
from testbed.azure.control_plane import ControlPlane, converge
from testbed.azure.predict_json import nic_subnets
from testbed.cli.common import table
from testbed.errors import InputError
from testbed.model.loader import load_topology, read_text

Tables = list[tuple[str, tuple[Compared, ...]]]
Comparison = Callable[[ControlPlane, str, str, str, str], tuple[Compared, ...]]


def compare(
    topology: Path,
    effective: Sequence[tuple[str, str]],
    learned: Sequence[tuple[str, str, str]],
    advertised: Sequence[tuple[str, str, str]],
) -> Tables:
    """Each table that was named, compared: (title, rows). Raises InputError for names and files that are wrong."""
    if not (effective or learned or advertised):
        raise InputError("nothing to compare with", "name a file: --effective-routes NIC FILE, --learned-routes RS PEER FILE")
    plane = converge(load_topology(topology).topology)
    known = nic_subnets(plane.topology)
    tables: Tables = []
    for nic, file in effective:
        if nic not in known:
            raise InputError(f"no NIC named {nic}", f"known: {', '.join(known)}")
        tables.append((f"effective routes of {nic}", compare_effective(plane, nic, _read(file), file)))
    ways: Iterable[tuple[str, Comparison, Sequence[tuple[str, str, str]]]] = (
        ("learned by", compare_learned, learned),
        ("advertised by", compare_advertised, advertised),
    )
    for title, comparison, requests in ways:
        for server, peer, file in requests:
            tables.append((f"{title} {server}, {peer}", comparison(plane, server, peer, _read(file), file)))
    return tables


def _read(file: str) -> str:
    if file != "-":
        return read_text(Path(file))
    try:
        return sys.stdin.buffer.read(MAX_BYTES + 1).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError("stdin is not UTF-8 text", "pipe what az … -o json prints") from None


def to_json(topology: Path, tables: Tables) -> dict[str, Any]:
    """The comparison as plain data."""
    return {
        "file": str(topology),
        "agrees": not any(row.different for _, rows in tables for row in rows),
        "tables": [{"title": title, "rows": msgspec.to_builtins(rows)} for title, rows in tables],
    }


def text(tables: Tables) -> str:
    """The comparison for people."""
    parts = []
    for title, rows in tables:
        cells = [(row.outcome, row.prefix, row.azure or "-", row.predicted or "-", row.rule) for row in rows]
        counts = ", ".join(f"{count} {outcome}" for outcome, count in Counter(row.outcome for row in rows).items())
        parts.append(f"{title}: {counts or 'no rows'}\n{table(('', 'prefix', 'Azure', 'predicted', 'rule'), cells)}")
    return "\n\n".join(parts)
