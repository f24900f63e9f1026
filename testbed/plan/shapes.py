"""What links do to packets, as the design declares it and as far as this machine can; pure."""

from __future__ import annotations

from collections.abc import Iterator

from testbed.model.links import declared_links, link_between, splits
from testbed.model.topology import Link, Topology
from testbed.plan.types import Capabilities, Shape


def shape_of(link: Link, can: Capabilities) -> Shape:
    """The link as it can be built on this machine."""
    return Shape(link.delay, link.jitter, link.loss, link.reorder, link.rate if can.rate else None)


def in_words(what: Link | Shape) -> str:
    """What a link does to packets, for people; nothing when it does nothing."""
    parts = [f"{what.delay * 1000:g} ms" if what.delay else "", f"±{what.jitter * 1000:g} ms" if what.jitter else ""]
    parts += [
        f"{what.loss:g} % loss" if what.loss else "",
        f"{what.reorder:g} % overtake" if what.reorder else "",
        f"{what.rate / 1e6:g} Mbit/s" if what.rate else "",
    ]
    return ", ".join(part for part in parts if part)


def unsupported(topology: Topology, can: Capabilities) -> Iterator[str]:
    """What was asked for and is left out, in words."""
    for place, link in declared_links(topology):
        if link.rate is not None and not can.rate:
            yield f"{place}.rate: this kernel cannot shape a link; it is built without a limit"
    peered = {frozenset(map(topology.region_of, (peering.from_, peering.to))) for peering in topology.peerings}
    for key, link in topology.links.items():
        if link != Link() and frozenset(splits(key, topology.regions)[0]) not in peered:
            yield f"links.{key}: no peering joins these regions, so it changes nothing"
    for number, tunnel in enumerate(topology.tunnels):
        regions = {topology.region_of(topology.nvas[end].subnet.partition("/")[0]) for end in tunnel.between if end in topology.nvas}
        if tunnel.over == "public" and len(regions) == 2 and link_between(topology, *regions) != Link():
            yield f"tunnels[{number}]: it goes over the Internet, where `links` changes nothing: that is for peerings"
