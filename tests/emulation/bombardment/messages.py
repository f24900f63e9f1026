"""BGP messages as they should not be, each with what a speaker may do about it (RFC 4271, 7606, 5492, 2918)."""

from __future__ import annotations

import logging
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass

logging.getLogger("scapy").setLevel(logging.ERROR)

from scapy.contrib.bgp import (  # noqa: E402 - scapy warns while it is imported
    BGPCapFourBytesASN,
    BGPCapMultiprotocol,
    BGPHeader,
    BGPOpen,
    BGPOptParam,
    BGPUpdate,
)
from scapy.packet import fuzz  # noqa: E402

MARKER = b"\xff" * 16
OPEN, UPDATE, NOTIFICATION, KEEPALIVE, REFRESH = range(1, 6)
LONGEST = 4096
AS_PATH = 2


def message(kind: int, body: bytes = b"", *, length: int | None = None, marker: bytes = MARKER) -> bytes:
    """A message with its header, which may lie."""
    return marker + struct.pack("!HB", 19 + len(body) if length is None else length, kind) + body


def keepalive() -> bytes:
    """What keeps a session."""
    return message(KEEPALIVE)


def refresh(afi: int = 1, safi: int = 1) -> bytes:
    """Asks for everything again: what comes shows that all before it was read."""
    return message(REFRESH, struct.pack("!HBB", afi, 0, safi))


def open_message(asn: int, identifier: str, hold: int = 180) -> bytes:
    """A correct OPEN, built by scapy."""
    parameters = [BGPOptParam(param_value=BGPCapMultiprotocol(afi=1, safi=1)), BGPOptParam(param_value=BGPCapFourBytesASN(asn=asn))]
    return bytes(
        BGPHeader() / BGPOpen(my_as=min(asn, 23456) if asn > 65535 else asn, hold_time=hold, bgp_id=identifier, opt_params=parameters)
    )


def open_of(
    asn: int, *, version: int = 4, hold: int = 180, identifier: bytes = b"\x0a\x01\x00\x63", optional: bytes | None = None
) -> bytes:
    """An OPEN of these very bytes; ``optional`` without a length of its own."""
    if optional is None:
        optional = capability(1, b"\x00\x01\x00\x01") + capability(65, struct.pack("!I", asn))
    return message(OPEN, struct.pack("!BHH", version, asn & 0xFFFF, hold) + identifier + bytes([len(optional) & 0xFF]) + optional)


def capability(code: int, value: bytes, length: int | None = None) -> bytes:
    """An optional parameter with one capability, whose length may lie."""
    inner = bytes([code, len(value) if length is None else length]) + value
    return bytes([2, len(inner)]) + inner


def attribute(flags: int, code: int, value: bytes, length: int | None = None) -> bytes:
    """A path attribute, whose length may lie."""
    size = len(value) if length is None else length
    head = bytes([flags | (0x10 if size > 255 else 0), code])
    return head + (struct.pack("!H", size) if size > 255 else bytes([size])) + value


ORIGIN = attribute(0x40, 1, b"\x00")
NEXT_HOP = attribute(0x40, 3, b"\x0a\x01\x00\x63")
NLRI = b"\x18\xc0\x00\x02"


def as_path(*asns: int) -> bytes:
    """AS_PATH of one sequence with four octets a number."""
    return attribute(0x40, 2, bytes([2, len(asns)]) + b"".join(struct.pack("!I", asn) for asn in asns))


def update(
    attributes: bytes, nlri: bytes = NLRI, *, withdrawn: bytes = b"", withdrawn_length: int | None = None, total: int | None = None
) -> bytes:
    """An UPDATE, whose two lengths may lie."""
    first = struct.pack("!H", len(withdrawn) if withdrawn_length is None else withdrawn_length) + withdrawn
    return message(UPDATE, first + struct.pack("!H", len(attributes) if total is None else total) + attributes + nlri)


def good_update(asn: int, nlri: bytes = NLRI) -> bytes:
    """An UPDATE that any speaker takes."""
    return update(ORIGIN + as_path(asn) + NEXT_HOP, nlri)


@dataclass(frozen=True)
class Case:
    """One thing to say: ``build`` makes it for an ASN, ``when`` is ``connected`` (before OPEN) or ``established``.

    ``right`` are the answers that the RFCs allow: ``c/s`` (a NOTIFICATION; ``c/*`` any subcode), ``kept`` (the session goes on),
    ``closed`` (without a word). ``frr`` is what FRR 8.4 does instead, where it does: it ends the session of the peer that sent it, and no
    other, where RFC 7606 would keep it; after a malformed attribute that is not the last it looks for prefixes in the wrong place.
    """

    name: str
    when: str
    build: Callable[[int], bytes]
    right: tuple[str, ...]
    frr: str = ""


def _established(name: str, attributes: Callable[[int], bytes], *right: str, frr: str = "") -> Case:
    return Case(name, "established", lambda asn: update(attributes(asn)), right, frr)


def _added(name: str, more: bytes, *right: str, frr: str = "") -> Case:
    return Case(name, "established", lambda asn: update(ORIGIN + as_path(asn) + NEXT_HOP + more), right, frr)


def _with_path(value: bytes) -> bytes:
    return ORIGIN + attribute(0x40, AS_PATH, value) + NEXT_HOP


HEADERS = (
    Case("marker not all ones", "connected", lambda asn: message(OPEN, b"", marker=b"\xfe" + b"\xff" * 15), ("1/1",)),
    Case("length 18", "connected", lambda asn: message(OPEN, length=18), ("1/2",)),
    Case("length 0", "connected", lambda asn: message(OPEN, length=0), ("1/2",)),
    Case("length 65535", "connected", lambda asn: message(OPEN, length=65535), ("1/2",)),
    Case("length 4097", "connected", lambda asn: message(OPEN, length=4097), ("1/2",)),
    Case("an OPEN of 28 bytes", "connected", lambda asn: message(OPEN, b"\x04" * 9), ("1/2", "2/0")),
    Case("type 0", "connected", lambda asn: message(0), ("1/3",)),
    Case("type 255", "connected", lambda asn: message(255), ("1/3",)),
    Case("a KEEPALIVE of 20 bytes", "established", lambda asn: message(KEEPALIVE, b"x"), ("1/2",)),
    Case("an UPDATE of 22 bytes", "established", lambda asn: message(UPDATE, b"\0\0\0"), ("1/2", "3/1")),
    Case("a NOTIFICATION of 20 bytes", "established", lambda asn: message(NOTIFICATION, b"\x06"), ("1/2", "closed")),
    Case("a marker of zeros", "established", lambda asn: message(UPDATE, b"\0" * 4, marker=b"\0" * 16), ("1/1",)),
    Case("type 7", "established", lambda asn: message(7, b"\0" * 8), ("1/3",)),
    Case("bytes at random", "connected", lambda asn: bytes(range(200, 250)), ("1/1",)),
    Case("HTTP", "connected", lambda asn: b"GET / HTTP/1.1\r\nHost: rs\r\n\r\n", ("1/1",)),
)
OPENS = (
    Case("version 3", "connected", lambda asn: open_of(asn, version=3), ("2/1",)),
    Case("version 5", "connected", lambda asn: open_of(asn, version=5), ("2/1",)),
    Case("ASN 0", "connected", lambda asn: open_of(0), ("2/2",)),
    Case("another ASN", "connected", lambda asn: open_of(asn + 1), ("2/2",)),
    Case("four-octet ASN 0", "connected", lambda asn: open_of(asn, optional=capability(65, b"\0\0\0\0")), ("2/2",)),
    Case("four-octet ASN of another", "connected", lambda asn: open_of(asn, optional=capability(65, b"\0\1\0\0")), ("2/2",)),
    Case("identifier 0.0.0.0", "connected", lambda asn: open_of(asn, identifier=b"\0\0\0\0"), ("2/3",)),
    Case("a multicast identifier", "connected", lambda asn: open_of(asn, identifier=b"\xe0\0\0\1"), ("2/3", "kept")),
    Case("the identifier of the other side", "connected", lambda asn: open_of(asn, identifier=b"\x0a\x01\x01\x04"), ("2/3", "kept")),
    Case("hold time 1", "connected", lambda asn: open_of(asn, hold=1), ("2/6",)),
    Case("hold time 2", "connected", lambda asn: open_of(asn, hold=2), ("2/6",)),
    Case("an optional parameter of type 9", "connected", lambda asn: open_of(asn, optional=b"\x09\x01\x00"), ("2/4",)),
    Case("a parameter longer than all", "connected", lambda asn: open_of(asn, optional=b"\x02\xff\x01\x04"), ("2/0", "2/4")),
    Case(
        "a capability longer than its parameter",
        "connected",
        lambda asn: open_of(asn, optional=capability(1, b"\0\1\0\1", 99)),
        ("2/0", "2/*"),
    ),
    Case("multiprotocol of 3 bytes", "connected", lambda asn: open_of(asn, optional=capability(1, b"\0\1\0")), ("2/0", "2/*", "kept")),
    Case("four-octet ASN of 2 bytes", "connected", lambda asn: open_of(asn, optional=capability(65, b"\0\1")), ("2/0", "2/*", "kept")),
    Case("graceful restart cut short", "connected", lambda asn: open_of(asn, optional=capability(64, b"\0")), ("2/0", "2/*", "kept")),
    Case(
        "a host name longer than its capability",
        "connected",
        lambda asn: open_of(asn, optional=capability(73, b"\xffab")),
        ("2/0", "2/*", "kept"),
    ),
    Case(
        "software version of 200 bytes",
        "connected",
        lambda asn: open_of(asn, optional=capability(75, b"\xc7" + b"%n" * 100)),
        ("2/*", "kept"),
    ),
    Case(
        "sixty capabilities nobody knows",
        "connected",
        lambda asn: open_of(asn, optional=b"".join(map(_unknown_capability, range(60)))),
        ("kept",),
    ),
    Case("only IPv6 multicast", "connected", lambda asn: open_of(asn, optional=capability(1, b"\0\2\0\2")), ("2/7", "kept")),
    Case("an UPDATE before OPEN", "connected", good_update, ("5/*", "1/*")),
    Case("a KEEPALIVE before OPEN", "connected", lambda asn: keepalive(), ("5/*", "1/*")),
    Case("a second OPEN", "established", lambda asn: open_of(asn), ("5/*", "6/7", "6/5"), frr="closed"),
    Case("a NOTIFICATION out of the blue", "established", lambda asn: message(NOTIFICATION, b"\x06\x04shutdown"), ("closed",)),
    Case("a NOTIFICATION of no known kind", "established", lambda asn: message(NOTIFICATION, b"\xff\xff" + b"%s" * 100), ("closed",)),
)
WITHDRAWN = ("kept",)
"""RFC 7606: treat-as-withdraw, or discard the attribute; the session stays."""
UPDATES = (
    Case("withdrawn routes longer than the message", "established", lambda asn: update(b"", b"", withdrawn_length=5000), ("3/1",)),
    Case("attributes longer than the message", "established", lambda asn: update(ORIGIN, b"", total=5000), ("3/1",)),
    Case("a withdrawn prefix of 33 bits", "established", lambda asn: update(b"", b"", withdrawn=b"\x21\1\2\3\4\5"), ("3/10", "3/1")),
    Case("a prefix of 33 bits", "established", lambda asn: good_update(asn, b"\x21\1\2\3\4\5"), ("3/10", "3/1")),
    Case("a prefix of 255 bits", "established", lambda asn: good_update(asn, b"\xff" + b"x" * 32), ("3/10", "3/1")),
    Case("a prefix cut short", "established", lambda asn: good_update(asn, b"\x18\xc0\x00"), ("3/10", "3/1")),
    _established("ORIGIN 3", lambda asn: attribute(0x40, 1, b"\x03") + as_path(asn) + NEXT_HOP, *WITHDRAWN, frr="3/10"),
    _established("ORIGIN of 2 bytes", lambda asn: attribute(0x40, 1, b"\0\0") + as_path(asn) + NEXT_HOP, *WITHDRAWN, frr="3/10"),
    _established("ORIGIN of no bytes", lambda asn: attribute(0x40, 1, b"") + as_path(asn) + NEXT_HOP, *WITHDRAWN, frr="3/10"),
    _established("ORIGIN optional", lambda asn: attribute(0xC0, 1, b"\0") + as_path(asn) + NEXT_HOP, *WITHDRAWN, frr="3/10"),
    _established("ORIGIN missing", lambda asn: as_path(asn) + NEXT_HOP, *WITHDRAWN),
    _established("AS_PATH missing", lambda asn: ORIGIN + NEXT_HOP, *WITHDRAWN),
    _established("NEXT_HOP missing", lambda asn: ORIGIN + as_path(asn), *WITHDRAWN),
    _established("everything missing", lambda asn: b"", *WITHDRAWN),
    _established("ORIGIN twice", lambda asn: ORIGIN + ORIGIN + as_path(asn) + NEXT_HOP, *WITHDRAWN, frr="3/1"),
    _established("AS_PATH twice", lambda asn: ORIGIN + as_path(asn) + as_path(asn) + NEXT_HOP, *WITHDRAWN, frr="3/1"),
    _established("AS_PATH with a segment of no ASN", lambda asn: _with_path(b"\x02\x00"), *WITHDRAWN, frr="3/10"),
    _established("AS_PATH with a segment of type 9", lambda asn: _with_path(b"\x09\x01\0\0\0\1"), *WITHDRAWN, frr="3/10"),
    _established("AS_PATH longer than itself", lambda asn: _with_path(b"\x02\x09\0\0\0\1"), *WITHDRAWN, frr="3/10"),
    _established("AS_PATH of 3 bytes", lambda asn: _with_path(b"\x02\x01\0"), *WITHDRAWN, frr="3/10"),
    _established("AS_PATH with ASN 0", lambda asn: ORIGIN + as_path(asn, 0) + NEXT_HOP, *WITHDRAWN),
    _established("AS_PATH of 250 ASNs", lambda asn: ORIGIN + as_path(asn, *range(1, 250)) + NEXT_HOP, *WITHDRAWN),
    _established("AS_PATH that begins with another ASN", lambda asn: ORIGIN + as_path(asn + 1) + NEXT_HOP, "3/11", "kept"),
    _established("AS_PATH empty", lambda asn: _with_path(b""), "3/11", "kept"),
    _established("AS_PATH with a confederation", lambda asn: _with_path(b"\x03\x01\0\0\0\1"), "3/11", "kept"),
    _established("NEXT_HOP of 5 bytes", lambda asn: ORIGIN + as_path(asn) + attribute(0x40, 3, b"\1\2\3\4\5"), *WITHDRAWN),
    _established("NEXT_HOP 0.0.0.0", lambda asn: ORIGIN + as_path(asn) + attribute(0x40, 3, b"\0\0\0\0"), "3/8", "kept"),
    _established("NEXT_HOP multicast", lambda asn: ORIGIN + as_path(asn) + attribute(0x40, 3, b"\xe0\0\0\1"), "3/8", "kept"),
    _established("NEXT_HOP of the receiver", lambda asn: ORIGIN + as_path(asn) + attribute(0x40, 3, b"\x0a\x01\x01\x04"), "kept"),
    _added("MED of 3 bytes", attribute(0x80, 4, b"\0\0\0"), *WITHDRAWN),
    _added("LOCAL_PREF from outside", attribute(0x40, 5, b"\xff\xff"), *WITHDRAWN),
    _added("ATOMIC_AGGREGATE of 1 byte", attribute(0x40, 6, b"x"), *WITHDRAWN),
    _added("AGGREGATOR of 7 bytes", attribute(0xC0, 7, b"1234567"), *WITHDRAWN),
    _added("AGGREGATOR with ASN 0", attribute(0xC0, 7, b"\0" * 8), *WITHDRAWN),
    _added("COMMUNITIES of 3 bytes", attribute(0xC0, 8, b"\0\0\0"), *WITHDRAWN),
    _added("ORIGINATOR_ID from outside", attribute(0x80, 9, b"\1\2\3"), *WITHDRAWN),
    _added("CLUSTER_LIST from outside", attribute(0x80, 10, b"\1\2\3"), *WITHDRAWN),
    _added("extended communities of 9 bytes", attribute(0xC0, 16, b"123456789"), *WITHDRAWN),
    _added("AS4_PATH nonsense", attribute(0xC0, 17, b"\xff\xff\xff"), *WITHDRAWN, frr="3/1"),
    _added("large communities of 13 bytes", attribute(0xC0, 32, b"x" * 13), *WITHDRAWN),
    _added("a tunnel attribute nonsense", attribute(0xC0, 23, b"\0\1\xff\xff"), *WITHDRAWN),
    _added("a prefix SID nonsense", attribute(0xC0, 40, b"\1\xff\xff"), *WITHDRAWN, frr="3/1"),
    _added("an unknown well-known attribute", attribute(0x40, 200, b"x"), "3/2", frr="3/1"),
    _added("an unknown transitive attribute", attribute(0xC0, 201, b"x" * 300), "kept"),
    _added("attribute 0", attribute(0x80, 0, b""), "kept"),
    _established("an attribute longer than all", lambda asn: ORIGIN + as_path(asn) + attribute(0x40, 3, b"\1", 200), *WITHDRAWN, frr="3/5"),
    _established("MP_REACH twice", lambda asn: ORIGIN + as_path(asn) + NEXT_HOP + _reach() + _reach(), "3/1", "3/9"),
    _added("MP_REACH cut short", attribute(0x80, 14, b"\0\1\1"), "3/9", "3/1"),
    _added("MP_REACH with a next hop of 200 bytes", attribute(0x80, 14, b"\0\1\1\xc8" + b"x" * 8), "3/9", "3/1"),
    _established("MP_UNREACH of one byte", lambda asn: attribute(0x80, 15, b"\0"), "3/9", "3/1"),
    _established("MP_REACH for a family nobody asked for", lambda asn: ORIGIN + as_path(asn) + _reach(afi=25), "kept", "3/9"),
    Case("a refresh of one byte", "established", lambda asn: message(REFRESH, b"\0"), ("7/1", "1/2")),
    Case("a refresh for a family nobody knows", "established", lambda asn: refresh(999, 99), ("kept",)),
    Case("a refresh with a bad filter", "established", lambda asn: message(REFRESH, b"\0\1\0\1\1\x40\xff"), ("7/1", "1/2"), frr="6/0"),
)  # fmt: skip
CASES = (*HEADERS, *OPENS, *UPDATES)


def _unknown_capability(number: int) -> bytes:
    return capability(160 + number, b"")


def _reach(afi: int = 1) -> bytes:
    return attribute(0x80, 14, struct.pack("!HBB", afi, 1, 4) + b"\x0a\x01\x00\x63\x00" + NLRI)


POISON: dict[str, bytes] = {
    "MP_UNREACH beside prefixes, no AS_PATH": update(ORIGIN + NEXT_HOP + attribute(0x80, 15, b"\0\1\1")),
    "MP_UNREACH alone beside prefixes": update(attribute(0x80, 15, b"\0\1\1")),
    "an empty MP_REACH beside prefixes, no AS_PATH": update(ORIGIN + attribute(0x80, 14, b"\0\1\1\4\x0a\1\0\x63\0")),
    "AS4_PATH with wrong flags before AS_PATH": update(attribute(0x00, 17, b"x" * 6) + ORIGIN + as_path(64600) + NEXT_HOP),
    "PMSI_TUNNEL with wrong flags, no AS_PATH": update(attribute(0x40, 22, b"x" * 8)),
    "PREFIX_SID with wrong flags, no AS_PATH": update(attribute(0x40, 40, b"x" * 8)),
}
"""What ends bgpd 8.4.4 as Debian 12 has it (signal 11): it stops reading attributes, or takes the message for one that needs none, and
announces the prefixes all the same, without an AS_PATH: it follows a null pointer, in a route-map or, without one, in BMP.

Newer versions of FRR do not (CVE-2023-47234 and its like). No configuration keeps bgpd from it. Only a peer that the Route Server is
configured to have can send them.
"""


def defused(data: bytes, asn: int) -> bytes:
    """The same message with AS_PATH as its first attribute, if it is an UPDATE: what is known to be poison is tried apart."""
    if len(data) < 23 or data[:16] != MARKER or data[18] != UPDATE or not whole(data):
        return data
    start = 21 + int.from_bytes(data[19:21], "big")
    end = start + 2 + int.from_bytes(data[start : start + 2], "big")
    if end > len(data):
        return data
    first = data[start + 2 : min(start + 4, end)]
    if len(first) == 2 and (first[0] & 0xE0, first[1]) == (0x40, AS_PATH):
        return data
    return update(as_path(asn) + _without_as_path(data[start + 2 : end]), data[end:], withdrawn=data[21:start])


def _without_as_path(attributes: bytes) -> bytes:
    """Attributes but AS_PATH, as far as they can be told apart; what follows as it is."""
    kept, at = b"", 0
    while at + 3 <= len(attributes):
        head = 4 if attributes[at] & 0x10 else 3
        after = at + head + int.from_bytes(attributes[at + 2 : at + head], "big")
        if attributes[at + 1] != AS_PATH:
            kept += attributes[at:after]
        at = after
    return kept + attributes[at:]


def whole(data: bytes) -> bool:
    """Whether the message is as long as it says."""
    return len(data) >= 19 and int.from_bytes(data[16:18], "big") == len(data)


def harmful(chance: random.Random, asn: int) -> bytes:
    """A message that nobody thought of, and that bgpd should survive."""
    return defused(mutated(chance, asn), asn)


def mutated(chance: random.Random, asn: int) -> bytes:
    """A message that nobody thought of: one of the cases or a good one with bytes changed, cut, repeated, or what scapy dreams up."""
    way = chance.randrange(6)
    if way == 0:
        return bytes(BGPHeader() / fuzz(BGPUpdate()))[:LONGEST]
    data = bytearray(
        chance.choice(
            (good_update(asn), update(ORIGIN + as_path(asn, *range(1, 40)) + NEXT_HOP, NLRI * 50), chance.choice(CASES).build(asn))
        )
    )
    if way == 1:  # the header stays right
        body = data[19:] or bytearray(b"\0")
        for _ in range(chance.randint(1, 4)):
            body[chance.randrange(len(body))] = chance.randrange(256)
        return message(UPDATE, bytes(body))
    if way == 2:
        return message(chance.choice((UPDATE, UPDATE, REFRESH, OPEN, KEEPALIVE)), chance.randbytes(chance.randrange(200)))
    if way == 3:
        return bytes(data[: chance.randrange(1, len(data) + 1)])
    if way == 4:
        return update(b"".join(_random_attribute(chance) for _ in range(chance.randrange(12))), chance.randbytes(chance.randrange(30)))
    data[chance.randrange(len(data))] = chance.randrange(256)
    return bytes(data)


def _random_attribute(chance: random.Random) -> bytes:
    value = chance.randbytes(chance.choice((0, 1, 2, 3, 4, 8, 12, 40)))
    return attribute(
        chance.choice((0x40, 0x80, 0xC0, 0xE0, 0x00)), chance.randrange(256) if chance.random() < 0.3 else chance.randint(1, 40), value
    )
