"""Three-way agreement on real labs: random designs with real daemons do what the model says, and a lab that does not is found out."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.emulation import client, enter
from testbed.scenario import agreement_live as live
from testbed.scenario.agreement import Disagreement, Paper
from testbed.scenario.building import build
from testbed.scenario.fuzz import on_a_lab, text_of
from testbed.scenario.generator import design, seeded
from testbed.scenario.live import LiveLab
from testbed.vty import Vty
from testbed.wait import wait_until

pytestmark = pytest.mark.root

SEED = 1
COUNT = 20
"""Labs; all of them and their comparison take about a minute and a half of CI."""

KNOWN = """
name: known
regions:
  region1:
    vnets:
      hub1: {address_space: [10.1.0.0/16], subnets: {nva: 10.1.0.0/24, RouteServerSubnet: 10.1.1.0/26, workload: 10.1.2.0/24}}
      spoke11: {address_space: [10.11.0.0/16], subnets: {workload: 10.11.0.0/24}}
peerings:
  - {from: hub1, to: spoke11, allow_gateway_transit: true, allow_forwarded_traffic: true}
  - {from: spoke11, to: hub1, use_remote_gateways: true, allow_forwarded_traffic: true}
route_servers:
  rs1: {vnet: hub1, peers: [nva1]}
nvas:
  nva1: {subnet: hub1/nva, ip: 10.1.0.11, asn: 65001, advertise: [10.50.0.0/16], loopbacks: [10.50.0.0/16]}
vms:
  vm1: {subnet: hub1/workload}
  vm11: {subnet: spoke11/workload}
"""


@pytest.mark.parametrize("number", range(COUNT))
def test_a_random_design_does_what_the_model_says(number: int) -> None:
    made = design(seeded(SEED, number), f"fuzz-{SEED}-{number}")
    found = on_a_lab(made)
    assert not found, "\n".join([*map(str, found), "in this design:", text_of(made)])


@pytest.fixture
def lab(tmp_path: Path, lab_name: str) -> Iterator[LiveLab]:
    file = tmp_path / "known.yaml"
    file.write_text(KNOWN)
    built, warnings = build(file, lambda stage, seconds: None, lab_name)
    assert warnings == []
    yield built
    client.down(lab_name)


def test_every_side_that_is_made_to_lie_is_found_out(lab: LiveLab) -> None:
    paper = Paper(lab.topology, lab.plan)
    assert list(live.live_disagreements(lab, paper)) == []
    spoil_the_kernel(lab)
    assert places(live.kernel_differences(lab, paper)) == {"the kernel of nva1 to 10.50.0.0"}
    spoil_the_switch(lab)
    assert "the switch's trace from vm11 to 10.50.0.0" in places(live.trace_differences(lab, paper))
    assert "the flows" in places(live.live_disagreements(lab, paper))
    stop_forwarding_to(lab, "vm11")
    wait_until(
        lambda: None if "a packet from vm1 to vm11" in places(live.probe_differences(lab, paper)) else "the switch forgets its flow late",
        what="a lost packet",
        budget=10.0,
    )
    announce(lab, "203.0.113.0/24")
    found = places(live.router_differences(lab, paper)) | places(live.controller_differences(lab, paper))
    assert {"the BGP tables", "rs1 instance 0 from nva1, 203.0.113.0/24", "effective routes of vm11"} <= found


def places(found: Iterator[Disagreement]) -> set[str]:
    return {each.what for each in found}


def spoil_the_kernel(lab: LiveLab) -> None:
    done = enter.run(lab.plan, lab.client.paths, "nva1", ("ip", "route", "del", "local", "10.50.0.0/16", "table", "local"))
    assert done.returncode == 0, done.stderr


def ofctl(lab: LiveLab, vnet: str, match: str) -> None:
    bridge = next(bridge.id for bridge in lab.plan.bridges if bridge.vnet == vnet)
    socket = f"unix:{lab.client.paths.ovs / bridge}.mgmt"
    subprocess.run(("ovs-ofctl", "-O", "OpenFlow13", "del-flows", socket, match), check=True)


def spoil_the_switch(lab: LiveLab) -> None:
    ofctl(lab, "spoke11", "table=20,ip,nw_dst=10.50.0.0/16")


def stop_forwarding_to(lab: LiveLab, label: str) -> None:
    nic = next(nic for nic in lab.plan.nics() if nic.label == label)
    ofctl(lab, nic.vnet, f"table=60,dl_dst={nic.mac}")


def announce(lab: LiveLab, prefix: str) -> None:
    with Vty(lab.client.paths.node(lab.plan.node("nva1")) / "bgpd.vty") as vty:
        for command in ("configure terminal", "router bgp 65001", "address-family ipv4 unicast", f"network {prefix}", "end"):
            vty.run(command)
    wait_until(
        lambda: None if any(row.prefix == prefix for row in lab.effective("vm11")) else "not programmed",
        what=f"{prefix} at vm11",
        budget=10.0,
    )
