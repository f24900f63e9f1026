"""The controller's socket: what it knows and has programmed, as JSON."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from testbed.azure import route_server as brain
from testbed.azure.types import Session
from testbed.controller.engine import Engine
from testbed.errors import InputError
from testbed.plan.render import render
from testbed.rpc import Handler

AskOwner = Callable[[Callable[[], Any]], Any]


def routes(engine: Engine, ask: AskOwner, reload: Callable[[], None], quit_: Callable[[], None]) -> Mapping[tuple[str, str], Handler]:
    """The calls of the socket. Every one is answered by the owner of the state (``ask``), between two of its steps."""
    owner: dict[tuple[str, str], Callable[[dict[str, Any]], Any]] = {
        ("GET", "/status"): lambda _: status(engine, time.monotonic()),
        ("GET", "/learned"): lambda p: learned(engine, p["server"], p.get("peer")),
        ("GET", "/injected"): lambda p: injected(engine, p["hub"], p.get("home")),
        ("GET", "/effective"): lambda p: effective(engine, p["nic"]),
        ("GET", "/flows"): lambda p: flows(engine, p.get("bridge")),
        ("GET", "/groups"): lambda p: groups(engine, p.get("bridge")),
        ("POST", "/reload"): lambda _: reload(),
    }
    table: dict[tuple[str, str], Handler] = {call: _asking(ask, function) for call, function in owner.items()}
    table["POST", "/quit"] = lambda _: quit_()
    return table


def _asking(ask: AskOwner, function: Callable[[dict[str, Any]], Any]) -> Handler:
    return lambda parameters: msgspec.to_builtins(ask(lambda: function(parameters)))


def status(engine: Engine, now: float) -> dict[str, Any]:
    """How the controller is. ``ready`` when everything decided is in force on every switch; ``reasons`` says what is missing.

    Times are CLOCK_MONOTONIC in seconds. ``changed`` is when a route was last sent to a switch.
    """
    reasons = _reasons(engine)
    switches = [_switch(engine, switch) for switch in engine.switches.values()]
    return {
        "ready": not reasons,
        "reason": "; ".join(reasons),
        "reasons": reasons,
        "now": now,
        "started": engine.started,
        "changed": engine.changed,
        "resynced": engine.settled,
        "pending": engine.undecided + engine.waiting + sum(switch.pending for switch in engine.switches.values()),
        "errors": sum(switch.error_count for switch in engine.switches.values()) + engine.bmp_errors,
        "speakers": {f"{speaker.server}-{speaker.instance}": synced for speaker, synced in engine.synced.items()},
        "sessions": [_session(engine, session, state, now) for session, state in engine.sessions().items()],
        "balancers": [
            {
                "name": each.name,
                "backends": each.backends,
                "healthy": engine.healthy.get(each.name, each.backends),
                "probed": bool(each.probe),
            }
            for each in engine.plan.load_balancers
        ],
        "switches": switches,
        "flows": sum(each["flows"] for each in switches),
        "groups": sum(each["groups"] for each in switches),
    }


def _reasons(engine: Engine) -> list[str]:
    reasons = [] if engine.settled else ["waiting for the first full report of every speaker"]
    reasons += [
        f"no probe of load balancer {balancer.name} has ended yet"
        for balancer in engine.plan.load_balancers
        if balancer.probe and balancer.name not in engine.healthy
    ]
    if engine.undecided:
        reasons.append(f"{engine.undecided} reports not decided about yet")
    if engine.waiting:
        reasons.append(f"{engine.waiting} prefixes decided and not programmed yet")
    for switch in engine.switches.values():
        if not switch.connected:
            reasons.append(f"bridge {switch.bridge.id} ({switch.bridge.vnet}) is not connected")
        elif switch.pending or not switch.swept:
            reasons.append(f"bridge {switch.bridge.id} ({switch.bridge.vnet}) has not acknowledged everything")
        if switch.error_count:
            reasons.append(f"bridge {switch.bridge.id} ({switch.bridge.vnet}) refused {switch.error_count} messages: {switch.errors[-1]}")
    return reasons


def _switch(engine: Engine, switch: Any) -> dict[str, Any]:
    table = engine.programmer.tables[switch.bridge.id]
    return {
        "bridge": switch.bridge.id,
        "vnet": switch.bridge.vnet,
        "connected": switch.connected,
        "swept": switch.swept,
        "pending": switch.pending,
        "errors": switch.error_count,
        "last_errors": switch.errors,
        "flows": len(table.flows),
        "groups": len(table.groups),
    }


def _session(engine: Engine, session: Session, state: brain.SessionState, now: float) -> dict[str, Any]:
    received = brain.received(engine.state, session).values()
    return {
        "server": session.server,
        "instance": session.instance,
        "peer": session.peer,
        "up": state.up,
        "since": state.since,
        "age": round(now - state.since, 3),
        "hold_time": state.hold_time,
        "reason": state.reason,
        "received": len(received),
        "dropped": sum(bool(each.dropped) for each in received),
    }


def learned(engine: Engine, server: str, peer: str | None) -> dict[str, Any]:
    """What each instance of a Route Server or gateway received, dropped paths with the reason; of one peer or of all.

    ``{"0": [{"peer", "path", "dropped"}…], "1": […]}``.
    """
    known = engine.sessions()
    sessions = [session for session in known if session.server == server and peer in (None, session.peer)]
    if not sessions:
        raise InputError(f"no session of {server}" + (f" with {peer}" if peer else ""), _known("servers", {each.server for each in known}))
    instances: dict[str, list[Any]] = {str(session.instance): [] for session in sessions}
    for session in sessions:
        for each in brain.received(engine.state, session).values():
            instances[str(session.instance)].append({"peer": session.peer, "path": each.path, "dropped": each.dropped})
    return instances


def injected(engine: Engine, hub: str, home: str | None) -> dict[str, Any]:
    """What is injected into the NICs of each home instance: prefixes and their next hops."""
    if hub not in engine.programmer.index.hubs:
        raise InputError(f"{hub} has no Route Server and no gateway", _known("hubs", set(engine.programmer.index.hubs)))
    return {each: engine.programmer.injected(hub, int(each)).hops for each in ("0", "1") if home in (None, each)}


def effective(engine: Engine, nic: str) -> dict[str, Any]:
    """The effective routes of a NIC, as programmed."""
    index = engine.programmer.index
    if nic not in index.nics:
        raise InputError(f"no NIC {nic}", _known("NICs", set(index.nics)))
    found = index.nics[nic]
    return {"nic": nic, "rows": engine.programmer.effective(index.domains[found.domain], found.home)}


def flows(engine: Engine, bridge: str | None) -> dict[str, list[str]]:
    """The flows that each bridge should hold, as ``ovs-ofctl`` writes them, with their notes."""
    return {
        name: [f"{render(flow)}  # {flow.note}" for flow in engine.programmer.tables[name].flows.values()]
        for name in _bridges(engine, bridge)
    }


def groups(engine: Engine, bridge: str | None) -> dict[str, list[str]]:
    """The groups that each bridge should hold."""
    return {
        name: [f"{render(each)}  # {each.note}" for each in engine.programmer.tables[name].groups.values()]
        for name in _bridges(engine, bridge)
    }


def _bridges(engine: Engine, bridge: str | None) -> list[str]:
    """A bridge by its id or its VNet's name; all of them for None."""
    tables, by_vnet = engine.programmer.tables, engine.programmer.index.bridges
    if bridge is None:
        return sorted(tables)
    if bridge in by_vnet:
        return [by_vnet[bridge].id]
    if bridge not in tables:
        raise InputError(f"no bridge {bridge}", _known("VNets", set(by_vnet)))
    return [bridge]


def _known(what: str, names: set[str]) -> str:
    return f"{what}: {', '.join(sorted(names))}"
