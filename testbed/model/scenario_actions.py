"""What a step of a scenario may do to the lab. The format is that of docs/scenarios.md."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import Field, ValidationError, model_validator

from testbed.errors import InputError
from testbed.model.topology import Neighbor, Peering
from testbed.model.values import Address, Asn, Declared, Name, Prefix


class Announce(Declared):
    """An NVA starts or stops announcing prefixes (loopback networks behind it)."""

    nva: Name = Field(description="The NVA")
    prefix: Prefix = Field(description="The prefix")
    count: Annotated[int, Field(ge=1, le=10000)] = Field(default=1, description="How many prefixes of that length, one after the other")


class Prepend(Declared):
    """An NVA prepends its AS number so many times from now on (0: no longer)."""

    nva: Name = Field(description="The NVA")
    count: Annotated[int, Field(ge=0, le=16)] = Field(description="How often")
    neighbor: Name | None = Field(default=None, description="Only towards this neighbour; towards all when not given")


class SetOverride(Declared):
    """An NVA switches `as-override` towards its Route Server on or off (RS8)."""

    nva: Name = Field(description="The NVA")
    enabled: bool = Field(description="On or off")


class Strip(Declared):
    """An NVA removes these ASNs from the paths that it sends to its Route Server from now on; none: no longer (RS8)."""

    nva: Name = Field(description="The NVA")
    asns: tuple[Asn, ...] = Field(description="The ASNs; an empty list ends it")


class NeighborChange(Declared):
    """What an NVA does towards one neighbour from now on: communities, prepend, third-party next hop, which instances."""

    nva: Name = Field(description="The NVA")
    neighbor: Name = Field(description="A Route Server, an NVA or a site")
    settings: Neighbor = Field(description="The settings, instead of those that it had")


class PeeringChange(Declared):
    """Both sides of a peering, added (or put in place of the old ones) or removed while the lab runs (RS14)."""

    sides: tuple[Peering, Peering] = Field(description="The two sides")


class PeerChange(Declared):
    """An NVA configured, or no longer configured, as a BGP peer of a Route Server (RS3)."""

    route_server: Name = Field(description="The Route Server")
    nva: Name = Field(description="The NVA")


class RouteChange(Declared):
    """A user-defined route set (or, without `next_hop_type`, removed) in a route table of the topology."""

    table: Name = Field(description="The route table")
    route: Name = Field(description="The name of the route")
    prefix: Prefix | None = Field(default=None, description="Its destination")
    next_hop_type: Literal["VirtualAppliance", "VirtualNetworkGateway", "VnetLocal", "Internet", "None"] | None = Field(
        default=None, description="Where to; the route is removed when not given"
    )
    next_hop_ip: Address | None = Field(default=None, description="The next hop, for `VirtualAppliance`")


class Propagation(Declared):
    """Propagation of BGP routes into the subnets of a route table, switched on or off (E5)."""

    table: Name = Field(description="The route table")
    enabled: bool = Field(description="On or off")


class BranchToBranch(Declared):
    """The exchange of routes between a Route Server and the gateways of its VNet, switched on or off (GW2)."""

    route_server: Name = Field(description="The Route Server")
    enabled: bool = Field(description="On or off")


class Preference(Declared):
    """What a Route Server prefers between equal prefixes (RS10)."""

    route_server: Name = Field(description="The Route Server")
    value: Literal["ExpressRoute", "VpnGateway", "ASPath"] = Field(description="The hub routing preference")


class Capture(Declared):
    """Keeps every packet of a link or a node, from now to the end of the step, in a pcap file beside the run's record."""

    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_\-]{0,60}$")] = Field(description="The file's name, without .pcap")
    link: tuple[Name, Name] | None = Field(default=None, description="Two VNets peered across regions: the link between them")
    node: Name | None = Field(default=None, description="A node: all its interfaces")

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.link is None) == (self.node is None):
            raise ValueError("name one place: link or node")
        return self


class Rekey(Declared):
    """An IPsec tunnel gets new keys, for its packets and for IKE."""

    tunnel: Name = Field(description="The tunnel, by its name (`NODE-NODE` when it has none)")


class Fault(Declared):
    """Something breaks, or is mended: a process of a node, a node's power, its links, a tunnel, a BGP session, the controller."""

    node: Name | None = Field(default=None, description="A node: all its processes end, or what `daemon` or `power` say")
    daemon: str | None = Field(default=None, description="Only this process of the node: `bgpd`, `zebra`, …")
    power: bool = Field(default=False, description="The node goes silent, as at a power-off; its processes keep running")
    tunnel: str | None = Field(default=None, description="A tunnel, by its name (`NODE-NODE` when it has none)")
    controller: bool = Field(default=False, description="The SDN controller")
    session: Name | None = Field(
        default=None, description="Only the BGP sessions of the node with this one, shut down in good order; a Route Server: both instances"
    )
    link: tuple[Name, Name] | None = Field(
        default=None, description="Two VNets peered across regions, or two nodes on a circuit: the link between them"
    )

    mismatch: Literal["key", "proposals", "password"] | None = Field(
        default=None,
        description="Not the tunnel itself: its second end has another pre-shared key, other IKE proposals or another BGP password",
    )

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if self.mismatch is not None and self.tunnel is None:
            raise ValueError("mismatch is about a tunnel: name it")
        if sum([self.tunnel is not None, self.controller, self.node is not None, self.link is not None]) != 1:
            raise ValueError("name one thing: node (with daemon:, session: or power: true), tunnel, link, or controller: true")
        if sum([self.daemon is not None, self.session is not None, self.power]) > (self.node is not None):
            raise ValueError("of a node, name one thing at most: daemon, session, or power: true")
        return self


class OneOf(Declared):
    """An entry of which exactly one key is given."""

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


class Action(OneOf):
    """One thing to do to the lab: exactly one of these keys."""

    announce: Announce | None = Field(default=None, description="An NVA announces prefixes")
    withdraw: Announce | None = Field(default=None, description="An NVA withdraws them")
    prepend: Prepend | None = Field(default=None, description="An NVA makes its AS path longer")
    as_override: SetOverride | None = Field(default=None, description="An NVA replaces 65515 by its own ASN, or stops doing so")
    strip: Strip | None = Field(default=None, description="An NVA removes ASNs from the path")
    neighbor: NeighborChange | None = Field(
        default=None, description="An NVA's settings for one neighbour: communities, next hop, instances"
    )
    add_peering: PeeringChange | None = Field(default=None, description="Two VNets are peered, or their peering changes its flags")
    remove_peering: PeeringChange | None = Field(default=None, description="A peering is removed")
    add_peer: PeerChange | None = Field(default=None, description="A Route Server gets a BGP peer")
    remove_peer: PeerChange | None = Field(default=None, description="A Route Server loses a BGP peer")
    route: RouteChange | None = Field(default=None, description="A user-defined route is set or removed")
    propagation: Propagation | None = Field(default=None, description="BGP routes are let into subnets, or kept out")
    branch_to_branch: BranchToBranch | None = Field(default=None, description="A Route Server and gateways exchange routes, or stop")
    preference: Preference | None = Field(default=None, description="A Route Server's routing preference is changed")
    rekey: Rekey | None = Field(default=None, description="An IPsec tunnel gets new keys")
    fail: Fault | None = Field(default=None, description="Something breaks")
    heal: Fault | None = Field(default=None, description="It is mended")
    capture: Capture | None = Field(default=None, description="Packets are kept in a file")


def fault_action(verb: Literal["fail", "heal"], **fault: Any) -> Action:
    """The action for a fault given on the command line. Raises InputError when it does not name exactly one thing."""
    return action_of(verb, fault, f"e.g. `{verb} nva1 --daemon bgpd`")


def action_of(verb: str, detail: dict[str, Any], hint: str = "") -> Action:
    """An action from plain values, as the file has them. Raises InputError when they do not fit."""
    return from_plain(Action, verb, detail, hint)


Entry = TypeVar("Entry", bound=OneOf)


def from_plain(kind: type[Entry], verb: str, detail: dict[str, Any], hint: str = "") -> Entry:
    """An entry of which one key is given, from plain values. Raises InputError when they do not fit."""
    try:
        return kind.model_validate({verb: detail})
    except ValidationError as error:
        first = error.errors()[0]
        unknown = first["type"] == "extra_forbidden"
        where = ".".join(str(part) for part in first["loc"][0 if unknown else 1 :])
        message = "no such key" if unknown else first["msg"].removeprefix("Value error, ")
        raise InputError(f"{where}: {message}" if where else message, hint) from None
