"""FRR in a node: which daemons run, in which order, and what their configuration files say."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from testbed.azure.bgp import Exports
from testbed.azure.nva_policy import MAXIMUM_PATHS, ROUTE_SERVER, exports, originated
from testbed.azure.types import Address, Hub, Prefix
from testbed.errors import InputError
from testbed.model.topology import Nva, Timers
from testbed.plan.templates import Templates
from testbed.plan.types import Daemon

PROGRAMS = "/usr/lib/frr"
USER = "frr"
BMP_PORT = 1790
_MARK = 65515
_COMMUNITY = re.compile(r"[A-Za-z0-9:\-]{1,40}")
OWN_FILE = "frr.conf"


class NeighborOf(Struct, frozen=True):
    """A BGP neighbour of an NVA: ``name`` and ``role`` choose the policy; ``update_source`` is given for multihop sessions."""

    name: str
    role: str
    address: Address
    asn: int
    description: str
    update_source: Address | None = None
    bfd: bool = False


class Peer(NamedTuple):
    """A neighbour of a Route Server instance."""

    name: str
    address: Address
    asn: int


class Frr(NamedTuple):
    """What a node runs: its files and its daemons."""

    files: dict[str, str]
    daemons: tuple[Daemon, ...]


def nva(
    templates: Templates,
    texts: Mapping[str, str],
    name: str,
    declared: Nva,
    address: Address,
    neighbors: Sequence[NeighborOf],
    timers: Timers,
) -> Frr:
    """The FRR of an NVA, from ``nva.conf.j2``, or from the user's own file (``user/NAME`` in ``texts``), used as it is."""
    if declared.frr_config is not None:
        return _own_file(texts, name, declared.frr_config)
    with_bfd = timers.bfd is not None and any(neighbor.bfd for neighbor in neighbors)
    policies = {neighbor.name: exports(declared, neighbor.name, neighbor.role) for neighbor in neighbors}
    keepalive, hold = whole_seconds(timers)
    files = {
        "zebra.conf": templates.render("zebra.conf.j2", hostname=name),
        "bgpd.conf": templates.render(
            "nva.conf.j2",
            hostname=name,
            asn=declared.asn,
            router_id=address,
            keepalive=keepalive,
            hold=hold,
            mark=_MARK,
            maximum_paths=MAXIMUM_PATHS,
            networks=sorted(originated(declared)),
            policies=[_policy(neighbor, policies[neighbor.name]) for neighbor in {each.name: each for each in neighbors}.values()],
            neighbors=[_neighbor(neighbor, policies[neighbor.name], with_bfd) for neighbor in neighbors],
        ),
    }
    daemons = [zebra(), bgpd(after=("zebra",))]
    if with_bfd and timers.bfd is not None:
        interval = max(10, round(timers.bfd.interval * 1000))
        files["bfdd.conf"] = templates.render("bfdd.conf.j2", hostname=name, multiplier=timers.bfd.multiplier, interval=interval)
        daemons.append(bfdd())
    return Frr(files, tuple(daemons))


def route_server(templates: Templates, name: str, address: Address, hub: Hub, nvas: Sequence[Peer], gateways: Sequence[Peer]) -> Frr:
    """The bgpd of a Route Server instance: passive, without zebra, reporting over BMP (RS2, RS4). ``gateways``: with branch-to-branch."""
    text = templates.render(
        "route-server.conf.j2",
        hostname=name,
        asn=hub.asn,
        router_id=address,
        networks=hub.advertised,
        nvas=nvas,
        gateways=gateways,
        reflect_nva_routes=hub.reflect_nva_routes and hub.branch_to_branch,
        routes_per_peer=hub.routes_per_peer,
        bmp_port=BMP_PORT,
    )
    return Frr({"bgpd.conf": text}, (bgpd("-Z", "-n", "-M", "bmp"),))


def whole_seconds(timers: Timers) -> tuple[int, int]:
    """Keepalive and hold time as BGP has them: whole seconds, the hold time at least 3 (RFC 4271)."""
    return max(1, math.ceil(timers.bgp.keepalive)), max(3, math.ceil(timers.bgp.hold))


def zebra(*options: str) -> Daemon:
    """The daemon that owns the kernel's routes; the others start when its socket is there, or they would wait 10 s."""
    return _daemon("zebra", *options, ready="zserv.api")


def bgpd(*options: str, after: tuple[str, ...] = ()) -> Daemon:
    """The BGP daemon."""
    return _daemon("bgpd", *options, after=after, ready="bgpd.vty")


def bfdd() -> Daemon:
    """The BFD daemon."""
    return _daemon("bfdd", "--bfdctl", "{dir}/bfdd.sock", after=("zebra",), ready="bfdd.vty")


def _daemon(name: str, *options: str, after: tuple[str, ...] = (), ready: str) -> Daemon:
    """A daemon run directly, all its sockets and files in the node's own directory, no TCP port for its command line."""
    argv = (f"{PROGRAMS}/{name}", *options, "-z", "{dir}/zserv.api", "--vty_socket", "{dir}", "-i", f"{{dir}}/{name}.pid")
    return Daemon(name, (*argv, "-f", f"{{dir}}/{name}.conf", "-A", "127.0.0.1", "-P", "0"), after, ready, user=USER)


def _own_file(texts: Mapping[str, str], name: str, path: str) -> Frr:
    """All daemons with empty configurations, then the user's file loaded as FRR itself loads an integrated configuration."""
    text = texts.get(f"user/{name}")
    if text is None:
        raise InputError(f"nvas.{name}.frr_config: {path} was not read", "the file must exist beside the topology")
    others = (zebra(), bfdd(), _daemon("staticd", after=("zebra",), ready="staticd.vty"))
    load = ("/usr/bin/vtysh", "--vty_socket", "{dir}", "--config_dir", "{dir}", "-b")
    last = replace(bgpd(after=tuple(daemon.name for daemon in others)), start=(load,))
    empty = {f"{daemon.name}.conf": "" for daemon in (*others, last)}
    return Frr({OWN_FILE: text, "vtysh.conf": "", **empty}, (*others, last))


def _policy(neighbor: NeighborOf, policy: Exports) -> dict[str, object]:
    by_count: dict[int, list[Prefix]] = {}
    for prefix, count in policy.prepend_by_prefix.items():
        by_count.setdefault(count, []).append(prefix)
    return {
        "name": neighbor.name,
        "role": neighbor.role,
        "refuses_marked": ROUTE_SERVER not in policy.sources,
        "exclude": sorted(policy.exclude),
        "prepend": policy.prepend,
        "prepend_by_prefix": sorted(by_count.items()),
        "communities": [_safe(community) for community in policy.communities],
        "next_hop": policy.next_hop,
    }


def _safe(community: str) -> str:
    """A community as FRR reads it. Raises InputError on what could be anything else than one word."""
    if _COMMUNITY.fullmatch(community) is None:
        raise InputError(f"community {community!r} is not one", "write ASN:VALUE or a name such as no-advertise")
    return community


def _neighbor(neighbor: NeighborOf, policy: Exports, with_bfd: bool) -> dict[str, object]:
    return {
        **{field: getattr(neighbor, field) for field in NeighborOf.__struct_fields__},
        "as_override": policy.as_override,
        "bfd": neighbor.bfd and with_bfd,
    }
