"""The plan: everything that will be built, as plain data with a stable JSON form (msgspec). Nothing here touches the world.

Texts of the plan (argv, file contents, file names) may hold ``{dir}``, the node's own directory, filled in by the emulation.
In file contents ``{secret:NAME}`` stands for a random key of the lab, the same wherever NAME is; such a file is readable by root alone.
Kernel names (``id``) are short and unique to the lab: ``LAB_ID`` + letter + number, at most 15 characters.
"""

from __future__ import annotations

from msgspec import Struct

from testbed.azure.types import Address, Domain, Hub, Prefix

INTERNET = "(internet)"
"""The Internet (E9) in the place of a VNet's name: a bridge of its own, and the other end of a link that is no peering."""


class Capabilities(Struct, frozen=True):
    """What the machine can do, as far as the plan depends on it (found by ``doctor``)."""

    datapath: str = "netdev"  # or "system", the kernel's
    ipsec: str = "libipsec"  # or "kernel", "none"
    netem: bool = False  # or a process of the lab's delays and drops packets
    rate: bool = True


class Choice(Struct, frozen=True):
    """What the user wants used of what the machine can do; ``auto``: the best there is."""

    datapath: str = "auto"  # or "netdev", "system"
    ipsec: str = "auto"  # or "kernel", "libipsec"
    delay: str = "auto"  # or "netem", "line"


class Nic(Struct, frozen=True):
    """A network interface: its end in the node (``name``, eth0…) and the switch port it is plugged into (``id``).

    ``label`` is what users call it (``vm11``, ``nva1``, ``nva1/outside``, ``rs1-0``); ``domain`` the routing domain's id;
    ``home`` the Route Server instance (0 or 1) whose routes it is programmed from (docs/azure-routing.md chapter 7, a convention).
    """

    label: str
    node: str
    name: str
    id: str
    bridge: str
    port: int
    mac: str
    vnet: str
    subnet: str  # "hub1/nva"
    ip: Address
    prefix_len: int
    gateway: Address
    domain: int
    home: int
    ip_forwarding: bool = False
    public_ip: Address | None = None


class Bridge(Struct, frozen=True):
    """A VNet as an Open vSwitch bridge."""

    id: str
    dpid: int
    vnet: str
    region: str
    address_space: tuple[Prefix, ...]


class PeeringEnd(Struct, frozen=True):
    """One bridge's end of a peering link. ``id`` is the port's name, ``port`` its OpenFlow number.

    ``accept`` (P4) is what this VNet admits over the peering: ``all``, ``direct`` (sources in ``peer_space`` only) or ``none``.
    """

    id: str
    bridge: str
    port: int
    peer_vnet: str
    peer_space: tuple[Prefix, ...]
    accept: str


class Shape(Struct, frozen=True):
    """What a link does to packets, in each direction: seconds, seconds (uniform, both ways), percent, percent that do not wait, bit/s."""

    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    reorder: float = 0.0
    rate: float | None = None

    @property
    def impaired(self) -> bool:
        """Whether packets are delayed or lost on it."""
        return bool(self.delay or self.jitter or self.loss)


class PeeringLink(Struct, frozen=True):
    """A connected peering: a patch link inside a region, a shaped veth across regions."""

    ends: tuple[PeeringEnd, PeeringEnd]
    kind: str  # "patch" or "veth"
    shape: Shape = Shape()


class Daemon(Struct, frozen=True):
    """A process of a node: started when all of ``after`` are ready, ready when ``ready`` (a path below ``{dir}``) exists."""

    name: str
    argv: tuple[str, ...]
    after: tuple[str, ...] = ()
    ready: str | None = None
    environment: dict[str, str] = {}
    start: tuple[tuple[str, ...], ...] = ()  # commands run in the namespace once it is ready (e.g. swanctl --load-all)
    stop: tuple[tuple[str, ...], ...] = ()  # and once it has ended, however: what it leaves in the kernel ends with it
    user: str | None = None  # owner of the node's directory: the daemon drops to this user


class Node(Struct, frozen=True):
    """A network namespace: its NICs, what is set inside, its files (relative to ``{dir}``) and its daemons.

    ``setup`` are lines for ``ip -batch`` inside the namespace, run once the NICs are there and have their addresses;
    ``kind``: vm, nva, route_server, vpn, expressroute, msee, site, host, internet.
    """

    name: str
    kind: str
    id: str
    nics: tuple[Nic, ...]
    asn: int | None = None
    router_id: Address | None = None
    setup: tuple[str, ...] = ()
    sysctls: dict[str, str] = {}
    nftables: str = ""
    files: dict[str, str] = {}
    daemons: tuple[Daemon, ...] = ()


class Wire(Struct, frozen=True):
    """A point-to-point link between two nodes outside the fabric (a circuit, a site's LAN): veth, one end in each namespace.

    Where a delay line carries it, it is two veths that meet in the fabric's namespace, by names that begin with ``id``.
    """

    id: str
    nodes: tuple[str, str]
    names: tuple[str, str]  # interface names inside
    addresses: tuple[str, str]  # with prefix length; may be empty
    macs: tuple[str, str]
    shape: Shape = Shape()
    circuit: str = ""  # none: a site's LAN


class TunnelPlan(Struct, frozen=True):
    """An overlay tunnel: the two nodes, the device in each, outer and inner addresses, VNI and MTU.

    ``outer`` are the addresses at which each end is reached; ``bound`` those it sends from, which differ behind 1:1 translation
    (E9). ``vtep`` are the ends of the VXLAN inside IPsec; elsewhere it runs between the outer addresses.
    """

    name: str
    type: str  # vxlan or ipsec
    nodes: tuple[str, str]
    device: tuple[str, str]
    outer: tuple[Address, Address]
    inner: tuple[Address, Address]  # without prefix length; /31
    vni: int
    mtu: int
    bgp: bool = True
    bound: tuple[Address, Address] = ("", "")
    vtep: tuple[Address, Address] = ("", "")


class BgpPeering(Struct, frozen=True):
    """A BGP session that the plan sets up; ``kind``: route_server (NVA↔RS), overlay, underlay, gateway (RS↔gateway), circuit, site."""

    kind: str
    nodes: tuple[str, str]
    addresses: tuple[Address, Address]
    asns: tuple[int, int]


class ProbePlan(Struct, frozen=True):
    """A load balancer's health probe: TCP to ``port`` every ``interval`` seconds; ``threshold`` misses in a row count."""

    port: int
    interval: float
    threshold: int


class LoadBalancerPlan(Struct, frozen=True):
    """A frontend address and the NICs (labels) behind it; without a probe all of them count as healthy."""

    name: str
    vnet: str
    ip: Address
    backends: tuple[str, ...]
    probe: ProbePlan | None = None


class Plan(Struct, frozen=True):
    """A compiled lab. The same topology, lab name, templates and capabilities give the same bytes."""

    format: int
    lab: str
    lab_id: str
    topology: str
    fabric: str  # the fabric namespace's name
    capabilities: Capabilities
    bridges: tuple[Bridge, ...]
    peerings: tuple[PeeringLink, ...]
    nodes: tuple[Node, ...]
    wires: tuple[Wire, ...]
    tunnels: tuple[TunnelPlan, ...]
    sessions: tuple[BgpPeering, ...]
    load_balancers: tuple[LoadBalancerPlan, ...]
    hubs: tuple[Hub, ...]
    domains: tuple[Domain, ...]
    time_lapse: float = 1.0  # how many times as fast the clocks of zebra and bgpd run
    restart: str = "never"  # or "always": daemons that died unasked are started again
    unsupported: tuple[str, ...] = ()  # what was asked for and this machine cannot emulate, in words

    def node(self, name: str) -> Node:
        """The node of that name. Raises KeyError."""
        return {node.name: node for node in self.nodes}[name]

    def shapes(self) -> tuple[Shape, ...]:
        """What the links between regions and the wires do to packets."""
        return (*(link.shape for link in self.peerings), *(wire.shape for wire in self.wires))

    def nics(self) -> tuple[Nic, ...]:
        """All NICs plugged into the fabric."""
        return tuple(nic for node in self.nodes for nic in node.nics)
