"""The links between regions: which two a ``REGION-REGION`` key means, and what the path between two regions is like."""

from __future__ import annotations

from collections.abc import Collection

from testbed.model.topology import Link, Topology


def splits(key: str, regions: Collection[str]) -> list[tuple[str, str]]:
    """The pairs of different regions that a ``REGION-REGION`` key can mean; names may hold '-' themselves."""
    places = [number for number, character in enumerate(key) if character == "-"]
    pairs = [(key[:place], key[place + 1 :]) for place in places]
    return [(one, other) for one, other in pairs if one in regions and other in regions and one != other]


def link_between(topology: Topology, one: str, other: str) -> Link:
    """The link between two regions, in either order of its key; one without delay or limits where none is declared."""
    for key in (f"{one}-{other}", f"{other}-{one}"):
        if key in topology.links:
            return topology.links[key]
    return Link()
