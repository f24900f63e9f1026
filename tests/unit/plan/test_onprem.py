"""Gateways, circuits, sites, the Internet and IPsec in the plan, in the flows and on a packet's way."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from testbed.azure.control_plane import converge
from testbed.errors import InputError
from testbed.model.loader import parse_topology
from testbed.plan.render import render
from testbed.plan.trace import Tracer, walk_choices
from testbed.plan.types import INTERNET, Capabilities, Plan

from . import designs
from .fake_switch import FakeFabric, overlaps


@pytest.fixture(scope="module")
def plan() -> Plan:
    return designs.compiled(designs.on_premises())


@pytest.fixture(scope="module")
def fabric(plan: Plan) -> FakeFabric:
    fabric = FakeFabric(plan)
    control = converge(designs.on_premises())
    fabric.program({hub.vnet: dict(control.injected(hub.vnet, 0)) for hub in control.hubs})
    return fabric


def test_nodes_and_wires(plan: Plan) -> None:
    kinds = {node.name: node.kind for node in plan.nodes}
    assert kinds["er1-0"] == "expressroute"
    assert kinds["vpn2-1"] == "vpn"
    assert [name for name, kind in kinds.items() if kind in ("msee", "site", "host")] == [
        "london-msee0",
        "london-msee1",
        "paris",
        "rome",
        "client",
        "guest",
    ]
    joined = [wire.nodes for wire in plan.wires]
    assert ("er1-1", "london-msee0") in joined
    assert ("london-msee1", "paris") in joined
    assert ("rome", "guest") in joined
    ends = [(node, name) for wire in plan.wires for node, name in zip(wire.nodes, wire.names, strict=True)]
    assert len(set(ends)) == len(ends)
    macs = [mac for wire in plan.wires for mac in wire.macs] + [nic.mac for nic in plan.nics()]
    assert len(set(macs)) == len(macs)


@pytest.mark.parametrize("name", ["rs1-0", "er1-0", "vpn2-0", "london-msee0", "paris"])
def test_golden_configurations(plan: Plan, name: str) -> None:
    assert designs.golden(f"{name}-onprem.bgpd.conf", plan.node(name).files["bgpd.conf"])


def test_frr_accepts_every_configuration(plan: Plan, tmp_path: Path) -> None:
    for node in plan.nodes:
        for name in (each for each in node.files if each in ("bgpd.conf", "zebra.conf", "bfdd.conf")):
            path = tmp_path / f"{node.name}-{name}"
            path.write_text(node.files[name].replace("{dir}", str(tmp_path)))
            found = subprocess.run(["vtysh", "-C", "-f", str(path)], capture_output=True, text=True, check=False)
            assert found.returncode == 0, f"{node.name} {name}: {found.stdout}{found.stderr}"


def test_gateways_report_and_route_servers_wait_for_them(plan: Plan) -> None:
    gateway = plan.node("er1-0")
    bgpd = next(daemon for daemon in gateway.daemons if daemon.name == "bgpd")
    assert "bmp" in bgpd.argv
    assert "-Z" not in bgpd.argv
    assert "neighbor 10.1.2.4 passive" in plan.node("rs1-0").files["bgpd.conf"]
    assert "route add 10.11.0.0/16 via 10.1.2.1 dev eth0" in gateway.setup
    assert not any(session.kind == "gateway" and "rs2-0" in session.nodes for session in plan.sessions)  # GW2: branch-to-branch off


def test_looped_paths_are_accepted_for_show_alone(plan: Plan) -> None:
    for name in ("rs1-0", "er1-0"):
        conf = plan.node(name).files["bgpd.conf"]
        neighbors = conf.count(" remote-as ")
        assert conf.count(" allowas-in 10\n") == neighbors
        assert conf.count(" deny 3\n match as-path LOOPED\n") == conf.count(" match as-path LOOPED\n set local-preference 0\n") > 0
        assert ("table-map TO-KERNEL" in conf) == (name == "er1-0")  # a Route Server has no kernel routes
    assert "LOOPED" not in plan.node("london-msee0").files["bgpd.conf"]


def test_an_msee_strips_private_asns_and_filters_no_empty_path(plan: Plan) -> None:
    conf = plan.node("london-msee0").files["bgpd.conf"]
    assert "remove-private-AS all" in conf  # GW3
    assert "allowas-in" in conf
    assert "as-path OWN" not in conf  # stripping makes paths empty before the route-map sees them


def test_a_vpn_gateway_never_announces_a_default_route(plan: Plan) -> None:
    conf = plan.node("vpn2-0").files["bgpd.conf"]
    assert "ip prefix-list NEVER-TO-site seq 5 permit 0.0.0.0/0" in conf  # GW4


def test_ipsec_keys_are_not_in_the_plan(plan: Plan) -> None:
    for name in ("nva1", "nva2"):
        assert 'secret = "{secret:nva1-nva2}"' in plan.node(name).files["swanctl.conf"]
    tunnel = next(each for each in plan.tunnels if each.name == "nva1-nva2")
    assert tunnel.mtu == 1350
    assert f"ip daddr {{ {tunnel.vtep[1]} }} rt ipsec missing counter drop" in plan.node("nva1").nftables
    assert any(f"local {tunnel.vtep[0]} remote {tunnel.vtep[1]}" in line for line in plan.node("nva1").setup)


def test_the_kernel_does_esp_where_it_can() -> None:
    userspace, kernel = (
        designs.compiled(designs.on_premises(), capabilities=Capabilities(ipsec=able)).node("nva1").files["strongswan.conf"]
        for able in ("libipsec", "kernel")
    )
    assert "kernel-libipsec kernel-netlink" in userspace
    assert "kernel-libipsec " not in kernel


def test_a_dead_charon_leaves_nothing_in_the_kernel() -> None:
    stops = {
        able: {
            daemon.stop
            for node in designs.compiled(designs.on_premises(), capabilities=Capabilities(ipsec=able)).nodes
            for daemon in node.daemons
        }
        for able in ("libipsec", "kernel")
    }
    assert stops["libipsec"] == {()}
    assert (("ip", "xfrm", "state", "flush"), ("ip", "xfrm", "policy", "flush")) in stops["kernel"]


def test_a_small_pool_is_refused() -> None:
    text = designs.ON_PREMISES + "overlay_pool: 198.18.0.0/26\n"
    assert designs.compiled(parse_topology(text).topology)
    with pytest.raises(InputError, match="too small"):
        designs.compiled(parse_topology(text.replace("/26\n", "/28\n")).topology)


@pytest.mark.parametrize(
    ("source", "destination", "nic", "bridges"),
    [
        ("nva1", "203.0.113.1", "vpn2-0", ("hub1", INTERNET, "hub2")),
        ("rome", "203.0.113.9", "nva1", (INTERNET, "hub1")),
        ("vpn2-1", "203.0.113.3", "rome", ("hub2", INTERNET)),
    ],
)
def test_public_addresses_are_translated_one_to_one(
    fabric: FakeFabric, source: str, destination: str, nic: str, bridges: tuple[str, ...]
) -> None:
    sent = fabric.send(source, destination)
    assert (sent.nic, sent.bridges) == (nic, bridges), sent.reason
    own, target = fabric.index.nics[source], fabric.index.nics[nic]
    assert sent.fields["ipv4_src"] == (own.public_ip or own.ip)
    assert sent.fields["ipv4_dst"] == target.ip


def test_without_a_public_address_nothing_leaves(fabric: FakeFabric) -> None:
    for source in ("vm11", "nva2"):
        assert fabric.send(source, "203.0.113.9").reason.startswith("E9")
    assert fabric.send("nva1", "203.0.113.77").nic is None
    assert fabric.send("nva1", "203.0.113.1", ipv4_src="10.11.0.4").reason.startswith("E9")
    assert fabric.send("rome", "203.0.113.9", ipv4_src="203.0.113.1").reason.startswith("E8")


def test_gateway_transit_needs_no_allow_forwarded_traffic(fabric: FakeFabric) -> None:
    assert fabric.send("er1-0", "10.11.0.4", ipv4_src="10.100.0.10").nic == "vm11"  # P4
    assert fabric.send("nva1", "10.11.0.4", ipv4_src="10.100.0.10").nic is None


def test_flows_are_sound(fabric: FakeFabric, tmp_path: Path) -> None:
    lines = []
    for bridge in fabric.bridges.values():
        assert list(overlaps(bridge.flows.values())) == []
        lines += [render(flow) for flow in bridge.flows.values()]
    (tmp_path / "flows").write_text("\n".join(lines) + "\n")
    parsed = subprocess.run(
        ["ovs-ofctl", "-O", "OpenFlow13", "parse-flows", str(tmp_path / "flows")], capture_output=True, text=True, check=False
    )
    assert parsed.returncode == 0, parsed.stderr


def test_walks_to_and_from_sites(plan: Plan) -> None:
    control = converge(designs.on_premises())
    tracer = Tracer(plan, control)
    walk = tracer.trace("vm11", "10.100.0.10")
    assert (walk.verdict, walk.nodes) == ("delivered", ("vm11", "er1-0", "london-msee0", "paris", "client"))
    assert walk.ttl_down == 3
    assert {walk[1] for walk in walk_choices(plan, control, "vm21", "10.200.0.10")} == {"vpn2-0", "vpn2-1"}
    back = tracer.trace("client", "10.11.0.4")
    assert (back.verdict, back.nodes[-1]) == ("delivered", "vm11")
    text = designs.ON_PREMISES.replace("tunnels:", "tunnels:\n  - {type: ipsec, between: [nva1, paris]}")
    text = text.replace("circuits: [london], prepend: 1", "loopbacks: [192.168.9.1/32], circuits: {london: {advertise: [192.168.9.1/32]}}")
    over = Tracer(designs.compiled(parse_topology(text).topology), converge(parse_topology(text).topology)).trace("vm11", "10.100.0.10")
    assert over.nodes == ("vm11", "nva1", "er1-0", "london-msee0", "paris", "client")  # GW6
    assert over.visible == ("vm11", "nva1", "paris", "client")  # the circuit carries ESP alone
    assert over.ttl_down == 2
    assert tracer.trace("nva1", "10.21.0.4").tunnels == ("nva1-nva2",)
