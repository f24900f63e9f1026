"""The Adj-RIBs-In of one hub's Route Server and gateways: sessions, what was received on them, and what was dropped and why (RS6, RS8)."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace

from testbed.azure.lookup import contains
from testbed.azure.types import Announced, Event, Hub, Path, Prefix, Ranked, Received, Session, SessionDown, SessionUp, Speaker, Withdrawn

MAX_PREFIX = "max-prefix"
LOOP_RULES = {"route_server": "RS8", "vpn": "GW1", "expressroute": "GW5"}


class SessionState(Struct, frozen=True):
    """A session: up or not, since when, why it ended, the negotiated hold time, whether it has ever been up, and whether it is up again."""

    up: bool
    since: float
    reason: str = ""
    hold_time: float = 0.0
    established: bool = False
    returned: bool = False


class Rib(Struct, frozen=True):
    """What was received on one session, and how many of the paths were not dropped."""

    routes: dict[Prefix, Received] = {}


class HubState(Struct, frozen=True):
    """One hub: its speakers by (server, instance), sessions, Adj-RIBs-In, and for each home the candidates of each prefix."""

    hub: Hub
    speakers: dict[tuple[str, int], Speaker]
    sessions: dict[Session, SessionState]
    ribs: dict[Session, Rib]
    ranked: tuple[dict[Prefix, Ranked], dict[Prefix, Ranked]]

    def is_internal(self, session: Session) -> bool:
        """Whether the peer is another speaker of this hub: iBGP between Route Server and gateways (GW2)."""
        server, _, instance = session.peer.rpartition("-")
        return instance.isdigit() and (server, int(instance)) in self.speakers


def empty_hub(hub: Hub) -> HubState:
    """A hub that has heard of no session yet."""
    return HubState(hub, {(each.server, each.instance): each for each in hub.speakers}, {}, {}, ({}, {}))


class _Open:
    """An Adj-RIB-In being changed, with the checks that its session's routes go through."""

    def __init__(self, state: HubState, session: Session, rib: Rib) -> None:
        self.routes = dict(rib.routes)
        self.touched: dict[Prefix, None] = {}
        speaker = state.speakers[session.server, session.instance]
        to_nva = speaker.kind == "route_server" and not state.is_internal(session)
        self._asn = speaker.asn
        self._loop = f"{LOOP_RULES[speaker.kind]}: {speaker.asn} in the AS path"
        self._limit = state.hub.routes_per_peer if to_nva else None
        self._unlearned = state.hub.unlearned if to_nva else ()

    def announce(self, path: Path) -> bool:
        """Take in a path; False when that takes the session over its limit (RS6).

        The limit is on what a peer sends (Microsoft: "routes each BGP peer can advertise"), so paths that are dropped count, too.
        """
        reason = self._loop if self._asn in path.as_path else self._unlearned_reason(path.prefix) if self._unlearned else ""
        self.routes[path.prefix] = Received(path, reason)
        self.touched[path.prefix] = None
        return self._limit is None or len(self.routes) <= self._limit

    def withdraw(self, prefix: Prefix) -> None:
        if self.routes.pop(prefix, None) is not None:
            self.touched[prefix] = None

    def flush(self) -> None:
        self.touched.update(dict.fromkeys(self.routes))
        self.routes = {}

    def _unlearned_reason(self, prefix: Prefix) -> str:
        space = next((each for each in self._unlearned if contains(each, prefix)), None)
        return f"RS9: inside {space}, the VNet's own address space" if space is not None else ""


class Draft:
    """One hub's next state in the making: copies what a batch touches, once."""

    def __init__(self, state: HubState, now: float) -> None:
        self._state = state
        self._now = now
        self._sessions = dict(state.sessions)
        self._open: dict[Session, _Open] = {}
        self.flushed: set[Session] = set()

    @property
    def touched(self) -> Mapping[Session, Mapping[Prefix, None]]:
        """The prefixes that something was done about, by session."""
        return {session: rib.touched for session, rib in self._open.items()}

    def apply(self, event: Event) -> bool:
        """Take in an event; False when it is ignored: of no speaker of this hub, or a route of a session that is not up."""
        session = event.session
        if type(event) is Announced or type(event) is Withdrawn:
            known = self._sessions.get(session)
            if known is None or not known.up:
                return False
            rib = self._opened(session)
            if type(event) is Withdrawn:
                rib.withdraw(event.prefix)
            elif type(event) is Announced and not rib.announce(event.path):
                self._end(session, MAX_PREFIX)
            return True
        if (session.server, session.instance) not in self._state.speakers:
            return False
        if type(event) is SessionUp:
            self._begin(session, event.hold_time)
        elif type(event) is SessionDown:
            self._end(session, event.reason)
        return True

    def finished(self) -> HubState:
        """The state with sessions and Adj-RIBs-In as drafted, its candidates still those of before."""
        ribs = dict(self._state.ribs)
        for session, rib in self._open.items():
            ribs.pop(session, None)
            if self._sessions[session].up:
                ribs[session] = Rib(rib.routes)
        return replace(self._state, sessions=self._sessions, ribs=ribs)

    def _begin(self, session: Session, hold_time: float) -> None:
        """Established. A session that was up has restarted, without the routes of its former life."""
        known = self._sessions.get(session)
        if known is not None and known.up:
            self.flushed.add(session)
        self._opened(session).flush()
        returned = known is not None and (known.established or known.reason == "lost")
        self._sessions[session] = SessionState(True, self._now, "", hold_time, True, returned)

    def _end(self, session: Session, reason: str) -> None:
        """Ended: its routes go (RS15). A later word on why replaces an earlier one, but for the limit that the brain itself found."""
        known = self._sessions.get(session)
        if known is None:
            self._sessions[session] = SessionState(False, self._now, reason)
        elif known.up:
            self.flushed.add(session)
            self._opened(session).flush()
            self._sessions[session] = SessionState(False, self._now, reason, known.hold_time, True)
        elif known.reason != MAX_PREFIX:
            self._sessions[session] = replace(known, reason=reason)

    def _opened(self, session: Session) -> _Open:
        rib = self._open.get(session)
        if rib is None:
            rib = self._open[session] = _Open(self._state, session, self._state.ribs.get(session, Rib()))
        return rib
