"""Checks that return None or the reason why not: controller listening, tunnels, BGP sessions, routes."""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import Any

from testbed import rpc
from testbed.emulation import charon, netns
from testbed.emulation.paths import LabPaths
from testbed.errors import NotReady, TestbedError
from testbed.plan.types import BgpPeering, Node, Plan, TunnelPlan
from testbed.vty import show
from testbed.wait import wait_until

CONTROLLER_PORT = 6653
SETTLED = 0.1
"""Seconds without a change in any BGP table after which routes count as settled: twice the daemons' coalesce time."""
_LISTENING = "0A"


@dataclass(frozen=True)
class SessionState:
    """A BGP session of the plan as one of its ends sees it: its state, how long it is up (seconds) and what was received."""

    peering: BgpPeering
    state: str
    uptime: float = 0.0
    received: int = 0

    @property
    def up(self) -> bool:
        """Whether it is established."""
        return self.state == "Established"


def listening(namespace: str, port: int) -> bool:
    """Whether something listens on this TCP port (IPv4) in the namespace. Raises OSError when the namespace is gone."""
    with netns.inside(namespace):
        rows = [line.split() for line in Path("/proc/thread-self/net/tcp").read_text().splitlines()[1:]]
    return any(row[1].endswith(f":{port:04X}") and row[3] == _LISTENING for row in rows)


def session_states(plan: Plan, paths: LabPaths) -> tuple[SessionState, ...]:
    """All BGP sessions of the plan, in its order, each asked from an end that runs bgpd (the NVA's or site's, if there is a choice)."""
    nodes = {node.name: node for node in plan.nodes}
    summaries: dict[str, dict[str, Any] | str] = {}
    states = []
    for peering in plan.sessions:
        end = _asked_end(nodes, peering)
        name = peering.nodes[end]
        if name not in summaries:
            summaries[name] = _summary(paths, nodes[name])
        states.append(_state(peering, summaries[name], peering.addresses[1 - end], plan.time_lapse))
    return tuple(states)


def _asked_end(nodes: dict[str, Node], peering: BgpPeering) -> int:
    def rank(end: int) -> tuple[bool, bool]:
        node = nodes[peering.nodes[end]]
        return "bgpd" not in {daemon.name for daemon in node.daemons}, node.kind == "route_server"

    return min((0, 1), key=rank)


def _summary(paths: LabPaths, node: Node) -> dict[str, Any] | str:
    try:
        summary: dict[str, Any] = show(paths.node(node) / "bgpd.vty", "show bgp ipv4 unicast summary json")
    except (OSError, TestbedError, ValueError) as error:
        return f"{node.name}: bgpd does not answer ({error})"
    family: dict[str, Any] = summary.get("ipv4Unicast", summary)
    return family


def _state(peering: BgpPeering, summary: dict[str, Any] | str, address: str, time_lapse: float) -> SessionState:
    if isinstance(summary, str):
        return SessionState(peering, summary)
    peer = summary.get("peers", {}).get(address)
    if peer is None:
        return SessionState(peering, "not configured")
    return SessionState(peering, peer["state"], peer.get("peerUptimeMsec", 0) / 1000 / time_lapse, peer.get("pfxRcd", 0))


def sessions(plan: Plan, paths: LabPaths) -> Callable[[], str | None]:
    """A check: all BGP sessions of the plan are established."""

    def check() -> str | None:
        down = [state for state in session_states(plan, paths) if not state.up]
        if not down:
            return None
        first = down[0]
        return f"{len(down)} of {len(plan.sessions)} BGP sessions are not up, e.g. {' - '.join(first.peering.nodes)} ({first.state})"

    return check


def _controller_status(paths: LabPaths) -> dict[str, Any] | str:
    """What the controller says of itself, or why it does not; it may die in the middle of a sentence."""
    try:
        status: dict[str, Any] = rpc.call(paths.controller_socket, "GET", "/status", timeout=5.0)
    except (OSError, HTTPException, ValueError, TestbedError) as error:
        return f"controller: {error}"
    return status


def controller(paths: LabPaths) -> str | None:
    """None when the controller says it is ready, else what it says."""
    status = _controller_status(paths)
    if isinstance(status, str):
        return status
    if status.get("ready"):
        return None
    return f"controller: {status.get('reason') or 'not ready'}"


def connected_bridges(paths: LabPaths) -> frozenset[str]:
    """The ids of the bridges that talk to the controller, as it says itself: Open vSwitch's database learns of it 5 s later."""
    status = _controller_status(paths)
    return frozenset() if isinstance(status, str) else frozenset(switch["bridge"] for switch in status["switches"] if switch["connected"])


def programmed(paths: LabPaths) -> str | None:
    """None when every switch has acknowledged all that the controller sent so far, else which has not.

    The controller sends what needs no BGP at once; routes follow when every speaker has reported, gateways too, which start later.
    """
    status = _controller_status(paths)
    if isinstance(status, str):
        return status
    for switch in status["switches"]:
        if not switch["connected"] or switch["pending"]:
            return f"the switch of {switch['vnet']} has not got its flows yet"
    return None


class Settled:
    """A check: every BGP table has been still for `SETTLED` seconds, and what it chose is in its node's kernel."""

    def __init__(self, plan: Plan, paths: LabPaths) -> None:
        self._nodes = [node for node in plan.nodes if "bgpd" in {daemon.name for daemon in node.daemons}]
        self._paths = paths
        self._seen: dict[str, Any] = {}
        self._since = time.monotonic()

    def __call__(self) -> str | None:
        """None once nothing changes any more, else what still does."""
        now = {node.name: self._fingerprint(node) for node in self._nodes}
        if now != self._seen:
            self._seen, self._since = now, time.monotonic()
            return "BGP tables still change"
        if time.monotonic() - self._since < SETTLED:
            return "BGP tables changed a moment ago"
        return next((reason for node in self._nodes if (reason := self._not_installed(node))), None)

    def _fingerprint(self, node: Node) -> Any:
        summary = _summary(self._paths, node)
        if isinstance(summary, str):
            return summary
        peers = {address: (peer.get("pfxRcd"), peer.get("pfxSnt"), peer.get("outq")) for address, peer in summary.get("peers", {}).items()}
        return summary.get("tableVersion"), peers

    def _not_installed(self, node: Node) -> str | None:
        if "zebra" not in {daemon.name for daemon in node.daemons}:
            return None
        try:
            routes = show(self._paths.node(node) / "zebra.vty", "show ip route bgp json")
        except (OSError, TestbedError, ValueError) as error:
            return f"{node.name}: zebra does not answer ({error})"
        pending = [
            prefix for prefix, entries in routes.items() if any(entry.get("selected") and not entry.get("installed") for entry in entries)
        ]
        return f"{node.name}: route {pending[0]} is not in the kernel yet" if pending else None


class TunnelProbe:
    """A check: every tunnel's far inner address answers an echo from its near end. Close it when done."""

    def __init__(self, plan: Plan, paths: LabPaths | None = None) -> None:
        """With ``paths`` the reason tells what charon said last, where the tunnel is protected."""
        ids = {node.name: node.id for node in plan.nodes}
        protected = [tunnel for tunnel in plan.tunnels if tunnel.type == "ipsec"]
        self._said = {each.name: partial(charon.last_words, paths, plan.node(each.nodes[0])) for each in protected} if paths else {}
        self._waiting = {tunnel.name: _Echo(ids[tunnel.nodes[0]], tunnel.inner[0], tunnel.inner[1]) for tunnel in plan.tunnels}

    def __call__(self) -> str | None:
        """None once all have answered, else a tunnel that has not."""
        for name in [name for name, echo in self._waiting.items() if echo.answered()]:
            self._waiting.pop(name).close()
        silent = next(iter(self._waiting), None)
        return None if silent is None else f"tunnel {silent} does not carry packets{self._last_words(silent)}"

    def _last_words(self, tunnel: str) -> str:
        spoken = self._said[tunnel]() if tunnel in self._said else ""
        return f"; charon: {spoken}" if spoken else ""

    @property
    def silent(self) -> frozenset[str]:
        """The names of the tunnels that have not answered."""
        return frozenset(self._waiting)

    def close(self) -> None:
        """Close the sockets of tunnels that never answered."""
        for echo in self._waiting.values():
            echo.close()


def tunnel_answers(plan: Plan, budget: float = 1.0) -> tuple[tuple[TunnelPlan, bool], ...]:
    """Each tunnel and whether its far end answered an echo through it within ``budget`` seconds."""
    with closing(TunnelProbe(plan)) as probe:
        with suppress(NotReady):
            wait_until(probe, what="tunnels", budget=budget, interval=0.02)
        return tuple((tunnel, tunnel.name not in probe.silent) for tunnel in plan.tunnels)


class _Echo:
    """ICMP echo requests to one address, without blocking."""

    def __init__(self, namespace: str, source: str, target: str) -> None:
        with netns.inside(namespace):
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        self._source, self._target = source, target
        self._socket.setblocking(False)
        self._identifier = os.getpid() & 0xFFFF

    def answered(self) -> bool:
        """Send one more request; whether any has been answered."""
        try:
            if self._socket.getsockname()[0] != self._source:
                self._socket.bind((self._source, 0))
            while select.select([self._socket], [], [], 0)[0]:
                packet, sender = self._socket.recvfrom(256)
                if sender[0] == self._target and packet[20:21] == b"\0" and packet[24:26] == struct.pack("!H", self._identifier):
                    return True
            self._socket.sendto(_echo_request(self._identifier), (self._target, 0))
        except OSError:
            return False  # the device or its address is not there yet
        return False

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def _echo_request(identifier: int) -> bytes:
    body = struct.pack("!BBHHH", 8, 0, 0, identifier, 1)
    total = sum(struct.unpack("!4H", body))
    return struct.pack("!BBHHH", 8, 0, ~(total + (total >> 16)) & 0xFFFF, identifier, 1)


def first_reason(checks: Iterable[Callable[[], str | None]]) -> Callable[[], str | None]:
    """A check of several: the first reason, None when there is none."""
    wanted = list(checks)
    return lambda: next((reason for check in wanted if (reason := check()) is not None), None)
