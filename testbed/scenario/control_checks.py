"""Expectations of the control plane: sessions, learned and advertised routes, tables, effective routes, agreement."""

from __future__ import annotations

from testbed.azure.types import Row
from testbed.model import scenario as declared
from testbed.scenario.lab_view import LabView, SessionRow
from testbed.scenario.places import called
from testbed.scenario.verdict import Verdict, listed, path_text, pick, several


def sessions(lab: LabView, wanted: declared.Sessions) -> Verdict:
    """All sessions of a kind are up, or as many as wanted."""
    rows = [row for row in lab.sessions() if wanted.kind in ("all", row.kind)]
    up = [row for row in rows if row.up]
    down = [str(row) for row in rows if not row.up]
    if wanted.established is not None and len(up) != wanted.established:
        return f"expected {wanted.established} established, observed {len(up)}; down: {several(down) or 'none'}"
    if wanted.established is None and (not rows or down):
        return several(down) or f"the plan has no session of kind {wanted.kind}"
    return None


def session(lab: LabView, wanted: declared.OneSession) -> Verdict:
    """The sessions between two nodes are up, or down for the reason wanted."""
    rows = [row for row in lab.sessions() if _between(row, wanted.between)]
    if not rows:
        return f"the plan has no session between {wanted.between[0]} and {wanted.between[1]}"
    state = "up" if wanted.up else f"down{f' ({wanted.reason})' if wanted.reason else ''}"
    wrong = [row for row in rows if row.up is not wanted.up or (not row.up and wanted.reason not in (None, row.reason))]
    return several([f"expected {state}, observed {row}" for row in wrong])


def _between(row: SessionRow, ends: tuple[str, str]) -> bool:
    one, other = map(called, row.nodes)
    return (ends[0] in one and ends[1] in other) or (ends[0] in other and ends[1] in one)


def refused(lab: LabView, wanted: declared.Refused) -> Verdict:
    """No instance speaks BGP with a node that is no peer of it."""
    return several(lab.refuses(wanted.route_server, wanted.nva))


def learned(lab: LabView, wanted: declared.Learned) -> Verdict:
    """Each instance learned the prefix, did not, or dropped it."""
    rows = [row for row in lab.learned(wanted.route_server, wanted.peer) if row.prefix == str(wanted.prefix)]
    reasons: list[str] = []
    for instance in wanted.instances:
        found = [row for row in rows if row.instance == instance]
        accepted = [row for row in found if not row.dropped]
        if wanted.absent:
            reasons += [f"expected nothing, observed {row}" for row in accepted]
        elif wanted.dropped is not None:
            if not any(wanted.dropped in row.dropped for row in found):
                reasons.append(f"instance {instance}: expected it dropped ({wanted.dropped}), observed {listed(found)}")
        elif not any(
            wanted.as_path in (None, row.as_path) and (wanted.next_hop is None or str(wanted.next_hop) == row.next_hop) for row in accepted
        ):
            hop = f" via {wanted.next_hop}" if wanted.next_hop else ""
            reasons.append(f"instance {instance}: expected {wanted.prefix}{hop}{path_text(wanted.as_path)}, observed {listed(found)}")
    return several(reasons)


def advertised(lab: LabView, wanted: declared.Advertised) -> Verdict:
    """Both instances advertise the prefix to the peer, or neither does."""
    rows = [row for row in lab.advertised(wanted.route_server, wanted.peer) if row.prefix == str(wanted.prefix)]
    if wanted.absent:
        return several([f"expected nothing, observed {row}" for row in rows])
    missing = [n for n in (0, 1) if not any(row.instance == n and wanted.as_path in (None, row.as_path) for row in rows)]
    return several([f"instance {n}: expected {wanted.prefix}{path_text(wanted.as_path)}, observed {listed(rows)}" for n in missing])


def table(lab: LabView, wanted: declared.TableEntry) -> Verdict:
    """The router's BGP table has the prefix, with so many paths in use, or has it not."""
    rows = [row for row in lab.bgp_table(wanted.node) if row.prefix == str(wanted.prefix)]
    if wanted.absent:
        return several([f"expected nothing, observed {row}" for row in rows])
    if not any(row.best and wanted.as_path in (None, row.as_path) for row in rows):
        return f"expected {wanted.prefix}{path_text(wanted.as_path)} as best, observed {listed(rows)}"
    used = sum(row.used for row in rows)
    return None if wanted.used in (None, used) else f"expected {wanted.used} paths in use, observed {used}: {listed(rows)}"


def effective_route(lab: LabView, wanted: declared.EffectiveRoute) -> Verdict:
    """Every NIC has the active route, or none has."""
    return several([reason for nic in pick(wanted.nic, lab.nics()) if (reason := _effective_at(lab, nic, wanted))])


def _effective_at(lab: LabView, nic: str, wanted: declared.EffectiveRoute) -> Verdict:
    rows = [row for row in lab.effective(nic) if row.active and row.prefix == str(wanted.prefix)]
    matching = [row for row in rows if wanted.next_hop_type in (None, row.next_hop_type)]
    if wanted.next_hops is not None:
        hops = sorted(map(str, wanted.next_hops))
        matching = [row for row in matching if sorted(row.next_hops) == hops]
    if wanted.absent and matching:
        return f"{nic}: expected no such route, observed {listed(map(_row, matching))}"
    if not wanted.absent and not matching:
        return f"{nic}: expected {route_text(wanted)}, observed {listed(map(_row, rows))}"
    return None


def _row(row: Row) -> str:
    return f"{row.prefix} {row.next_hop_type}" + (f" {','.join(row.next_hops)}" if row.next_hops else "")


def route_text(wanted: declared.EffectiveRoute) -> str:
    """The route that is wanted, in words."""
    hops = f" {','.join(map(str, wanted.next_hops))}" if wanted.next_hops is not None else ""
    return f"{wanted.prefix}{' ' + wanted.next_hop_type if wanted.next_hop_type else ''}{hops}"


def agreement(lab: LabView, wanted: declared.Agreement) -> Verdict:
    """Every way: sessions, BGP tables of all routers, effective routes as the controller has them, flows of the switches, as predicted."""
    if why := lab.unpredictable():
        return f"nothing to compare with: {why}"
    reasons: list[str] = []
    for nic in pick(wanted.nics, lab.nics()) if lab.controlled() else ():
        observed, predicted = set(map(_whole, lab.effective(nic))), set(map(_whole, lab.predicted_effective(nic)))
        reasons += [f"{nic}: predicted and not observed: {row}" for row in sorted(predicted - observed)]
        reasons += [f"{nic}: observed and not predicted: {row}" for row in sorted(observed - predicted)]
    return several(reasons or [*lab.table_differences(), *lab.switch_differences()])


def _whole(row: Row) -> str:
    return f"{row.prefix} {row.next_hop_type} {','.join(sorted(row.next_hops))} {row.source} {'Active' if row.active else 'Invalid'}"
