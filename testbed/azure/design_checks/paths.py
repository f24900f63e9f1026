"""BGP paths: loops by 65515, prefixes that are never programmed, prepends without effect, routes sent back (RS8-RS13)."""

from __future__ import annotations

from collections.abc import Iterator

from testbed.azure.bgp import Outcome
from testbed.azure.control_plane import converge
from testbed.azure.design_checks.finding import Case, Finding, counted, some
from testbed.azure.effective_routes import protected_by
from testbed.azure.limits import ROUTE_SERVER_ASN
from testbed.azure.lookup import PrefixMap
from testbed.azure.networks import site_circuits
from testbed.azure.types import Path, Session
from testbed.model.topology import Nva, SiteCircuit, Topology

MAX_PREPENDING = 64


def route_server_asn_in_path(case: Case) -> Iterator[Finding]:
    """RS8: what a Route Server dropped, by the NVA that sent it. What the hub has itself is no loss (see `sent_back`)."""
    dropped: dict[tuple[str, str], dict[str, Path]] = {}
    for hub, session in case.nva_sessions:
        own = PrefixMap(dict.fromkeys(hub.advertised))
        for each in case.plane.received(session):
            if each.dropped.startswith("RS8") and own.covering(each.path.prefix) is None:
                dropped.setdefault((session.server, session.peer), {})[each.path.prefix] = each.path
    for (server, peer), paths in dropped.items():
        first = next(iter(paths.values()))
        yield Finding(
            "RS008",
            f"nvas.{peer}",
            f"{server} drops {counted(len(paths), 'prefix')} from {peer}: {some(map(_told, paths.values()))}; {_hop(case, first)}",
            f"{peer}: {{as_override: true}}   # or neighbors: {{{server}: {{as_path_exclude: [{ROUTE_SERVER_ASN}]}}}}",
        )


def _told(path: Path) -> str:
    return f"{path.prefix} (AS path {' '.join(map(str, path.as_path))})"


def _hop(case: Case, path: Path) -> str:
    """Who let 65515 through: the AS in front of it."""
    place = path.as_path.index(ROUTE_SERVER_ASN)
    if not place:
        return "it comes from a Route Server directly"
    asn = path.as_path[place - 1]
    names = [name for name, nva in case.topology.nvas.items() if nva.asn == asn]
    return f"the hop behind it is AS {asn}{f' ({some(names)})' if names else ''}"


def inside_a_vnet(case: Case) -> Iterator[Finding]:
    """RS9: an advertised prefix that is equal to or inside the space of a VNet which the Route Server serves."""
    peers = dict.fromkeys((hub.vnet, session.peer) for hub, session in case.nva_sessions)
    for vnet, peer in peers:
        domains = [domain for domain in case.plane.domains if domain.hub == vnet]
        spaces = PrefixMap(dict.fromkeys(space for domain in domains for space in domain.protected))
        for number, prefix in enumerate(map(str, case.topology.nvas[peer].advertise)):
            if spaces.covering(prefix) is None:
                continue
            withheld = {domain.vnet: space for domain in domains if (space := protected_by(domain, prefix)) is not None}
            if withheld:
                around = some(withheld.values())
                yield Finding(
                    "RS009",
                    f"nvas.{peer}.advertise[{number}]",
                    f"{prefix} is inside {around} and is never programmed in {some(withheld)}",
                    _instead(case, peer, prefix, min(withheld)),
                )


def _instead(case: Case, peer: str, prefix: str, vnet: str) -> str:
    hop = case.topology.nvas[peer].ip
    return f"a UDR in {vnet}: {{prefix: {prefix}, next_hop_type: VirtualAppliance, next_hop_ip: {hop}}}, or advertise a supernet"


def sent_back(case: Case) -> Iterator[Finding]:
    """RS13: an NVA sends a Route Server what it learned from it."""
    seen: dict[tuple[str, str], list[str]] = {}
    for hub, session in case.nva_sessions:
        nva = case.topology.nvas[session.peer]
        if not nva.filter_route_server_routes:
            own = set(hub.advertised) - {str(prefix) for prefix in nva.advertise}
            back = [each.path.prefix for each in case.plane.received(session) if each.path.prefix in own]
            seen.setdefault((session.server, session.peer), []).extend(back)
    for (server, peer), prefixes in seen.items():
        if prefixes:
            text = f"{peer} sends {server} what it learned from it: {some(prefixes)}"
            yield Finding("RS013", f"nvas.{peer}.filter_route_server_routes", text, "filter_route_server_routes: true")


def prepends(case: Case) -> Iterator[Finding]:
    """RS10, GW3: a prepend without which everybody would choose the same."""
    if not case.plane.settled:
        return
    now = _choices(case.plane.outcomes)
    hidden = {finding.path for finding in prepends_over_circuits(case)}
    for path, changed in _without_prepends(case.topology):
        if path.split(".")[1] in case.plane.unmodelled or path in hidden:
            continue
        if _choices(converge(changed).outcomes) == now:
            name = path.split(".")[1]
            yield Finding(
                "RS110",
                path,
                f"without the prepend of {name} every router would choose the same paths",
                "remove it, or prepend at the standby",
            )


def _choices(outcomes: tuple[Outcome, ...]) -> dict[str, dict[str, tuple[int | None, ...]]]:
    """By prefix and router, the sessions from which the used routes come."""
    return {
        prefix: {node: tuple(each.flow.index if each.flow else None for each in chosen) for node, chosen in outcome.chosen.items()}
        for outcome in outcomes
        for prefix in outcome.prefixes
    }


def _without_prepends(topology: Topology) -> Iterator[tuple[str, Topology]]:
    """The topology without each prepend in turn; a file full of them is looked at for its first ones."""
    left = MAX_PREPENDING
    for name, nva in topology.nvas.items():
        for path, plain in _plain_nvas(name, nva):
            if left:
                left -= 1
                yield path, topology.model_copy(update={"nvas": {**topology.nvas, name: plain}})
    for name, site in topology.sites.items():
        if left and (site.prepend or any(each.prepend for each in site_circuits(site).values())):
            left -= 1
            circuits = {circuit: SiteCircuit(advertise=each.advertise) for circuit, each in site_circuits(site).items()}
            plain_site = site.model_copy(update={"prepend": 0, "circuits": circuits})
            yield f"sites.{name}", topology.model_copy(update={"sites": {**topology.sites, name: plain_site}})


def _plain_nvas(name: str, nva: Nva) -> Iterator[tuple[str, Nva]]:
    if nva.prepend:
        yield f"nvas.{name}.prepend", nva.model_copy(update={"prepend": 0})
    for neighbor, settings in nva.neighbors.items():
        if settings.prepend:
            plain = settings.model_copy(update={"prepend": 0})
            yield f"nvas.{name}.neighbors.{neighbor}.prepend", nva.model_copy(update={"neighbors": {**nva.neighbors, neighbor: plain}})


def prepends_over_circuits(case: Case) -> Iterator[Finding]:
    """GW3: an NVA's prepended routes that reach on-premises through a circuit, where the prepend is gone."""
    for hub, session in case.nva_sessions:
        nva = case.topology.nvas[session.peer]
        path = _prepend_path(session, nva)
        gateways = [name for name in hub.gateways if case.topology.gateways[name].type == "expressroute"]
        if path is None or not hub.branch_to_branch or not gateways or case.plane.down(session) or session.instance:
            continue
        circuits = [name for name, circuit in case.topology.circuits.items() if set(circuit.gateways) & set(gateways)]
        sites = [name for name, site in case.topology.sites.items() if set(site.circuits) & set(circuits)]
        prefixes = [each.path.prefix for each in case.plane.received(session) if each.path.as_path[:2] == (nva.asn, nva.asn)]
        if sites and prefixes:
            text = (
                f"{some(sites)} sees {some(prefixes)} over {some(circuits)} with AS path 12076 alone, without the prepend of {session.peer}"
            )
            yield Finding("GW003", path, text, "prefer the other way at the customer edge, or advertise more specific prefixes")


def _prepend_path(session: Session, nva: Nva) -> str | None:
    settings = nva.neighbors.get(session.server)
    if settings is not None and settings.prepend is not None:
        return f"nvas.{session.peer}.neighbors.{session.server}.prepend" if settings.prepend else None
    return f"nvas.{session.peer}.prepend" if nva.prepend else None


def unsettled(case: Case) -> Iterator[Finding]:
    """Oscillation: where nobody ever stops changing his mind."""
    if not case.plane.settled:
        shown = some(case.plane.oscillating)
        yield Finding("CP001", "nvas", f"the paths to {shown} never settle", "filter what the NVAs tell each other in a circle")


CHECKS = (route_server_asn_in_path, inside_a_vnet, sent_back, prepends, prepends_over_circuits, unsettled)
