"""Loops read off the wire: a packet that came to the same node again with a lower TTL, its cycle, its turns, and what it cost; pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from socket import inet_ntoa

from testbed.measure.journey import Journey, Sighting, assemble
from testbed.measure.recorder import Frame

_ETHERNET, _IP = 14, 20
_VXLAN_PORT = (4789).to_bytes(2)
_VXLAN = 8 + 8 + _ETHERNET  # UDP, VXLAN and inner Ethernet header
_TIME_EXCEEDED = 11
_KEPT = 64  # bytes of what the IP header carries that tell packets apart; they hold a stream's stamp
_QUOTED = 8  # bytes of it that every ICMP error quotes (RFC 792)

Identity = tuple[str, str, int, bytes]
"""What stays the same while a packet travels: source, target, IP id, and the beginning of what the IP header carries."""


@dataclass(frozen=True)
class _Packet:
    identity: Identity
    ttl: int
    protocol: int
    payload: bytes
    tunnelled: bool


@dataclass(frozen=True)
class PacketLoop:
    """One packet that went round.

    ``cycle``: the nodes of the loop in order, beginning where it closed first. ``turns``: how often it came back to that node.
    ``begin``/``end``: first and last sighting (wall-clock seconds). ``expired_at``: the node that sent ICMP time exceeded for it (its
    address when no node of that name was seen sending); None: it got out of the loop, or was dropped in silence.
    """

    identity: Identity
    cycle: tuple[str, ...]
    turns: int
    first_ttl: int
    last_ttl: int
    begin: float
    end: float
    expired_at: str | None

    @property
    def escaped(self) -> bool:
        """Whether it left the loop before its TTL ran out."""
        return self.last_ttl > 1 and self.expired_at is None


@dataclass(frozen=True)
class LoopEpisode:
    """A loop that packets of a stream met for a while: a micro-loop when it ends by itself."""

    cycle: tuple[str, ...]
    begin: float
    end: float
    packets: int
    expired: int

    @property
    def duration(self) -> float:
        """Seconds from the first to the last sighting of a looping packet."""
        return self.end - self.begin


def find_loops(frames: Iterable[Frame], addresses: Mapping[str, str] | None = None) -> tuple[PacketLoop, ...]:
    """The packets among captured frames that looped, in order of time.

    ``addresses`` maps an IP address to its node, to name who sent ICMP time exceeded where that was not captured. A frame that is no
    IPv4, or an ICMP error, is no packet of its own; a packet inside VXLAN is the inner one.
    """
    sightings: dict[Identity, list[Sighting]] = defaultdict(list)
    exceeded: dict[Identity, str] = {}
    for frame in frames:
        if (packet := _parse(frame)) is None:
            continue
        if packet.protocol == 1 and packet.payload[:1] == bytes([_TIME_EXCEEDED]):
            _note_exceeded(exceeded, frame, packet, addresses or {})
        else:
            outer = ("vxlan",) if packet.tunnelled else ()
            sightings[packet.identity].append(Sighting(frame.time, frame.node, frame.device, frame.outgoing, packet.ttl, outer))
    found = (
        _loop(identity, seen, exceeded.get(identity) or exceeded.get((*identity[:3], identity[3][:_QUOTED])))
        for identity, seen in sightings.items()
        if _came_back(seen)
    )
    return tuple(sorted((loop for loop in found if loop), key=lambda loop: loop.begin))


def _parse(frame: Frame) -> _Packet | None:
    data, tunnelled = frame.data, False
    offset = _ETHERNET if frame.ethernet else 0
    while len(data) >= offset + _IP and data[offset] >> 4 == 4:
        body = offset + (data[offset] & 15) * 4
        if data[offset + 9] == 17 and data[body + 2 : body + 4] == _VXLAN_PORT:
            offset, tunnelled = body + _VXLAN, True
            continue
        payload = data[body : offset + int.from_bytes(data[offset + 2 : offset + 4])]
        source, target = inet_ntoa(data[offset + 12 : offset + 16]), inet_ntoa(data[offset + 16 : offset + 20])
        identity = (source, target, int.from_bytes(data[offset + 4 : offset + 6]), payload[:_KEPT])
        return _Packet(identity, data[offset + 8], data[offset + 9], payload, tunnelled)
    return None


def _note_exceeded(exceeded: dict[Identity, str], frame: Frame, error: _Packet, addresses: Mapping[str, str]) -> None:
    """Remember for the quoted packet who sent the error: the first node seen sending it, or the address it came from."""
    quoted = error.payload[8:]
    if len(quoted) < _IP:
        return
    carried = quoted[(quoted[0] & 15) * 4 :][:_KEPT]
    key = (inet_ntoa(quoted[12:16]), inet_ntoa(quoted[16:20]), int.from_bytes(quoted[4:6]), carried)
    sender = error.identity[0]
    exceeded.setdefault(key, addresses.get(sender) or (frame.node if frame.outgoing else sender))


def _came_back(sightings: Sequence[Sighting]) -> bool:
    """Whether any node saw the packet come in twice, the second time with a lower TTL."""
    highest: dict[str, int] = {}
    for seen in sightings:
        if not seen.outgoing and seen.ttl < highest.setdefault(seen.node, seen.ttl):
            return True
        if not seen.outgoing:
            highest[seen.node] = max(highest[seen.node], seen.ttl)
    return False


def _loop(identity: Identity, sightings: Sequence[Sighting], expired_at: str | None) -> PacketLoop | None:
    journey: Journey = assemble("", "", sightings)
    if not (cycle := journey.cycle):
        return None
    ordered = journey.sightings
    return PacketLoop(
        identity=identity,
        cycle=cycle,
        turns=journey.nodes.count(cycle[0]) - 1,
        first_ttl=ordered[0].ttl,
        last_ttl=ordered[-1].ttl,
        begin=ordered[0].time,
        end=ordered[-1].time,
        expired_at=expired_at,
    )


def same_cycle(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether two cycles are the same, wherever they are said to begin."""
    return len(one) == len(other) and (not one or any(_turned(one, by) == tuple(other) for by in range(len(one))))


def _turned(cycle: Sequence[str], by: int) -> tuple[str, ...]:
    return (*cycle[by:], *cycle[:by])


def _canonical(cycle: Sequence[str]) -> tuple[str, ...]:
    return min(_turned(cycle, by) for by in range(len(cycle)))


def episodes(loops: Iterable[PacketLoop], quiet: float = 0.1) -> tuple[LoopEpisode, ...]:
    """Looping packets gathered into episodes by cycle: one ends when none was seen looping for ``quiet`` seconds."""
    found = []
    keyed = sorted(loops, key=lambda loop: (_canonical(loop.cycle), loop.begin))
    for cycle, group in groupby(keyed, key=lambda loop: _canonical(loop.cycle)):
        current: list[PacketLoop] = []
        for loop in group:
            if current and loop.begin - max(past.end for past in current[-64:]) > quiet:
                found.append(_episode(cycle, current))
                current = []
            current.append(loop)
        found.append(_episode(cycle, current))
    return tuple(sorted(found, key=lambda episode: episode.begin))


def _episode(cycle: tuple[str, ...], loops: Sequence[PacketLoop]) -> LoopEpisode:
    expired = sum(not loop.escaped for loop in loops)
    return LoopEpisode(cycle, loops[0].begin, max(loop.end for loop in loops), len(loops), expired)


def amplification(frames: Iterable[Frame], offered: int) -> float:
    """Bytes that crossed the links per byte offered: the frames captured leaving a node, over ``offered`` bytes handed to the first link.

    One for a direct neighbour, the number of links for a straight path; a loop multiplies it. Give it whole frames (no snap) of every node,
    of devices that are ends of links only: what leaves through a tunnel device leaves once more in its outer headers.
    """
    return sum(len(frame.data) for frame in frames if frame.outgoing) / offered if offered else 0.0
