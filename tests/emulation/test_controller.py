"""The controller on real switches with real BGP: from a session to a flow, from a death to a group, and through its own death."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from testbed.emulation import client
from testbed.emulation.client import LabClient
from testbed.errors import ExitCode, LabError
from testbed.model.loader import load_topology
from testbed.plan.compile import compile_plan
from testbed.plan.templates import load_templates
from testbed.vty import Vty
from testbed.wait import wait_until

pytestmark = pytest.mark.root

DESIGN = """
name: ctl
regions:
  region1:
    vnets:
      hub1: {address_space: [10.1.0.0/16], subnets: {nva: 10.1.0.0/24, RouteServerSubnet: 10.1.1.0/26}}
      spoke1: {address_space: [10.11.0.0/16], subnets: {workload: 10.11.0.0/24}}
      spoke2: {address_space: [10.12.0.0/16], subnets: {workload: 10.12.0.0/24}}
peerings:
  - {from: hub1, to: spoke1, allow_gateway_transit: true}
  - {from: spoke1, to: hub1, use_remote_gateways: true, allow_forwarded_traffic: true}
  - {from: hub1, to: spoke2, allow_gateway_transit: true}
  - {from: spoke2, to: hub1, use_remote_gateways: true, allow_forwarded_traffic: true}
route_servers:
  rs1: {vnet: hub1, peers: [nva1, nva2]}
nvas:
  nva1: {subnet: hub1/nva, ip: 10.1.0.4, asn: 65001, loopbacks: [192.0.2.1/32], advertise: [192.0.2.1/32]}
  nva2: {subnet: hub1/nva, ip: 10.1.0.5, asn: 65002}
vms:
  vm1: {subnet: spoke1/workload}
  vm2: {subnet: spoke1/workload}
  vm3: {subnet: spoke1/workload}
  vm4: {subnet: spoke1/workload}
  far: {subnet: spoke2/workload}
"""
PREFIX = "10.40.0.0/16"
ASNS = {"nva1": 65001, "nva2": 65002}
VMS = ("vm1", "vm2", "vm3", "vm4")


class RunningLab:
    """A lab that is up, and what the tests ask of it."""

    def __init__(self, lab: LabClient) -> None:
        self.lab = lab
        self.plan = lab.plan
        self.bridges = {bridge.vnet: bridge.id for bridge in self.plan.bridges}

    def status(self) -> dict[str, Any]:
        try:
            status: dict[str, Any] = self.lab.controller("GET", "/status")
        except LabError as error:
            return {"ready": False, "reason": str(error), "sessions": [], "errors": 0}
        return status

    def ready(self) -> str | None:
        status = self.status()
        return None if status["ready"] else str(status["reason"])

    def hops(self, prefix: str, vm: str = "vm1") -> list[str]:
        rows = self.lab.controller("GET", "/effective", nic=vm)["rows"]
        return next((row["next_hops"] for row in rows if row["prefix"] == prefix and row["source"] == "VirtualNetworkGateway"), [])

    def wait(self, check: Callable[[], object], what: str, budget: float = 8.0) -> None:
        """Wait until ``check`` is true and all that follows is in force on the switches."""
        wait_until(lambda: self.ready() or (None if check() else f"not yet: {self.status()['sessions']}"), what=what, budget=budget)

    def configure(self, node: str, *commands: str) -> None:
        with Vty(self.lab.paths.node(self.plan.node(node)) / "bgpd.vty", timeout=20.0) as vty:
            for command in ("configure terminal", *commands, "end"):
                vty.run(command)

    def announce(self, node: str, *prefixes: str, no: str = "") -> None:
        self.configure(node, f"router bgp {ASNS[node]}", "address-family ipv4 unicast", *(f"{no}network {prefix}" for prefix in prefixes))

    def kill(self, node: str, daemon: str) -> None:
        self.lab.stop_daemon(node, daemon, signal.SIGKILL)

    def journal(self, since: float) -> list[dict[str, Any]]:
        lines = (json.loads(line) for line in (self.lab.paths.dir / "log" / "journal.jsonl").read_text().splitlines())
        return [line for line in lines if line["t"] >= since]

    def ofctl(self, command: str, vnet: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        socket = f"unix:{self.lab.paths.dir}/ovs/{self.bridges[vnet]}.mgmt"
        argv = ["ovs-ofctl", "-O", "OpenFlow13", "--no-names", command, socket, *arguments]
        return subprocess.run(argv, capture_output=True, text=True, check=False)

    def differences(self, tmp_path: Path) -> str:
        """How the flows and groups of the real switches differ from what the controller says they should be."""
        found = ""
        for vnet, bridge in self.bridges.items():
            cookie = self.ofctl("dump-flows", vnet).stdout.split("cookie=")[1].split(",")[0]
            wanted = [line.split("  # ")[0] for line in self.lab.controller("GET", "/flows", bridge=bridge)[bridge]]
            file = tmp_path / bridge
            file.write_text("".join(f"cookie={cookie},{line}\n" for line in wanted))
            result = self.ofctl("diff-flows", vnet, str(file))
            found += result.stdout + result.stderr
            groups = {line.split(",")[0] for line in self.lab.controller("GET", "/groups", bridge=bridge)[bridge]}
            there = {line.strip().split(",")[0] for line in self.ofctl("dump-groups", vnet).stdout.splitlines() if "group_id" in line}
            found += "".join(f"{vnet}: {group}\n" for group in groups ^ there)
        return found

    def dynamic(self) -> list[str]:
        """What real switches hold because of BGP."""
        return [
            line
            for vnet in self.bridges
            for line in self.ofctl("dump-flows", vnet).stdout.splitlines()
            if "group:" in line or "reg4=" in line
        ]

    def trace(self, vm: str, flow: str) -> str:
        nic = next(nic for nic in self.plan.nics() if nic.label == vm)
        packet = f"in_port={nic.port},dl_src={nic.mac},{flow},nw_src={nic.ip},nw_ttl=64"
        argv = ["ovs-appctl", "-t", f"{self.lab.paths.dir}/ovs/ovs-vswitchd.ctl", "ofproto/trace", nic.bridge, packet]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def running(run_folder: Path, tmp_path: Path, lab_name: str) -> Iterator[RunningLab]:
    """The design, up and converged; down afterwards."""
    file = tmp_path / "ctl.yaml"
    file.write_text(DESIGN)
    plan = compile_plan(load_topology(file).topology, lab=lab_name, templates=load_templates())
    lab = RunningLab(client.up(plan, lambda stage, seconds: None))
    try:
        lab.wait(lambda: all(lab.hops("192.0.2.1/32", vm) == ["10.1.0.4"] for vm in VMS), "the NVA's own prefix")
        yield lab
        assert lab.status()["errors"] == 0, "a switch refused something, or a speaker sent nonsense"
    finally:
        client.down(lab_name)


def test_from_session_to_flow_and_back(running: RunningLab, tmp_path: Path) -> None:
    sessions = {(each["peer"], each["instance"]): each for each in running.status()["sessions"]}
    assert set(sessions) == {(nva, instance) for nva in ASNS for instance in (0, 1)}
    assert all(each["up"] and each["hold_time"] == 3.0 for each in sessions.values()), "timers are negotiated down to the NVA's (RS4)"
    assert running.differences(tmp_path) == ""

    running.announce("nva1", PREFIX)
    running.wait(lambda: running.hops(PREFIX) == ["10.1.0.4"], "one next hop")
    learned = running.lab.controller("GET", "/learned", server="rs1", peer="nva1")
    for instance in ("0", "1"):
        assert {row["path"]["prefix"]: row["path"]["as_path"] for row in learned[instance]} == {"192.0.2.1/32": [65001], PREFIX: [65001]}
    assert running.differences(tmp_path) == ""

    running.announce("nva2", PREFIX)
    running.wait(lambda: running.hops(PREFIX) == ["10.1.0.4", "10.1.0.5"], "two next hops (RS10)")
    assert running.differences(tmp_path) == ""

    running.announce("nva1", PREFIX, no="no ")
    running.announce("nva2", PREFIX, no="no ")
    running.wait(lambda: running.hops(PREFIX) == [], "withdrawn")
    assert running.differences(tmp_path) == ""


def test_a_path_that_becomes_looped_vanishes_from_the_switches(running: RunningLab, tmp_path: Path) -> None:
    running.announce("nva2", PREFIX)
    running.wait(lambda: running.hops(PREFIX) == ["10.1.0.5"], "announced")
    loop = ("route-map LOOPED permit 10", "set as-path prepend 65515", "exit", "router bgp 65002", "address-family ipv4 unicast")
    running.configure("nva2", *loop, "neighbor 10.1.1.4 route-map LOOPED out", "neighbor 10.1.1.5 route-map LOOPED out")
    running.wait(lambda: running.hops(PREFIX) == [], "RS8: 65515 in the path")
    assert running.differences(tmp_path) == ""
    (row,) = [row for row in running.lab.controller("GET", "/learned", server="rs1", peer="nva2")["0"] if row["path"]["prefix"] == PREFIX]
    assert row["path"]["as_path"] == [65002, 65515]
    assert row["dropped"].startswith("RS8"), "received, and shown with the reason why it was dropped"


def test_equal_paths_are_spread_by_the_five_tuple_and_the_way_back_by_another_seed(running: RunningLab) -> None:
    for nva in ASNS:
        running.announce(nva, "10.0.0.0/8")
    running.wait(lambda: len(running.hops("10.0.0.0/8")) == len(running.hops("10.0.0.0/8", "far")) == 2, "two next hops")
    nics = {nic.label: nic for nic in running.plan.nics()}

    def chosen(sender: str, receiver: str, ports: tuple[int, int]) -> str:
        trace = running.trace(sender, f"udp,nw_dst={nics[receiver].ip},udp_src={ports[0]},udp_dst={ports[1]}")
        (nva,) = [nva for nva in ASNS if f"set_field:{nics[nva].mac}->eth_dst" in trace]
        return nva

    ways = {(chosen("vm1", "far", (port, 9)), chosen("far", "vm1", (9, port))) for port in range(5000, 5024)}
    assert {there for there, _ in ways} == {back for _, back in ways} == set(ASNS)
    assert any(there != back for there, back in ways), "a stateful NVA sees half of some flows, as in Azure"


def test_the_death_of_an_nva_is_a_group_change(running: RunningLab, tmp_path: Path) -> None:
    running.announce("nva1", PREFIX)
    running.announce("nva2", PREFIX, "192.0.2.1/32")
    running.wait(lambda: len(running.hops(PREFIX)) == len(running.hops("192.0.2.1/32")) == 2, "two next hops")
    before = running.status()["now"]
    running.kill("nva1", "bgpd")
    running.wait(lambda: running.hops(PREFIX) == running.hops("192.0.2.1/32") == ["10.1.0.5"], "the survivor")
    journal = running.journal(before)
    down = [line for line in journal if line["event"] == "session-down"]
    assert {(line["peer"], line["reason"]) for line in down} == {("nva1", "closed")}
    urgent = [line for line in journal if line["event"] == "sent" and line["what"] == "next-hops"]
    assert urgent
    assert all(line["groups"] >= 1 for line in urgent)
    acknowledged = {line["bridge"] for line in journal if line["event"] == "barrier" and line["what"] == "next-hops"}
    assert acknowledged == set(running.bridges.values())
    assert min(line["t"] for line in urgent) < min(line["t"] for line in journal if line.get("what") == "routes"), "groups first"
    assert running.differences(tmp_path) == ""


def test_silent_death_is_told_apart(running: RunningLab) -> None:
    running.kill("nva2", "bgpd")
    running.lab.set_link(up=False, nic="nva1")
    running.wait(lambda: not any(each["up"] for each in running.status()["sessions"]), "all down", budget=10.0)

    def reasons() -> set[tuple[str, str]]:
        return {(each["peer"], each["reason"]) for each in running.status()["sessions"]}

    running.wait(lambda: reasons() == {("nva1", "hold-timer"), ("nva2", "closed")}, "the reasons")


def test_with_all_sessions_down_nothing_injected_is_on_any_switch(running: RunningLab, tmp_path: Path) -> None:
    running.announce("nva2", PREFIX)
    running.wait(lambda: running.hops(PREFIX), "announced")
    assert running.dynamic() != []
    for nva in ASNS:
        running.kill(nva, "bgpd")
    running.wait(lambda: not any(each["up"] for each in running.status()["sessions"]), "all sessions down")
    assert running.dynamic() == []
    assert running.differences(tmp_path) == ""


def test_a_route_server_instance_dies_and_comes_back(running: RunningLab, tmp_path: Path) -> None:
    running.kill("rs1-0", "bgpd")
    lost = [("rs1", 0, "nva1"), ("rs1", 0, "nva2")]

    def down() -> list[tuple[str, int, str]]:
        return [(each["server"], each["instance"], each["peer"]) for each in running.status()["sessions"] if each["reason"] == "lost"]

    running.wait(lambda: down() == lost, "its sessions are lost")
    assert all(running.hops("192.0.2.1/32", vm) == ["10.1.0.4"] for vm in VMS), "all NICs take the survivor's routes (chapter 7)"
    running.lab.start_daemon("rs1-0", "bgpd")
    running.wait(lambda: down() == [] and all(each["up"] for each in running.status()["sessions"]), "its sessions are back", budget=15.0)
    running.wait(lambda: all(running.hops("192.0.2.1/32", vm) == ["10.1.0.4"] for vm in VMS), "as before")
    assert running.differences(tmp_path) == ""


def test_a_killed_controller_costs_no_packet(running: RunningLab, tmp_path: Path) -> None:
    running.announce("nva2", PREFIX)
    running.wait(lambda: running.hops(PREFIX), "announced")
    argv = ["ip", "netns", "exec", running.plan.node("vm1").id, "ping", "-n", "-q", "-i", "0.01", "-c", "600", "-W", "1", "192.0.2.1"]
    ping = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    running.kill("lab", "controller")
    running.announce("nva2", PREFIX, no="no ")
    running.lab.start_daemon("lab", "controller")
    running.wait(lambda: running.hops(PREFIX) == [], "ready again, and what was withdrawn meanwhile is gone", budget=15.0)
    assert ping.poll() is None, "the ping went on all the time"
    output, _ = ping.communicate(timeout=30)
    assert "600 packets transmitted, 600 received" in output
    assert running.differences(tmp_path) == "", "nothing of the former life is left on the switches"


def test_a_second_controller_is_refused_and_the_first_goes_on(running: RunningLab) -> None:
    argv = ["ip", "netns", "exec", running.plan.fabric, sys.executable, "-m", "testbed.controller", "--lab-dir", str(running.lab.paths.dir)]
    second = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=20)
    assert second.returncode == ExitCode.CANNOT
    assert "cannot listen on 127.0.0.1:6653: Address already in use" in second.stderr
    assert running.ready() is None


def test_a_thousand_prefixes(running: RunningLab, tmp_path: Path) -> None:
    prefixes = [f"10.{60 + number // 256}.{number % 256}.0/24" for number in range(1000)]
    before = running.status()["now"]
    running.announce("nva1", *prefixes)
    wanted = {("nva1", instance): 1001 for instance in (0, 1)}

    def received() -> dict[tuple[str, int], int]:
        return {(each["peer"], each["instance"]): each["received"] for each in running.status()["sessions"] if each["peer"] == "nva1"}

    running.wait(lambda: received() == wanted, "all of them", budget=20.0)
    assert running.differences(tmp_path) == ""
    last = max(line["t"] for line in running.journal(before) if line["event"] == "barrier")
    print(f"1,000 prefixes in all flow tables {last - before:.2f} s after the first was announced")
