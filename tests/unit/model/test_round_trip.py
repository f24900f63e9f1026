"""What must hold for all designs: what is written out can be read back as the same, and nothing that is read can crash the loader."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from testbed.errors import InputError
from testbed.model.checks.spaces import overlaps
from testbed.model.design import repeated
from testbed.model.document import dotted
from testbed.model.loader import parse_topology, plain_value, read_document
from testbed.model.references import check_references
from testbed.model.topology import Topology

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def designs(draw: st.DrawFn) -> dict[str, Any]:
    """Designs that are right: some hubs with spokes, Route Servers and NVAs, tunnels, route tables, gateways and sites."""
    hubs = draw(st.integers(1, 3))
    spokes = draw(st.integers(0, 3))
    regions: dict[str, Any] = {}
    design: dict[str, Any] = {"name": "x", "regions": regions, "peerings": [], "vms": {}, "nvas": {}, "route_servers": {}, "links": {}}
    flag = st.booleans()
    for hub in range(hubs):
        subnets = {"nva": f"10.{hub}.0.0/24", "RouteServerSubnet": f"10.{hub}.1.0/26", "GatewaySubnet": f"10.{hub}.2.0/27"}
        vnets: dict[str, Any] = {f"hub{hub}": {"address_space": [f"10.{hub}.0.0/16"], "subnets": subnets}}
        regions[f"region-{hub}"] = {"vnets": vnets}
        for spoke in range(spokes):
            name = f"spoke{hub}{spoke}"
            prefix = f"10.{16 * (hub + 1) + spoke}.0.0/16"
            vnets[name] = {"address_space": [prefix], "subnets": {"w.1": prefix.replace("/16", "/24")}}
            transit = draw(flag)
            forwarded = draw(flag)
            design["peerings"] += [
                {"from": f"hub{hub}", "to": name, "allow_gateway_transit": transit},
                {"from": name, "to": f"hub{hub}", "use_remote_gateways": transit, "allow_forwarded_traffic": forwarded},
            ]
            design["vms"][f"vm{hub}{spoke}"] = {"subnet": f"{name}/w.1"}
        design["nvas"][f"nva{hub}"] = {
            "subnet": f"hub{hub}/nva",
            "asn": draw(st.sampled_from([65001, 65100, 4200000000, 65555])),
            "as_override": draw(flag),
            "advertise": ["0.0.0.0/0"],
            "prepend": draw(st.sampled_from([0, 2, {"0.0.0.0/0": 3}])),
            "neighbors": draw(st.sampled_from([{}, {f"rs{hub}": {"communities": ["no-advertise", "65001:1"], "instances": [1]}}])),
        }
        design["route_servers"][f"rs{hub}"] = {"vnet": f"hub{hub}", "peers": [f"nva{hub}"], "allow_branch_to_branch": draw(flag)}
    if hubs > 1:
        design["peerings"] += [{"from": "hub0", "to": "hub1"}, {"from": "hub1", "to": "hub0"}]
        design["tunnels"] = [{"type": draw(st.sampled_from(["vxlan", "ipsec"])), "between": ["nva0", "nva1"], "bgp": draw(flag)}]
        design["links"]["region-1-region-0"] = {
            "delay": draw(st.sampled_from(["40ms", "1s", 0.5, 0])),
            "rate": draw(st.sampled_from(["1gbit", None])),
        }
    design["gateways"] = {"er": {"type": "expressroute", "vnet": "hub0"}, "vpn": {"type": "vpn", "vnet": "hub0"}} if draw(flag) else {}
    if design["gateways"]:
        line = {"delay": "5ms", "jitter": draw(st.sampled_from([0, "1ms"])), "loss": 0.5, "reorder": 1, "rate": "200mbit"}
        design["circuits"] = {"london": {"gateways": draw(st.sampled_from([["er"], {"er": {}}, {"er": line}])), "line": line}}
        circuits = draw(st.sampled_from([["london"], {"london": {"prepend": 2}}]))
        design["sites"] = {"dc": {"asn": 65200, "prefixes": ["172.16.0.0/16"], "circuits": circuits, "connections": ["vpn"]}}
        design["sites"]["dc"]["hosts"] = {"client": "172.16.0.10"}
    routes = {"out": {"prefix": "0.0.0.0/0", "next_hop_type": "Internet"}, "in": {"prefix": "10.9.0.0/16", "next_hop_type": "None"}}
    design["route_tables"] = {"rt": {"subnets": ["hub0/nva"], "routes": routes}} if draw(flag) else {}
    design["timers"] = {
        "bgp": draw(st.sampled_from(["azure", {"keepalive": "1s", "hold": "3s"}])),
        "bfd": draw(st.sampled_from([None, {}])),
    }
    return design


def dumped(topology: Topology) -> str:
    return json.dumps(topology.model_dump(mode="json", by_alias=True))  # JSON is YAML


@given(designs())
@QUICK
def test_what_is_written_out_is_read_back_as_the_same(design: dict[str, Any]) -> None:
    topology = parse_topology(json.dumps(design)).topology
    assert parse_topology(dumped(topology)).topology == topology
    assert check_references(topology) == []


@given(designs(), st.data())
@QUICK
def test_any_value_replaced_by_anything_is_accepted_or_refused_with_its_place(design: dict[str, Any], data: st.DataObject) -> None:
    places = list(_places(design))
    path = data.draw(st.sampled_from(places))
    junk = data.draw(
        st.sampled_from([None, True, -1, 1.5, "", "x", "10.0.0.1/8", "::/0", "hub0/none", "hub0", [], {}, [[]], {"a": {"b": 1}}, 10**18])
    )
    changed = _replaced(design, path, junk)
    error = refusal(json.dumps(changed, indent=1))
    assert error is None or error.problems
    assert error is None or all(problem.file == "x.yaml" and problem.message for problem in error.problems)


def refusal(text: str) -> InputError | None:
    """The error a text is refused with; any other exception is the test's failure."""
    try:
        parse_topology(text, "x.yaml")
    except InputError as error:
        return error
    return None


def _places(value: Any, at: tuple[Any, ...] = ()) -> Any:
    if at:
        yield at
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from _places(inner, (*at, key))


def _replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    first, *rest = path
    if isinstance(value, dict):
        return {key: _replaced(inner, tuple(rest), new) if key == first else inner for key, inner in value.items()}
    return [_replaced(inner, tuple(rest), new) if index == first else inner for index, inner in enumerate(value)]


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=200))
@settings(max_examples=200, deadline=None)
def test_no_text_does_more_than_be_refused(text: str) -> None:
    error = refusal(text)
    assert error is not None
    assert error.problems


@given(st.text(alphabet="{}[]:,-?!&*|>'\"%@`#~ \nab1<", max_size=80))
@settings(max_examples=300, deadline=None)
def test_no_yaml_does_more_than_be_refused(text: str) -> None:
    error = refusal(text)
    assert error is not None
    assert error.problems


@given(designs())
@QUICK
def test_every_path_leads_to_the_line_of_its_value(design: dict[str, Any]) -> None:
    text = json.dumps(design, indent=1)
    lines = text.splitlines()
    document = read_document(text, "x")
    for path in _places(design):
        line = lines[document.lines.at(dotted(path)) - 1].strip()
        if isinstance(path[-1], str):
            assert line.startswith(f'"{path[-1]}":')


@given(st.text(max_size=30))
def test_an_unquoted_value_is_plain_data(text: str) -> None:
    assert plain_value(text) is None or isinstance(plain_value(text), bool | int | float | str)


networks = st.builds(lambda number, length: _network(number, length), st.integers(0, 2**12 - 1), st.integers(20, 32))


def _network(number: int, length: int) -> Any:
    from ipaddress import IPv4Network

    return IPv4Network(((10 << 24) + number, length), strict=False)


@given(st.lists(networks, max_size=12))
def test_overlaps_are_found_as_by_comparing_all_pairs(found: list[Any]) -> None:
    labelled = [(network, str(number)) for number, network in enumerate(found)]
    by_sweep = {inner[1] for inner, _ in overlaps(labelled)}
    pairs = [(one, other) for one in labelled for other in labelled if one[1] != other[1] and one[0].overlaps(other[0])]
    assert bool(by_sweep) == bool(pairs)
    assert all(inner[0].subnet_of(outer[0]) for inner, outer in overlaps(labelled))
    # leaving the ones found out, nothing overlaps
    assert not list(overlaps(each for each in labelled if each[1] not in by_sweep))


@given(st.lists(st.sampled_from("abc")))
def test_repeated_names_are_those_that_were_there_before(names: list[str]) -> None:
    assert list(repeated(names)) == [(number, name) for number, name in enumerate(names) if name in names[:number]]
