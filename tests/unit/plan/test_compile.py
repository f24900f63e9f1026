"""The compiler: same input, same bytes; names that fit the kernel; configurations that FRR itself accepts."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.errors import InputError
from testbed.model.loader import parse_topology
from testbed.model.topology import Circuit, Link
from testbed.plan.compile import compile_plan
from testbed.plan.delay_lines import delay_lines
from testbed.plan.templates import Templates, load_templates
from testbed.plan.types import Capabilities, Plan, Shape

from . import designs

POLICIES = """
  nva3:
    subnet: hub1/nva
    asn: 65003
    as_path_exclude: [65515]
    prepend: {10.50.0.0/16: 2, 10.51.0.0/16: 2, 10.52.0.0/16: 1}
    advertise: [10.50.0.0/16, 10.51.0.0/16, 10.52.0.0/16]
    default_originate: true
    neighbors: {rs1: {communities: [no-advertise, "65003:7"], next_hop: 10.1.0.100, instances: [1]}}
"""


def policies() -> str:
    text = designs.DUAL_REGION.replace("vms:", f"{POLICIES.strip(chr(10))}\nvms:", 1).replace("peers: [nva1]", "peers: [nva1, nva3]")
    return text + designs.OVERLAY


@pytest.fixture(scope="module")
def plan() -> Plan:
    return designs.compiled(designs.overlay())


def test_the_plan_survives_json(plan: Plan) -> None:
    assert msgspec.json.decode(msgspec.json.encode(plan), type=Plan) == plan


def test_golden_nva(plan: Plan) -> None:
    node = plan.node("nva1")
    assert designs.golden("nva1.json", msgspec.json.format(msgspec.json.encode(node), indent=1).decode() + "\n")
    assert designs.golden("nva1.bgpd.conf", node.files["bgpd.conf"])


def test_golden_route_server(plan: Plan) -> None:
    assert designs.golden("rs1-0.bgpd.conf", plan.node("rs1-0").files["bgpd.conf"])


def test_golden_policies() -> None:
    conf = designs.compiled(parse_topology(policies()).topology).node("nva3").files["bgpd.conf"]
    assert designs.golden("nva3-policies.bgpd.conf", conf)


def test_golden_no_overlay() -> None:
    conf = designs.compiled(designs.no_overlay()).node("nva1").files["bgpd.conf"]
    assert designs.golden("nva1-no-overlay.bgpd.conf", conf)


@pytest.mark.parametrize("text", [policies(), designs.DUAL_REGION + designs.NO_OVERLAY], ids=["policies", "no overlay"])
def test_frr_accepts_every_configuration(text: str, tmp_path: Path) -> None:
    if shutil.which("vtysh") is None:
        pytest.skip("FRR is not installed")
    for node in designs.compiled(parse_topology(text).topology).nodes:
        for name, content in node.files.items():
            path = tmp_path / name
            path.write_text(content.replace("{dir}", str(tmp_path)))
            found = subprocess.run(["vtysh", "-C", "-f", str(path)], capture_output=True, text=True, check=False)
            assert found.returncode == 0, f"{node.name} {name}: {found.stdout}{found.stderr}"


def test_the_nva_reaches_what_bgp_must_not_decide(plan: Plan) -> None:
    lines = plan.node("nva1").setup
    assert "route add 10.1.1.0/26 via 10.1.0.1 dev eth0" in lines  # RS7
    assert "route add 10.2.0.4/32 via 10.1.0.1 dev eth0" in lines  # the tunnel's outer end, or the tunnel swallows itself
    assert "link add vx0 type vxlan id 100 local 10.1.0.4 remote 10.2.0.4 dstport 4789 nolearning" in lines
    assert "route add 10.2.0.4/32 via 10.1.0.1 dev eth0" in designs.compiled(designs.no_overlay()).node("nva1").setup


def test_policies_stand_before_the_router_and_filters_before_permits() -> None:
    conf = designs.compiled(parse_topology(policies()).topology).node("nva3").files["bgpd.conf"]
    assert conf.index("route-map TO-rs1 permit 100") < conf.index("router bgp 65003")
    assert conf.index("route-map TO-rs1 deny 5") < conf.index("route-map TO-rs1 permit 21")
    assert "neighbor 10.1.1.4 " not in conf  # RS3: this NVA peers with one instance only


def test_one_filter_can_be_switched_off() -> None:
    text = designs.DUAL_REGION.replace("nva1: {subnet", "nva1: {filter_route_server_routes: false, subnet")
    conf = designs.compiled(parse_topology(text).topology).node("nva1").files["bgpd.conf"]
    assert "deny" not in conf


def test_sessions(plan: Plan) -> None:
    found = [(session.kind, session.nodes, session.addresses) for session in plan.sessions]
    assert found == [
        ("route_server", ("nva1", "rs1-0"), ("10.1.0.4", "10.1.1.4")),
        ("route_server", ("nva1", "rs1-1"), ("10.1.0.4", "10.1.1.5")),
        ("route_server", ("nva2", "rs2-0"), ("10.2.0.4", "10.2.1.4")),
        ("route_server", ("nva2", "rs2-1"), ("10.2.0.4", "10.2.1.5")),
        ("overlay", ("nva1", "nva2"), ("198.18.0.0", "198.18.0.1")),
    ]


def test_what_the_machine_cannot_do_is_said_and_not_built(plan: Plan) -> None:
    assert plan.unsupported == ()
    hubs = next(link for link in plan.peerings if link.kind == "veth")
    assert hubs.shape == Shape(0.04, rate=1e9)
    unable = designs.compiled(designs.overlay(), capabilities=Capabilities(rate=False))
    assert unable.unsupported == ("links.region1-region2.rate: this kernel cannot shape a link; it is built without a limit",)
    assert next(link for link in unable.peerings if link.kind == "veth").shape.rate is None


def test_a_link_that_can_change_nothing_is_told() -> None:
    text = designs.DUAL_REGION.replace("  - {from: hub1, to: hub2, allow_forwarded_traffic: true}\n", "").replace(
        "  - {from: hub2, to: hub1, allow_forwarded_traffic: true}\n", ""
    )
    apart = designs.compiled(parse_topology(text).topology)
    assert apart.unsupported == ("links.region1-region2: no peering joins these regions, so it changes nothing",)
    public = designs.compiled(
        parse_topology(f"{designs.DUAL_REGION}\ntunnels: [{{type: ipsec, between: [nva1, nva2], over: public}}]\n").topology
    )
    assert public.unsupported == ("tunnels[0]: it goes over the Internet, where `links` changes nothing: that is for peerings",)


def test_the_lines_of_a_circuit_are_as_far_as_declared() -> None:
    topology = designs.on_premises()
    circuit = Circuit(gateways={"er1": Link(delay=0.02, loss=1)}, line=Link(delay=0.005, jitter=0.001, rate=1e8))
    far = topology.model_copy(update={"circuits": {**topology.circuits, "london": circuit}})
    plan = designs.compiled(far)
    shapes = {wire.nodes: wire.shape for wire in plan.wires}
    for number in (0, 1):
        assert shapes["er1-0", f"london-msee{number}"] == shapes["er1-1", f"london-msee{number}"] == Shape(0.02, loss=1)
        assert shapes[f"london-msee{number}", "paris"] == Shape(0.005, 0.001, rate=1e8)
    assert shapes["paris", "client"] == Shape(), "a site's own network"
    assert [(line.process, len(line.spans)) for line in delay_lines(plan)] == [("delay-london", 6)]
    unable = designs.compiled(far, capabilities=Capabilities(rate=False))
    assert unable.unsupported == ("circuits.london.line.rate: this kernel cannot shape a link; it is built without a limit",)


def test_delay_is_the_kernels_work_where_it_can_and_a_process_elsewhere(plan: Plan) -> None:
    assert [span.shape.delay for line in delay_lines(plan) for span in line.spans] == [0.04]
    assert delay_lines(designs.compiled(designs.overlay(), capabilities=Capabilities(netem=True))) == ()


def test_a_peering_added_later_renumbers_nothing() -> None:
    text = designs.DUAL_REGION.replace("  - {from: hub1, to: spoke11, allow_gateway_transit: true}\n", "")
    before, after = designs.compiled(parse_topology(_half_removed(text)).topology), designs.compiled(designs.overlay())
    assert before.nics() == after.nics()
    assert before.bridges == after.bridges
    assert set(before.peerings) < set(after.peerings)


def _half_removed(text: str) -> str:
    return text.replace("  - {from: spoke11, to: hub1, use_remote_gateways: true, allow_forwarded_traffic: true}\n", "")


def test_the_users_own_configuration_is_used_as_it_is() -> None:
    text = designs.DUAL_REGION.replace("nva1: {subnet", "nva1: {frr_config: my.conf, subnet")
    topology = parse_topology(text).topology
    own = "router bgp 65001\n neighbor {{ not a template }}\n"
    node = compile_plan(topology, templates={**load_templates(), "user/nva1": own}).node("nva1")
    assert node.files["frr.conf"] == own
    assert [daemon.name for daemon in node.daemons] == ["zebra", "bfdd", "staticd", "bgpd"]
    assert node.daemons[-1].start[0][-1] == "-b"
    with pytest.raises(InputError, match=r"nvas\.nva1\.frr_config"):
        designs.compiled(topology)


@pytest.mark.parametrize(
    ("broken", "line", "words"),
    [
        ("a\n{{ missing }}\n", 2, "'missing' is undefined"),
        ("a\nb\n{% if %}\n", 3, "Expected an expression"),
        ("{{ 1 / 0 }}\n", 1, "division by zero"),
    ],
)
def test_a_broken_template_is_named_with_its_line(broken: str, line: int, words: str) -> None:
    with pytest.raises(InputError) as caught:
        designs.compile_with({**load_templates(), "nva.conf.j2": broken})
    problem = caught.value.problems[0]
    assert (problem.file, problem.line) == ("frr-configs/nva.conf.j2", line)
    assert words in problem.message


def test_a_missing_template_is_named() -> None:
    with pytest.raises(InputError, match=r"frr-configs/nothing\.j2"):
        Templates({}).render("nothing.j2")


def test_an_empty_folder_is_no_set_of_templates(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no FRR templates"):
        load_templates(tmp_path)


def test_a_community_cannot_carry_a_command() -> None:
    text = policies().replace("no-advertise, ", '"no-advertise\\n neighbor 1.2.3.4 remote-as 1", ')
    with pytest.raises(InputError):
        designs.compiled(parse_topology(text).topology)


@given(
    spokes=st.integers(0, 12),
    vms=st.integers(0, 6),
    nvas=st.integers(0, 8),
    lab=st.from_regex(r"[a-z0-9][a-z0-9\-]{0,39}", fullmatch=True),
)
@settings(max_examples=25, deadline=None)
def test_same_topology_same_bytes_and_names_that_fit(spokes: int, vms: int, nvas: int, lab: str) -> None:
    text = _design(spokes, vms, nvas)
    first, second = (msgspec.json.encode(designs.compiled(parse_topology(text).topology, lab)) for _ in range(2))
    assert first == second
    plan = msgspec.json.decode(first, type=Plan)
    ids = [
        plan.fabric,
        *(bridge.id for bridge in plan.bridges),
        *(node.id for node in plan.nodes),
        *(nic.id for nic in plan.nics()),
        *(end.id for link in plan.peerings for end in link.ends),
    ]
    assert len(set(ids)) == len(ids)
    assert all(len(each) <= 15 and each.startswith(plan.lab_id) for each in ids)
    macs = [nic.mac for nic in plan.nics()]
    assert len(set(macs)) == len(macs)
    assert all(mac.startswith("02:") for mac in macs)
    ports = [(nic.bridge, nic.port) for nic in plan.nics()] + [(end.bridge, end.port) for link in plan.peerings for end in link.ends]
    assert len(set(ports)) == len(ports)
    assert len({bridge.dpid for bridge in plan.bridges}) == len(plan.bridges)
    inner = [address for tunnel in plan.tunnels for address in tunnel.inner]
    assert len(set(inner)) == len(inner)


def _design(spokes: int, vms: int, nvas: int) -> str:
    lines = ["name: any", "regions:", "  r:", "    vnets:"]
    lines.append("      hub: {address_space: [10.0.0.0/16], subnets: {nva: 10.0.0.0/24, RouteServerSubnet: 10.0.1.0/26}}")
    lines += [f"      s{n}: {{address_space: [10.{n + 1}.0.0/16], subnets: {{w: 10.{n + 1}.0.0/24}}}}" for n in range(spokes)]
    lines.append("peerings:")
    for n in range(spokes):
        lines += [f"  - {{from: hub, to: s{n}}}", f"  - {{from: s{n}, to: hub}}"]
    lines += [f"route_servers: {{rs: {{vnet: hub, peers: [{', '.join(f'n{n}' for n in range(nvas))}]}}}}", "nvas:"]
    lines += [f"  n{n}: {{subnet: hub/nva, asn: {65001 + n}}}" for n in range(nvas)]
    lines.append("vms:")
    lines += [f"  v{n}-{m}: {{subnet: s{n}/w}}" for n in range(spokes) for m in range(vms)]
    lines.append("tunnels:")
    lines += [f"  - {{type: vxlan, between: [n{n}, n{n + 1}]}}" for n in range(nvas - 1)]
    return "\n".join(line for number, line in enumerate(lines) if not _empty(lines, number)) + "\n"


def _empty(lines: list[str], number: int) -> bool:
    """A section header without anything below it."""
    following = lines[number + 1] if number + 1 < len(lines) else ""
    return lines[number] in ("peerings:", "nvas:", "vms:", "tunnels:") and not following.startswith(" ")
