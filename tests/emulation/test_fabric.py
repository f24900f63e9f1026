"""The fabric of a small lab without its controller: what was made, under which names, and that packets cross it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from testbed.emulation import client, enter, mininet_lab, netns, openvswitch, ovsdb, readiness
from testbed.emulation.client import LabClient
from testbed.plan import addressing
from testbed.plan.types import Plan, Shape, Wire
from testbed.wait import wait_until

pytestmark = pytest.mark.root


def silent(stage: str, seconds: float) -> None:
    """Progress nobody looks at."""


@pytest.fixture
def lab(small_plan: Callable[[str], Plan], lab_name: str, down: Callable[[str], float]) -> Iterator[LabClient]:
    """A lab whose switches a test programs itself."""
    yield client.up(small_plan(lab_name), silent, with_controller=False)
    down(lab_name)


def in_node(lab: LabClient, node: str, *argv: str) -> str:
    done = enter.run(lab.plan, lab.paths, node, argv)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def connect_statically(lab: LabClient) -> None:
    """Flows by hand between vm1 (spoke1), hub1 and vm2 (hub2): ARP is answered, the next bridge is reached by the peering's ports."""
    plan = lab.plan
    nics, bridges = {nic.label: nic for nic in plan.nics()}, {bridge.vnet: bridge.id for bridge in plan.bridges}
    ports = {(end.bridge, end.peer_vnet): end.port for link in plan.peerings for end in link.ends}
    arp = (
        "arp,arp_op=1,actions=move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],set_field:12:34:56:78:9a:bc->eth_src,set_field:2->arp_op,"
        "move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[],set_field:12:34:56:78:9a:bc->arp_sha,move:NXM_OF_ARP_SPA[]->NXM_NX_REG0[],"
        "move:NXM_OF_ARP_TPA[]->NXM_OF_ARP_SPA[],move:NXM_NX_REG0[]->NXM_OF_ARP_TPA[],in_port"
    )
    hops = {
        "spoke1": {"10.11": nics["vm1"].port, "10.2": ports[bridges["spoke1"], "hub1"]},
        "hub1": {"10.11": ports[bridges["hub1"], "spoke1"], "10.2": ports[bridges["hub1"], "hub2"]},
        "hub2": {"10.11": ports[bridges["hub2"], "hub1"], "10.2": nics["vm2"].port},
    }
    macs = {"10.11": nics["vm1"].mac, "10.2": nics["vm2"].mac}
    for vnet, ways in hops.items():
        flows = [arp] + [f"ip,ip_dst={net}.0.0/16,actions=set_field:{macs[net]}->eth_dst,output:{port}" for net, port in ways.items()]
        target = f"unix:{lab.paths.ovs / bridges[vnet]}.mgmt"
        subprocess.run(["ovs-ofctl", "-O", "OpenFlow13", "bundle", target, "-"], input="\n".join(f"flow add {flow}" for flow in flows),
                       text=True, check=True, capture_output=True)  # fmt: skip


def test_packets_cross_patch_and_veth_and_tcp_works_at_the_rate_of_the_link(lab: LabClient) -> None:
    connect_statically(lab)
    assert "ttl=64" in in_node(lab, "vm1", "ping", "-c1", "-W2", "10.2.2.4")  # the fabric does not count as a hop
    server = subprocess.Popen(
        ["nsenter", f"--net=/run/netns/{lab.plan.node('vm2').id}", "iperf3", "-s", "-1", "-4"], stdout=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: None if readiness.listening(lab.plan.node("vm2").id, 5201) else "no server", what="iperf3", budget=3)
        text = in_node(lab, "vm1", "iperf3", "-c", "10.2.2.4", "-t", "2", "-f", "m", "--connect-timeout", "3000")
    finally:
        server.kill()
        server.wait()
    received = next(line for line in text.splitlines() if "receiver" in line)
    rate = float(received.split("Mbits/sec")[0].split()[-1])
    assert 10 < rate < 21, text


def test_every_port_has_the_plans_number_and_full_name(lab: LabClient) -> None:
    plan = lab.plan
    with ovsdb.Connection(openvswitch.database_socket(lab.paths)) as connection:
        rows = {row["name"]: row for row in connection.select("Interface", ["name", "ofport", "external_ids"])}
        bridges = {row["name"]: row for row in connection.select("Bridge", ["name", "fail_mode", "datapath_id", "protocols"])}
    for nic in plan.nics():
        assert rows[nic.id]["ofport"] == nic.port
        assert ovsdb.from_map(rows[nic.id]["external_ids"])["name"] == nic.label
    for bridge in plan.bridges:
        assert (bridges[bridge.id]["fail_mode"], bridges[bridge.id]["protocols"]) == ("secure", "OpenFlow13")
        assert int(bridges[bridge.id]["datapath_id"], 16) == bridge.dpid


def test_nodes_have_the_plans_interfaces_addresses_and_settings(lab: LabClient) -> None:
    nic = next(nic for nic in lab.plan.nics() if nic.label == "nva1")
    shown = in_node(lab, "nva1", "ip", "-d", "addr", "show", "dev", "eth0")
    assert nic.mac in shown
    assert f"inet {nic.ip}/{nic.prefix_len}" in shown
    assert "alias nva1" in shown
    assert f"default via {nic.gateway} dev eth0" in in_node(lab, "nva1", "ip", "route")
    assert "LOOPBACK,UP" in in_node(lab, "nva1", "ip", "link", "show", "lo")
    with netns.inside(lab.plan.node("nva1").id):
        missing = netns.write_sysctls({})
        forwarding = subprocess.run(["sysctl", "-n", "net.ipv4.ip_forward"], capture_output=True, text=True, check=True).stdout
    assert (missing, forwarding.strip()) == ({}, "1")
    assert "tx-checksumming: off" in in_node(lab, "vm1", "ethtool", "-k", "eth0")


def test_rate_survives_a_reconfiguration_of_the_switch(lab: LabClient) -> None:
    link = next(link for link in lab.plan.peerings if link.kind == "veth")
    with ovsdb.Connection(openvswitch.database_socket(lab.paths)) as connection:
        connection.transact(openvswitch.remove_ports(connection, [lab.plan.nics()[0].id]))
    for end in link.ends:
        assert "tbf" in in_node(lab, "fabric", "tc", "qdisc", "show", "dev", end.id)


def test_nothing_of_the_lab_is_seen_outside_its_namespaces(lab: LabClient) -> None:
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    assert lab.plan.lab_id not in links


def test_a_taken_namespace_name_is_left_alone(small_plan: Callable[[str], Plan], lab_name: str, down: Callable[[str], float]) -> None:
    plan = small_plan(lab_name)
    netns.prepare()
    netns.create([plan.nodes[2].id], lambda name: None)
    inode = netns.path(plan.nodes[2].id).stat().st_ino
    try:
        with pytest.raises(client.LabError, match="not this lab's"):
            client.up(plan, silent, with_controller=False)
        assert netns.path(plan.nodes[2].id).stat().st_ino == inode
    finally:
        netns.remove(plan.nodes[2].id)


def test_mininet_sees_the_live_lab_and_leaves_it_as_it_is(lab: LabClient) -> None:
    network = mininet_lab.attach(lab.plan, lab.paths)
    try:
        assert {node.name for node in network.hosts} == {node.name for node in lab.plan.nodes}
        assert len(network.switches) == len(lab.plan.bridges)
        assert len(network.links) == len(lab.plan.nics()) + len(lab.plan.peerings) + len(lab.plan.wires)
        assert network["vm1"].IP() == "10.11.0.4"
        assert "10.11.0.4" in network["vm1"].cmd("ip", "addr", "show", "eth0")
        assert network["vm1"].pexec("hostname -I")[0].split() == ["10.11.0.4"]
        assert "dpid:" in network["hub1"].dpctl("show")
        assert not network["hub1"].connected()
    finally:
        network.stop()
    assert lab.status()["state"] == "up"
    assert in_node(lab, "vm1", "ip", "-o", "addr", "show", "eth0")


def test_mininets_prompt_runs_commands_and_leaves_the_lab_up(lab: LabClient, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("nodes\nnet\nvm1 echo hello from $(hostname -I)\n")
    code = (
        "import sys; from testbed.emulation import client, mininet_lab\n"
        "lab = client.LabClient(sys.argv[1]); mininet_lab.prompt(lab.plan, lab.paths, sys.argv[2])"
    )
    argv = [sys.executable, "-c", code, lab.lab, str(script)]
    done = subprocess.run(argv, stdin=subprocess.PIPE, capture_output=True, text=True, timeout=20, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "nva1" in said
    assert "hub1" in said
    assert "hello from 10.11.0.4" in said
    assert lab.status()["deaths"] == []


def test_wires_and_packet_filters(small_plan: Callable[[str], Plan], lab_name: str, down: Callable[[str], float]) -> None:
    plan = small_plan(lab_name)
    wire = Wire(
        "wire", ("vm1", "vm2"), ("to-vm2", "to-vm1"), ("198.51.100.0/31", "198.51.100.1/31"),
        ("02:aa:00:00:00:01", "02:aa:00:00:00:02"), Shape(rate=1e6),
    )  # fmt: skip
    table = "table inet guard {\n chain in { type filter hook input priority 0; udp dport 9 drop; }\n}\n"
    own = {"vm1": {"setup": (*plan.node("vm1").setup, "route add 192.0.2.0/24 via 198.51.100.1 dev to-vm2")}, "vm2": {"nftables": table}}
    nodes = tuple(msgspec.structs.replace(node, **own.get(node.name, {})) for node in plan.nodes)
    lab = client.up(msgspec.structs.replace(plan, wires=(wire,), nodes=nodes), silent, with_controller=False)
    in_node(lab, "vm1", "ping", "-c1", "-W2", "198.51.100.1")
    assert "tbf" in in_node(lab, "vm1", "tc", "qdisc", "show", "dev", "to-vm2")
    assert "table inet guard" in in_node(lab, "vm2", "nft", "list", "tables")
    lab.set_link(wire=["vm2", "vm1"], up=False)
    assert enter.run(lab.plan, lab.paths, "vm1", ("ping", "-c1", "-W0.2", "198.51.100.1")).returncode != 0
    assert "192.0.2.0/24" not in in_node(lab, "vm1", "ip", "route")
    lab.set_link(wire=["vm2", "vm1"], up=True)
    assert "192.0.2.0/24 via 198.51.100.1" in in_node(lab, "vm1", "ip", "route"), "the kernel alone would not bring it back"
    in_node(lab, "vm1", "ping", "-c1", "-W2", "198.51.100.1")
    down(lab_name)


def test_a_signal_ends_the_making_of_namespaces_at_once(lab_name: str) -> None:
    """A build that is given up must not go on making namespaces while they are being removed."""
    names = [f"{addressing.lab_id(lab_name)}n{number}" for number in range(6)]
    netns.prepare()
    home = Path("/proc/thread-self/ns/net").readlink()

    def give_up(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    def configure(name: str) -> None:
        if name == names[2]:
            os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, give_up)
    try:
        with pytest.raises(KeyboardInterrupt):
            netns.create(names, configure)
        assert [name for name in names if netns.exists(name)] == names[:3]
        assert Path("/proc/thread-self/ns/net").readlink() == home
    finally:
        signal.signal(signal.SIGUSR1, before)
        for name in names:
            netns.remove(name)
