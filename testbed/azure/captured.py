"""Compares a prediction with what `az` printed in a real deployment, row by row, with the rule that decided.

Tolerant where Azure is: the order of rows and instances, one row a next hop or one for all, upper and lower case, names, weights and
origins, IPv6 rows, rows of service and private endpoints, and None rows beside the documented ones, which change with the years (E3).
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from testbed.azure.control_plane import ControlPlane
from testbed.azure.domains import home
from testbed.azure.effective_routes import protected_by
from testbed.azure.json_shapes import ROLE, as_path_text
from testbed.azure.lookup import contains, parse
from testbed.azure.predict_json import domain_of, effective_rows
from testbed.azure.system_routes import DEFAULT, RESERVED_SPACES
from testbed.azure.types import Address, NextHopType, Path, Prefix, RouteSource, Row, Session
from testbed.errors import InputError, Problem

MAX_BYTES = 20_000_000
MAX_TEXT = 4096
ENDPOINTS = ("virtualnetworkserviceendpoint", "interfaceendpoint")
NO_ROUTE = "no rule gives this row"


class Outcome(StrEnum):
    """What became of one row."""

    AGREES = "agrees"
    DIFFERS = "differs"
    ONLY_AZURE = "only in Azure"
    ONLY_PREDICTED = "only predicted"
    TOLERATED = "tolerated"


class Compared(Struct, frozen=True):
    """One row: its prefix, what Azure showed and what is predicted (empty where there is no such row), and the rule that decided."""

    outcome: Outcome
    prefix: Prefix
    azure: str
    predicted: str
    rule: str

    @property
    def different(self) -> bool:
        """Whether the row speaks against the model."""
        return self.outcome not in (Outcome.AGREES, Outcome.TOLERATED)


class Shown(Struct, frozen=True):
    """An effective route as either side shows it, in lower case; ``optional`` rows need not be there."""

    type: str
    hops: tuple[Address, ...]
    state: str
    optional: bool = False

    def __str__(self) -> str:
        return f"{self.type} {' '.join(self.hops) or '-'} {self.state}"


class BgpRow(Struct, frozen=True, order=True):
    """A learned or advertised route: its path, next hop and the instance's address (empty where the file does not say)."""

    as_path: str
    next_hop: Address
    instance: Address
    optional: bool = False

    def __str__(self) -> str:
        return f"{self.as_path or '-'} via {self.next_hop or '-'} at {self.instance or '-'}"


# --- effective routes ---


def compare_effective(plane: ControlPlane, nic: str, text: str, file: str) -> tuple[Compared, ...]:
    """The effective routes of a NIC against ``az network nic show-effective-route-table -o json``. Raises InputError, KeyError (NIC)."""
    azure = _effective(_rows(text, file), file)
    predicted = {(row.prefix, row.source.value.lower()): row for row in effective_rows(plane, nic)}
    keys = sorted({*azure, *predicted}, key=lambda key: (*parse(key[0]), key[1]))
    return tuple(_effective_row(plane, nic, key[0], azure.get(key), predicted.get(key)) for key in keys)


def _effective(rows: list[dict[str, Any]], file: str) -> dict[tuple[Prefix, str], Shown]:
    """By prefix and source; rows for each next hop of one route are joined."""
    table: dict[tuple[Prefix, str], Shown] = {}
    for number, row in enumerate(rows):
        where = f"[{number}]"
        kind, source, state = (_text(row, key, where, file).lower() for key in ("nextHopType", "source", "state"))
        hops = _list(row, "nextHopIpAddress", where, file)
        for prefix in (canonical for each in _list(row, "addressPrefix", where, file) if (canonical := _prefix(each, where, file))):
            before = table.get((prefix, source))
            joined = sorted({*hops, *(before.hops if before else ())})
            optional = bool(row.get("optional") or row.get("inferred"))
            table[prefix, source] = Shown(kind, tuple(joined), state, optional)
    return table


def _effective_row(plane: ControlPlane, nic: str, prefix: Prefix, azure: Shown | None, row: Row | None) -> Compared:
    predicted = _shown(row) if row is not None else None
    rule = _rule(row) if row is not None else _why_not(plane, nic, prefix)
    texts = str(azure) if azure else "", str(predicted) if predicted else ""
    if azure and predicted:
        same = (azure.type, set(azure.hops), azure.state) == (predicted.type, set(predicted.hops), predicted.state)
        return Compared(Outcome.AGREES if same else Outcome.DIFFERS, prefix, *texts, rule)
    if predicted:
        nothing = predicted.type == "none"
        return Compared(Outcome.TOLERATED if nothing else Outcome.ONLY_PREDICTED, prefix, *texts, rule)
    tolerated = azure is not None and (
        azure.optional or azure.type in ENDPOINTS or (azure.type == "none" and prefix not in RESERVED_SPACES)
    )
    return Compared(Outcome.TOLERATED if tolerated else Outcome.ONLY_AZURE, prefix, *texts, rule)


def _shown(row: Row) -> Shown:
    return Shown(row.next_hop_type.value.lower(), row.next_hops, "active" if row.active else "invalid")


def _rule(row: Row) -> str:
    """By which rule a predicted row is there."""
    if not row.active:
        return f"{row.rule}: loses to an equal prefix"
    if row.source is RouteSource.USER:
        return "E1: user-defined"
    if row.source is RouteSource.VIRTUAL_NETWORK_GATEWAY:
        return "RS10, RS11: injected by the Route Server or a gateway"
    return (
        "P5: system route of a peering"
        if row.next_hop_type.value.startswith("VNet") and row.next_hop_type is not NextHopType.VNET_LOCAL
        else "E3: system route"
    )


def _why_not(plane: ControlPlane, nic: str, prefix: Prefix) -> str:
    """Why there is no row of that prefix at a NIC, as far as a rule says so."""
    domain = domain_of(plane, nic)
    if prefix == DEFAULT or prefix in RESERVED_SPACES:
        return "E3: system rows of this kind vanish once 0.0.0.0/0 is overridden, or inside a VNet's range"
    if (space := protected_by(domain, prefix)) is not None:
        return f"RS9, E2: inside {space}, never programmed here"
    if domain.hub is None:
        return "P2: no Route Server or gateway serves this VNet"
    if not domain.propagate and prefix in plane.injected(domain.hub, home(nic)):
        return f"E5: {domain.route_table} keeps it out"
    dropped = (each for session in plane.sessions for each in plane.received(session) if each.path.prefix == prefix and each.dropped)
    return next((each.dropped for each in dropped), NO_ROUTE)


# --- learned and advertised routes ---


def compare_learned(plane: ControlPlane, server: str, peer: str, text: str, file: str) -> tuple[Compared, ...]:
    """What a Route Server learned from a peer against ``az network routeserver peering list-learned-routes -o json``."""
    dropped = {
        each.path.prefix: each.dropped for session in _sessions(plane, server, peer) for each in plane.received(session) if each.dropped
    }
    paths = {session: [each.path for each in plane.received(session) if not each.dropped] for session in _sessions(plane, server, peer)}
    rows = _compare_bgp(plane, paths, dropped, text, file, "RS3, RS8: received and not dropped")
    hub = next((hub for hub in plane.hubs if server in (hub.route_server, *hub.gateways)), None)
    own = [str(space) for space in plane.topology.vnets()[hub.vnet].address_space] if hub is not None else []
    return tuple(_unsettled(row) if row.different and any(contains(space, row.prefix) for space in own) else row for row in rows)


def _unsettled(row: Compared) -> Compared:
    """Prefixes of the own VNet among learned routes: 2021 yes, 2026 no (docs/azure-routing.md chapter 7)."""
    return replace(row, outcome=Outcome.TOLERATED, rule="RS9, chapter 7: prefixes of the own VNet are shown or not, and never programmed")


def compare_advertised(plane: ControlPlane, server: str, peer: str, text: str, file: str) -> tuple[Compared, ...]:
    """What a Route Server advertises to a peer against ``az network routeserver peering list-advertised-routes -o json``."""
    paths = {session: list(plane.advertised(session)) for session in _sessions(plane, server, peer)}
    return _compare_bgp(plane, paths, {}, text, file, "RS7, RS12, RS13: what it sends to an NVA")


def _sessions(plane: ControlPlane, server: str, peer: str) -> list[Session]:
    found = [each for each in plane.sessions if (each.server, each.peer) == (server, peer)]
    if not found:
        known = dict.fromkeys(f"{each.server} {each.peer}" for each in plane.sessions)
        raise InputError(f"no session of {server} with {peer}", f"sessions: {', '.join(known) or 'none'}")
    return found


def _compare_bgp(
    plane: ControlPlane, paths: Mapping[Session, Iterable[Path]], dropped: Mapping[Prefix, str], text: str, file: str, rule: str
) -> tuple[Compared, ...]:
    predicted: dict[Prefix, list[BgpRow]] = {}
    for session, some in paths.items():
        for path in some:
            predicted.setdefault(path.prefix, []).append(BgpRow(as_path_text(path.as_path), path.next_hop, plane.address(session)))
    azure = _bgp(_rows(text, file), file)
    return tuple(
        compared
        for prefix in sorted({*azure, *predicted}, key=parse)
        for compared in _of_prefix(prefix, azure.get(prefix, []), predicted.get(prefix, []), dropped.get(prefix, ""), rule)
    )


def _bgp(rows: list[dict[str, Any]], file: str) -> dict[Prefix, list[BgpRow]]:
    table: dict[Prefix, list[BgpRow]] = {}
    for number, row in enumerate(rows):
        where = f"[{number}]"
        prefix = _prefix(_text(row, "network", where, file), where, file)
        if prefix:
            path = "-".join(_text(row, "asPath", where, file, "").replace("-", " ").split())
            instance = _text(row, "localAddress", where, file, "") or _text(row, "instance", where, file, "")
            optional = bool(row.get("optional") or row.get("inferred"))
            table.setdefault(prefix, []).append(BgpRow(path, _text(row, "nextHop", where, file, "").rstrip("*"), instance, optional))
    return table


def _of_prefix(prefix: Prefix, azure: list[BgpRow], predicted: list[BgpRow], dropped: str, rule: str) -> Iterator[Compared]:
    """The rows of one prefix: equal ones first, then those of one instance that differ, then what is left."""
    left, rest = list(predicted), []
    for shown in azure:
        equal = next((each for each in left if _same(shown, each)), None) or next((each for each in predicted if _same(shown, each)), None)
        if equal is None:
            rest.append(shown)
            continue
        if equal in left:
            left.remove(equal)
        yield Compared(Outcome.AGREES, prefix, str(shown), str(equal), rule)
    for shown in rest:
        near = next((each for each in left if shown.instance in ("", each.instance)), None)
        if shown.optional or near is None:
            outcome = Outcome.TOLERATED if shown.optional else Outcome.ONLY_AZURE
            yield Compared(outcome, prefix, str(shown), "", dropped or NO_ROUTE)
            continue
        left.remove(near)
        yield Compared(Outcome.DIFFERS, prefix, str(shown), str(near), rule)
    yield from (Compared(Outcome.ONLY_PREDICTED, prefix, "", str(each), rule) for each in left)


def _same(azure: BgpRow, predicted: BgpRow) -> bool:
    """What the file leaves out is not compared."""
    return azure.as_path == predicted.as_path and azure.next_hop in ("", predicted.next_hop) and azure.instance in ("", predicted.instance)


# --- reading what az printed ---


def _rows(text: str, file: str) -> list[dict[str, Any]]:
    """The rows of ``{"value": [...]}``, ``{"RouteServiceRole_IN_0": [...], ...}`` or a plain list. Raises InputError for all else."""
    if len(text) > MAX_BYTES:
        raise InputError([Problem(file, 0, "", f"is larger than {MAX_BYTES // 1_000_000} MB", "is this what az printed?")])
    try:
        data = json.loads(text.removeprefix("\ufeff"))
    except json.JSONDecodeError as error:
        raise InputError([Problem(file, error.lineno, "", f"is not JSON: {error.msg}", "use az … -o json")]) from None
    except (RecursionError, ValueError):
        raise InputError([Problem(file, 0, "", "is nested too deep, or holds a number too large", "is this what az printed?")]) from None
    if isinstance(data, dict):
        roles = sorted(key for key in data if key.startswith(ROLE))
        data = [row for role in roles for row in _rows_of(data[role], role, file)] if roles else data.get("value")
    return _rows_of(data, "value", file)


def _rows_of(data: Any, path: str, file: str) -> list[dict[str, Any]]:
    if data is None and path != "value":
        return []
    if not isinstance(data, list):
        hint = "expected what az printed: value[], RouteServiceRole_IN_0[], or a list of rows"
        raise InputError([Problem(file, 0, path, "there is no list of rows", hint)])
    for number, row in enumerate(data):
        if not isinstance(row, dict):
            raise InputError([Problem(file, 0, f"{path}[{number}]", "is no row (an object)", "is this what az printed?")])
    return data


def _text(row: Mapping[str, Any], key: str, where: str, file: str, default: str | None = None) -> str:
    value = row.get(key)
    if value is None and default is not None:
        return default
    if not isinstance(value, str) or len(value) > MAX_TEXT or not value.isprintable():
        raise InputError([Problem(file, 0, f"{where}.{key}", "expected a short text", "is this what az printed?")])
    return value


def _list(row: Mapping[str, Any], key: str, where: str, file: str) -> list[str]:
    value = row.get(key)
    values = [] if value in (None, "") else value if isinstance(value, list) else [value]
    if not all(isinstance(each, str) and len(each) <= MAX_TEXT and each.isprintable() for each in values):
        raise InputError([Problem(file, 0, f"{where}.{key}", "expected short texts", "is this what az printed?")])
    return values


def _prefix(text: str, where: str, file: str) -> Prefix:
    """The canonical form of an IPv4 prefix; empty for IPv6 and for service tags, which are left out."""
    if ":" in text or text[:1].isalpha():
        return ""
    try:
        return str(ipaddress.IPv4Network(text.strip(), strict=False))
    except ValueError:
        raise InputError([Problem(file, 0, where, f"{text[:60]!r} is not a prefix", "is this what az printed?")]) from None
