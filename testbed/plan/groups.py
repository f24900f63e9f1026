"""Next-hop groups: what the flows point at, so that the failure of a next hop is one message a group, not one a prefix.

A group belongs to (routing domain, home instance where they differ, ranked candidates): prefixes that share the candidates share the
group. One live hop: the bucket writes its MAC. Several: the bucket hashes the 5-tuple and looks the slot up in table ``slots``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from testbed.azure.types import Address, Domain, Ranked
from testbed.plan.fabric_index import FabricIndex, Hop, stable_hash
from testbed.plan.openflow import Action, Flow, Group, Multipath, Resubmit, SetField, ToGroup
from testbed.plan.pipeline import DEPART, REG_SET, REG_SLOT, SLOTS, SPREAD
from testbed.plan.types import LoadBalancerPlan, Nic

_BALANCER_BASE = 0x80000000


@lru_cache(maxsize=65536)
def group_id(domain_id: int, home: int | None, ranked: Ranked) -> int:
    """The number of the group for these candidates: 31 bits, the same in every process, never 0."""
    return stable_hash("group", domain_id, home, ranked, bits=31) or 1


def balancer_group_id(name: str) -> int:
    """The number of a load balancer's group; above all of ``group_id``."""
    return _BALANCER_BASE + stable_hash("load balancer", name, bits=30)


def seed(domain: Domain) -> int:
    """The hash seed of a routing domain: one a route table, so that the two directions of a flow may meet different NVAs."""
    return stable_hash("seed", domain.vnet, domain.route_table, bits=16)


def hop_actions(hop: Hop) -> tuple[tuple[Action, ...], int | None]:
    """Actions towards a hop and the table that follows; nothing and None when the hop cannot be reached."""
    if isinstance(hop, Nic):
        return (SetField("eth_dst", hop.mac),), DEPART.id
    if isinstance(hop, LoadBalancerPlan):
        return (ToGroup(balancer_group_id(hop.name)),), None
    return (), None


def hop_name(hop: Hop) -> str:
    """A hop in words, for a flow's note."""
    return hop if isinstance(hop, str) else hop.label if isinstance(hop, Nic) else f"load balancer {hop.name}"


def hop_group(
    index: FabricIndex, domain: Domain, home: int | None, ranked: Ranked, live: Sequence[Address]
) -> tuple[Group, tuple[Flow, ...]]:
    """The group of these candidates with its live next hops, and the flows of table ``slots`` that it needs.

    ``live`` are the next hops in use, in the order of the candidates; none means that the group drops.
    """
    number = group_id(domain.id, home, ranked)
    return choice(
        number, seed(domain), [index.hop(domain.vnet, address) for address in live], f"{domain.vnet}: {', '.join(live) or 'no next hop'}"
    )


def balancer_groups(index: FabricIndex, balancer: LoadBalancerPlan, healthy: Sequence[str]) -> dict[str, tuple[Group, tuple[Flow, ...]]]:
    """A load balancer's group on every bridge that can reach its frontend, by bridge id; ``healthy`` are the backends' NIC labels."""
    number, basis = balancer_group_id(balancer.name), stable_hash("load balancer", balancer.name, bits=16)
    note = f"{balancer.name}: {', '.join(healthy) or 'no healthy backend'}"
    vnets = (balancer.vnet, *index.ends_of[balancer.vnet])
    hops = {vnet: [index.hop(vnet, index.nics[label].ip) for label in healthy] for vnet in vnets}
    return {index.bridges[vnet].id: choice(number, basis, hops[vnet], note) for vnet in vnets}


def choice(number: int, basis: int, hops: Sequence[Hop], note: str) -> tuple[Group, tuple[Flow, ...]]:
    """A group that spreads packets over hops by their 5-tuple. A hop that cannot be reached keeps its share, which is dropped (P1)."""
    if len(hops) <= 1:
        return Group(number, _bucket(hops[0]) if hops else (), note), ()
    actions = (SetField(REG_SET, number), Resubmit(SPREAD.id))
    spread = Flow(SPREAD.id, 100, ((REG_SET, number),), (Multipath(basis, len(hops), REG_SLOT),), SLOTS.id, note=note)
    return Group(number, actions, note), (*(_slot(number, slot, hop) for slot, hop in enumerate(hops)), spread)


def _bucket(hop: Hop) -> tuple[Action, ...]:
    actions, following = hop_actions(hop)
    return actions if following is None else (*actions, Resubmit(following))


def _slot(number: int, slot: int, hop: Hop) -> Flow:
    actions, following = hop_actions(hop)
    return Flow(SLOTS.id, 100, ((REG_SET, number), (REG_SLOT, slot)), actions, following, note=hop_name(hop))
