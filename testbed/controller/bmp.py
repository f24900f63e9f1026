"""What a speaker's bgpd reports over BMP (RFC 7854), turned into the events of the routing model; pure: bytes in, events out.

Only the pre-policy Adj-RIB-In counts: the brain applies Azure's own checks. What FRR 8.4 does differently from the RFC, as observed:

* it puts the local ASN in front of the path of an eBGP peer (pre- and post-policy alike), not of an iBGP peer;
* a peer that is down when BMP connects is reported down with reason 2, code 0; so is every session that this side ended
  (hold timer, maximum-prefix, shutdown), without the NOTIFICATION. The true reason must be asked of bgpd itself;
* End-of-RIB is sent when BMP connects, for the peers that are up then, not when a session comes up later;
* a prefix whose every path failed bgpd's own checks is reported as withdrawn, pre-policy too. The templates of Route Servers and
  gateways therefore accept looped paths (``allowas-in``, local preference 0, sent to nobody) and leave RS8 to the brain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from msgspec import Struct
from os_ken.lib.packet import bgp, bmp

from testbed.azure.types import Address, Announced, Event, Path, Session, SessionDown, SessionUp, Speaker, Withdrawn
from testbed.errors import TestbedError

MAX_MESSAGE = 65536
"""Bytes. A BGP message has at most 4,096, and BMP adds two of them at most to its own headers."""

ENDED_HERE = "local"
"""The reason of a session that this side ended and FRR does not explain over BMP."""

_HEADER = 6
_TYPE, _FLAGS = 5, 7
_BGP = 48  # where a route monitoring message holds its BGP message
_UPDATE = _BGP + 19
_OPENS = _BGP + 20  # where a peer-up message holds the two OPENs
_EXTENDED = 0x10
_MANDATORY = frozenset((bgp.BGP_ATTR_TYPE_ORIGIN, bgp.BGP_ATTR_TYPE_AS_PATH, bgp.BGP_ATTR_TYPE_NEXT_HOP))
_READ = _MANDATORY | {bgp.BGP_ATTR_TYPE_COMMUNITIES}
_POST_POLICY, _ADJ_RIB_OUT = 0x40, 0x10
_WELL_KNOWN = {0xFFFFFF01: "no-export", 0xFFFFFF02: "no-advertise", 0xFFFFFF03: "local-AS", 0xFFFFFF04: "no-peer", 0xFFFF029A: "blackhole"}
_ORIGINS = ("igp", "egp", "incomplete")
_CEASE, _HOLD_TIMER, _MAX_PREFIX = 6, 4, 1

# BMP's AS paths have four octets a number; os-ken would guess, and guess wrong for some numbers above 16,777,215.
bgp.BGPPathAttributeAsPath._is_valid_16bit_as_path = classmethod(lambda cls, buffer: False)


class BmpError(TestbedError):
    """A speaker sent what is not BMP, or more than a BMP message can hold."""


class EndOfRib(Struct, frozen=True, tag=True):
    """All that the session's peer had announced when BMP connected has been reported."""

    session: Session


Report = Event | EndOfRib


class Decoder:
    """The stream of one BMP connection: feed it bytes, get reports. ``peers`` names the nodes behind the peers' addresses.

    ``synced`` tells whether the first full report is complete: each peer was reported down, or up with its End-of-RIB.
    Peers that ``peers`` does not know are ignored.
    """

    def __init__(self, speaker: Speaker, peers: Mapping[Address, str]) -> None:
        self._speaker = speaker
        self._sessions = {address: Session(speaker.server, speaker.instance, peer) for address, peer in peers.items()}
        self._buffer = bytearray()
        self.messages = 0
        self._unreported = set(self._sessions.values())
        self.up: set[Session] = set()

    @property
    def synced(self) -> bool:
        """Whether all that was there when BMP connected has been reported."""
        return not self._unreported

    @property
    def incomplete(self) -> bool:
        """Whether no message has come yet, or one has begun and is not complete."""
        return not self.messages or bool(self._buffer)

    def feed(self, data: bytes) -> list[Report]:
        """Reports of all messages that are complete now. Raises BmpError when the bytes are not BMP."""
        self._buffer += data
        reports: list[Report] = []
        for message in self._messages():
            reports.extend(self._reports(message))
        return reports

    def _messages(self) -> Iterator[bytes]:
        while len(self._buffer) >= _HEADER:
            length = int.from_bytes(self._buffer[1:5], "big")
            if self._buffer[0] != bmp.VERSION or not _HEADER <= length <= MAX_MESSAGE:
                raise BmpError(f"BMP version {self._buffer[0]}, length {length}: not a BMP stream")
            if len(self._buffer) < length:
                return
            message = bytes(self._buffer[:length])
            del self._buffer[:length]
            self.messages += 1
            yield message

    def _reports(self, message: bytes) -> list[Report]:
        """What one message says; of the types and views that do not matter here, nothing (RFC 7854: unknown types are ignored)."""
        translate = _TRANSLATORS.get(message[_TYPE])
        if translate is None or (message[_TYPE] == bmp.BMP_MSG_ROUTE_MONITORING and _other_view(message)):
            return []
        try:
            parsed, _ = bmp.BMPMessage.parser(_ESSENCES.get(message[_TYPE], bytes)(message))
            session = self._sessions.get(parsed.peer_address)
            return translate(self, session, parsed) if session else []
        except Exception as error:  # os-ken raises whatever its parsers trip over
            raise BmpError(f"BMP message of type {message[_TYPE]}, {len(message)} bytes: {type(error).__name__}: {error}") from error

    def _peer_up(self, session: Session, message: Any) -> list[Report]:
        again: list[Report] = [SessionDown(session, "lost")] if session in self.up else []
        self.up.add(session)
        hold = min(message.sent_open_message.hold_time, message.received_open_message.hold_time)
        return [*again, SessionUp(session, float(hold))]

    def _peer_down(self, session: Session, message: Any) -> list[Report]:
        self._unreported.discard(session)
        if session not in self.up:
            return []
        self.up.remove(session)
        return [SessionDown(session, _reason(message))]

    def _routes(self, session: Session, message: Any) -> list[Report]:
        update = message.bgp_update
        if not update.nlri and not update.withdrawn_routes:
            self._unreported.discard(session)
            return [EndOfRib(session)]
        if session not in self.up:  # what FRR still has queued of a session that ended
            return []
        withdrawn: list[Report] = [Withdrawn(session, _prefix(route)) for route in update.withdrawn_routes]
        if not {attribute.type for attribute in update.path_attributes} >= _MANDATORY:
            return [*withdrawn, *(Withdrawn(session, _prefix(route)) for route in update.nlri)]
        return [*withdrawn, *(Announced(session, path) for path in _paths(update, self._own_asn(message)))]

    def _own_asn(self, message: Any) -> int | None:
        """The ASN that FRR put in front of the path: the speaker's own, for eBGP peers."""
        return self._speaker.asn if message.peer_as != self._speaker.asn else None


_TRANSLATORS: dict[int, Callable[[Decoder, Session, Any], list[Report]]] = {
    bmp.BMP_MSG_PEER_UP_NOTIFICATION: Decoder._peer_up,
    bmp.BMP_MSG_PEER_DOWN_NOTIFICATION: Decoder._peer_down,
    bmp.BMP_MSG_ROUTE_MONITORING: Decoder._routes,
}


def _essence(message: bytes) -> bytes:
    """A route monitoring message with those attributes alone that are read here: a peer chooses the others, and what is in them."""
    start = _UPDATE + 2 + int.from_bytes(message[_UPDATE : _UPDATE + 2], "big")
    at, end = start + 2, start + 2 + int.from_bytes(message[start : start + 2], "big")
    kept = b""
    while at < end:
        head = 4 if message[at] & _EXTENDED else 3
        after = at + head + int.from_bytes(message[at + 2 : at + head], "big")
        if message[at + 1] in _READ:
            kept += message[at:after]
        at = after
    if not at == end <= len(message):
        raise ValueError("attributes of other lengths than they say")
    cut = end - start - 2 - len(kept)
    lengths = (len(message) - cut, len(message) - _BGP - cut)
    bmp_head = message[:1] + lengths[0].to_bytes(4, "big") + message[5:_BGP]
    bgp_head = message[_BGP : _BGP + 16] + lengths[1].to_bytes(2, "big") + message[_BGP + 18 : start]
    return bmp_head + bgp_head + len(kept).to_bytes(2, "big") + kept + message[end:]


def _bare_opens(message: bytes) -> bytes:
    """A peer-up message whose two OPENs have no optional parameters: a peer chooses these, too."""
    received = _OPENS + int.from_bytes(message[_OPENS + 16 : _OPENS + 18], "big")
    bare = b"".join(
        message[at : at + 16] + (29).to_bytes(2, "big") + message[at + 18 : at + 28] + b"\0" for at in (_OPENS, received)
    )  # 29 bytes: an OPEN's header and its fixed fields
    if received + 29 > len(message):
        raise ValueError("OPENs of other lengths than they say")
    return message[:1] + (_OPENS + len(bare)).to_bytes(4, "big") + message[5:_OPENS] + bare


_ESSENCES: dict[int, Callable[[bytes], bytes]] = {
    bmp.BMP_MSG_ROUTE_MONITORING: _essence,
    bmp.BMP_MSG_PEER_UP_NOTIFICATION: _bare_opens,
}


def _other_view(message: bytes) -> bool:
    """Whether routes are those of another view than the pre-policy Adj-RIB-In."""
    return len(message) > _FLAGS and bool(message[_FLAGS] & (_POST_POLICY | _ADJ_RIB_OUT))


def _prefix(route: Any) -> str:
    """The prefix in canonical form; os-ken leaves the host bits as they came, FRR has cleared them."""
    return str(route.prefix)


def _paths(update: Any, own_asn: int | None) -> Iterator[Path]:
    attributes = {attribute.type: attribute for attribute in update.path_attributes}
    if not update.nlri:
        return
    as_path = tuple(number for segment in attributes[bgp.BGP_ATTR_TYPE_AS_PATH].value for number in sorted_set(segment))
    if own_asn is not None and as_path[:1] == (own_asn,):
        as_path = as_path[1:]
    communities = attributes.get(bgp.BGP_ATTR_TYPE_COMMUNITIES)
    names = tuple(_community(number) for number in communities.communities) if communities else ()
    origin = _ORIGINS[attributes[bgp.BGP_ATTR_TYPE_ORIGIN].value]
    next_hop = str(attributes[bgp.BGP_ATTR_TYPE_NEXT_HOP].value)
    for route in update.nlri:
        yield Path(_prefix(route), as_path, next_hop, names, origin)


def sorted_set(segment: list[int] | set[int]) -> list[int]:
    """A segment of an AS path as a list: a sequence as it is, a set in ascending order."""
    return segment if isinstance(segment, list) else sorted(segment)


def _community(number: int) -> str:
    return _WELL_KNOWN.get(number) or f"{number >> 16}:{number & 0xFFFF}"


def _reason(message: Any) -> str:
    """The reason why a session ended, as `SessionDown` names it."""
    if message.reason == bmp.BMP_PEER_DOWN_REASON_REMOTE_NO_NOTIFICATION:
        return "closed"
    if message.reason in (bmp.BMP_PEER_DOWN_REASON_REMOTE_BGP_NOTIFICATION, bmp.BMP_PEER_DOWN_REASON_LOCAL_BGP_NOTIFICATION):
        return notification_reason(message.data.error_code, message.data.error_subcode)
    return ENDED_HERE


def notification_reason(code: int, subcode: int) -> str:
    """A NOTIFICATION's codes (RFC 4271, 4486) as a reason of `SessionDown`."""
    if code == _HOLD_TIMER:
        return "hold-timer"
    return "max-prefix" if (code, subcode) == (_CEASE, _MAX_PREFIX) else "notification"
