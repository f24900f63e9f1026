"""Links between regions, the lines of circuits, and protocol timers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from testbed.model.design import Design
from testbed.model.findings import Finding
from testbed.model.links import declared_links, splits

LONGEST_HOLD = 65535


def links(design: Design) -> Iterator[Finding]:
    """A link names two regions, once."""
    regions = design.declared["regions"]
    seen: dict[frozenset[str], str] = {}
    for key in design.topology.links:
        path = f"links.{key}"
        pairs = splits(key, regions)
        if not pairs:
            yield Finding(path, "does not name two regions", wrong=key, known=_possible(regions))
        elif len(pairs) > 1:
            yield Finding(path, f"can be read as {' or as '.join(' and '.join(pair) for pair in pairs)}", "rename a region")
        elif frozenset(pairs[0]) in seen:
            yield Finding(path, f"these regions have a link already, {seen[frozenset(pairs[0])]}", "keep one of them")
        else:
            seen[frozenset(pairs[0])] = key


def impairments(design: Design) -> Iterator[Finding]:
    """Jitter does not exceed the delay, without which no packet overtakes another either; of links and circuits alike."""
    for path, link in declared_links(design.topology):
        if link.jitter > link.delay:
            yield Finding(f"{path}.jitter", f"{link.jitter:g} s is more than the delay of {link.delay:g} s", "make it smaller")
        if link.reorder and not link.delay:
            yield Finding(f"{path}.reorder", "packets overtake others only where these wait", "give the link a delay")


def _possible(regions: Iterable[str]) -> tuple[str, ...]:
    ordered = sorted(regions)[:30]
    return tuple(f"{one}-{other}" for number, one in enumerate(ordered) for other in ordered[number + 1 :])


def bgp_timers(design: Design) -> Iterator[Finding]:
    """BGP carries whole seconds; hold is at least three (RFC 4271), keepalive at most a third of it."""
    timers = design.topology.timers.bgp
    for name, value in (("keepalive", timers.keepalive), ("hold", timers.hold)):
        if value != int(value):
            yield Finding(f"timers.bgp.{name}", f"{value:g} s is not a whole number of seconds", "BGP carries whole seconds")
    if not 3 <= timers.hold <= LONGEST_HOLD:
        yield Finding("timers.bgp.hold", f"{timers.hold:g} s is not between 3 s and {LONGEST_HOLD} s (RFC 4271)", "use e.g. 3s")
    if timers.keepalive < 1:
        yield Finding("timers.bgp.keepalive", f"{timers.keepalive:g} s is below 1 s", "use e.g. 1s")
    elif timers.keepalive * 3 > timers.hold:
        text = f"{timers.keepalive:g} s is more than a third of the hold time, {timers.hold:g} s"
        yield Finding("timers.bgp.keepalive", text, "make it a third or less")


def bfd_timers(design: Design) -> Iterator[Finding]:
    """BFD's interval is between 10 ms and 60 s."""
    bfd = design.topology.timers.bfd
    if bfd is not None and not 0.01 <= bfd.interval <= 60:
        yield Finding("timers.bfd.interval", f"{bfd.interval:g} s is not between 10 ms and 60 s", "use e.g. 100ms")


CHECKS = (links, impairments, bgp_timers, bfd_timers)
