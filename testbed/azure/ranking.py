"""Which of the paths to a prefix are used, and which stand by: the Route Server's selection as a pure function (RS10)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from testbed.azure.lookup import parse_address
from testbed.azure.types import Address, Candidate, Hub, Prefix, Ranked, Received, Session, Speaker

EXPRESSROUTE = "expressroute"

_Found = tuple[tuple[int, int, int], Address, int]


class Source(NamedTuple):
    """A session whose routes compete: what it received, and where it stands.

    ``preferred`` comes before the length of the AS path, ``tie`` after it. ``next_hop`` is None where the path's own NEXT_HOP counts.
    """

    session: Session
    routes: Mapping[Prefix, Received]
    preferred: int
    tie: int
    next_hop: Address | None


def source(hub: Hub, speaker: Speaker, session: Session, routes: Mapping[Prefix, Received]) -> Source:
    """Where the routes of a session of ``speaker`` stand by ``hub_routing_preference`` (RS10).

    ``ExpressRoute``: circuits before all else; ``VpnGateway``: VPN and NVA (between which there is no setting) before circuits;
    ``ASPath``: no difference, and a tie with a circuit is settled by the hub's ``aspath_tie`` (chapter 7). Next hop of what a gateway
    learned is the gateway's own address (E4), of what a Route Server learned the path's NEXT_HOP, possibly a third party (RS11).
    """
    circuit = speaker.kind == EXPRESSROUTE
    preferred = {"ExpressRoute": 0 if circuit else 1, "VpnGateway": 1 if circuit else 0}.get(hub.preference, 0)
    tie = 0 if circuit or hub.aspath_tie == "both" or hub.preference != "ASPath" else 1
    return Source(session, routes, preferred, tie, None if speaker.kind == "route_server" else speaker.address)


class Ranking:
    """Ranks prefixes over a fixed set of sources; prefixes with the same candidates get the very same object."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = tuple(sources)
        self._made: dict[tuple[_Found, ...], Ranked] = {}

    def of(self, prefix: Prefix) -> Ranked:
        """The candidates for ``prefix``, best first; empty when no source has an accepted path."""
        found: list[_Found] = []
        for number, (_, routes, preferred, tie, next_hop) in enumerate(self._sources):
            received = routes.get(prefix)
            if received is not None and not received.dropped:
                path = received.path
                found.append(((preferred, len(path.as_path), tie), next_hop or path.next_hop, number))
        if not found:
            return ()
        key = tuple(found)
        ranked = self._made.get(key)
        if ranked is None:
            ranked = self._made[key] = self._ranked(key)
        return ranked

    def _ranked(self, found: Sequence[_Found]) -> Ranked:
        ordered = sorted(found, key=lambda each: (each[0], parse_address(each[1]), self._sources[each[2]].session))
        return tuple(
            tuple(Candidate(next_hop, self._sources[number].session) for _, next_hop, number in tier)
            for _, tier in groupby(ordered, key=lambda each: each[0])
        )
