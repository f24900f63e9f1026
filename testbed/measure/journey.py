"""The path a packet really took, read from what was captured on the way; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Sighting:
    """The probe seen once: when (seconds), at which node and device, leaving or arriving, its own TTL, and in which outer headers.

    ``outer`` lists the encapsulations outermost first, e.g. ``10.1.0.4 > 10.2.0.4 udp/4789``.
    """

    time: float
    node: str
    device: str
    outgoing: bool
    ttl: int
    outer: tuple[str, ...] = ()


@dataclass(frozen=True)
class Journey:
    """What became of one probe: the nodes in order, the sightings, and who sent ICMP time exceeded, if anyone did."""

    source: str
    target: str
    nodes: tuple[str, ...]
    sightings: tuple[Sighting, ...]
    time_exceeded_by: str | None = None

    @property
    def cycle(self) -> tuple[str, ...]:
        """The nodes of the loop, in order, or nothing: the stretch between the first two visits of a node that came twice."""
        first: dict[str, int] = {}
        for index, node in enumerate(self.nodes):
            if node in first:
                return self.nodes[first[node] : index]
            first[node] = index
        return ()

    @property
    def result(self) -> str:
        """``delivered``, ``loop`` or ``dropped``."""
        if self.nodes and self.nodes[-1] == self.target and not self.time_exceeded_by:
            return "delivered"
        return "loop" if self.cycle else "dropped"

    @property
    def ttl_down(self) -> int:
        """By how much the TTL fell between the first and the last sighting."""
        return self.sightings[0].ttl - self.sightings[-1].ttl if self.sightings else 0


def assemble(source: str, target: str, sightings: Sequence[Sighting], time_exceeded_by: str | None = None) -> Journey:
    """Order the sightings by time (those of one time stay as they come) and fold them into the nodes visited.

    A node is visited anew when the probe comes in after it had gone out; from a NIC to a tunnel device it is the same visit.
    """
    ordered = tuple(sorted(sightings, key=lambda seen: seen.time))
    nodes: list[str] = []
    previous: Sighting | None = None
    for seen in ordered:
        if previous is None or seen.node != previous.node or (previous.outgoing and not seen.outgoing):
            nodes.append(seen.node)
        previous = seen
    return Journey(source, target, tuple(nodes), ordered, time_exceeded_by)
