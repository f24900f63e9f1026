"""What the walks of the prover mean: each loop, loss or detour as a finding about the route that is responsible."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from testbed.azure.bgp import DEFAULT_ROUTE
from testbed.azure.design_checks.finding import Case, Finding, counted, some
from testbed.azure.fib import outer_addresses
from testbed.azure.lookup import contains, covers, parse
from testbed.azure.networks import nva_nics, tunnel_name
from testbed.azure.nva_policy import originated
from testbed.azure.types import Domain, NextHopType, RouteSource, Row
from testbed.plan.explain import hints
from testbed.plan.prover import Pair, Proof
from testbed.plan.types import Nic
from testbed.plan.walk import DELIVERED, DROPPED, LOOPS, Step, Walk

_ROOTS = {"RS8": ("RS008",), "P2": ("PE002", "PE102"), "E5": ("ER005",), "GW5": (), "GW1": ()}
_RECURSION = "the far end of "


class Walks:
    """Turns the pairs of a proof into findings; pairs with one cause become one finding. ``found`` is what the tables told before."""

    def __init__(self, case: Case, proof: Proof, found: Iterable[Finding]) -> None:
        self._case = case
        self._proof = proof
        self._index = proof.tracer.index
        self._known = {finding.code for finding in found}
        self._detours: set[tuple[tuple[str, ...], tuple[str, ...]]] = set()
        self._collected: dict[tuple[str, str], tuple[str, str, list[str]]] = {}

    def findings(self) -> Iterator[Finding]:
        """All findings, each with the pairs that it concerns."""
        for pair in self._proof.pairs:
            if not self._modelled(pair):
                continue
            if (loop := pair.of(LOOPS)) is not None:
                self._loop(pair, loop)
            elif pair.owned and (lost := pair.of(DROPPED)) is not None:
                self._lost(pair, lost)
        for pair in self._proof.asymmetric():
            self._detour(pair)
        for pair in self._proof.spread():
            self._spread(pair)
        self._tunnels()
        for (code, path), (text, remedy, pairs) in self._collected.items():
            yield Finding(code, path, f"{text}; concerns {some(pairs, 3)}" if pairs else text, remedy)

    def _add(self, code: str, path: str, text: str, remedy: str, pair: Pair | None) -> None:
        entry = self._collected.setdefault((code, path), (text, remedy, []))
        if pair is not None:
            entry[2].append(f"{pair.source.name} → {pair.to}")

    def _modelled(self, pair: Pair) -> bool:
        nodes = {node for walk in (*pair.walks, *(pair.back or ())) for node in walk.nodes}
        return not nodes & set(self._case.plane.unmodelled)

    # --- loops ---

    def _loop(self, pair: Pair, walk: Walk) -> None:
        step = next(step for step in reversed(walk.steps) if step.where == "fabric" or step.node in walk.cycle)
        nva, row = self._case.nva_of(step.nic), step.winner
        if row is not None and nva is not None and len(set(walk.cycle)) == 1 and row.source is RouteSource.VIRTUAL_NETWORK_GATEWAY:
            self._self_loop(pair, step, row, nva)
            return
        cycle = " → ".join((*walk.cycle, walk.cycle[0])) if walk.cycle else walk.at
        text = f"{cycle}: {step.text or step.prefix} at {step.nic or step.node} sends them back"
        if pair.owned:
            where = f"{step.prefix} at {step.nic or step.node}"
            remedy = f"remove the route {where}, or lead it to {self._space(pair.target.address)}"
            self._add("PA001", self._declared(step), text, remedy, pair)

    def _self_loop(self, pair: Pair, step: Step, row: Row, nva: str) -> None:
        """The injected route at the NVA's own NIC points at the NVA (E6)."""
        nic = self._index.nics[step.nic]
        domain = self._index.domains[nic.domain]
        text = f"{row.prefix} at {nic.label} ({nic.ip}) points at {nva} itself"
        if parse(row.prefix)[1] <= 1:  # 0.0.0.0/0, or a half of it
            declared = self._case.topology.nvas[nva]
            default = declared.default_originate and row.prefix == DEFAULT_ROUTE
            path = f"nvas.{nva}.default_originate" if default else self._advertised(nva, row.prefix)
            route = f"{{internet: {{prefix: {row.prefix}, next_hop_type: Internet}}}}"
            remedy = f"route_tables: {{{nva}: {{subnets: [{nic.subnet}], routes: {route}}}}}"
            self._add("ER106", path, text, remedy, pair)
        elif not pair.owned:
            if row.prefix in originated(self._case.topology.nvas[nva]) and not getattr(pair.target, "wider", False):
                self._add(
                    "ER206", self._advertised(nva, row.prefix), f"{text}, and nobody has it", f"{nva}: {{loopbacks: [{row.prefix}]}}", pair
                )
        elif self._shorter(domain, row.prefix) and "UD001" in self._known:
            return
        elif _has_appliance_routes(domain):
            self._missing_route(domain, nic, pair, text, row.prefix)
        else:
            self._add("ER006", f"nvas.{nva}", text, self._tunnel_remedy(nva, row.prefix), pair)

    def _shorter(self, domain: Domain, prefix: str) -> bool:
        return any(row.prefix != DEFAULT_ROUTE and contains(row.prefix, prefix) for row in domain.user)

    def _tunnel_remedy(self, nva: str, prefix: str) -> str:
        best = next((route for route in self._case.plane.rib(nva).get(prefix, ()) if route.best), None)
        other = best.peer if best is not None and best.peer in self._case.topology.nvas else "THE OTHER NVA"
        return f"tunnels: [{{type: vxlan, between: [{nva}, {other}]}}]"

    def _missing_route(self, domain: Domain, nic: Nic, pair: Pair, text: str, prefix: str) -> None:
        """UD002: other prefixes have user-defined routes at this NIC, this one has none."""
        best = next((route for route in self._case.plane.rib(nic.node).get(prefix, ()) if route.best), None)
        hop = best.path.next_hop if best is not None else next(row.next_hops[0] for row in domain.user if row.next_hops)
        remedy = f"routes: {{to-{prefix.partition('/')[0]}: {{prefix: {prefix}, next_hop_type: VirtualAppliance, next_hop_ip: {hop}}}}}"
        self._add(
            "UD002", f"route_tables.{domain.route_table}.routes", f"{domain.route_table} has no route to {prefix}: {text}", remedy, pair
        )

    # --- losses ---

    def _lost(self, pair: Pair, walk: Walk) -> None:
        rule = walk.reason.partition(":")[0]
        steps = [step for step in walk.steps if step.where == "fabric"]
        if walk.reason.startswith(_RECURSION) or (steps and len(steps[-1].headers) > 1):
            return  # the outer packets of a tunnel: `_tunnels` tells
        if rule == "P4" and steps:
            self._not_admitted(pair, walk, steps[-1])
        elif rule == "E8" and steps:
            self._not_forwarded(pair, walk, steps[-1])
        elif {"P1": "PE001", "E4": "UD004"}.get(rule) in self._known:
            return
        elif len(steps) > 1 or (steps and steps[-1].node != pair.source.node):
            self._lost_on_the_way(pair, walk, steps)
        elif not self._explained(walk):
            self._lost_at_once(pair, walk)

    def _not_admitted(self, pair: Pair, walk: Walk, step: Step) -> None:
        sender = self._index.nics[step.nic].vnet
        path = self._case.sides.get((walk.at, sender))
        if path is not None and "allow_forwarded_traffic" in walk.reason:
            remedy = f"{{from: {walk.at}, to: {sender}, allow_forwarded_traffic: true}}"
            self._add("PE004", f"{path}.allow_forwarded_traffic", f"{walk.at} does not take forwarded traffic from {sender}", remedy, pair)

    def _not_forwarded(self, pair: Pair, walk: Walk, step: Step) -> None:
        label = walk.at if walk.at in self._index.nics else step.nic
        self._add(
            "ER008",
            self._nic_path(label),
            f"{label} does not forward: {walk.reason.partition(': ')[2]}",
            "enable_ip_forwarding: true",
            pair,
        )

    def _lost_on_the_way(self, pair: Pair, walk: Walk, steps: list[Step]) -> None:
        """A route led on; not if it was one for everything, unless the other direction works."""
        if not (self._meant(pair, steps[0]) or self._one_way(pair)):
            self._unconnected(pair)
            return
        last = steps[-1]
        nic = self._index.nics[last.nic]
        domain = self._index.domains[nic.domain]
        text = f"lost at {last.nic}: {walk.reason}"
        if nic.node in self._case.topology.nvas and _has_appliance_routes(domain):
            self._missing_route(domain, nic, pair, text, self._space(pair.target.address))
        elif not self._explained(walk):
            self._add("PA002", self._declared(steps[0]), f"{steps[0].text} leads on, and they are {text}", self._remedy(last, pair), pair)

    def _lost_at_once(self, pair: Pair, walk: Walk) -> None:
        if self._one_way(pair) and "nva" not in (pair.source.kind, getattr(pair.target, "kind", "")):
            nic = self._index.nics.get(walk.steps[-1].nic)
            path = self._case.vnet_paths[nic.vnet] if nic is not None else f"sites.{pair.source.node}"
            text = f"one way only: the other direction arrives, {pair.source.name} has no way: {walk.reason}"
            self._add("PA002", path, text, self._way_back(pair), pair)
        else:
            self._unconnected(pair)

    def _way_back(self, pair: Pair) -> str:
        """A user-defined route by which the answer takes the way of the question."""
        nvas = self._proof.nvas(pair.back[0]) if pair.back else ()
        nic = self._index.nics.get(pair.source.name)
        if not nvas or nic is None:
            return "gateway transit, or a peering"
        hop = self._case.topology.nvas[nvas[-1]].ip
        route = f"{{prefix: {self._space(pair.target.address)}, next_hop_type: VirtualAppliance, next_hop_ip: {hop}}}"
        return f"route_tables: {{back: {{subnets: [{nic.subnet}], routes: {{back: {route}}}}}}}"

    def _unconnected(self, pair: Pair) -> None:
        if "nva" not in (pair.source.kind, getattr(pair.target, "kind", "nva")):
            self._add("PA004", "regions", "no route, and nothing says that there should be one", "nothing, if they should not talk", pair)

    def _meant(self, pair: Pair, step: Step) -> bool:
        """Whether the first route was written or injected for this destination: as long as its VNet's range, or longer."""
        row = step.winner
        if row is None or row.source is RouteSource.DEFAULT or row.prefix == DEFAULT_ROUTE:
            return False
        return parse(row.prefix)[1] >= parse(self._space(pair.target.address))[1]

    def _space(self, address: str) -> str:
        """The range of the VNet or site that an address is in."""
        spaces = [space for bridge in self._index.bridges.values() for space in bridge.address_space]
        spaces += [str(prefix) for site in self._case.topology.sites.values() for prefix in site.prefixes]
        return next((space for space in spaces if covers(space, address)), f"{address}/32")

    def _one_way(self, pair: Pair) -> bool:
        return bool(pair.back) and all(walk.verdict == DELIVERED for walk in pair.back or ())

    def _explained(self, walk: Walk) -> bool:
        """Whether a finding about the tables tells already why the route is missing."""
        rules = {hint.partition(":")[0] for hint in hints(self._proof.tracer, self._case.plane, walk)}
        return any(code in self._known for rule in rules for code in _ROOTS.get(rule, ())) or self._other_home(walk)

    def _other_home(self, walk: Walk) -> bool:
        """Whether NICs of the other instance have the route, which RS003 or RS103 tells."""
        nic = next((self._index.nics[step.nic] for step in reversed(walk.steps) if step.where == "fabric"), None)
        hub = self._index.domains[nic.domain].hub if nic is not None else None
        if nic is None or hub is None or not self._known & {"RS003", "RS103"}:
            return False
        return self._case.plane.injected(hub, 1 - nic.home).lookup(walk.steps[-1].headers[0].destination) is not None

    def _remedy(self, step: Step, pair: Pair) -> str:
        return f"a route to {self._space(pair.target.address)} at {step.nic}"

    # --- detours ---

    def _detour(self, pair: Pair) -> None:
        there, back = (self._proof.nvas(walks[0]) for walks in (pair.walks, pair.back or ()))
        if (there, back) in self._detours:
            return  # the same, seen from the other end
        self._detours.add((back, there))
        step = next((step for step in pair.walks[0].steps if step.where == "fabric"), None)
        different = sorted(set(there) ^ set(back)) or sorted(set(there))
        text = f"there by {' → '.join(there) or 'the direct way'}, back by {' → '.join(back) or 'the direct way'}"
        path = self._declared(step) if step is not None and step.winner is not None and step.winner.name else f"nvas.{different[0]}"
        self._add("PA003", path, text, "the same preference in both directions (prepend towards both sides, UDRs in both VNets)", pair)

    def _spread(self, pair: Pair) -> None:
        nvas = self._proof.choices(pair)
        text = f"{some(nvas)} share the load by flow, each direction for itself"
        self._add("RS010", f"nvas.{nvas[0]}", text, f"{nvas[-1]}: {{prepend: 2}}, if one of them may stand by", pair)

    # --- tunnels ---

    def _tunnels(self) -> None:
        """Every tunnel's outer packets, from both ends."""
        for number, tunnel in enumerate(self._case.topology.tunnels):
            ends = outer_addresses(self._case.topology, tunnel)
            for place, node in enumerate(tunnel.between):
                remote = ends[1 - place]
                if not all(ends) or set(tunnel.between) & set(self._case.plane.unmodelled) or "PE101" in self._known:
                    continue
                walk = next((each for each in self._proof.tracer.traces(node, remote) if _bad(each, tunnel_name(tunnel))), None)
                if walk is not None:
                    why = walk.reason or f"they go into {tunnel_name(tunnel)} itself"
                    text = f"{tunnel_name(tunnel)}: packets from {node} to {remote} are not delivered: {why}"
                    self._add("OV001", f"tunnels[{number}]", text, f"a way to {remote} outside the tunnel, at {node}", None)

    # --- where things are declared ---

    def _declared(self, step: Step) -> str:
        """The path of what made the route that a step took."""
        row, nic = step.winner, self._index.nics.get(step.nic)
        if row is None or nic is None:
            return f"nvas.{step.node}" if step.node in self._case.topology.nvas else f"sites.{step.node}"
        if row.source is RouteSource.USER:
            return f"route_tables.{self._index.domains[nic.domain].route_table}.routes.{row.name}"
        if row.source is RouteSource.VIRTUAL_NETWORK_GATEWAY:
            owner = next((label for hop in row.next_hops for _, label in self._case.owners.get(hop, ())), "")
            nva = self._case.nva_of(owner)
            return self._advertised(nva, row.prefix) if nva else f"gateways.{owner.rpartition('-')[0]}"
        return self._case.vnet_paths[nic.vnet]

    def _advertised(self, nva: str, prefix: str) -> str:
        prefixes = list(map(str, self._case.topology.nvas[nva].advertise))
        return f"nvas.{nva}.advertise[{prefixes.index(prefix)}]" if prefix in prefixes else f"nvas.{nva}"

    def _nic_path(self, label: str) -> str:
        nva = self._case.nva_of(label)
        if nva is None:
            return f"vms.{label}.enable_ip_forwarding"
        labels = [each for each, _ in nva_nics(nva, self._case.topology.nvas[nva])]
        place = labels.index(label)
        return f"nvas.{nva}.extra_nics[{place - 1}].enable_ip_forwarding" if place else f"nvas.{nva}.enable_ip_forwarding"


def _has_appliance_routes(domain: Domain) -> bool:
    return any(row.next_hop_type is NextHopType.VIRTUAL_APPLIANCE and row.prefix != DEFAULT_ROUTE for row in domain.user)


def _bad(walk: Walk, tunnel: str) -> bool:
    return walk.verdict != DELIVERED or tunnel in walk.tunnels


def summary(proof: Proof) -> str:
    """How much was proved."""
    whole = "" if proof.complete else " (too many pairs: not all were walked)"
    senders, destinations = counted(proof.classes, "class"), counted(proof.destinations, "class")
    return f"{senders} of senders, {destinations} of destinations, {len(proof.pairs)} pairs walked{whole}"
