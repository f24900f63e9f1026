"""What the user declares: a design in Azure's own terms, as frozen objects. The format is that of docs/topology.md."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,79}")

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0}
_RATES = {"kbit": 1e3, "mbit": 1e6, "gbit": 1e9}


def _seconds(value: Any) -> Any:
    """``40ms``, ``3s``, ``2m`` or a number of seconds, as seconds."""
    if isinstance(value, str):
        match = re.fullmatch(r"([0-9.]+)\s*(ms|s|m)", value.strip())
        if match is None:
            raise ValueError(f"{value!r} is not a duration; write e.g. 40ms, 3s or 2m")
        return float(match[1]) * _UNITS[match[2]]
    return value


def _bits(value: Any) -> Any:
    """``1gbit``, ``500mbit`` or a number of bits per second, as bits per second."""
    if isinstance(value, str):
        match = re.fullmatch(r"([0-9.]+)\s*(kbit|mbit|gbit)", value.strip().lower())
        if match is None:
            raise ValueError(f"{value!r} is not a rate; write e.g. 100mbit or 1gbit")
        return float(match[1]) * _RATES[match[2]]
    return value


Name = Annotated[str, Field(pattern=rf"^{NAME.pattern}$", description="A resource name, as Azure allows it")]
Seconds = Annotated[float, BeforeValidator(_seconds), Field(ge=0, description="A duration: 40ms, 3s, 2m")]
BitsPerSecond = Annotated[float, BeforeValidator(_bits), Field(gt=0, description="A rate: 100mbit, 1gbit")]
Asn = Annotated[int, Field(ge=1, le=4294967295, description="An autonomous system number")]
SubnetRef = Annotated[str, Field(pattern=r"^[^/]+/[^/]+$", description="A subnet as VNET/SUBNET")]


class Declared(BaseModel):
    """What all declarations have in common: they are frozen, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class VNet(Declared):
    """A virtual network: its address ranges and its subnets, each by name."""

    address_space: tuple[IPv4Network, ...] = Field(min_length=1)
    subnets: dict[Name, IPv4Network] = Field(default_factory=dict)


class Region(Declared):
    """An Azure region and the virtual networks in it."""

    vnets: dict[Name, VNet] = Field(default_factory=dict)


class Peering(Declared):
    """One side of a VNet peering (P1); it is connected when the other VNet declares its side too."""

    from_: Name = Field(alias="from")
    to: Name
    allow_virtual_network_access: bool = True
    allow_forwarded_traffic: bool = False
    allow_gateway_transit: bool = False
    use_remote_gateways: bool = False


class RouteServer(Declared):
    """An Azure Route Server in a VNet with a RouteServerSubnet; ``peers`` names the NVAs configured as BGP peers (RS3)."""

    vnet: Name
    peers: tuple[Name, ...] = ()
    allow_branch_to_branch: bool = False
    hub_routing_preference: Literal["ExpressRoute", "VpnGateway", "ASPath"] = "ExpressRoute"


class Neighbor(Declared):
    """What an NVA does towards one BGP neighbour (a Route Server, an NVA or a site, by name), over the NVA's own settings."""

    as_override: bool | None = None
    as_path_exclude: tuple[Asn, ...] = ()
    prepend: Annotated[int, Field(ge=0, le=16)] | None = None
    communities: tuple[str, ...] = ()
    next_hop: IPv4Address | None = None
    instances: tuple[Literal[0, 1], ...] = (0, 1)


class ExtraNic(Declared):
    """A further network interface of an NVA."""

    name: Name
    subnet: SubnetRef
    ip: IPv4Address | None = None
    public_ip: IPv4Address | None = None
    enable_ip_forwarding: bool = True


class Nva(Declared):
    """A network virtual appliance: a router or firewall in a VNet that speaks BGP."""

    subnet: SubnetRef
    ip: IPv4Address | None = None
    asn: Asn
    public_ip: IPv4Address | None = None
    enable_ip_forwarding: bool = True
    as_override: bool = False
    as_path_exclude: tuple[Asn, ...] = ()
    filter_route_server_routes: bool = True
    neighbors: dict[Name, Neighbor] = Field(default_factory=dict)
    loopbacks: tuple[IPv4Network, ...] = ()
    advertise: tuple[IPv4Network, ...] = ()
    default_originate: bool = False
    prepend: Annotated[int, Field(ge=0, le=16)] | dict[IPv4Network, Annotated[int, Field(ge=0, le=16)]] = 0
    extra_nics: tuple[ExtraNic, ...] = ()
    frr_config: str | None = None


class Vm(Declared):
    """A virtual machine with one interface; without ``ip`` it takes the lowest free address of its subnet from .4."""

    subnet: SubnetRef
    ip: IPv4Address | None = None
    public_ip: IPv4Address | None = None
    enable_ip_forwarding: bool = False


class LoadBalancer(Declared):
    """An internal load balancer: a frontend address delivered to one of its healthy backends."""

    subnet: SubnetRef
    ip: IPv4Address
    backends: tuple[Name, ...] = Field(min_length=1)


class Tunnel(Declared):
    """A tunnel between two NVAs, or an NVA and a site; BGP runs inside unless ``bgp`` is false."""

    type: Literal["vxlan", "ipsec"]
    between: tuple[Name, Name]
    name: Name | None = None
    bgp: bool = True
    bfd: bool = True
    over: Literal["private", "public"] = "private"


class BgpSession(Declared):
    """An eBGP session between two NVAs without encapsulation: next hops are underlay addresses."""

    between: tuple[Name, Name]
    bfd: bool = True


class UserRoute(Declared):
    """A user-defined route (UDR)."""

    prefix: IPv4Network
    next_hop_type: Literal["VirtualAppliance", "VirtualNetworkGateway", "VnetLocal", "Internet", "None"]
    next_hop_ip: IPv4Address | None = None


class RouteTable(Declared):
    """A route table and the subnets it is associated with (E1, E5)."""

    subnets: tuple[SubnetRef, ...] = ()
    disable_bgp_route_propagation: bool = False
    routes: dict[Name, UserRoute] = Field(default_factory=dict)


class Gateway(Declared):
    """A VPN or ExpressRoute gateway: two instances in GatewaySubnet (GW1)."""

    type: Literal["expressroute", "vpn"]
    vnet: Name
    asn: Asn = 65515
    active_active: bool = True
    public_ips: tuple[IPv4Address, ...] = ()


class Circuit(Declared):
    """An ExpressRoute circuit: two MSEE routers (AS 12076) that connect gateways with sites (GW3)."""

    gateways: tuple[Name, ...] = ()
    asn: Asn = 12076


class SiteCircuit(Declared):
    """What a site does on one circuit; without ``advertise`` it advertises all its prefixes there."""

    advertise: tuple[IPv4Network, ...] | None = None
    prepend: Annotated[int, Field(ge=0, le=16)] = 0


class Site(Declared):
    """An on-premises site: a customer-edge router, its prefixes and the hosts behind it."""

    asn: Asn
    prefixes: tuple[IPv4Network, ...] = ()
    loopbacks: tuple[IPv4Network, ...] = ()
    circuits: tuple[Name, ...] | dict[Name, SiteCircuit] = ()
    connections: tuple[Name, ...] = ()
    hosts: dict[Name, IPv4Address] = Field(default_factory=dict)
    public_ip: IPv4Address | None = None
    prepend: Annotated[int, Field(ge=0, le=16)] = 0


class Link(Declared):
    """The properties of the path between two regions (``REGION-REGION``), in each direction."""

    delay: Seconds = 0.0
    jitter: Seconds = 0.0
    loss: Annotated[float, Field(ge=0, le=100)] = 0.0
    rate: BitsPerSecond | None = None


class BgpTimers(Declared):
    """BGP keepalive and hold time."""

    keepalive: Seconds = 1.0
    hold: Seconds = 3.0


class BfdTimers(Declared):
    """BFD between NVAs: interval and detection multiplier."""

    interval: Seconds = 0.1
    multiplier: Annotated[int, Field(ge=2, le=255)] = 3


def _azure_timers(value: Any) -> Any:
    """``azure`` stands for Azure's own 60 s and 180 s (RS4)."""
    return {"keepalive": 60.0, "hold": 180.0} if value == "azure" else value


class Timers(Declared):
    """Protocol timers; ``bgp: azure`` stands for 60/180 s (RS4)."""

    bgp: Annotated[BgpTimers, BeforeValidator(_azure_timers)] = BgpTimers()
    bfd: BfdTimers | None = BfdTimers()


class Limits(Declared):
    """Azure's limits (RS6), with the defaults of 2025."""

    peers: int = 8
    routes_per_peer: int = 4000
    routes_total: int = 10000
    routes_to_expressroute: int = 1000
    vnets: int = 500
    ecmp: int = 8


class Assumptions(Declared):
    """What Azure's documentation and captures do not settle (docs/azure-routing.md chapter 7); defaults as documented."""

    transit_without_allow_forwarded_traffic: bool = False
    own_vnet_prefixes_learned: bool = False
    reflect_nva_routes_with_branch_to_branch: bool = False
    aspath_tie: Literal["both", "ExpressRoute"] = "both"


class Suppression(Declared):
    """A finding of ``testbed check`` that is known and accepted; ``at`` limits it to one resource."""

    code: Annotated[str, Field(pattern=r"^[A-Z]{2}[0-9]{3}$")]
    at: str | None = None
    reason: Annotated[str, Field(min_length=8)]


class Topology(Declared):
    """A whole design."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9\-]{0,39}$", description="The lab's default name")]
    description: str = ""
    regions: dict[Name, Region] = Field(min_length=1)
    peerings: tuple[Peering, ...] = ()
    route_servers: dict[Name, RouteServer] = Field(default_factory=dict)
    nvas: dict[Name, Nva] = Field(default_factory=dict)
    vms: dict[Name, Vm] = Field(default_factory=dict)
    load_balancers: dict[Name, LoadBalancer] = Field(default_factory=dict)
    tunnels: tuple[Tunnel, ...] = ()
    bgp_sessions: tuple[BgpSession, ...] = ()
    route_tables: dict[Name, RouteTable] = Field(default_factory=dict)
    gateways: dict[Name, Gateway] = Field(default_factory=dict)
    circuits: dict[Name, Circuit] = Field(default_factory=dict)
    sites: dict[Name, Site] = Field(default_factory=dict)
    links: dict[str, Link] = Field(default_factory=dict)
    timers: Timers = Timers()
    overlay_pool: IPv4Network = IPv4Network("198.18.0.0/16")
    limits: Limits = Limits()
    assumptions: Assumptions = Assumptions()
    suppress: tuple[Suppression, ...] = ()

    def vnets(self) -> dict[str, VNet]:
        """All VNets of all regions, by name."""
        return {name: vnet for region in self.regions.values() for name, vnet in region.vnets.items()}

    def region_of(self, vnet: str) -> str:
        """The region of a VNet. Raises KeyError when there is none of that name."""
        return next((name for name, region in self.regions.items() if vnet in region.vnets), None) or _missing(vnet)


def _missing(name: str) -> str:
    raise KeyError(name)
