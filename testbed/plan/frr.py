"""FRR in a node: which daemons run, in which order, and what their configuration files say."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from msgspec.structs import replace

from testbed.azure.bgp import LOCAL, Exports, Router
from testbed.azure.types import Hub, Prefix
from testbed.errors import InputError
from testbed.model.topology import Timers
from testbed.plan.sessions import NeighborOf
from testbed.plan.templates import Templates
from testbed.plan.types import Daemon

PROGRAMS = "/usr/lib/frr"
USER = "frr"
BMP_PORT = 1790
_COMMUNITY = re.compile(r"[A-Za-z0-9:\-]{1,40}")
_POLICY = re.compile(r"[^A-Za-z0-9_.\-]")
OWN_FILE = "frr.conf"
"""An NVA's own configuration, in the folder of its node."""


class Frr(NamedTuple):
    """What a node runs: its files and its daemons."""

    files: dict[str, str]
    daemons: tuple[Daemon, ...]


def router(templates: Templates, template: str, own: Router, neighbors: Sequence[NeighborOf], timers: Timers, **more: Any) -> Frr:
    """A router with zebra and bgpd (and bfdd where a neighbour wants it), its bgpd configured from ``template``."""
    files = {
        "zebra.conf": templates.render("zebra.conf.j2", hostname=own.name),
        "bgpd.conf": templates.render(template, **_context(own, neighbors, timers), **more),
    }
    daemons = [zebra(), bgpd(after=("zebra",))]
    if timers.bfd is not None and any(neighbor.bfd for neighbor in neighbors):
        interval = max(10, round(timers.bfd.interval * 1000))
        files["bfdd.conf"] = templates.render("bfdd.conf.j2", hostname=own.name, multiplier=timers.bfd.multiplier, interval=interval)
        daemons.append(bfdd())
    return Frr(files, tuple(daemons))


def gateway(templates: Templates, own: Router, kind: str, neighbors: Sequence[NeighborOf], timers: Timers) -> Frr:
    """An instance of a gateway: a router that reports to the controller as a Route Server's instances do (GW1)."""
    plain = router(templates, "gateway.conf.j2", own, neighbors, timers, kind=kind, bmp_port=BMP_PORT)
    daemons = tuple(bgpd("-M", "bmp", after=("zebra",)) if daemon.name == "bgpd" else daemon for daemon in plain.daemons)
    return Frr(plain.files, daemons)


def route_server(templates: Templates, own: Router, hub: Hub, neighbors: Sequence[NeighborOf], timers: Timers) -> Frr:
    """The bgpd of a Route Server instance: passive, without zebra, reporting over BMP (RS2, RS4)."""
    context = _context(own, neighbors, timers, limit=hub.routes_per_peer)
    for policy in (each for each in context["policies"] if each["refuse"]):
        policy["refuse"] = [f"{space} le 32" for space in hub.unlearned]  # whatever else is announced while the lab runs
    text = templates.render("route-server.conf.j2", **context, bmp_port=BMP_PORT)
    return Frr({"bgpd.conf": text}, (bgpd("-Z", "-n", "-M", "bmp"),))


def own_file(texts: Mapping[str, str], name: str, path: str) -> Frr:
    """All daemons with empty configurations, then the user's file loaded as FRR itself loads an integrated configuration.

    ``texts`` has it under ``user/NAME``. Raises InputError when it is not there.
    """
    text = texts.get(f"user/{name}")
    if text is None:
        raise InputError(f"nvas.{name}.frr_config: {path} was not read", "the file must exist beside the topology")
    others = (zebra(), bfdd(), _daemon("staticd", after=("zebra",), ready="staticd.vty"))
    load = ("/usr/bin/vtysh", "--vty_socket", "{dir}", "--config_dir", "{dir}", "-b")
    last = replace(bgpd(after=tuple(daemon.name for daemon in others)), start=(load,))
    empty = {f"{daemon.name}.conf": "" for daemon in (*others, last)}
    return Frr({OWN_FILE: text, "vtysh.conf": "", **empty}, (*others, last))


def whole_seconds(timers: Timers) -> tuple[int, int]:
    """Keepalive and hold time as BGP has them: whole seconds, the hold time at least 3 (RFC 4271)."""
    return max(1, math.ceil(timers.bgp.keepalive)), max(3, math.ceil(timers.bgp.hold))


def zebra() -> Daemon:
    """The daemon that owns the kernel's routes; the others start when its socket is there, or they would wait 10 s."""
    return _daemon("zebra", ready="zserv.api")


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


def _context(own: Router, neighbors: Sequence[NeighborOf], timers: Timers, limit: int = 0) -> dict[str, Any]:
    """The variables of a template."""
    keepalive, hold = whole_seconds(timers)
    roles = sorted({neighbor.role for neighbor in neighbors})
    refusals = {neighbor.policy: [role for role in roles if role not in neighbor.exports.sources] for neighbor in neighbors}
    tags = {role: 10 * place for place, role in enumerate(roles, start=1) if any(role in refused for refused in refusals.values())}
    first: dict[str, NeighborOf] = {}
    for neighbor in neighbors:
        first.setdefault(neighbor.policy, neighbor)
    return {
        "hostname": own.name,
        "asn": own.asn,
        "router_id": own.router_id,
        "keepalive": keepalive,
        "hold": hold,
        "maximum_paths": own.maximum_paths,
        "networks": sorted(own.originates),
        "policies": [_policy(own, each, tags, refusals[each.policy]) for each in first.values()],
        "neighbors": [_neighbor(neighbor, timers, limit, ibgp=neighbor.asn == own.asn) for neighbor in neighbors],
    }


def _policy(own: Router, neighbor: NeighborOf, tags: Mapping[str, int], refused: Sequence[str]) -> dict[str, Any]:
    """The route-maps of a neighbour: what is taken from it, and what it gets. On iBGP the AS path stays as it is (RFC 4271 5.1.2)."""
    exports = neighbor.exports
    if neighbor.asn == own.asn:
        exports = replace(exports, exclude=frozenset(), prepend=0, prepend_by_prefix={})
    by_count: dict[int, list[Prefix]] = {}
    for prefix, count in exports.prepend_by_prefix.items():
        by_count.setdefault(count, []).append(prefix)
    return {
        "name": _word(neighbor.policy),
        "role": neighbor.role,
        "tag": tags.get(neighbor.role),
        "refuse": sorted(neighbor.imports.refuse),
        "local_pref": neighbor.imports.local_pref,
        "refuses": [(role, tags[role]) for role in refused],
        "own": _own(own, exports),
        "deny": sorted(exports.deny),
        "exclude": sorted(exports.exclude),
        "prepend": exports.prepend,
        "prepend_by_prefix": sorted(by_count.items()),
        "communities": [_safe(community) for community in exports.communities],
        "next_hop": exports.next_hop,
    }


def _own(own: Router, exports: Exports) -> list[Prefix] | None:
    """Which of its own routes a router sends; None where there is nothing to filter.

    A router without routes of its own has no such filter: it would match paths from which private ASNs were stripped.
    """
    if not own.originates or (LOCAL in exports.sources and exports.only is None):
        return None
    return sorted(exports.only or ()) if LOCAL in exports.sources else []


def _neighbor(neighbor: NeighborOf, timers: Timers, limit: int, ibgp: bool) -> dict[str, Any]:
    """The lines about one neighbour below ``router bgp``."""
    fields = ("name", "role", "address", "asn", "description", "update_source", "multihop", "passive", "password")
    return {
        **{field: getattr(neighbor, field) for field in fields},
        "policy": _word(neighbor.policy),
        "bfd": neighbor.bfd and timers.bfd is not None,
        "limit": limit if neighbor.role == "nva" else 0,
        "as_override": neighbor.exports.as_override and not ibgp,
        "allow_own_as": neighbor.imports.allow_own_as,
        "remove_private": neighbor.exports.remove_private,
        "reflect": neighbor.exports.reflect,
        "next_hop_self": neighbor.exports.next_hop_self and ibgp,
    }


def _word(policy: str) -> str:
    """The name of a policy as one word that FRR takes in the name of a route-map."""
    return _POLICY.sub("-", policy)


def _safe(community: str) -> str:
    """A community as FRR reads it. Raises InputError on what could be anything else than one word."""
    if _COMMUNITY.fullmatch(community) is None:
        raise InputError(f"community {community!r} is not one", "write ASN:VALUE or a name such as no-advertise")
    return community
