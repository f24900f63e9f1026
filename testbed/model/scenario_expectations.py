"""What a step of a scenario may expect. The format is that of docs/scenarios.md."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from testbed.model.scenario_actions import OneOf, from_plain
from testbed.model.values import Address, Asn, Declared, Name, Prefix, Seconds


def _several(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_several), Field(min_length=1, description="One name, or a list; `all` for every one")]
Count = Annotated[int, Field(ge=0, le=1000000)]

_FROM = "The sending VMs, NVAs or hosts; `all` for every VM"
_TO = "The receiving ones"
_LINK = "Two VNets peered across regions, two nodes on a circuit (`er1`, `london`: all wires), a node and its VNet, a site and `internet`"


class Sessions(Declared):
    """BGP sessions of a kind are established: all that the plan has, or as many as `established` says."""

    kind: Literal["route_server", "overlay", "underlay", "gateway", "circuit", "site", "all"] = Field(
        default="all", description="Which: between NVA and Route Server, in tunnels, between NVAs without a tunnel, …"
    )
    established: Count | None = Field(default=None, description="How many; all of them when not given")


class OneSession(Declared):
    """The BGP sessions between two nodes (a Route Server stands for both its instances) are up or down, for a reason (RS15)."""

    between: tuple[Name, Name] = Field(description="The two ends: NVAs, Route Servers or gateways (`rs1`, or `rs1-0` for one instance)")
    up: bool = Field(default=True, description="Whether they are established")
    reason: str | None = Field(default=None, description="Why they ended: `closed`, `hold-timer`, `notification`, `max-prefix`")


class Refused(Declared):
    """A Route Server does not speak BGP with an NVA that is not configured as its peer (RS3)."""

    route_server: Name = Field(description="The Route Server")
    nva: Name = Field(description="Who tries")


class Learned(Declared):
    """These instances of a Route Server learned a prefix from a peer; or did not (`absent`), or dropped it (`dropped`: the rule)."""

    route_server: Name = Field(description="The Route Server or gateway")
    peer: Name = Field(description="The peer")
    prefix: Prefix = Field(description="The prefix")
    as_path: tuple[Asn, ...] | None = Field(default=None, description="The AS path it was learned with; any when not given")
    next_hop: Address | None = Field(default=None, description="Its next hop (RS11); any when not given")
    instances: tuple[Literal[0, 1], ...] = Field(default=(0, 1), description="Which instances")
    absent: bool = Field(default=False, description="It is not among what was learned")
    dropped: str | None = Field(default=None, description="It arrived and was dropped, by this rule: `RS8`")


class Advertised(Declared):
    """A Route Server advertises a prefix to a peer, or does not (RS7, RS12, RS13)."""

    route_server: Name = Field(description="The Route Server or gateway")
    peer: Name = Field(description="The peer")
    prefix: Prefix = Field(description="The prefix")
    as_path: tuple[Asn, ...] | None = Field(default=None, description="The AS path; any when not given")
    absent: bool = Field(default=False, description="It is not advertised")


class TableEntry(Declared):
    """A router's own BGP table holds a prefix (or does not), and so many paths are in use."""

    node: Name = Field(description="An NVA, a site, or another BGP router")
    prefix: Prefix = Field(description="The prefix")
    as_path: tuple[Asn, ...] | None = Field(default=None, description="The AS path of the best route; any when not given")
    used: Count | None = Field(default=None, description="How many paths carry traffic (ECMP)")
    absent: bool = Field(default=False, description="It is not in the table")


class EffectiveRoute(Declared):
    """A NIC's effective routes hold (or, with `absent`, do not hold) an active route of this prefix."""

    nic: Names = Field(description="The NICs, by name (`nva1/outside`, `rs1-0`); `all` for every one")
    prefix: Prefix = Field(description="The prefix")
    next_hop_type: str | None = Field(default=None, description="The next-hop type, spelled as in Azure")
    next_hops: tuple[Address, ...] | None = Field(default=None, description="The next hops, all of them")
    absent: bool = Field(default=False, description="There is no such route")


class Delivered(Declared):
    """Every pair of these VMs gets through, with the TTL down by exactly `ttl_down`; `both_ways` tries the return direction too."""

    from_: Names = Field(alias="from", description=_FROM)
    to: Names = Field(description=_TO)
    ttl_down: Count | None = Field(default=None, description="By how much the TTL falls: one for each NVA; any when not given")
    both_ways: bool = Field(default=True, description="Try the return direction too")


class NotDelivered(Declared):
    """Every pair of these VMs fails: `looping` with TTL exceeded sent by `at`, `dropped` in silence."""

    from_: Names = Field(alias="from", description=_FROM)
    to: Names = Field(description=_TO)
    at: str | None = Field(default=None, description="The address that sends TTL exceeded")
    both_ways: bool = Field(default=False, description="Try the return direction too")


class PathTaken(Declared):
    """A marked probe passes through exactly these routers, in this order, and that is what the walk over the plan predicts."""

    from_: Name = Field(alias="from", description="The sender")
    to: Name = Field(description="The receiver")
    through: tuple[Name, ...] = Field(
        description="The routers between them, none for a direct way; a gateway or circuit stands for any of its own"
    )


class Traceroute(Declared):
    """What a traceroute shows: exactly these addresses, or one address again and again."""

    from_: Name = Field(alias="from", description="The sender")
    to: str = Field(description="The receiver, or an address that nobody need have")
    hops: tuple[Address, ...] | None = Field(default=None, description="The addresses that answer, in order, the receiver's own last")
    repeats: Address | None = Field(default=None, description="The address that answers at least three times: a loop")


class RoundTrip(Declared):
    """An echo between every pair of these VMs takes at least and at most that long, there and back: the fastest of five counts."""

    from_: Names = Field(alias="from", description=_FROM)
    to: Names = Field(description=_TO)
    above: Seconds = Field(default=0.0, description="At least that long")
    below: Seconds | None = Field(default=None, description="At most that long")


class Spread(Declared):
    """Flows between two VMs, told apart by their ports, are spread over routers: each sees some, together they see all (RS10)."""

    from_: Name = Field(alias="from", description="The sender")
    to: Name = Field(description="The receiver")
    over: tuple[Name, ...] = Field(
        min_length=1, description="The routers that must each carry some of the flows, and no other of their kind"
    )
    flows: Annotated[int, Field(ge=2, le=256)] = Field(default=32, description="How many flows")
    asymmetric: bool = Field(default=False, description="Some flow must come back through another router than it went")


class OnlyOnLink(Declared):
    """While every pair of these VMs talks, the link between two VNets carries these kinds of packet and no other (`udp/4789`)."""

    link: tuple[Name, Name] = Field(description=_LINK)
    kinds: tuple[str, ...] = Field(description="The kinds: `udp/4789` (VXLAN), `udp/4500` (ESP in UDP), `tcp/179`, `icmp/11`, `proto/50`")
    beside: tuple[str, ...] = Field(default=(), description="Kinds that may be there, and need not: `tcp/179` on a circuit")
    from_: Names = Field(alias="from", description=_FROM)
    to: Names = Field(description=_TO)
    bytes: Annotated[int, Field(ge=64, le=1500)] | None = Field(
        default=None, description="They send packets of this size too; a piece of a packet is of the kind `fragment`"
    )


class NothingInClear(Declared):
    """While every pair of these VMs talks, no packet of theirs can be read on a link, nor any that belongs inside an IPsec tunnel."""

    link: tuple[Name, Name] = Field(description=_LINK)
    from_: Names = Field(alias="from", description=_FROM)
    to: Names = Field(description=_TO)
    delivered: bool = Field(default=True, description="`false`: and none of them gets through either: the tunnel fails closed")


class ComesBack(Declared):
    """Packets that a node sends come back to it by the fabric: a routing loop of one (E6)."""

    node: Name = Field(description="The node")
    kinds: tuple[str, ...] = Field(min_length=1, description="The kinds, each of which must be seen: `udp/4500`")


class Mtu(Declared):
    """The largest packet between two VMs: it arrives whole; one byte more that must not be fragmented is refused."""

    from_: Name = Field(alias="from", description="The sender")
    to: Name = Field(description="The receiver")
    bytes: Annotated[int, Field(ge=576, le=1499)] = Field(description="Its size, with the IP header")
    refused_by: Address | None = Field(default=None, description="Who answers that fragmentation is needed; anybody when not given")


class Tcp(Declared):
    """A TCP connection between two VMs carries what it should, and both ends are told to send no larger segments than fit."""

    from_: Name = Field(alias="from", description="Who connects and sends")
    to: Name = Field(description="Who accepts and receives")
    bytes: Annotated[int, Field(ge=1, le=10_000_000)] = Field(default=200_000, description="How much is sent")
    mss: Annotated[int, Field(ge=536, le=1460)] | None = Field(default=None, description="The segment size that both ends are told")


class Untouched(Declared):
    """While every pair of these VMs talks and gets through, no packet of theirs touches these NVAs: they inspect nothing."""

    nva: Names = Field(description="The NVAs")
    from_: Names = Field(alias="from", description=_FROM)
    to: Names = Field(description=_TO)


class Explained(Declared):
    """What `testbed explain` says about a pair, for the topology as it stands: the verdict, where, and why."""

    from_: Name = Field(alias="from", description="The sender")
    to: str = Field(description="The receiver, or an address")
    verdict: Literal["delivered", "dropped", "loops"] = Field(description="The verdict, of every choice of equal paths")
    at: Name | None = Field(default=None, description="The node or VNet where it ends")
    because: str | None = Field(default=None, description="What the reason or a hint mentions, such as a rule: `RS8`")


class Agreement(Declared):
    """Prediction, controller and switches agree: the effective routes of every NIC, and every flow and group of every switch."""

    nics: Names = Field(default=("all",), description="The NICs whose effective routes are compared")


class Expectation(OneOf):
    """One thing that must be observed: exactly one of these keys."""

    sessions: Sessions | None = Field(default=None, description="BGP sessions are established")
    session: OneSession | None = Field(default=None, description="One session is up, or down for a reason")
    refused: Refused | None = Field(default=None, description="A Route Server refuses to speak BGP")
    learned: Learned | None = Field(default=None, description="A Route Server learned, did not learn or dropped a prefix")
    advertised: Advertised | None = Field(default=None, description="A Route Server advertises a prefix, or does not")
    table: TableEntry | None = Field(default=None, description="A router's BGP table")
    effective_route: EffectiveRoute | None = Field(default=None, description="Effective routes of NICs")
    delivered: Delivered | None = Field(default=None, description="Packets get through")
    looping: NotDelivered | None = Field(default=None, description="Packets loop until their TTL is used up")
    dropped: NotDelivered | None = Field(default=None, description="Packets vanish")
    path: PathTaken | None = Field(default=None, description="The way that a packet takes")
    traceroute: Traceroute | None = Field(default=None, description="What a traceroute shows")
    round_trip: RoundTrip | None = Field(default=None, description="How long an echo takes")
    spread: Spread | None = Field(default=None, description="Flows are spread over several routers")
    only_on_link: OnlyOnLink | None = Field(default=None, description="What a link carries")
    nothing_in_clear: NothingInClear | None = Field(default=None, description="What nobody can read on a link")
    comes_back: ComesBack | None = Field(default=None, description="A node's own packets come back to it")
    mtu: Mtu | None = Field(default=None, description="The largest packet, and who refuses a larger one")
    tcp: Tcp | None = Field(default=None, description="A TCP connection and its segment size")
    untouched: Untouched | None = Field(default=None, description="NVAs that traffic bypasses")
    explained: Explained | None = Field(default=None, description="What the explanation on paper says")
    agreement: Agreement | None = Field(default=None, description="Prediction, controller and switches agree")


def expectation_of(verb: str, detail: dict[str, Any]) -> Expectation:
    """An expectation from plain values, as the file has them. Raises InputError when they do not fit."""
    return from_plain(Expectation, verb, detail)
