"""The OpenFlow pipeline of every bridge, as data: which tables there are, what they match, what a miss means, and why.

The bridge of the sending NIC decides once (tables 0–30) and writes the decision into ``eth_dst``, the lab-unique MAC of the next NIC;
registers do not cross to another bridge. A packet that came over a peering enters at ``arrival`` and never meets a route.
"""

from __future__ import annotations

from msgspec import Struct

FABRIC_MAC = "12:34:56:78:9a:bc"
"""The one MAC that answers ARP for every address, and the sender of every delivered frame (E7)."""

REG_DOMAIN = "reg0"
REG_HOME = "reg1"
REG_SET = "reg4"
REG_SLOT = "reg5"
REG_SCRATCH = "reg6"

ETH_IPV4 = 0x0800
ETH_ARP = 0x0806
ETH_IPV6 = 0x86DD


class Table(Struct, frozen=True):
    """One table. ``miss`` is where a packet goes that matches nothing (None: dropped, for the reason in ``miss_reason``)."""

    id: int
    name: str
    matches: tuple[str, ...]
    meaning: str
    miss: int | None = None
    miss_reason: str = ""


CLASSIFY = Table(
    0,
    "classify",
    ("in_port", "eth_type", "arp_op", "ipv4_dst", "ip_proto"),
    "which NIC or peering sends; ARP is answered here for every address (E7); IPv6, multicast, GRE and IP-in-IP end here (E8)",
    miss_reason="neither IPv4 nor an ARP request, or from an unknown port",
)
SOURCE_GUARD = Table(
    10,
    "source_guard",
    ("in_port", "eth_src", "ipv4_src"),
    "a NIC without IP forwarding sends from its own address only (E8)",
    miss_reason="E8: source address is not the NIC's own and IP forwarding is off",
)
ROUTE = Table(
    20,
    "route",
    ("reg0", "reg1", "ipv4_dst"),
    "the effective routes of the NIC's routing domain (reg0) and, where they differ, of its home instance (reg1), by longest prefix (E1)",
    miss_reason="E3: no effective route",
)
SPREAD = Table(
    24,
    "spread",
    ("reg4",),
    "the choice among equal next hops (reg4) by the 5-tuple, with the domain's seed, into reg5 (a group's bucket would ignore it)",
    miss_reason="the set of next hops has just gone",
)
SLOTS = Table(
    25,
    "slots",
    ("reg4", "reg5"),
    "the members of a set of equal next hops (reg4), chosen by the 5-tuple (reg5): RS10's ECMP, and load balancers",
    miss_reason="the chosen next hop has just left its set",
)
RESOLVE = Table(
    30,
    "resolve",
    ("ipv4_dst",),
    "which NIC has the destination address, in this VNet or a directly peered one (P1)",
    miss_reason="P1: no NIC with this address in this VNet or a directly peered one",
)
EGRESS = Table(
    35,
    "egress",
    ("in_port", "ipv4_src"),
    "out to the Internet by the sending NIC's public address, one to one (E9)",
    miss_reason="E9: no public address for this source",
)
ARRIVAL = Table(
    40,
    "arrival",
    ("in_port", "eth_src", "ipv4_src"),
    "what this VNet admits over each peering (P4)",
    miss_reason="P4: forwarded traffic, and allow_forwarded_traffic is false on the receiving side",
)
DEPART = Table(
    50,
    "depart",
    ("eth_dst",),
    "the next NIC sits in a peered VNet: out by that peering",
    miss=60,
)
DELIVER = Table(
    60,
    "deliver",
    ("eth_dst", "ipv4_dst"),
    "the next NIC sits here: out of its port; without IP forwarding only what is addressed to it (E8)",
    miss_reason="P1: the next NIC is not in this VNet, and peerings are not transitive",
)

PIPELINE = (CLASSIFY, SOURCE_GUARD, ROUTE, SPREAD, SLOTS, RESOLVE, EGRESS, ARRIVAL, DEPART, DELIVER)


def table(id_: int) -> Table:
    """The table of that number. Raises KeyError."""
    return {each.id: each for each in PIPELINE}[id_]


def markdown() -> str:
    """The pipeline as a Markdown table, for the documentation."""
    lines = ["| table | matches | what it decides | miss |", "|---|---|---|---|"]
    for each in PIPELINE:
        miss = f"→ {table(each.miss).name}" if each.miss is not None else f"drop: {each.miss_reason}"
        lines.append(f"| {each.id} {each.name} | {', '.join(each.matches)} | {each.meaning} | {miss} |")
    return "\n".join(lines) + "\n"
