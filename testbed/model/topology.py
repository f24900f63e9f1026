"""What the user declares: a design in Azure's own terms, as frozen objects. The format is that of docs/topology.md."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from testbed.model.values import (
    Address,
    Asn,
    AsnRanges,
    Asns,
    BitsPerSecond,
    Count,
    Declared,
    Name,
    OrWord,
    Percent,
    Prefix,
    Prepend,
    Seconds,
    SubnetRef,
    not_a_boolean,
)


class VNet(Declared):
    """A virtual network: its address ranges and its subnets, each by name."""

    address_space: tuple[Prefix, ...] = Field(min_length=1, description="The address ranges")
    subnets: dict[Name, Prefix] = Field(
        default_factory=dict,
        description="The prefix of each subnet. `RouteServerSubnet` and `GatewaySubnet` are for Route Servers and gateways alone",
    )


class Region(Declared):
    """An Azure region and the virtual networks in it."""

    vnets: dict[Name, VNet] = Field(default_factory=dict, description="The VNets of the region; names are unique over all regions")


class Peering(Declared):
    """One side of a VNet peering (P1); it is connected when the other VNet declares its side too."""

    from_: Name = Field(alias="from", description="The VNet whose side this is")
    to: Name = Field(description="The other VNet")
    allow_virtual_network_access: bool = Field(default=True, description="`false`: shown as connected, all traffic dropped (P4)")
    allow_forwarded_traffic: bool = Field(
        default=False, description="Whether `from` accepts packets over this peering that do not come from `to` itself (P4)"
    )
    allow_gateway_transit: bool = Field(
        default=False, description="Hub side: `to` may use the gateways and the Route Server of `from` (P2)"
    )
    use_remote_gateways: bool = Field(default=False, description="Spoke side: use those of `to` (P2, P3)")


class RouteServer(Declared):
    """An Azure Route Server in a VNet with a RouteServerSubnet; ``peers`` names the NVAs configured as BGP peers (RS3)."""

    vnet: Name = Field(description="The VNet; it needs a `RouteServerSubnet` of /27 or larger (RS1)")
    peers: tuple[Name, ...] = Field(default=(), description="The NVAs configured as BGP peers, in this VNet or a directly peered one (RS3)")
    allow_branch_to_branch: bool = Field(default=False, description="Exchange routes with the gateways of the VNet (GW2)")
    hub_routing_preference: Literal["ExpressRoute", "VpnGateway", "ASPath"] = Field(
        default="ExpressRoute", description="What wins between equal prefixes (RS10)"
    )


class Neighbor(Declared):
    """What an NVA does towards one BGP neighbour (a Route Server, an NVA or a site, by name), over the NVA's own settings."""

    as_override: bool | None = Field(
        default=None, description="Replace the neighbour's ASN in the path by one's own; keeps the length (RS8)"
    )
    as_path_exclude: Asns = Field(default=(), description="Remove these ASNs from the path; shortens it (RS8)")
    advertise: tuple[Prefix, ...] | None = Field(
        default=None, description="Which prefixes of its own it sends there; as to all others when not given"
    )
    prepend: Prepend | dict[Prefix, Prepend] | None = Field(
        default=None, description="How often the own ASN is put before the path: for all prefixes, or by prefix"
    )
    communities: tuple[str, ...] = Field(
        default=(), max_length=100, description="Communities to add: `65001:100`, `65001:1:2` or a name as `no-advertise` (RS12)"
    )
    next_hop: Address | None = Field(default=None, description="Third-party next hop, such as a load balancer's address (RS11)")
    instances: tuple[Literal[0, 1], ...] = Field(default=(0, 1), min_length=1, description="The Route Server instances to peer with (RS3)")


class ExtraNic(Declared):
    """A further network interface of an NVA."""

    name: Name = Field(description="Its name; it is shown as `NVA/NAME`")
    subnet: SubnetRef = Field(description="`VNET/SUBNET`")
    ip: Address | None = Field(default=None, description="The private address; the lowest free one from .4 when not given")
    public_ip: Address | None = Field(default=None, description="A public address (documentation ranges), translated 1:1 (E9)")
    enable_ip_forwarding: bool = Field(default=True, description="May send and receive packets of others (E8)")


class Nva(Declared):
    """A network virtual appliance: a router or firewall in a VNet that speaks BGP."""

    subnet: SubnetRef = Field(description="`VNET/SUBNET` of its first interface")
    ip: Address | None = Field(default=None, description="The private address; the lowest free one from .4 when not given")
    asn: Asn = Field(description="Its ASN; not one that Azure or IANA reserves (RS5)")
    public_ip: Address | None = Field(
        default=None,
        description="A public address (documentation ranges), translated 1:1 (E9); given by itself to the ends of public tunnels",
    )
    enable_ip_forwarding: bool = Field(default=True, description="May send and receive packets of others (E8)")
    as_override: bool = Field(default=False, description="Towards Route Servers, replace 65515 in the path by one's own ASN (RS8)")
    as_path_exclude: Asns = Field(default=(), description="Towards Route Servers, remove these ASNs from the path (RS8)")
    filter_route_server_routes: bool = Field(default=True, description="Send nothing back to a Route Server that was learned from it")
    neighbors: dict[Name, Neighbor] = Field(default_factory=dict, description="Settings for one neighbour, by its name")
    loopbacks: tuple[Prefix, ...] = Field(default=(), description="Networks behind the NVA")
    advertise: tuple[Prefix, ...] = Field(default=(), description="Prefixes it originates")
    default_originate: bool = Field(default=False, description="Originate 0.0.0.0/0 to every neighbour")
    prepend: Prepend | dict[Prefix, Prepend] = Field(
        default=0, description="How often the own ASN is put before the path: for all prefixes, or by prefix"
    )
    extra_nics: tuple[ExtraNic, ...] = Field(default=(), description="Further interfaces")
    frr_config: str | None = Field(
        default=None, description="An FRR configuration of your own, used as it is; a path relative to this file or to the repository"
    )


class Vm(Declared):
    """A virtual machine with one interface; without ``ip`` it takes the lowest free address of its subnet from .4."""

    subnet: SubnetRef = Field(description="`VNET/SUBNET`")
    ip: Address | None = Field(default=None, description="The private address; the lowest free one from .4 when not given")
    public_ip: Address | None = Field(default=None, description="A public address (documentation ranges), translated 1:1 (E9)")
    enable_ip_forwarding: bool = Field(default=False, description="May send and receive packets of others (E8)")


class Probe(Declared):
    """The health probe of a load balancer: a TCP connection to a port of every backend."""

    port: Annotated[int, Field(ge=1, le=65535), BeforeValidator(not_a_boolean)] = Field(description="The port; 179 asks bgpd")
    interval: Annotated[Seconds, Field(ge=0.1)] = Field(default=1.0, description="The time between probes; Azure's is 5 s or more")
    threshold: Annotated[int, Field(ge=1, le=20), BeforeValidator(not_a_boolean)] = Field(
        default=2, description="So many misses in a row make a backend unhealthy; one answer makes it healthy"
    )


class LoadBalancer(Declared):
    """An internal load balancer: a frontend address delivered to one of its healthy backends."""

    subnet: SubnetRef = Field(description="`VNET/SUBNET` of the frontend")
    ip: Address = Field(description="The frontend address")
    backends: tuple[Name, ...] = Field(min_length=1, description="NVAs or VMs of the same VNet")
    probe: Probe | None = Field(default=None, description="Its health probe; without one every backend counts as healthy")


class Tunnel(Declared):
    """A tunnel between two NVAs, or an NVA and a site; BGP runs inside unless ``bgp`` is false."""

    type: Literal["vxlan", "ipsec"] = Field(description="`ipsec` carries VXLAN inside ESP")
    between: tuple[Name, Name] = Field(description="The two ends: NVAs, or an NVA and a site")
    name: Name | None = Field(default=None, description="A name for display")
    bgp: bool = Field(default=True, description="Run BGP inside")
    bfd: bool = Field(default=True, description="Guard the BGP session with BFD")
    bgp_password: bool = Field(
        default=False, description="Sign the BGP session's TCP segments (MD5, RFC 2385) with a password that each lab makes for itself"
    )
    over: Literal["private", "public"] = Field(
        default="private", description="Outer addresses: private ones, or public ones over the Internet (E9)"
    )


class BgpSession(Declared):
    """An eBGP session between two NVAs without encapsulation: next hops are underlay addresses."""

    between: tuple[Name, Name] = Field(description="The two NVAs")
    bfd: bool = Field(default=True, description="Guard the session with BFD")
    bgp_password: bool = Field(default=False, description="Sign its TCP segments with a password, as in a tunnel")


class UserRoute(Declared):
    """A user-defined route (UDR)."""

    prefix: Prefix = Field(description="The destination; each prefix once in a table")
    next_hop_type: Literal["VirtualAppliance", "VirtualNetworkGateway", "VnetLocal", "Internet", "None"] = Field(
        description="Where to (E4); `None` drops"
    )
    next_hop_ip: Address | None = Field(default=None, description="The next hop; for `VirtualAppliance`, and only there")


class RouteTable(Declared):
    """A route table and the subnets it is associated with (E1, E5)."""

    subnets: tuple[SubnetRef, ...] = Field(default=(), description="The subnets (`VNET/SUBNET`); each in one table at most")
    disable_bgp_route_propagation: bool = Field(
        default=False, description="Keep the routes of Route Servers and gateways out of these subnets; never on GatewaySubnet (E5)"
    )
    routes: dict[Name, UserRoute] = Field(default_factory=dict, description="The user-defined routes, by name")


class Gateway(Declared):
    """A VPN or ExpressRoute gateway: two instances in GatewaySubnet (GW1)."""

    type: Literal["expressroute", "vpn"] = Field(description="Its kind; a VNet holds one of each at most")
    vnet: Name = Field(description="The VNet; it needs a `GatewaySubnet`")
    asn: Asn = Field(default=65515, description="Its ASN")
    active_active: bool = Field(default=True, description="Both instances of a VPN gateway carry tunnels")
    public_ips: tuple[Address, ...] = Field(
        default=(), description="Public addresses of a VPN gateway's instances; given by themselves if not here"
    )


class Link(Declared):
    """What a path does to packets, in each direction: between two regions, or one of a circuit's lines."""

    delay: Seconds = Field(default=0.0, description="One-way delay")
    jitter: Seconds = Field(default=0.0, description="Its variation")
    loss: Percent = Field(default=0.0, description="Packet loss in percent")
    reorder: Percent = Field(default=0.0, description="Percent of packets that do not wait for the delay, and so overtake others")
    rate: BitsPerSecond | None = Field(default=None, description="The rate; unlimited when not given")


class Circuit(Declared):
    """An ExpressRoute circuit: two MSEE routers (AS 12076) that connect gateways with sites (GW3)."""

    gateways: tuple[Name, ...] | dict[Name, Link] = Field(
        default=(),
        description="The ExpressRoute gateways connected to it, of any region: names, or the way to each by name",
    )
    asn: Asn = Field(default=12076, description="The ASN of the Microsoft edge")
    line: Link = Field(default=Link(), description="The provider's lines: from each MSEE to the sites on the circuit")


class SiteCircuit(Declared):
    """What a site does on one circuit; without ``advertise`` it advertises all its prefixes there."""

    advertise: tuple[Prefix, ...] | None = Field(default=None, description="What it advertises there; all its prefixes when not given")
    prepend: Prepend = Field(default=0, description="How often its ASN is put before the path")


class Site(Declared):
    """An on-premises site: a customer-edge router, its prefixes and the hosts behind it."""

    asn: Asn = Field(description="The ASN of the customer edge")
    prefixes: tuple[Prefix, ...] = Field(default=(), description="The networks of the site")
    loopbacks: tuple[Prefix, ...] = Field(default=(), description="Addresses of the customer edge itself, such as tunnel ends")
    circuits: tuple[Name, ...] | dict[Name, SiteCircuit] = Field(
        default=(), description="The circuits it is on: names, or settings by name"
    )
    connections: tuple[Name, ...] = Field(default=(), description="The VPN gateways it is connected to (IPsec and BGP)")
    hosts: dict[Name, Address] = Field(default_factory=dict, description="Hosts behind the customer edge: address by name")
    public_ip: Address | None = Field(
        default=None, description="The public address of the customer edge; given by itself where it is needed"
    )
    prepend: Prepend = Field(default=0, description="How often its ASN is put before the path, on all its sessions")


class BgpTimers(Declared):
    """BGP keepalive and hold time."""

    keepalive: Seconds = Field(default=1.0, description="Whole seconds")
    hold: Seconds = Field(default=3.0, description="Whole seconds, at least three")


class BfdTimers(Declared):
    """BFD between NVAs: interval and detection multiplier."""

    interval: Seconds = Field(default=0.1, description="Transmit and receive interval, 10 ms to 60 s")
    multiplier: Annotated[int, Field(ge=2, le=255), BeforeValidator(not_a_boolean)] = Field(
        default=3, description="How many packets may be missed"
    )


def _azure_timers(value: Any) -> Any:
    """``azure`` stands for Azure's own 60 s and 180 s (RS4)."""
    return {"keepalive": 60.0, "hold": 180.0} if value == "azure" else value


class Timers(Declared):
    """Protocol timers; ``bgp: azure`` stands for 60/180 s (RS4).

    ``time_lapse`` makes the clocks of zebra and bgpd run so many times as fast, those of Route Server instances and of all others alike.
    """

    bgp: Annotated[BgpTimers, BeforeValidator(_azure_timers), OrWord("azure")] = Field(
        default=BgpTimers(), description="BGP timers of all sessions; `azure` stands for 60/180 s"
    )
    bfd: BfdTimers | None = Field(default=BfdTimers(), description="BFD timers between NVAs; `null` switches BFD off")
    time_lapse: Annotated[float, Field(ge=1, le=20)] = Field(
        default=1.0, description="How many times as fast BGP's clocks run, everywhere alike; BFD and packets stay as they are"
    )


class Limits(Declared):
    """Azure's limits (RS6), with the defaults of 2025."""

    peers: Count = Field(default=8, description="BGP peers of a Route Server")
    routes_per_peer: Count = Field(default=4000, description="Routes a peer may send, dropped ones included; beyond it the session drops")
    routes_total: Count = Field(default=10000, description="Routes of a Route Server in all")
    routes_to_expressroute: Count = Field(default=1000, description="Routes advertised to ExpressRoute")
    vnets: Count = Field(default=500, description="VNets of a hub")
    ecmp: Count = Field(default=8, description="Next hops of one prefix")
    route_server_subnet: Annotated[int, Field(ge=8, le=29)] = Field(
        default=27, description="The longest prefix a RouteServerSubnet may have (RS1)"
    )
    azure_asns: AsnRanges = Field(
        default=("8074", "8075", "12076", "65515", "65517-65520"), description="ASNs that Azure keeps for itself (RS5)"
    )
    iana_asns: AsnRanges = Field(
        default=("23456", "64496-64511", "65535-65551"), description="ASNs that IANA reserves and Azure refuses (RS5)"
    )


class Assumptions(Declared):
    """What Azure's documentation and captures do not settle (docs/azure-routing.md chapter 7); defaults as documented."""

    transit_without_allow_forwarded_traffic: bool = Field(default=False, description="Transit works without `allow_forwarded_traffic`")
    own_vnet_prefixes_learned: bool = Field(default=False, description="Prefixes of the own VNet appear among learned routes")
    reflect_nva_routes_with_branch_to_branch: bool = Field(
        default=False, description="With branch-to-branch on, NVA routes go to other NVAs"
    )
    aspath_tie: Literal["both", "ExpressRoute"] = Field(
        default="both", description="Under `ASPath`, what an equal length of circuit and NVA gives"
    )


class Supervision(Declared):
    """What becomes of a daemon that dies without being asked. One that a scenario or `fail` killed stays dead until it is healed."""

    restart: Literal["never", "always"] = Field(
        default="never", description="`never`: it is named in `status` and in the record; `always`: it is started again, too"
    )


class Suppression(Declared):
    """A finding of ``testbed check`` that is known and accepted; ``at`` limits it to one resource."""

    code: Annotated[str, Field(pattern=r"^[A-Z]{2}[0-9]{3}$")] = Field(description="The finding's code, such as RS008")
    at: str | None = Field(default=None, description="The resource it is accepted for; all when not given")
    reason: Annotated[str, Field(min_length=8)] = Field(description="Why it is accepted; shown in reports")


class Topology(Declared):
    """A whole design."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9\-]{0,39}$")] = Field(description="The design's name, and the lab's by default")
    description: str = Field(default="", description="What the design shows")
    regions: dict[Name, Region] = Field(min_length=1, description="The regions, by name")
    peerings: tuple[Peering, ...] = Field(default=(), description="VNet peerings, one entry for each side")
    route_servers: dict[Name, RouteServer] = Field(default_factory=dict, description="Route Servers")
    nvas: dict[Name, Nva] = Field(default_factory=dict, description="Network virtual appliances")
    vms: dict[Name, Vm] = Field(default_factory=dict, description="Virtual machines")
    load_balancers: dict[Name, LoadBalancer] = Field(default_factory=dict, description="Internal load balancers")
    tunnels: tuple[Tunnel, ...] = Field(default=(), description="Overlay tunnels")
    bgp_sessions: tuple[BgpSession, ...] = Field(default=(), description="BGP between NVAs without a tunnel")
    route_tables: dict[Name, RouteTable] = Field(default_factory=dict, description="Route tables with user-defined routes")
    gateways: dict[Name, Gateway] = Field(default_factory=dict, description="VPN and ExpressRoute gateways")
    circuits: dict[Name, Circuit] = Field(default_factory=dict, description="ExpressRoute circuits")
    sites: dict[Name, Site] = Field(default_factory=dict, description="On-premises sites")
    links: dict[str, Link] = Field(default_factory=dict, description="Paths between regions, as `REGION-REGION`")
    timers: Timers = Field(default=Timers(), description="Protocol timers")
    overlay_pool: Prefix = Field(default=IPv4Network("198.18.0.0/16"), description="Where tunnel addresses are taken from")
    supervision: Supervision = Field(default=Supervision(), description="What becomes of daemons that die")
    limits: Limits = Field(default=Limits(), description="Azure's limits")
    assumptions: Assumptions = Field(default=Assumptions(), description="What is not settled about Azure")
    suppress: tuple[Suppression, ...] = Field(default=(), description="Findings that are known and accepted")

    def vnets(self) -> dict[str, VNet]:
        """All VNets of all regions, by name."""
        return {name: vnet for region in self.regions.values() for name, vnet in region.vnets.items()}

    def region_of(self, vnet: str) -> str:
        """The region of a VNet. Raises KeyError when there is none of that name."""
        return next((name for name, region in self.regions.items() if vnet in region.vnets), None) or _missing(vnet)


def _missing(name: str) -> str:
    raise KeyError(name)
