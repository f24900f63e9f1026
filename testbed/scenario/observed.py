"""Reads what the controller of a live lab says into the types of the core; pure but for the calls themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from testbed.azure.types import Address, Path, Prefix, Row
from testbed.scenario.lab_view import LearnedRow


class Controller(Protocol):
    """Whoever can call the controller's socket."""

    def controller(self, method: str, target: str, timeout: float = 30.0, **parameters: Any) -> Any:
        """Its JSON reply."""


def effective(client: Controller, nic: str) -> tuple[Row, ...]:
    """The effective routes of a NIC as they are programmed. Raises InputError for an unknown NIC."""
    return msgspec.convert(client.controller("GET", "/effective", nic=nic)["rows"], tuple[Row, ...])


def injected(client: Controller, hub: str) -> dict[int, dict[Prefix, tuple[Address, ...]]]:
    """By home instance: the injected prefixes of a hub and their next hops."""
    found: Mapping[str, Any] = client.controller("GET", "/injected", hub=hub)
    return {int(home): {prefix: tuple(hops) for prefix, hops in routes.items()} for home, routes in found.items()}


def learned(client: Controller, server: str, peer: str) -> tuple[LearnedRow, ...]:
    """What each instance of a Route Server or gateway received from a peer, dropped paths included."""
    found: Mapping[str, Any] = client.controller("GET", "/learned", server=server, peer=peer)
    return tuple(_learned_row(int(instance), row) for instance, rows in found.items() for row in rows)


def _learned_row(instance: int, row: Mapping[str, Any]) -> LearnedRow:
    path = msgspec.convert(row["path"], Path)
    return LearnedRow(instance, path.prefix, path.as_path, path.next_hop, row["dropped"])


def ends(client: Controller) -> dict[frozenset[str], str]:
    """By the two nodes of a session of a Route Server or gateway that is down: why it ended."""
    sessions = client.controller("GET", "/status")["sessions"]
    return {frozenset((f"{each['server']}-{each['instance']}", each["peer"])): each["reason"] for each in sessions if not each["up"]}
