"""BMP as FRR 8.4 really sends it (a capture), and as it should not be (made up)."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from os_ken.lib.packet import bgp, bmp

from testbed.azure.types import Announced, Session, SessionDown, SessionUp, Speaker, Withdrawn
from testbed.azure.types import Path as BgpPath
from testbed.controller.bmp import MAX_MESSAGE, BmpError, Decoder, EndOfRib

CAPTURE = Path(__file__).parents[2] / "golden" / "frr-8.4.bmp"
RS = Speaker("rs1", 0, "route_server", "10.1.1.4", 65515)
NVA = Session("rs1", 0, "nva1")
GATEWAY = Session("rs1", 0, "er1-0")
PEERS = {"10.1.1.10": "nva1", "10.1.2.4": "er1-0"}


def decode(data: bytes, step: int | None = None) -> list[object]:
    decoder = Decoder(RS, PEERS)
    step = step or len(data)
    return [report for start in range(0, len(data), step) for report in decoder.feed(data[start : start + step])]


def peer(**kwargs: object) -> dict[str, object]:
    fields = {"peer_type": 0, "is_post_policy": False, "peer_distinguisher": 0, "peer_address": "10.1.1.10", "peer_as": 65001}
    return {**fields, "peer_bgp_id": "10.1.1.10", "timestamp": 1.0, **kwargs}


def up(**kwargs: object) -> bytes:
    opens = [bgp.BGPOpen(my_as=65515, bgp_identifier="10.1.1.4", hold_time=hold) for hold in (180, 3)]
    message = bmp.BMPPeerUpNotification("10.1.1.4", 179, 40000, *opens, **peer(**kwargs))
    return bytes(message.serialize())


def routes(
    as_path: list[object], prefixes: tuple[str, ...] = ("10.50.0.0/16",), *, withdrawn: tuple[str, ...] = (), **kwargs: object
) -> bytes:
    attributes = [
        bgp.BGPPathAttributeOrigin(0),
        bgp.BGPPathAttributeAsPath(as_path, as_pack_str="!I"),
        bgp.BGPPathAttributeNextHop("10.1.1.10"),
    ]
    nlri = [bgp.BGPNLRI(int(prefix.split("/")[1]), prefix.split("/")[0]) for prefix in prefixes]
    gone = [bgp.BGPWithdrawnRoute(int(prefix.split("/")[1]), prefix.split("/")[0]) for prefix in withdrawn]
    update = bgp.BGPUpdate(withdrawn_routes=gone, path_attributes=attributes if nlri else [], nlri=nlri)
    return bytes(bmp.BMPRouteMonitoring(update, **peer(**kwargs)).serialize())


def down(reason: int, data: object) -> bytes:
    return bytes(bmp.BMPPeerDownNotification(reason, data, **peer()).serialize())


def test_capture_starts_with_sessions_and_a_full_report() -> None:
    reports = decode(CAPTURE.read_bytes())
    assert reports[:2] == [SessionUp(NVA, 3.0), SessionUp(GATEWAY, 3.0)]
    first = reports[: reports.index(EndOfRib(GATEWAY))]
    paths = {report.path.prefix: report for report in first if isinstance(report, Announced)}
    assert paths["10.50.0.0/16"] == Announced(NVA, BgpPath("10.50.0.0/16", (65001,), "10.1.1.10"))
    assert paths["10.66.0.0/16"].path.as_path == (65001, 65515), "only the local ASN that FRR put in front is removed"
    assert paths["10.77.0.0/16"].path.communities == ("65001:77", "no-advertise")
    assert paths["10.77.0.0/16"].path.next_hop == "10.1.1.100"
    assert paths["10.88.0.0/16"].path == BgpPath("10.88.0.0/16", (12076, 65100), "10.1.2.4"), "an iBGP path comes as it is"


def test_capture_names_why_sessions_ended() -> None:
    reasons = [report.reason for report in decode(CAPTURE.read_bytes()) if isinstance(report, SessionDown)]
    assert reasons == ["local", "closed", "local", "local"], "shutdown here, kill -9 of the peer, hold timer, maximum-prefix"


@given(st.integers(1, 400))
def test_pieces_of_any_size_give_the_same_reports(step: int) -> None:
    data = CAPTURE.read_bytes()
    assert decode(data, step) == decode(data)


def test_synced_when_every_peer_is_down_or_reported_in_full() -> None:
    decoder = Decoder(RS, PEERS)
    decoder.feed(up())
    decoder.feed(routes([[65515, 65001]]))
    assert not decoder.synced
    decoder.feed(routes([], ()))
    assert not decoder.synced, "the other peer has not been heard of"
    other = bmp.BMPPeerDownNotification(2, 0, **peer(peer_address="10.1.2.4", peer_as=65515))
    decoder.feed(bytes(other.serialize()))
    assert decoder.synced


def test_post_policy_and_adj_rib_out_do_not_count() -> None:
    decoder = Decoder(RS, PEERS)
    decoder.feed(up())
    assert decoder.feed(routes([[65515, 65001]], is_post_policy=True)) == []
    assert decoder.feed(routes([[65515, 65001]], is_adj_rib_out=True)) == []


def test_one_update_withdraws_and_announces_several() -> None:
    decoder = Decoder(RS, PEERS)
    decoder.feed(up())
    reports = decoder.feed(routes([[65515, 65001]], ("10.1.0.0/24", "0.0.0.0/0"), withdrawn=("10.9.0.0/16",)))
    assert [getattr(report, "prefix", None) or report.path.prefix for report in reports] == ["10.9.0.0/16", "10.1.0.0/24", "0.0.0.0/0"]
    assert isinstance(reports[0], Withdrawn)


@pytest.mark.parametrize("numbers", [[65515, 0x0201FFFF], [65515, 4200000000, 0x0101_0001], [0x0202_0001, 0x0202_0002]])
def test_four_octet_numbers_that_look_like_two_octet_paths(numbers: list[int]) -> None:
    decoder = Decoder(RS, PEERS)
    decoder.feed(up())
    (report,) = decoder.feed(routes([numbers]))
    assert report.path.as_path == tuple(numbers[1:] if numbers[0] == 65515 else numbers)


def with_attributes(message: bytes, *more: bytes, without: int = 0) -> bytes:
    """A route monitoring message with further attributes as they come, or without one."""
    decoded, _ = bmp.BMPMessage.parser(message)
    update = decoded.bgp_update
    kept = [attribute.serialize() for attribute in update.path_attributes if attribute.type != without]
    attributes = b"".join(map(bytes, [*kept, *more]))
    body = b"\0\0" + len(attributes).to_bytes(2, "big") + attributes + b"".join(bytes(route.serialize()) for route in update.nlri)
    whole = b"\xff" * 16 + (19 + len(body)).to_bytes(2, "big") + b"\x02" + body
    return message[:1] + (48 + len(whole)).to_bytes(4, "big") + message[5:48] + whole


@pytest.mark.parametrize("optional", [b"\x02\x06\x40\xff\0\1\0\1", b"\x02\xff", b"\xff" * 40, b"\x02\x02\x04\x00", b"\x02\x04\x02\x02xx"])
def test_what_a_peer_says_it_can_is_not_looked_into(optional: bytes) -> None:
    message = up()
    assert len(message) == 68 + 2 * 29, "two OPENs without parameters"
    received = message[-29:-13] + (29 + len(optional)).to_bytes(2, "big") + message[-11:-1] + bytes([len(optional)]) + optional
    whole = message[:1] + (len(message) + len(optional)).to_bytes(4, "big") + message[5:-29] + received
    assert Decoder(RS, PEERS).feed(whole) == [SessionUp(NVA, 3.0)]


@pytest.mark.parametrize("missing", [1, 2, 3])
def test_a_path_without_a_mandatory_attribute_is_withdrawn(missing: int) -> None:
    decoder = Decoder(RS, PEERS)
    decoder.feed(up())
    assert decoder.feed(with_attributes(routes([[65515, 65001]]), without=missing)) == [Withdrawn(NVA, "10.50.0.0/16")]


@pytest.mark.parametrize("code", [5, 7, 9, 14, 16, 17, 22, 23, 26, 32, 40, 128, 200])
@pytest.mark.parametrize("content", [b"", b"\xff", b"\xff" * 200, b"\0" * 300])
def test_attributes_that_nobody_asked_for_are_not_looked_into(code: int, content: bytes) -> None:
    decoder = Decoder(RS, PEERS)
    decoder.feed(up())
    junk = bytes([0xD0, code]) + len(content).to_bytes(2, "big") + content
    assert decoder.feed(with_attributes(routes([[65515, 65001]]), junk)) == decoder.feed(routes([[65515, 65001]]))


@pytest.mark.parametrize("junk", [b"\xc0", b"\xc0\x63", b"\xc0\x63\x09", b"\xd0\x63\xff\xff"])
def test_attributes_longer_than_they_are_end_the_stream(junk: bytes) -> None:
    decoder = Decoder(RS, PEERS)
    decoder.feed(up())
    with pytest.raises(BmpError):
        decoder.feed(with_attributes(routes([[65515, 65001]]), junk))


def test_sets_are_part_of_the_path() -> None:
    decoder = Decoder(RS, PEERS)
    decoder.feed(up())
    (report,) = decoder.feed(routes([[65515, 65001], {65010, 65009}]))
    assert report.path.as_path == (65001, 65009, 65010)


@pytest.mark.parametrize(
    ("reason", "data", "expected"),
    [
        (4, None, "closed"),
        (2, 0, "local"),
        (3, bgp.BGPNotification(6, 2), "notification"),
        (3, bgp.BGPNotification(4, 0), "hold-timer"),
        (1, bgp.BGPNotification(4, 0), "hold-timer"),
        (1, bgp.BGPNotification(6, 1), "max-prefix"),
        (1, bgp.BGPNotification(6, 3), "notification"),
    ],
)
def test_reasons(reason: int, data: object, expected: str) -> None:
    decoder = Decoder(RS, PEERS)
    decoder.feed(up())
    assert decoder.feed(down(reason, data)) == [SessionDown(NVA, expected)]
    assert decoder.feed(down(reason, data)) == [], "a peer that is down already"


def test_routes_queued_of_a_dead_session_are_ignored() -> None:
    decoder = Decoder(RS, PEERS)
    assert decoder.feed(routes([[65515, 65001]])) == []


def test_up_without_down_is_a_new_session() -> None:
    decoder = Decoder(RS, PEERS)
    decoder.feed(up())
    assert decoder.feed(up()) == [SessionDown(NVA, "lost"), SessionUp(NVA, 3.0)]


def test_message_types_of_other_kinds_are_ignored() -> None:
    assert Decoder(RS, PEERS).feed(b"\x03" + (10).to_bytes(4, "big") + b"\x63junk") == []


def test_unknown_peers_are_ignored() -> None:
    decoder = Decoder(RS, PEERS)
    assert decoder.feed(up(peer_address="10.9.9.9")) == []


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x03" + (5).to_bytes(4, "big") + b"\x00",
        b"\x03" + (MAX_MESSAGE + 1).to_bytes(4, "big") + b"\x00",
        b"\x03" + (7).to_bytes(4, "big") + b"\x00\x00",
        b"\x03" + (6).to_bytes(4, "big") + b"\x03",
    ],
)
def test_what_is_not_bmp_is_a_clean_error(data: bytes) -> None:
    with pytest.raises(BmpError):
        Decoder(RS, PEERS).feed(data)


@given(st.binary(max_size=300), st.integers(0, 6), st.booleans())
def test_no_bytes_raise_anything_else(body: bytes, kind: int, session_up: bool) -> None:
    decoder = Decoder(RS, PEERS)
    if session_up:
        decoder.feed(up())
    with suppress(BmpError):
        decoder.feed(b"\x03" + (6 + len(body)).to_bytes(4, "big") + bytes([kind]) + body)


@given(st.integers(0, 2000), st.integers(0, 255))
def test_a_flipped_byte_in_real_bmp_raises_nothing_else(position: int, value: int) -> None:
    data = bytearray(CAPTURE.read_bytes()[:2001])
    data[position] = value
    with suppress(BmpError):
        decode(bytes(data))
