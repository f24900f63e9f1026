"""The brain of a Route Server and its gateways: what they received, what they choose, what is injected into NICs (RS3-RS15, GW1).

Pure: `step` takes a state, a batch of events and the time, and gives the next state and what changed. The controller feeds it
what BMP reports, the predictor what it computed. A new state shares with the old one whatever the batch did not touch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from testbed.azure.adj_rib import Draft, HubState, SessionState, empty_hub
from testbed.azure.ranking import Ranking, source
from testbed.azure.types import Address, Candidate, Event, Hub, Path, Prefix, Ranked, Received, Session

__all__ = [
    "Changes",
    "SessionState",
    "State",
    "advertised",
    "candidates",
    "ended",
    "initial",
    "injected",
    "instance_dead",
    "live",
    "may_advertise",
    "received",
    "replace_hubs",
    "sessions",
    "step",
]

HOMES = (0, 1)
NO_ADVERTISE = frozenset({"no-advertise", "no_advertise", "65535:65282"})


class State(Struct, frozen=True):
    """What all Route Servers and gateways know; compare states with ``==``, take them apart with the functions of this module."""

    hubs: dict[str, HubState]
    vnet_of: dict[str, str]  # the hub VNet of each Route Server and gateway


class Changes(Struct, frozen=True):
    """What one step changed.

    ``routes``: prefixes whose candidates changed, by (hub VNet, home instance). ``up`` and ``down``: sessions that came up or ended.
    ``liveness``: sessions for which `live` may now answer otherwise: apply it first to the groups made of them, then move prefixes.
    ``lost_next_hops``: by hub, next hops that a session took with it and nobody offers any more. ``ignored``: events of unknown
    speakers, and routes of sessions that are not up.
    """

    routes: Mapping[tuple[str, int], tuple[Prefix, ...]] = {}
    up: tuple[Session, ...] = ()
    down: tuple[Session, ...] = ()
    liveness: frozenset[Session] = frozenset()
    lost_next_hops: Mapping[str, tuple[Address, ...]] = {}
    ignored: tuple[Event, ...] = ()

    def prefixes(self) -> dict[str, tuple[Prefix, ...]]:
        """The prefixes whose candidates changed for either home, by hub VNet."""
        found: dict[str, dict[Prefix, None]] = {}
        for (vnet, _), changed in self.routes.items():
            found.setdefault(vnet, {}).update(dict.fromkeys(changed))
        return {vnet: tuple(changed) for vnet, changed in found.items()}


def initial(hubs: Iterable[Hub]) -> State:
    """All sessions unknown, nothing received."""
    states = {hub.vnet: empty_hub(hub) for hub in hubs}
    return State(states, {server: vnet for vnet, each in states.items() for server, _ in each.speakers})


def step(state: State, events: Sequence[Event], now: float) -> tuple[State, Changes]:
    """The state after ``events``, taken in order at time ``now`` (seconds on any clock), and what changed between the two states.

    How a series of events is cut into batches does not matter to the state; what comes and goes within a batch is in no Changes.
    """
    drafts: dict[str, Draft] = {}
    ignored: list[Event] = []
    for event in events:
        vnet = state.vnet_of.get(event.session.server)
        draft = drafts.get(vnet) if vnet is not None else None
        if draft is None and vnet is not None:
            draft = drafts[vnet] = Draft(state.hubs[vnet], now)
        if draft is None or not draft.apply(event):
            ignored.append(event)
    after = dict(state.hubs)
    routes: dict[tuple[str, int], tuple[Prefix, ...]] = {}
    for vnet, draft in drafts.items():
        after[vnet], changed = _rerank(state.hubs[vnet], draft.finished(), draft.touched)
        routes |= {(vnet, home): prefixes for home, prefixes in enumerate(changed) if prefixes}
    restarted = {session for draft in drafts.values() for session in draft.flushed}
    return State(after, state.vnet_of), _changes(state.hubs, after, list(drafts), routes, restarted, tuple(ignored))


def ended(state: State, over: Iterable[Session], now: float) -> tuple[State, frozenset[Session]]:
    """The state in which these sessions have ended and nothing else is worked out yet, and those for which `live` now answers otherwise.

    What it costs does not depend on the number of routes: candidates are still those of before, and `live` is all it is good for.
    """
    by_hub: dict[str, set[Session]] = {}
    for session in over:
        if (vnet := state.vnet_of.get(session.server)) is not None and _is_up(state.hubs[vnet], session):
            by_hub.setdefault(vnet, set()).add(session)
    hubs = dict(state.hubs)
    changed: set[Session] = set()
    for vnet, gone in by_hub.items():
        old = state.hubs[vnet]
        sessions = {each: SessionState(False, now, established=True) if each in gone else known for each, known in old.sessions.items()}
        hubs[vnet] = replace(old, sessions=sessions, ribs={each: rib for each, rib in old.ribs.items() if each not in gone})
        changed |= _usable_ones(old) ^ _usable_ones(hubs[vnet])
    return State(hubs, state.vnet_of), frozenset(changed)


def replace_hubs(state: State, hubs: Iterable[Hub]) -> tuple[State, Changes]:
    """The same sessions and routes under changed hubs (a peering added, RS14; another preference, RS10).

    Sessions of speakers that no longer exist are gone with their routes; which received routes are dropped is not judged anew.
    """
    fresh = initial(hubs)
    after: dict[str, HubState] = {}
    routes: dict[tuple[str, int], tuple[Prefix, ...]] = {}
    for vnet, empty in fresh.hubs.items():
        before = state.hubs.get(vnet, empty)
        kept = {each for each in before.sessions if (each.server, each.instance) in empty.speakers}
        moved = replace(
            empty,
            sessions={each: before.sessions[each] for each in before.sessions if each in kept},
            ribs={each: before.ribs[each] for each in before.ribs if each in kept},
        )
        after[vnet], changed = _rerank(replace(before, ranked=({}, {})), moved, {each: before.ribs[each].routes for each in moved.ribs})
        differ = (_differing(before.ranked[home], after[vnet].ranked[home], changed[home]) for home in HOMES)
        routes |= {(vnet, home): prefixes for home, prefixes in enumerate(differ) if prefixes}
    for vnet in state.hubs.keys() - fresh.hubs.keys():
        routes |= {(vnet, home): tuple(ranked) for home, ranked in enumerate(state.hubs[vnet].ranked) if ranked}
    names = sorted(state.hubs.keys() | after.keys())
    return State(after, fresh.vnet_of), _changes(state.hubs, after, names, routes, set(), ())


def candidates(state: State, vnet: str, home: int) -> Mapping[Prefix, Ranked]:
    """What the Route Server and gateways of hub ``vnet`` offer the NICs homed on instance ``home`` (0 or 1), by prefix (RS10, GW1).

    Routes of ended sessions are not among them (RS15). Not to be changed. Empty for a VNet that is no hub.
    """
    hub = state.hubs.get(vnet)
    return hub.ranked[home] if hub is not None else {}


def live(state: State, ranked: Ranked) -> tuple[Address, ...]:
    """The next hops in use: those of the first tier that has a session up, of its sessions that are up, each once, at most ``ecmp`` (RS10).

    ``ranked`` may be older than ``state``: that is what makes fail-over one message. While a Route Server instance is dead, the
    other instance's session with the same peer answers for its sessions.
    """
    for tier in ranked:
        hub = state.hubs.get(state.vnet_of.get(tier[0].session.server, ""))
        if hub is not None:
            hops = tuple(dict.fromkeys(each.next_hop for each in tier if _usable(hub, each.session)))
            if hops:
                return hops[: hub.hub.ecmp]
    return ()


def injected(state: State, vnet: str, home: int) -> dict[Prefix, tuple[Address, ...]]:
    """What is injected into NICs homed on ``home``: the live next hops of each prefix that has any. Input of `effective_routes`."""
    known: dict[Ranked, tuple[Address, ...]] = {}
    found: dict[Prefix, tuple[Address, ...]] = {}
    last: Ranked = ()
    hops: tuple[Address, ...] = ()
    for prefix, ranked in candidates(state, vnet, home).items():
        if ranked is not last:
            if ranked not in known:
                known[ranked] = live(state, ranked)
            last, hops = ranked, known[ranked]
        if hops:
            found[prefix] = hops
    return found


def received(state: State, session: Session) -> Mapping[Prefix, Received]:
    """The Adj-RIB-In of a session: each path received and, if it was dropped, why (RS8). Empty while the session is down."""
    hub = state.hubs.get(state.vnet_of.get(session.server, ""))
    rib = hub.ribs.get(session) if hub is not None else None
    return rib.routes if rib is not None else {}


def sessions(state: State) -> dict[Session, SessionState]:
    """All sessions heard of, in order."""
    known = {session: each for hub in state.hubs.values() for session, each in hub.sessions.items()}
    return {session: known[session] for session in sorted(known)}


def instance_dead(state: State, vnet: str, instance: int) -> bool:
    """Whether a Route Server instance counts as dead, so that the NICs homed on it take the survivor's routes (chapter 7).

    All its sessions are down, of which one has been up or was lost, and the other instance has one that is up. It stays dead while
    the sessions that are up again have brought no route yet and the survivor's with the same peers have: its NICs would be without
    routes meanwhile. An instance with which nobody has ever peered is not dead: its NICs miss the routes (RS3).
    """
    hub = state.hubs.get(vnet)
    return hub is not None and _dead(hub, instance)


def may_advertise(path: Path) -> bool:
    """Whether a path may be passed on to any BGP peer; NO_ADVERTISE is for the VNets alone (RS12)."""
    return not any(community.lower() in NO_ADVERTISE for community in path.communities)


def advertised(state: State, session: Session) -> tuple[Path, ...]:
    """What a Route Server instance sends on ``session`` (RS7, RS12, RS13); nothing while it is down.

    To an NVA: the address spaces it serves, AS path ``65515``, and with branch-to-branch what the gateways learned where that is
    the best path, all with the instance's own address as NEXT_HOP. What NVAs announced goes to no other NVA, unless the topology
    assumes so (chapter 7). To a gateway, with branch-to-branch: the NVAs' best paths, unchanged as is iBGP's way (GW2).
    """
    hub = state.hubs.get(state.vnet_of.get(session.server, ""))
    speaker = hub.speakers.get((session.server, session.instance)) if hub is not None else None
    if hub is None or speaker is None or speaker.kind != "route_server" or not _is_up(hub, session):
        return ()
    if hub.is_internal(session):
        return tuple(path for origin, path in _best(hub, session.instance) if _is_route_server(hub, origin))
    own = tuple(Path(prefix, (hub.hub.asn,), speaker.address) for prefix in hub.hub.advertised)
    others = tuple(
        Path(path.prefix, (hub.hub.asn, *path.as_path), speaker.address, path.communities, path.origin)
        for origin, path in _best(hub, session.instance)
        if path.prefix not in hub.hub.advertised and _passed_to_nva(hub, session, origin)
    )
    return own + others


def _best(hub: HubState, instance: int) -> Iterator[tuple[Session, Path]]:
    """With branch-to-branch, the best path of each prefix and its session, as far as it may be passed on.

    Only one is sent of paths that tie, so of several circuits the information that they tie is lost (GW4). An NVA's comes before a
    gateway's: what came over eBGP goes before what came over iBGP.
    """
    if not hub.hub.branch_to_branch:
        return
    for prefix, ranked in hub.ranked[instance].items():
        first = min(ranked[0], key=lambda each: (not _is_route_server(hub, each.session), each))
        path = hub.ribs[first.session].routes[prefix].path
        if may_advertise(path):
            yield first.session, path


def _passed_to_nva(hub: HubState, session: Session, origin: Session) -> bool:
    return not _is_route_server(hub, origin) or (hub.hub.reflect_nva_routes and origin.peer != session.peer)


def _is_route_server(hub: HubState, session: Session) -> bool:
    return session.server == hub.hub.route_server


def _is_up(hub: HubState, session: Session) -> bool:
    known = hub.sessions.get(session)
    return known is not None and known.up


def _usable(hub: HubState, session: Session) -> bool:
    """Whether the session is up; of a dead Route Server instance, whether the survivor's session with that peer is."""
    if _is_up(hub, session):
        return True
    if not _is_route_server(hub, session) or not _dead(hub, session.instance):
        return False
    return _is_up(hub, Session(session.server, 1 - session.instance, session.peer))


def _usable_ones(hub: HubState | None) -> set[Session]:
    return {session for session in hub.sessions if _usable(hub, session)} if hub is not None else set()


def _dead(hub: HubState, instance: int) -> bool:
    mine = {session: each for session, each in hub.sessions.items() if _is_route_server(hub, session) and session.instance == instance}
    if any(each.up and not _awaited(hub, session, each) for session, each in mine.items()):
        return False
    if not any(each.established or each.reason == "lost" for each in mine.values()):
        return False
    return any(each.up for session, each in hub.sessions.items() if _is_route_server(hub, session) and session.instance != instance)


def _awaited(hub: HubState, session: Session, known: SessionState) -> bool:
    """Whether a session that is up again has yet to bring the routes that the survivor has from the same peer."""
    if not known.returned or hub.ribs[session].routes:
        return False
    twin = hub.ribs.get(Session(session.server, 1 - session.instance, session.peer))
    return twin is not None and bool(twin.routes)


def _counting(hub: HubState, home: int) -> tuple[Session, ...]:
    """The sessions whose routes are programmed into NICs of this home, in order.

    Those of the home's Route Server instance, or the survivor's (chapter 7), and the gateways' (GW1). What Route Server and gateways
    tell each other over iBGP is programmed where it was learned, and not counted twice (GW2).
    """
    instance = 1 - home if _dead(hub, home) else home
    return tuple(
        session
        for session in sorted(hub.ribs)
        if not hub.is_internal(session) and (not _is_route_server(hub, session) or session.instance == instance)
    )


def _rerank(
    before: HubState, after: HubState, touched: Mapping[Session, Iterable[Prefix]]
) -> tuple[HubState, tuple[tuple[Prefix, ...], ...]]:
    """``after`` with its candidates brought up to date, and for each home the prefixes whose candidates changed."""
    tables: list[dict[Prefix, Ranked]] = []
    changed: list[tuple[Prefix, ...]] = []
    for home in HOMES:
        sources, old = _counting(after, home), before.ranked[home]
        ranking = Ranking([source(after.hub, after.speakers[s.server, s.instance], s, after.ribs[s].routes) for s in sources])
        table, differing = dict(old), []
        for prefix in _suspects(before, after, home, sources, touched):
            ranked = ranking.of(prefix)
            if ranked != old.get(prefix, ()):
                differing.append(prefix)
                if ranked:
                    table[prefix] = ranked
                else:
                    del table[prefix]
        tables.append(table if differing else old)
        changed.append(tuple(differing))
    return replace(after, ranked=(tables[0], tables[1])), tuple(changed)


def _suspects(
    before: HubState, after: HubState, home: int, sources: tuple[Session, ...], touched: Mapping[Session, Iterable[Prefix]]
) -> dict[Prefix, None]:
    """The prefixes whose candidates may have changed for this home, each once."""
    found: dict[Prefix, None] = {}
    if _dead(before, home) != _dead(after, home):
        found.update(dict.fromkeys(before.ranked[home]))
        for session in sources:
            found.update(dict.fromkeys(after.ribs[session].routes))
    for session in {*_counting(before, home), *sources} & touched.keys():
        found.update(dict.fromkeys(touched[session]))
    return found


def _differing(before: Mapping[Prefix, Ranked], after: Mapping[Prefix, Ranked], among: Iterable[Prefix]) -> tuple[Prefix, ...]:
    return tuple(prefix for prefix in dict.fromkeys((*before, *among)) if before.get(prefix) != after.get(prefix))


def _changes(
    before: Mapping[str, HubState],
    after: Mapping[str, HubState],
    names: Sequence[str],
    routes: Mapping[tuple[str, int], tuple[Prefix, ...]],
    restarted: set[Session],
    ignored: tuple[Event, ...],
) -> Changes:
    up: list[Session] = []
    down: list[Session] = []
    liveness: set[Session] = set()
    lost: dict[str, tuple[Address, ...]] = {}
    for name in names:
        old, new = before.get(name), after.get(name)
        known = sorted({*(old.sessions if old else ()), *(new.sessions if new else ())})
        was = {each for each in known if old is not None and _is_up(old, each)}
        now = {each for each in known if new is not None and _is_up(new, each)}
        ended = [each for each in known if each in was and (each not in now or each in restarted)]
        up += [each for each in known if each in now and (each not in was or each in restarted)]
        down += ended
        liveness |= _usable_ones(old) ^ _usable_ones(new)
        if ended and old is not None:
            lost[name] = _lost_next_hops(old, new, ended)
    return Changes(routes, tuple(up), tuple(down), frozenset(liveness), {name: hops for name, hops in lost.items() if hops}, ignored)


def _lost_next_hops(before: HubState, after: HubState | None, ended: Iterable[Session]) -> tuple[Address, ...]:
    gone = set(ended)
    left = {each.next_hop for each in _in_use(after)} if after is not None else set()
    return tuple(dict.fromkeys(each.next_hop for each in _in_use(before) if each.session in gone and each.next_hop not in left))


def _in_use(hub: HubState) -> Iterator[Candidate]:
    """The candidates of all prefixes; prefixes that share a ranking are looked at once."""
    distinct = {id(ranked): ranked for table in hub.ranked for ranked in table.values()}
    return (each for ranked in distinct.values() for tier in ranked for each in tier)
