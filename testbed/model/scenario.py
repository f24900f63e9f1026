"""What a scenario declares: steps that act on a lab and say what must be observed afterwards. The format is that of docs/scenarios.md."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from testbed.errors import InputError
from testbed.model.topology import Asn, Declared, Name, Peering, Seconds


def _several(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_several), Field(min_length=1, description="One name, or a list; `all` for every VM")]


class Announce(Declared):
    """An NVA or site starts or stops announcing a prefix (a loopback network behind it)."""

    nva: Name
    prefix: IPv4Network


class Prepend(Declared):
    """An NVA prepends its AS number so many times from now on (0: no longer)."""

    nva: Name
    count: Annotated[int, Field(ge=0, le=16)]


class SetOverride(Declared):
    """An NVA switches `as-override` towards its Route Server on or off."""

    nva: Name
    enabled: bool


class PeeringChange(Declared):
    """Both sides of a peering, added or removed while the lab runs (RS14)."""

    sides: tuple[Peering, Peering]


class RouteChange(Declared):
    """A user-defined route set (or, without `next_hop_type`, removed) in a route table of the topology."""

    table: Name
    route: Name
    prefix: IPv4Network | None = None
    next_hop_type: Literal["VirtualAppliance", "VirtualNetworkGateway", "VnetLocal", "Internet", "None"] | None = None
    next_hop_ip: IPv4Address | None = None


class Fault(Declared):
    """Something breaks, or is mended: a process of a node, a node's power, its links, a tunnel, a BGP session, the controller."""

    node: Name | None = None
    daemon: str | None = None
    power: bool = False
    tunnel: str | None = None
    controller: bool = False

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if sum([self.tunnel is not None, self.controller, self.node is not None]) != 1 or (self.daemon and not self.node):
            raise ValueError("name one thing: node (with daemon: or power: true), tunnel, or controller: true")
        return self


class _OneOf(Declared):
    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"needs exactly one of {', '.join(type(self).model_fields)}; found {', '.join(given) or 'none'}")
        return self

    @property
    def verb(self) -> str:
        """The one that was given."""
        return next(name for name in type(self).model_fields if getattr(self, name) is not None)

    @property
    def detail(self) -> Any:
        """What was given with it."""
        return getattr(self, self.verb)


class Action(_OneOf):
    """One thing to do to the lab."""

    announce: Announce | None = None
    withdraw: Announce | None = None
    prepend: Prepend | None = None
    as_override: SetOverride | None = None
    add_peering: PeeringChange | None = None
    remove_peering: PeeringChange | None = None
    route: RouteChange | None = None
    fail: Fault | None = None
    heal: Fault | None = None


def fault_action(verb: Literal["fail", "heal"], **fault: Any) -> Action:
    """The action for a fault given on the command line. Raises InputError when it does not name exactly one thing."""
    try:
        return Action.model_validate({verb: fault})
    except ValidationError as error:
        raise InputError(error.errors()[0]["msg"].removeprefix("Value error, "), f"e.g. `{verb} nva1 --daemon bgpd`") from None


class Sessions(Declared):
    """BGP sessions of a kind are established: all that the plan has, or as many as `established` says."""

    kind: Literal["route_server", "overlay", "underlay", "gateway", "circuit", "site", "all"] = "all"
    established: int | None = None


class Learned(Declared):
    """These instances of a Route Server learned a prefix from a peer; or did not (`absent`), or dropped it (`dropped`: the rule)."""

    route_server: Name
    peer: Name
    prefix: IPv4Network
    as_path: tuple[Asn, ...] | None = None
    instances: tuple[Literal[0, 1], ...] = (0, 1)
    absent: bool = False
    dropped: str | None = None


class EffectiveRoute(Declared):
    """A NIC's effective routes hold (or, with `absent`, do not hold) an active route of this prefix."""

    nic: Names
    prefix: IPv4Network
    next_hop_type: str | None = None
    next_hops: tuple[IPv4Address, ...] | None = None
    absent: bool = False


class Delivered(Declared):
    """Every pair of these VMs gets through, with the TTL down by exactly `ttl_down`; `both_ways` tries the return direction too."""

    from_: Names = Field(alias="from")
    to: Names
    ttl_down: int | None = None
    both_ways: bool = True


class NotDelivered(Declared):
    """Every pair of these VMs fails: `looping` with TTL exceeded sent by `at`, `dropped` in silence."""

    from_: Names = Field(alias="from")
    to: Names
    at: str | None = None
    both_ways: bool = False


class PathTaken(Declared):
    """A marked probe passes through exactly these routers, in this order, and that is what the walk over the plan predicts."""

    from_: Name = Field(alias="from")
    to: Name
    through: tuple[Name, ...]


class OnlyOnLink(Declared):
    """While every pair of these VMs talks, the link between two VNets carries these kinds of packet and no other (`udp/4789`)."""

    link: tuple[Name, Name]
    kinds: tuple[str, ...]
    from_: Names = Field(alias="from")
    to: Names


class Agreement(Declared):
    """The predicted and the observed effective routes of every NIC agree (the three-way check)."""

    nics: Names = ("all",)


class Expectation(_OneOf):
    """One thing that must be observed."""

    sessions: Sessions | None = None
    learned: Learned | None = None
    effective_route: EffectiveRoute | None = None
    delivered: Delivered | None = None
    looping: NotDelivered | None = None
    dropped: NotDelivered | None = None
    path: PathTaken | None = None
    only_on_link: OnlyOnLink | None = None
    agreement: Agreement | None = None


class Step(Declared):
    """A stage of a scenario: first what to do, then what to expect, each expectation within the budget."""

    stage: str
    do: tuple[Action, ...] = ()
    expect: tuple[Expectation, ...] = ()
    within: Seconds = 10.0


class Scenario(Declared):
    """A topology file (relative to the scenario's own) and the steps to take on it."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9\-]{0,39}$")]
    description: str = ""
    topology: str
    steps: tuple[Step, ...] = Field(min_length=1)
