"""The prover: classes stand for all their members, every pair of a design is covered, and loops, losses and detours are found."""

from __future__ import annotations

import json
import random
from collections.abc import Hashable, Iterator
from typing import Any

import pytest

from testbed.azure.control_plane import converge
from testbed.azure.effective_routes import NOTHING, Table, static
from testbed.azure.lookup import covers, parse, parse_address
from testbed.model.loader import parse_topology
from testbed.model.topology import Topology
from testbed.plan.classes import Classes, Endpoint, gaps
from testbed.plan.decisions import NO_ROUTE, Decisions
from testbed.plan.prover import Pair, Proof, inhabited, prove
from testbed.plan.walk import Walk

from . import designs


def proof_of(topology: Topology) -> Proof:
    return prove(inhabited(topology))


def pairs(proof: Proof) -> dict[tuple[str, str], Pair]:
    return {(pair.source.name, pair.to): pair for pair in proof.pairs}


class TestFindings:
    def test_overlay_has_no_loop_and_no_detour(self) -> None:
        proof = proof_of(designs.overlay())
        assert proof.complete
        assert proof.loops() == proof.asymmetric() == proof.spread() == ()
        assert {(pair.source.name, pair.to) for pair in proof.black_holes()} == {("vm11", "vm12")}  # vm12 to vm11 is the same

    def test_no_overlay_loops_and_names_the_cycle(self) -> None:
        loops = proof_of(designs.no_overlay()).loops()
        assert {(pair.source.name, pair.to) for pair in loops} >= {("vm11", "vm21"), ("vm21", "vm11"), ("vmh1", "vm21"), ("nva1", "vm21")}
        assert {pair.of("loops").cycle for pair in loops if pair.source.name == "vm11"} == {("nva1",)}  # type: ignore[union-attr]

    def test_spokes_alike_are_walked_against_each_other(self) -> None:
        proof = proof_of(designs.overlay())
        assert proof.classes < len(proof.tracer.index.nics)
        assert ("vm11", "vm12") in pairs(proof)

    def test_subnets_without_a_machine_are_proved_too(self) -> None:
        topology = designs.overlay().model_copy(update={"vms": {}})
        assert pairs(proof_of(topology))["any VM in spoke21/workload", "any VM in hub1/workload"].delivered

    def test_equal_cost_paths_are_all_walked(self) -> None:
        text = (designs.DUAL_REGION + designs.OVERLAY + "  - {type: vxlan, between: [nva1b, nva2]}\n").replace(
            "peers: [nva1]", "peers: [nva1, nva1b]"
        )
        text = text.replace("  nva2: {", "  nva1b: {subnet: hub1/nva, ip: 10.1.0.5, asn: 65003, as_override: true}\n  nva2: {")
        proof = proof_of(parse_topology(text).topology)
        spread = {(pair.source.name, pair.to): proof.choices(pair) for pair in proof.spread()}
        assert spread["vm11", "vm21"] == spread["vm21", "vm11"] == ("nva1", "nva1b")


class TestGaps:
    def test_an_address_in_none_more_specific(self) -> None:
        found = gaps(["10.0.0.0/8", "10.0.0.0/9", "10.128.0.0/10", "0.0.0.0/0", "10.0.0.0/9", "192.0.2.1/32"])
        assert {prefix: wider for prefix, (_, wider) in found.items()} == {
            "10.0.0.0/8": True,
            "10.0.0.0/9": False,
            "10.128.0.0/10": False,
            "0.0.0.0/0": True,
            "192.0.2.1/32": False,
        }
        assert found["10.0.0.0/8"][0] == parse_address("10.192.0.1")
        assert found["192.0.2.1/32"][0] == parse_address("192.0.2.1")

    def test_a_prefix_that_is_covered_whole_has_none(self) -> None:
        assert gaps(["10.0.0.0/8", "10.0.0.0/9", "10.128.0.0/9"])["10.0.0.0/8"] == (None, True)

    @pytest.mark.parametrize("seed", range(40))
    def test_on_any_set(self, seed: int) -> None:
        draw = random.Random(seed)
        prefixes = {f"10.0.0.{address & (0xFF << 32 - length) & 0xFF}/{length}" for address, length in drawn(draw)}
        for prefix, (address, wider) in gaps(prefixes).items():
            inner = [
                each for each in prefixes if each != prefix and parse(each)[1] > parse(prefix)[1] and covers(prefix, each.partition("/")[0])
            ]
            assert wider == bool(inner)
            free = [
                number
                for number in range(256)
                if covers(prefix, f"10.0.0.{number}") and not any(covers(each, f"10.0.0.{number}") for each in inner)
            ]
            assert (address is None) == (not free)
            assert address is None or address - parse_address("10.0.0.0") in free


def drawn(draw: random.Random) -> Iterator[tuple[int, int]]:
    for _ in range(draw.randrange(1, 30)):
        yield draw.randrange(256), draw.randrange(24, 33)


# --- every pair of NICs is answered as its classes are ---


def random_design(seed: int) -> Topology:
    """Two regions with spokes of many kinds: flags, route tables, several machines, direct peerings, two NVAs in a region."""
    draw = random.Random(seed)
    regions: dict[str, Any] = {}
    peerings: list[dict[str, Any]] = []
    vms: dict[str, Any] = {}
    tables: dict[str, Any] = {}
    nvas: dict[str, Any] = {}
    for number in (1, 2):
        spaces = {
            f"hub{number}": {
                "address_space": [f"10.{number}.0.0/16"],
                "subnets": {"nva": f"10.{number}.0.0/24", "RouteServerSubnet": f"10.{number}.1.0/26", "w": f"10.{number}.3.0/24"},
            }
        }
        vms[f"vmh{number}"] = {"subnet": f"hub{number}/w"}
        for spoke in range(draw.randrange(1, 5)):
            name = f"s{number}{spoke}"
            spaces[name] = {
                "address_space": [f"10.{number}{spoke}.0.0/16"],
                "subnets": {"a": f"10.{number}{spoke}.0.0/24", "b": f"10.{number}{spoke}.1.0/24"},
            }
            transit, forwarded = draw.random() < 0.8, draw.random() < 0.8
            peerings.append({"from": f"hub{number}", "to": name, "allow_gateway_transit": True, "allow_forwarded_traffic": True})
            peerings.append({"from": name, "to": f"hub{number}", "use_remote_gateways": transit, "allow_forwarded_traffic": forwarded})
            for subnet in "ab":
                for machine in range(draw.randrange(0, 3)):
                    public = {"public_ip": f"203.0.113.{len(vms) + 1}"} if draw.random() < 0.1 else {}
                    vms[f"vm-{name}{subnet}{machine}"] = {"subnet": f"{name}/{subnet}", **public}
            if draw.random() < 0.5:
                wanted = draw.sample(UDR_PREFIXES, draw.randrange(1, 4))
                tables[f"t-{name}"] = {
                    "subnets": [f"{name}/a"],
                    "disable_bgp_route_propagation": draw.random() < 0.5,
                    "routes": {prefix.replace("/", "-"): {"prefix": prefix, **udr(draw, number)} for prefix in wanted},
                }
        regions[f"r{number}"] = {"vnets": spaces}
        for place in range(draw.randrange(1, 3)):
            settings = {"as_override": draw.random() < 0.8, "enable_ip_forwarding": draw.random() < 0.9, "prepend": draw.choice([0, 0, 2])}
            if draw.random() < 0.2:
                settings["neighbors"] = {f"rs{number}": {"instances": [0]}}
            nvas[f"nva{number}{place}"] = {
                "subnet": f"hub{number}/nva",
                "ip": f"10.{number}.0.{4 + place}",
                "asn": 65000 + 10 * number + place,
                **settings,
            }
    peerings += [
        {"from": "hub1", "to": "hub2", "allow_forwarded_traffic": True},
        {"from": "hub2", "to": "hub1", "allow_forwarded_traffic": True},
    ]
    if draw.random() < 0.3:
        peerings += [{"from": "s10", "to": "s20"}, {"from": "s20", "to": "s10"}]
    kind = "tunnels" if draw.random() < 0.7 else "bgp_sessions"
    between = [
        {"between": [one, other], **({"type": "vxlan"} if kind == "tunnels" else {})} for one in nvas for other in nvas if one[3] < other[3]
    ]
    design = {
        "name": f"random-{seed}",
        "regions": regions,
        "peerings": peerings,
        "route_servers": {
            f"rs{number}": {"vnet": f"hub{number}", "peers": [nva for nva in nvas if nva[3] == str(number)]} for number in (1, 2)
        },
        "nvas": nvas,
        "vms": vms,
        "route_tables": tables,
        kind: between,
    }
    return parse_topology(json.dumps(design)).topology


def udr(draw: random.Random, number: int) -> dict[str, Any]:
    """Where a user-defined route leads: to the region's NVA as a rule."""
    kind = draw.choice(["VirtualAppliance", "VirtualAppliance", "VirtualAppliance", "None", "Internet"])
    return {"next_hop_type": kind, **({"next_hop_ip": f"10.{number}.0.4"} if kind == "VirtualAppliance" else {})}


UDR_PREFIXES = ["10.0.0.0/8", "10.20.0.0/16", "0.0.0.0/0", "10.10.0.0/16", "10.11.1.0/24", "10.20.0.0/24", "10.21.0.0/17", "192.168.7.0/24"]
"""Prefixes of ranges, of what is in them and of what is nobody's: spokes differ in which of them they have routes to."""


def shape(walks: tuple[Walk, ...], topology: Topology) -> set[tuple[str, tuple[str, ...], str]]:
    """What a class has in common: verdicts, the NVAs on the way, the rule of the reason."""
    return {(walk.verdict, tuple(node for node in walk.nodes if node in topology.nvas), walk.reason.partition(":")[0]) for walk in walks}


@pytest.mark.parametrize("seed", range(60))
def test_every_pair_of_machines_is_as_its_classes(seed: int) -> None:
    topology = inhabited(random_design(seed))
    proof = prove(topology, converge(topology))
    classes = Classes(proof.tracer.control, proof.tracer.index)
    known: dict[Hashable, set[Any]] = {}
    for pair in proof.pairs:
        if isinstance(pair.target, Endpoint):
            known[classes.conversation(pair.source, pair.target)] = shape(pair.walks, topology)
    ends = classes.endpoints
    for one in ends:
        for other in ends:
            if one.node != other.node:
                key = classes.conversation(one, other)
                assert key in known, (one, other)
                assert shape(proof.tracer.traces(one.node, other.address), topology) == known[key], (one, other)


@pytest.mark.parametrize("seed", range(40))
def test_decisions_of_whole_tables_are_those_of_single_lookups(seed: int) -> None:
    topology = inhabited(random_design(seed))
    plane = converge(topology)
    near = [parse(prefix)[0] + step for each in plane.domains for prefix in static(each).rows for step in (-1, 0, 1)]
    addresses = [each for each in near if 0 <= each < 1 << 32]
    decisions = Decisions(plane, addresses)
    for domain in plane.domains:
        for home in (0, 1):
            table = Table(domain, plane.injected(domain.hub, home) if domain.hub is not None else NOTHING)
            rows = [table.lookup(address) for address in addresses]
            single = [(row.next_hop_type, row.source, row.next_hops, parse(row.prefix)[1]) if row else None for row in rows]
            vector = decisions.of(domain, home)
            numbers = [vector[decisions.place(address)] for address in addresses]
            assert len(set(zip(single, numbers, strict=True))) == len(set(single))
            assert all((number == NO_ROUTE) == (row is None) for row, number in zip(single, numbers, strict=True))


def test_route_tables_of_their_own_do_not_make_every_pair_of_spokes_another_conversation() -> None:
    """A ring: each spoke has a route of its own to the next one."""
    proof = proof_of(ring(12))
    between = [pair for pair in proof.pairs if isinstance(pair.target, Endpoint) and {pair.source.kind, pair.target.kind} == {"vm"}]
    assert proof.classes > 12
    assert len(between) < 12 * 11 / 2
    assert {pair.walks[0].nodes[1] for pair in between if pair.delivered} == {"nva"}


def ring(spokes: int) -> Topology:
    names = [f"s{number}" for number in range(spokes)]
    spaces = {"hub": {"address_space": ["10.0.0.0/16"], "subnets": {"nva": "10.0.0.0/24"}}}
    spaces |= {
        name: {"address_space": [f"10.{place}.0.0/16"], "subnets": {"w": f"10.{place}.0.0/24"}} for place, name in enumerate(names, 1)
    }
    following = dict(zip(names, (*names[1:], names[0]), strict=True))
    tables = {
        name: {"subnets": [f"{name}/w"], "routes": {"next": {**TO_NVA, "prefix": spaces[following[name]]["address_space"][0]}}}  # type: ignore[index]
        for name in names
    }
    sides = [{"from": one, "to": other, "allow_forwarded_traffic": True} for name in names for one, other in (("hub", name), (name, "hub"))]
    design = {
        "name": "ring",
        "regions": {"r": {"vnets": spaces}},
        "peerings": sides,
        "nvas": {"nva": {"subnet": "hub/nva", "ip": "10.0.0.4", "asn": 65001}},
        "vms": {f"vm-{name}": {"subnet": f"{name}/w"} for name in names},
        "route_tables": tables,
    }
    return parse_topology(json.dumps(design)).topology


TO_NVA = {"next_hop_type": "VirtualAppliance", "next_hop_ip": "10.0.0.4"}


def test_classes_are_fewer_than_machines() -> None:
    grouped = [len(Classes(proof.tracer.control, proof.tracer.index).groups) for proof in map(proof_of, map(random_design, range(10)))]
    machines = [len(inhabited(random_design(seed)).vms) + len(random_design(seed).nvas) for seed in range(10)]
    assert sum(grouped) < sum(machines)
