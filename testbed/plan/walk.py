"""What a walk of a packet over the plan is made of: its headers, the steps it took, and what became of it."""

from __future__ import annotations

from msgspec import Struct

from testbed.azure.types import Address, Row

DELIVERED = "delivered"
DROPPED = "dropped"
LOOPS = "loops"


class Header(Struct, frozen=True):
    """An IP header on the way; ``tunnel`` names the tunnel that put it on, and is empty for the packet itself."""

    source: Address
    destination: Address
    tunnel: str = ""


class Step(Struct, frozen=True):
    """One decision on the way: at a node (its kernel's table) or at a NIC (the fabric's effective routes).

    ``headers`` are outermost first, as the packet was when the decision was made; ``ttl`` is the inner packet's. ``rows`` are the
    effective routes that matched, active and invalid, longest first; ``winner`` the one that decided. ``choices`` are the next
    nodes among which equal-cost paths spread flows (more than one: this walk follows ``to``). ``rule`` says by which rule.
    """

    node: str
    where: str  # "fabric", "kernel", "encapsulate", "decapsulate", "link", "internet"
    nic: str
    headers: tuple[Header, ...]
    ttl: int
    to: str
    text: str
    rule: str = ""
    prefix: str = ""
    rows: tuple[Row, ...] = ()
    winner: Row | None = None
    choices: tuple[str, ...] = ()
    withheld: tuple[str, ...] = ()


class Walk(Struct, frozen=True):
    """A packet's way from a node to an address: ``nodes`` in the order in which it visits them, and the steps between.

    ``verdict``: delivered, dropped or loops; ``at`` is the node or VNet where it ended, ``reason`` why, beginning with the rule.
    ``cycle`` are the nodes of the loop; ``hidden`` the places in ``nodes`` that pass the packet on inside IPsec. ``ttl_down`` is by
    how much the TTL fell on the way.
    """

    source: str
    destination: Address
    nodes: tuple[str, ...]
    steps: tuple[Step, ...]
    verdict: str
    at: str
    reason: str
    ttl_down: int
    cycle: tuple[str, ...] = ()
    hidden: tuple[int, ...] = ()

    @property
    def visible(self) -> tuple[str, ...]:
        """The nodes at which the packet itself can be seen: not those that pass it on inside IPsec."""
        return tuple(node for place, node in enumerate(self.nodes) if place not in self.hidden)

    @property
    def tunnels(self) -> tuple[str, ...]:
        """The tunnels the packet went through, in order."""
        return tuple(step.to for step in self.steps if step.where == "encapsulate")
