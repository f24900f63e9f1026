"""Every finding that `check` knows: code, severity, what it is, why it hurts, what to do, and where it is documented.

docs/findings.md is generated from this table. A code is the family of the rule (docs/azure-routing.md), and its number in the last two
digits; the first digit tells findings about one rule apart. ``PA`` are packets, found by walking the design; ``CP`` the control plane.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class Severity(StrEnum):
    """An error breaks connectivity or bypasses inspection, a warning surprises, an info does not count."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Entry(Struct, frozen=True):
    """One kind of finding. ``source`` names the rule of docs/azure-routing.md, and the page or RFC it comes from."""

    code: str
    severity: Severity
    title: str
    why: str
    remedy: str
    source: str


_RS_FAQ = 'Microsoft: "Azure Route Server frequently asked questions"'
_RS_MULTI = 'Microsoft: "Multi-region networking with Azure Route Server"'
_RS_TROUBLE = 'Microsoft: "Troubleshoot Azure Route Server issues"'
_RS_ER_VPN = 'Microsoft: "Azure Route Server support for ExpressRoute and Azure VPN"'
_RS_SPOKES = 'Microsoft: "Default route injection to spoke virtual networks"'
_RS_PREFERENCE = 'Microsoft: "Routing preference" (Azure Route Server)'
_RS_NEXT_HOP = 'Microsoft: "Next Hop IP support" (Azure Route Server)'
_UDR = 'Microsoft: "Virtual network traffic routing"'
_PEERING = 'Microsoft: "Virtual network peering"; "Create, change, or delete a virtual network peering"'
_TRANSIT = 'Microsoft: "Configure VPN gateway transit for virtual network peering"'
_FORWARDING = 'Microsoft: "Create, change, or delete a network interface" (IP forwarding)'
_ER = 'Microsoft: "ExpressRoute routing requirements"'
_VPN_BGP = 'Microsoft: "About BGP with VPN Gateway"'
_E, _W, _I = Severity.ERROR, Severity.WARNING, Severity.INFO

_ENTRIES = (
    Entry(
        "RS001",
        _W,
        "RouteServerSubnet is smaller than /26",
        "Azure asks for a /26 since 2025; a smaller subnet keeps a Route Server from being upgraded or scaled.",
        "Give RouteServerSubnet a /26.",
        f"RS1. {_RS_FAQ}",
    ),
    Entry(
        "RS002",
        _E,
        "A route's next hop is a Route Server",
        "A Route Server is control plane only and forwards nothing: packets sent to it are lost.",
        "Name the NVA (or a load balancer in front of NVAs) as the next hop.",
        f"RS2. {_RS_FAQ}",
    ),
    Entry(
        "RS003",
        _E,
        "An NVA peers with one Route Server instance only",
        "Each instance programs part of the VMs from what it learned itself: those of the other instance miss the NVA's routes.",
        "Peer with both instances, and advertise the same to both.",
        f"RS3. {_RS_FAQ}",
    ),
    Entry(
        "RS004",
        _W,
        "An NVA's ASN needs four octets",
        "The documentation supports two-octet ASNs only; a four-octet one shows as 23456 to speakers that do not know it.",
        "Use an ASN from 64512 to 65514.",
        f"RS4. {_RS_FAQ}; RFC 6793",
    ),
    Entry(
        "RS006",
        _E,
        "A limit of Route Server is exceeded",
        "Beyond the limit per peer the BGP session drops, and all routes of that NVA with it; the other limits cut off routes or VNets.",
        "Summarise what is advertised, or spread it over several hubs.",
        f"RS6. {_RS_FAQ}",
    ),
    Entry(
        "RS007",
        _E,
        "The way to the Route Server is learned from the Route Server",
        "The Route Server advertises its own VNet with itself as next hop: the next hop recurses onto itself, the session flaps.",
        "Give the NVA a static route to RouteServerSubnet through its subnet's first address.",
        f"RS7. {_RS_TROUBLE}",
    ),
    Entry(
        "RS008",
        _E,
        "65515 in the AS path: the Route Server drops the route",
        "A Route Server is AS 65515 in every region and takes a path through 65515 for a loop. The route shows nowhere, while the NVA's "
        "own table looks complete.",
        "Let the NVA replace (as_override) or remove (as_path_exclude) 65515 towards its Route Server.",
        f"RS8. {_RS_MULTI}; RFC 4271, section 9.1.2",
    ),
    Entry(
        "RS009",
        _W,
        "An advertised prefix is inside a VNet",
        "A route equal to or inside the address space of the VNet itself or of a peered VNet is never programmed there: the system route "
        "stays, and traffic does not go through the NVA.",
        "Use a user-defined route, or advertise a supernet.",
        f"RS9, E2. {_RS_FAQ}",
    ),
    Entry(
        "RS010",
        _W,
        "Equal-cost paths lead through different NVAs",
        "Each direction of a flow chooses its NVA by itself: a stateful NVA that sees half of a flow drops it.",
        "Make one NVA the standby with a prepend, translate addresses (SNAT), share state, or put a load balancer in front.",
        f"RS10. {_RS_FAQ}",
    ),
    Entry(
        "RS013",
        _W,
        "An NVA sends a Route Server what it learned from it",
        "At best 65515 in the path makes the Route Server drop it; with 65515 stripped the hub's own VNets are learned from the NVA.",
        "Filter towards the Route Server what came from it.",
        f"RS8, RS13. {_RS_TROUBLE}",
    ),
    Entry(
        "RS103",
        _E,
        "The two instances learn different routes from an NVA",
        "VMs are programmed from one instance or the other: the same design works from one VM and fails from its neighbour.",
        "Advertise the same routes to both instances.",
        f"RS3. {_RS_FAQ}",
    ),
    Entry(
        "RS106",
        _W,
        "A route refresh can exceed the limit per peer",
        "A refresh counts the current and the incoming routes: more than half of the limit re-sent at once can drop the session.",
        "Stay below half of the limit: summarise what the NVA advertises.",
        f"RS6. {_RS_FAQ}",
    ),
    Entry(
        "RS110",
        _W,
        "A prepend changes nothing",
        "No router chooses differently because of it: it is on the wrong node, towards the wrong neighbour, or stripped on the way.",
        "Prepend at the NVA that should stand by, towards those who choose between it and the active one.",
        f"RS10. {_RS_PREFERENCE}",
    ),
    Entry(
        "RS203",
        _W,
        "An NVA is prepared for a Route Server that does not list it as a peer",
        "A Route Server refuses sessions of peers that are not configured.",
        "Add the NVA to the Route Server's peers.",
        f"RS3. {_RS_FAQ}",
    ),
    Entry(
        "CP001",
        _E,
        "BGP does not settle",
        "The routers keep changing their minds: routes flap, and traffic with them.",
        "Break the cycle of preferences: filter one of the exchanges, or use the same path attributes everywhere.",
        "RFC 3345; RFC 4264",
    ),
    Entry(
        "GW003",
        _W,
        "A prepend is not seen on-premises over ExpressRoute",
        "The Microsoft edge strips private ASNs, and prepends with them: on-premises sees 12076 alone.",
        "Steer on-premises by more specific prefixes or by the customer edge's own preference.",
        f"GW3. {_ER}",
    ),
    Entry(
        "GW004",
        _W,
        "0.0.0.0/0 does not leave through a VPN gateway",
        "A VPN gateway never advertises the default route: on-premises does not learn it.",
        "Advertise 0.0.0.0/1 and 128.0.0.0/1.",
        f"GW4. {_VPN_BGP}",
    ),
    Entry(
        "GW006",
        _E,
        "The circuit is preferred, the NVA is bypassed",
        "With hub_routing_preference ExpressRoute a prefix learned from a circuit wins whatever its AS path: traffic does not pass the "
        "NVA (firewall) that advertises it too.",
        "Keep the prefix off the circuit (exchange tunnel ends only), or set hub_routing_preference.",
        f"RS10, GW6. {_RS_PREFERENCE}",
    ),
    Entry(
        "PE001",
        _E,
        "A next hop is out of reach",
        "A next hop must be in the same or a directly peered VNet; peerings are not transitive. Packets are dropped.",
        "Peer the VNets, both sides, or use a next hop that is near.",
        f"P1. {_PEERING}; {_RS_NEXT_HOP}",
    ),
    Entry(
        "PE002",
        _E,
        "Gateway transit is allowed on one side only",
        "Without both flags the Route Server neither advertises the spoke nor programs its routes into it.",
        "Set use_remote_gateways on the spoke's side and allow_gateway_transit on the hub's.",
        f"P2. {_TRANSIT}",
    ),
    Entry(
        "PE004",
        _E,
        "Forwarded traffic is not admitted",
        "The receiving VNet's own side of the peering drops packets that do not come from the peered VNet itself, such as those an NVA "
        "forwards.",
        "Set allow_forwarded_traffic on the receiving VNet's side.",
        f"P4. {_PEERING}",
    ),
    Entry(
        "PE101",
        _E,
        "A BGP session cannot come up",
        "The two ends do not reach each other, so nothing is exchanged.",
        "Peer the VNets, both sides.",
        f"P1. {_PEERING}",
    ),
    Entry(
        "PE102",
        _W,
        "A spoke does not use the hub's Route Server",
        "Its peering with the hub lacks both flags of gateway transit: the Route Server does not advertise it, nothing is injected "
        "into it, and it has no user-defined routes instead.",
        "Set both flags, or give the spoke user-defined routes.",
        f"P2. {_TRANSIT}",
    ),
    Entry(
        "PE104",
        _W,
        "A peering is connected and drops everything",
        "allow_virtual_network_access is false on one side: the peering shows as connected, all traffic is silently dropped.",
        "Set it to true, or remove the peering.",
        f"P4. {_PEERING}",
    ),
    Entry(
        "ER002",
        _E,
        "A direct peering bypasses the NVA",
        "The system route of a peering beats BGP routes, even more specific ones: traffic goes straight, the NVA does not see it.",
        "Remove the peering, or add user-defined routes in both VNets.",
        f"E2. {_UDR}",
    ),
    Entry(
        "ER005",
        _W,
        "Disabled propagation removes the Route Server's routes too",
        "disable_bgp_route_propagation keeps out the routes of gateways and of Route Servers alike.",
        "Add user-defined routes for what is needed, or leave propagation on.",
        f"E5. {_UDR}",
    ),
    Entry(
        "ER006",
        _E,
        "A route injected into an NVA's own subnet points at the NVA itself",
        "The Route Server programs the NVA's routes into the NVA's NIC too. What leaves there unencapsulated comes back: a loop.",
        "Carry it in a tunnel, or disable propagation on the NVA's subnet and give it user-defined routes.",
        f"E6. {_RS_MULTI}",
    ),
    Entry(
        "ER008",
        _E,
        "IP forwarding is off on an NVA's NIC",
        "Azure drops what the NIC sends or receives for addresses that are not its own.",
        "Set enable_ip_forwarding to true.",
        f"E8. {_FORWARDING}",
    ),
    Entry(
        "ER106",
        _E,
        "An NVA that injects 0.0.0.0/0 loops its own Internet traffic",
        "The default route is injected into the NVA's own subnet too and points at the NVA.",
        "Put a user-defined route 0.0.0.0/0 to Internet on the NVA's subnet.",
        f"E6. {_RS_SPOKES}",
    ),
    Entry(
        "ER206",
        _W,
        "An NVA advertises a prefix that nobody has",
        "Packets to it reach the NVA, which sends them out again, and the injected route leads back to it, until their TTL ends.",
        "Give the NVA the prefix (loopbacks, a tunnel), or do not advertise it.",
        "E6",
    ),
    Entry(
        "UD001",
        _E,
        "A user-defined route is shorter than the injected routes inside it",
        "The longest prefix wins first: the BGP routes are used, the user-defined route is not.",
        "Write user-defined routes as long as the injected ones, or disable propagation on the subnet.",
        f"E1. {_UDR}",
    ),
    Entry(
        "UD002",
        _E,
        "A user-defined route is missing",
        "The NVA's subnet reaches other prefixes by user-defined routes; this one has none. The control plane looks complete, packets are "
        "dropped or loop. Typical of a spoke that was added later.",
        "Add the user-defined route to the table of the NVA's subnet.",
        f"E1, E6. {_UDR}",
    ),
    Entry(
        "UD003",
        _E,
        "A route on GatewaySubnet leads the Route Server's BGP away",
        "Gateway and Route Server speak BGP inside the VNet; a route towards an appliance that covers RouteServerSubnet cuts it.",
        "Leave the hub's own range out of that table, or add RouteServerSubnet as VnetLocal.",
        f"E2. {_RS_TROUBLE}",
    ),
    Entry(
        "UD004",
        _E,
        "A user-defined route leads to a gateway that cannot be its next hop",
        "The next-hop type VirtualNetworkGateway means a VPN gateway: without one packets are dropped, and beside an ExpressRoute gateway "
        "Azure does not support the route. An ExpressRoute gateway learns and injects routes by BGP alone.",
        "Remove the route and let BGP bring it, or lead it to an NVA.",
        f"E4. {_UDR}",
    ),
    Entry(
        "OV001",
        _E,
        "A tunnel's outer packets do not arrive",
        "The way to the far end of the tunnel leads nowhere, or into the tunnel itself.",
        "Give the node a route to the tunnel's far end through its subnet's gateway, and let the fabric carry it.",
        "E6, GW6; RFC 2003, section 3.1 (recursive encapsulation)",
    ),
    Entry(
        "PA001",
        _E,
        "Packets loop",
        "They go round until their TTL ends, and load every node on the way.",
        "Change the route that sends them back.",
        "E1, E6",
    ),
    Entry(
        "PA002",
        _E,
        "Packets are lost although a route leads on",
        "A route sends them on their way, and a later hop, or the way back, has none.",
        "Add the missing route at the place where they are lost.",
        "E1, E3, P1",
    ),
    Entry(
        "PA003",
        _W,
        "The two directions take different ways",
        "A stateful NVA or firewall sees one direction only and drops the flow.",
        "Make both directions prefer the same NVAs: the same prepends on both sides, or user-defined routes in both VNets.",
        "RS10",
    ),
    Entry(
        "PA004",
        _I,
        "Two places do not reach each other",
        "There is no route, and nothing in the design says there should be one.",
        "If they should talk: a peering, a Route Server that serves both, or user-defined routes.",
        "E3, P1",
    ),
    Entry(
        "SU001",
        _W,
        "A suppression matches nothing",
        "What it was written for is gone; left there, it would hide the next finding of its kind.",
        "Remove it.",
        "docs/topology.md, suppress",
    ),
)

CATALOGUE: dict[str, Entry] = {entry.code: entry for entry in _ENTRIES}


def explanation(entry: Entry) -> str:
    """The background of a kind of finding, for people."""
    return (
        f"{entry.code} ({entry.severity}): {entry.title}\n\n{entry.why}\n\nremedy: {entry.remedy}\nsource: {entry.source} "
        "(rules: docs/azure-routing.md)"
    )


def reference() -> str:
    """docs/findings.md: every finding, generated, so that it cannot be out of date."""
    lines = [
        "# Findings of `testbed check`",
        "",
        "Generated; `testbed check --explain CODE` prints an entry. Rules: [azure-routing.md](azure-routing.md).",
        "An **error** breaks connectivity or bypasses inspection: `check` ends with 1. A **warning** surprises: with `--strict` too.",
        "An *info* does not count. Accept a finding in the topology file:",
        "",
        "```yaml",
        "suppress:",
        "  # at: a path of the finding, or steps of it; without it all findings of the code are accepted",
        "  - {code: RS010, at: nvas.nva1, reason: both NVAs are stateless routers}",
        "```",
        "",
        "| code | severity | what | why it hurts | remedy | source |",
        "|---|---|---|---|---|---|",
    ]
    lines += [f"| {e.code} | {e.severity} | {e.title} | {e.why} | {e.remedy} | {e.source} |" for e in CATALOGUE.values()]
    return "\n".join(lines) + "\n"
