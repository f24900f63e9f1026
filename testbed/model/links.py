"""What paths are like: between regions, by a ``REGION-REGION`` key, and on circuits."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from testbed.model.topology import Circuit, Link, Topology


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


def to_gateway(circuit: Circuit, gateway: str) -> Link:
    """The path between a circuit's MSEEs and one of its gateways."""
    return circuit.gateways[gateway] if isinstance(circuit.gateways, dict) else Link()


def declared_links(topology: Topology) -> Iterator[tuple[str, Link]]:
    """The properties of all paths, each with its place in the file."""
    yield from ((f"links.{key}", link) for key, link in topology.links.items())
    for name, circuit in topology.circuits.items():
        yield f"circuits.{name}.line", circuit.line
        yield from ((f"circuits.{name}.gateways.{gateway}", to_gateway(circuit, gateway)) for gateway in circuit.gateways)
