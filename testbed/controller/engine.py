"""The one owner of the controller's state: takes what stations and switches report, asks the brain, and sends what follows.

No thread and no socket in here: `take` and `work` are called by the loop in `app`, tests call them with what they like.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Struct

from testbed.azure import route_server as brain
from testbed.azure.types import Announced, Event, Prefix, Session, SessionDown, SessionUp, Speaker, Withdrawn
from testbed.controller.bmp import EndOfRib
from testbed.controller.health import Health
from testbed.controller.journal import Journal
from testbed.controller.programmer import Programmer
from testbed.controller.speakers import reporting_speakers, sessions_of
from testbed.controller.stations import Connected, Disconnected, Explained, Notice, Reported
from testbed.controller.switches import Epochs, Send, Switch
from testbed.controller.tables import Operations
from testbed.plan.fabric_index import FabricIndex
from testbed.plan.types import Plan

URGENT = "next-hops"
"""The batch that takes dead next hops out of their groups, by its name in the journal."""

RESYNC_BUDGET = 3.0
"""Seconds after the start within which every speaker should have reported in full; then the rest goes without it."""

BREATHER = 0.05
"""Seconds at most for which all else waits until rewritten groups are in force: the traffic is saved by the groups."""

CHUNK = 250
"""Prefixes programmed at a time: a session's end waits for no more than that."""


class SwitchUp(Struct, frozen=True, tag=True):
    """A switch has connected; ``send`` takes bytes for it, ``hurry`` a few at once, when nothing is on its way."""

    dpid: int
    send: Send
    at: float
    hurry: Send | None = None


class SwitchDown(Struct, frozen=True, tag=True):
    """A switch's connection ended; ``send`` tells which."""

    dpid: int
    send: Send
    at: float


class Acknowledged(Struct, frozen=True, tag=True):
    """A barrier's reply."""

    dpid: int
    xid: int
    at: float


class Refused(Struct, frozen=True, tag=True):
    """An OpenFlow error, in words."""

    dpid: int
    error: str
    at: float


class GroupsListed(Struct, frozen=True, tag=True):
    """The groups that a switch has."""

    dpid: int
    groups: tuple[int, ...]
    at: float


SwitchNotice = SwitchUp | SwitchDown | Acknowledged | Refused | GroupsListed


class Engine:
    """State and logic of the running controller. ``now`` is always CLOCK_MONOTONIC, in seconds."""

    def __init__(self, plan: Plan, journal: Journal, epochs: Epochs, now: float) -> None:
        self.plan = plan
        self.journal = journal
        self.epochs = epochs
        self.started = self.changed = now
        self.settled = False
        self.state = brain.initial(plan.hubs)
        self.healthy: dict[str, tuple[str, ...]] = {}
        self.programmer = Programmer(FabricIndex(plan), self.state)
        self.switches = {bridge.dpid: Switch(bridge, journal) for bridge in plan.bridges}
        self.synced: dict[Speaker, bool] = dict.fromkeys(reporting_speakers(plan), False)
        self.bmp_errors = 0
        self._undecided: list[Event] = []
        self._explained: list[SessionDown] = []
        self._saved: tuple[brain.State, frozenset[Session]] = (self.state, frozenset())
        self._dirty: dict[str, dict[Prefix, None]] = {}
        self._hold = 0.0

    def take(self, notices: Sequence[Notice | SwitchNotice | Health], now: float) -> None:
        """What stations and switches reported since the last time, all of it: one decision for the whole batch."""
        events: list[Event] = []
        for notice in notices:
            if isinstance(notice, Explained):
                self.journal.write("session-down-explained", **_named(notice.session), reason=notice.reason)
                self._explained.append(SessionDown(notice.session, notice.reason))
            elif isinstance(notice, Reported | Connected | Disconnected):
                events.extend(self._station(notice))
            elif isinstance(notice, Health):
                self._balance(notice, now)
            else:
                self._switch(notice)
        if events:
            self._save(events, now)
            self._undecided += events
        if (self._undecided or self._explained) and not self._holds(now):
            self._decide(now)
        self._settle(now)

    def work(self, now: float) -> bool:
        """Program the next prefixes that wait; gives back whether more is waiting."""
        if not self.settled or not self._dirty or self._undecided or self._holds(now):
            return False
        hub, waiting = next(iter(self._dirty.items()))
        chunk = list(waiting)[:CHUNK]
        operations = self.programmer.program(self.state, {hub: chunk})
        for prefix in chunk:
            del waiting[prefix]
        if not waiting:
            del self._dirty[hub]
        self._send(operations, "routes", now)
        if not self._dirty:
            self._sweep(now)
        return bool(self._dirty)

    def sessions(self) -> dict[Session, brain.SessionState]:
        """Every session of the plan, those not heard of yet as down since the start."""
        unheard = brain.SessionState(False, self.started)
        known = brain.sessions(self.state)
        return {session: known.get(session, unheard) for session in sorted(sessions_of(self.plan))}

    def deadline(self) -> float | None:
        """When `take` should be called at the latest, even with nothing to report."""
        if not self.settled:
            return self.started + RESYNC_BUDGET
        return self._hold if self._dirty or self._undecided or self._explained else None

    @property
    def undecided(self) -> int:
        """Reports that wait until rewritten groups are in force."""
        return len(self._undecided)

    def _holds(self, now: float) -> bool:
        """Whether groups that were rewritten are still on their way to a switch."""
        return now < self._hold and any(URGENT in switch.outstanding for switch in self.switches.values())

    @property
    def waiting(self) -> int:
        """Prefixes decided and not yet programmed."""
        return sum(len(prefixes) for prefixes in self._dirty.values())

    def reload(self, plan: Plan, now: float) -> None:
        """Go over to another plan of the same lab (a peering was added): what was learned stays, the difference is sent.

        Sessions that the plan has no more have ended.
        """
        if self._undecided:
            self._decide(now)
        self.plan, old = plan, self.programmer.tables
        self.state, _ = brain.replace_hubs(self.state, plan.hubs)
        gone = brain.sessions(self.state).keys() - set(sessions_of(plan))
        self.state, _ = brain.step(self.state, tuple(SessionDown(session, "closed") for session in sorted(gone)), now)
        self.healthy = {balancer.name: self.healthy[balancer.name] for balancer in plan.load_balancers if balancer.name in self.healthy}
        self.programmer = Programmer(FabricIndex(plan), self.state, self.healthy)
        self._dirty.clear()
        self.synced = {speaker: self.synced.get(speaker, False) for speaker in reporting_speakers(plan)}
        for bridge in plan.bridges:
            self.switches.setdefault(bridge.dpid, Switch(bridge, self.journal))
        self.journal.write("reload", now)
        tables = self.programmer.tables
        self._send({bridge: old[bridge].towards(table) for bridge, table in tables.items() if bridge in old}, "reload", now)

    def _station(self, notice: Reported | Connected | Disconnected) -> Iterable[Event]:
        if isinstance(notice, Reported):
            self.synced[notice.speaker] = self.synced.get(notice.speaker, False) or notice.synced
            events = [report for report in notice.reports if not isinstance(report, EndOfRib)]
            self._note(events, notice.at)
            return events
        speaker = f"{notice.speaker.server}-{notice.speaker.instance}"
        if isinstance(notice, Connected):
            self.journal.write("bmp-up", notice.at, speaker=speaker)
            self.synced[notice.speaker] = False
            return ()
        self.journal.write("bmp-down", notice.at, speaker=speaker, reason=notice.reason)
        self.bmp_errors += notice.reason.startswith("BMP")
        lost = [SessionDown(session, "lost") for session in notice.sessions]
        self._note(lost, notice.at)
        return lost

    def _note(self, events: Sequence[Event], at: float) -> None:
        """Journal the sessions' ups and downs, and how many routes came."""
        for event in events:
            if isinstance(event, SessionUp):
                self.journal.write("session-up", at, **_named(event.session), hold=event.hold_time)
            elif isinstance(event, SessionDown):
                self.journal.write("session-down", at, **_named(event.session), reason=event.reason)
        announced = sum(isinstance(event, Announced) for event in events)
        withdrawn = sum(isinstance(event, Withdrawn) for event in events)
        if announced or withdrawn:
            sessions = sorted({event.session for event in events if isinstance(event, Announced | Withdrawn)})
            self.journal.write("received", at, sessions=[_named(each) for each in sessions], announced=announced, withdrawn=withdrawn)

    def _balance(self, notice: Health, now: float) -> None:
        """A load balancer uses the backends that are healthy; with none of them it drops."""
        if any(balancer.name == notice.balancer for balancer in self.plan.load_balancers):
            self.journal.write("health", notice.at, balancer=notice.balancer, healthy=list(notice.healthy))
            self.healthy[notice.balancer] = notice.healthy
            self._send(self.programmer.balance(notice.balancer, notice.healthy), "health", now)

    def _switch(self, notice: SwitchNotice) -> None:
        switch = self.switches[notice.dpid]
        table = self.programmer.tables[switch.bridge.id]
        if isinstance(notice, SwitchUp):
            switch.connect(notice.send, self.epochs.take(), table, notice.at, notice.hurry)
            self._sweep(notice.at)
        elif isinstance(notice, SwitchDown):
            if switch.sends_by(notice.send):
                switch.disconnect(notice.at)
        elif isinstance(notice, Acknowledged):
            switch.acknowledged(notice.xid, notice.at)
        elif isinstance(notice, Refused):
            switch.failed(notice.error, notice.at)
        else:
            switch.sweep_groups(notice.groups, table, notice.at)

    def _save(self, events: Sequence[Event], now: float) -> None:
        """What saves the traffic goes first: next hops of sessions that ended leave their groups, before any prefix is looked at."""
        over = [event.session for event in events if isinstance(event, SessionDown)]
        if not over or not self.settled:
            return
        before, saved = self._saved if self._undecided else (self.state, frozenset())
        state, liveness = brain.ended(before, over, now)
        decided = time.monotonic()
        self._saved = state, saved | liveness
        if liveness:
            self._rewrite(state, liveness, now)
            self.journal.write("decided", decided, events=len(events), sessions=len(liveness), ms=round((decided - now) * 1000, 3))

    def _decide(self, now: float) -> None:
        """What all events since the last time come to."""
        events, self._undecided = self._undecided, []
        saved, self._saved = self._saved[1], (self.state, frozenset())
        self.state, changes = brain.step(self.state, events, now)
        self._explain(now)
        decided = time.monotonic()
        if changes.liveness != saved and self.settled:
            self._rewrite(self.state, changes.liveness | saved, now)
        for hub, prefixes in changes.prefixes().items():
            self._dirty.setdefault(hub, {}).update(dict.fromkeys(prefixes))
        if events:
            self.journal.write("decided", decided, events=len(events), prefixes=self.waiting, ms=round((decided - now) * 1000, 3))

    def _explain(self, now: float) -> None:
        """Later words on why sessions ended, but of those that have come up again meanwhile."""
        known = brain.sessions(self.state)
        later = [each for each in self._explained if each.session in known and not known[each.session].up]
        self._explained.clear()
        self.state, _ = brain.step(self.state, later, now)

    def _rewrite(self, state: brain.State, sessions: frozenset[Session], now: float) -> None:
        self._send(self.programmer.urgent(state, sessions), URGENT, now)
        self._hold = now + BREATHER

    def _settle(self, now: float) -> None:
        """Program nothing until every speaker has said all it knows, or had time to: what is on the switches carries the traffic."""
        if not self.settled and (all(self.synced.values()) or now >= self.started + RESYNC_BUDGET):
            self.settled = True
            missing = [f"{speaker.server}-{speaker.instance}" for speaker, synced in self.synced.items() if not synced]
            self.journal.write("settled", now, missing=missing)
            if not self._dirty:
                self._sweep(now)

    def _sweep(self, now: float) -> None:
        """Delete what earlier epochs left, where everything that is wanted has been sent."""
        if self.settled and not self._dirty:
            for switch in self.switches.values():
                switch.sweep(now)

    def _send(self, operations: Operations, what: str, now: float) -> None:
        batches = [switch.prepared(operations.get(switch.bridge.id, ()), what, now) for switch in self.switches.values()]
        with self.journal.together():
            for send in batches:
                send()
        if any(operations.values()):
            self.changed = now


def _named(session: Session) -> dict[str, Any]:
    return {"server": session.server, "instance": session.instance, "peer": session.peer}
