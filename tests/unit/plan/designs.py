"""Topologies that the tests of the plan share, small enough to reason about by hand."""

from __future__ import annotations

import os
from pathlib import Path

from testbed.model.loader import parse_topology
from testbed.model.topology import Topology
from testbed.plan.compile import compile_plan
from testbed.plan.templates import load_templates
from testbed.plan.types import Capabilities, Plan

DUAL_REGION = """
name: dual
regions:
  region1:
    vnets:
      hub1:
        address_space: [10.1.0.0/16]
        subnets: {nva: 10.1.0.0/24, RouteServerSubnet: 10.1.1.0/26, workload: 10.1.3.0/24}
      spoke11: {address_space: [10.11.0.0/16], subnets: {workload: 10.11.0.0/24}}
      spoke12: {address_space: [10.12.0.0/16], subnets: {workload: 10.12.0.0/24}}
  region2:
    vnets:
      hub2:
        address_space: [10.2.0.0/16]
        subnets: {nva: 10.2.0.0/24, RouteServerSubnet: 10.2.1.0/26, workload: 10.2.3.0/24}
      spoke21: {address_space: [10.21.0.0/16], subnets: {workload: 10.21.0.0/24}}
peerings:
  - {from: hub1, to: spoke11, allow_gateway_transit: true}
  - {from: spoke11, to: hub1, use_remote_gateways: true, allow_forwarded_traffic: true}
  - {from: hub1, to: spoke12, allow_gateway_transit: true}
  - {from: spoke12, to: hub1, use_remote_gateways: true, allow_forwarded_traffic: true}
  - {from: hub2, to: spoke21, allow_gateway_transit: true}
  - {from: spoke21, to: hub2, use_remote_gateways: true, allow_forwarded_traffic: true}
  - {from: hub1, to: hub2, allow_forwarded_traffic: true}
  - {from: hub2, to: hub1, allow_forwarded_traffic: true}
route_servers:
  rs1: {vnet: hub1, peers: [nva1]}
  rs2: {vnet: hub2, peers: [nva2]}
nvas:
  nva1: {subnet: hub1/nva, ip: 10.1.0.4, asn: 65001, as_override: true, loopbacks: [192.0.2.1/32], advertise: [192.0.2.1/32]}
  nva2: {subnet: hub2/nva, ip: 10.2.0.4, asn: 65002, as_override: true}
vms:
  vm11: {subnet: spoke11/workload}
  vm12: {subnet: spoke12/workload}
  vm21: {subnet: spoke21/workload}
  vmh1: {subnet: hub1/workload}
  vmh2: {subnet: hub2/workload}
links:
  region1-region2: {delay: 40ms, rate: 1gbit}
"""
OVERLAY = "tunnels:\n  - {type: vxlan, between: [nva1, nva2]}\n"
NO_OVERLAY = "bgp_sessions:\n  - {between: [nva1, nva2]}\n"


def overlay() -> Topology:
    """Two regions with a VXLAN overlay."""
    return parse_topology(DUAL_REGION + OVERLAY).topology


def no_overlay() -> Topology:
    """The same network, NVAs speaking BGP over the hub peering: the looping design."""
    return parse_topology(DUAL_REGION + NO_OVERLAY).topology


def compiled(topology: Topology, lab: str | None = None, capabilities: Capabilities | None = None) -> Plan:
    """The plan of a topology with the repository's templates."""
    return compile_plan(topology, lab=lab, templates=load_templates(), capabilities=capabilities)


def golden(name: str, text: str) -> bool:
    """Whether a text is what the golden file says; TESTBED_UPDATE_GOLDEN=1 rewrites the file, to be read in the diff."""
    path = Path(__file__).parents[2] / "golden" / "plan" / name
    if os.environ.get("TESTBED_UPDATE_GOLDEN"):
        path.write_text(text)
    return text == path.read_text()


def compile_with(templates: dict[str, str]) -> Plan:
    """The overlay design compiled with other templates."""
    return compile_plan(overlay(), templates=templates)


ON_PREMISES = """
name: onprem
regions:
  region1:
    vnets:
      hub1:
        address_space: [10.1.0.0/16]
        subnets: {nva: 10.1.0.0/24, RouteServerSubnet: 10.1.1.0/26, GatewaySubnet: 10.1.2.0/26}
      spoke11: {address_space: [10.11.0.0/16], subnets: {workload: 10.11.0.0/24}}
  region2:
    vnets:
      hub2:
        address_space: [10.2.0.0/16]
        subnets: {nva: 10.2.0.0/24, RouteServerSubnet: 10.2.1.0/26, GatewaySubnet: 10.2.2.0/26}
      spoke21: {address_space: [10.21.0.0/16], subnets: {workload: 10.21.0.0/24}}
peerings:
  - {from: hub1, to: spoke11, allow_gateway_transit: true, allow_forwarded_traffic: true}
  - {from: spoke11, to: hub1, use_remote_gateways: true}
  - {from: hub2, to: spoke21, allow_gateway_transit: true, allow_forwarded_traffic: true}
  - {from: spoke21, to: hub2, use_remote_gateways: true, allow_forwarded_traffic: true}
  - {from: hub1, to: hub2, allow_forwarded_traffic: true}
  - {from: hub2, to: hub1, allow_forwarded_traffic: true}
route_servers:
  rs1: {vnet: hub1, peers: [nva1], allow_branch_to_branch: true}
  rs2: {vnet: hub2, peers: [nva2]}
nvas:
  nva1: {subnet: hub1/nva, ip: 10.1.0.4, asn: 65001, as_override: true, public_ip: 203.0.113.9}
  nva2: {subnet: hub2/nva, ip: 10.2.0.4, asn: 65002, as_override: true}
tunnels:
  - {type: ipsec, between: [nva1, nva2]}
gateways:
  er1: {type: expressroute, vnet: hub1}
  vpn2: {type: vpn, vnet: hub2}
circuits: {london: {gateways: [er1]}}
sites:
  paris: {asn: 65100, prefixes: [10.100.0.0/16], circuits: [london], prepend: 1, hosts: {client: 10.100.0.10}}
  rome: {asn: 65200, prefixes: [10.200.0.0/16], connections: [vpn2], hosts: {guest: 10.200.0.10}}
vms:
  vm11: {subnet: spoke11/workload}
  vm21: {subnet: spoke21/workload}
"""


def on_premises() -> Topology:
    """A circuit in one region, a VPN over the Internet in the other, IPsec between the NVAs."""
    return parse_topology(ON_PREMISES).topology
