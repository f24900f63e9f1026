"""Expectations of what is on a wire: what a link carries, what nobody can read there, how large packets may be."""

from __future__ import annotations

from collections import Counter

from testbed.measure.reachability import Delivery
from testbed.model import scenario as declared
from testbed.scenario.lab_view import LabView
from testbed.scenario.packet_checks import outcome, pairs_of
from testbed.scenario.verdict import Verdict, several


def only_on_link(lab: LabView, wanted: declared.OnlyOnLink) -> Verdict:
    """The link carried these kinds and no other while the pairs talked."""
    pairs = pairs_of(lab, wanted.from_, wanted.to, both_ways=True)
    results: list[Delivery] = []
    lost: list[str] = []

    def talk() -> None:
        results.extend(lab.probe(pairs))
        large = [(pair, lab.fit(*pair, wanted.bytes)) for pair in pairs] if wanted.bytes else []
        lost.extend(f"{source} → {target}: {fate}" for (source, target), fate in large if not fate.arrived)

    seen = lab.on_link(wanted.link, talk)
    lost += [outcome(row) for row in results if not row.delivered]
    kinds = Counter(packet[0].carries for packet in seen if packet)
    others = [f"{count} packets of {kind}" for kind, count in sorted(kinds.items()) if kind not in (*wanted.kinds, *wanted.beside)]
    missing = [f"no packet of {kind} was seen" for kind in wanted.kinds if not kinds[kind]]
    return several(lost + others + missing)


def nothing_in_clear(lab: LabView, wanted: declared.NothingInClear) -> Verdict:
    """The pairs get through, or none of them does, and no packet of theirs can be read on the link."""
    pairs = pairs_of(lab, wanted.from_, wanted.to, both_ways=True)
    results: list[Delivery] = []
    readable, seen = lab.readable_on_link(wanted.link, pairs, lambda: results.extend(lab.probe(pairs)))
    wrong = [
        f"{outcome(row)}, expected {'delivered' if wanted.delivered else 'lost'}"
        for row in results
        if row.delivered is not wanted.delivered
    ]
    if readable:
        wrong.append(f"{readable} of {seen} frames show a packet of theirs in clear")
    if wanted.delivered and not seen:
        wrong.append("nothing at all was seen on the link: they went another way")
    return several(wrong)


def comes_back(lab: LabView, wanted: declared.ComesBack) -> Verdict:
    """Packets of every kind wanted come back to the node that sent them."""
    found = Counter(packet.carries for packet in lab.coming_back(wanted.node, wanted.kinds))
    return several([f"no packet of {kind} came back to {wanted.node}" for kind in wanted.kinds if not found[kind]])


def mtu(lab: LabView, wanted: declared.Mtu) -> Verdict:
    """A packet of that size arrives, one byte more is refused with that size named."""
    whole, larger = (lab.fit(wanted.from_, wanted.to, size) for size in (wanted.bytes, wanted.bytes + 1))
    wrong = [] if whole.arrived else [f"expected {wanted.bytes} bytes to arrive: {whole}"]
    by = larger.refused_by
    if larger.mtu != wanted.bytes or by is None or (wanted.refused_by is not None and by != str(wanted.refused_by)):
        wrong.append(
            f"expected one more to be refused{f' by {wanted.refused_by}' if wanted.refused_by else ''}, naming {wanted.bytes}: {larger}"
        )
    return several(wrong)


def tcp(lab: LabView, wanted: declared.Tcp) -> Verdict:
    """All bytes arrive, and both SYNs name the segment size wanted."""
    found = lab.transfer(wanted.from_, wanted.to, wanted.bytes)
    wrong = [] if found.received == wanted.bytes else [f"expected {wanted.bytes} bytes, received {found.received}"]
    if wanted.mss is not None:
        told = ((wanted.to, found.told_target), (wanted.from_, found.told_source))
        wrong += [f"{node} is told {size or 'no segment size'}, expected {wanted.mss}" for node, size in told if size != wanted.mss]
    return several(wrong)
