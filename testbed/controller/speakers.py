"""Which speakers of a plan report over BMP, and who their peers are."""

from __future__ import annotations

from collections.abc import Iterator

from testbed.azure.types import Address, Session, Speaker
from testbed.plan.types import Node, Plan


def reporting_speakers(plan: Plan) -> dict[Speaker, Node]:
    """The speakers whose bgpd reports over BMP (it loads the module ``bmp``), each with its node."""
    nodes = {node.name: node for node in plan.nodes}
    found: dict[Speaker, Node] = {}
    for hub in plan.hubs:
        for speaker in hub.speakers:
            node = nodes[node_name(speaker)]
            if any("bmp" in daemon.argv for daemon in node.daemons):
                found[speaker] = node
    return found


def node_name(speaker: Speaker) -> str:
    """The name of a speaker's node."""
    return f"{speaker.server}-{speaker.instance}"


def peers_of(plan: Plan, speaker: Speaker) -> dict[Address, str]:
    """The names of a speaker's configured BGP peers, by address."""
    return dict(_peers(plan, node_name(speaker)))


def sessions_of(plan: Plan) -> tuple[Session, ...]:
    """Every session that a reporting speaker should have."""
    return tuple(
        Session(speaker.server, speaker.instance, peer) for speaker in reporting_speakers(plan) for peer in peers_of(plan, speaker).values()
    )


def _peers(plan: Plan, name: str) -> Iterator[tuple[Address, str]]:
    for peering in plan.sessions:
        for own, other in ((0, 1), (1, 0)):
            if peering.nodes[own] == name:
                yield peering.addresses[other], peering.nodes[other]
