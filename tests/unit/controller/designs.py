"""A plan for the controller's tests: three NVAs in a hub, spokes with and without a route table, a second hub."""

from __future__ import annotations

from functools import cache

from testbed.model.loader import parse_topology
from testbed.plan.compile import compile_plan
from testbed.plan.templates import load_templates
from testbed.plan.types import Plan

DESIGN = """
name: ctl
regions:
  region1:
    vnets:
      hub1:
        address_space: [10.1.0.0/16]
        subnets: {nva: 10.1.0.0/24, RouteServerSubnet: 10.1.1.0/26, workload: 10.1.3.0/24}
      spoke11: {address_space: [10.11.0.0/16], subnets: {workload: 10.11.0.0/24, dark: 10.11.1.0/24}}
      spoke12: {address_space: [10.12.0.0/16], subnets: {workload: 10.12.0.0/24}}
  region2:
    vnets:
      hub2:
        address_space: [10.2.0.0/16]
        subnets: {nva: 10.2.0.0/24, RouteServerSubnet: 10.2.1.0/26}
peerings:
  - {from: hub1, to: spoke11, allow_gateway_transit: true}
  - {from: spoke11, to: hub1, use_remote_gateways: true, allow_forwarded_traffic: true}
  - {from: hub1, to: spoke12, allow_gateway_transit: true}
  - {from: spoke12, to: hub1, use_remote_gateways: true, allow_forwarded_traffic: true}
  - {from: hub1, to: hub2, allow_forwarded_traffic: true}
  - {from: hub2, to: hub1, allow_forwarded_traffic: true}
route_servers:
  rs1: {vnet: hub1, peers: [nva1, nva2, nva3]}
  rs2: {vnet: hub2, peers: [nva4]}
nvas:
  nva1: {subnet: hub1/nva, ip: 10.1.0.4, asn: 65001}
  nva2: {subnet: hub1/nva, ip: 10.1.0.5, asn: 65001}
  nva3: {subnet: hub1/nva, ip: 10.1.0.6, asn: 65001}
  nva4: {subnet: hub2/nva, ip: 10.2.0.4, asn: 65002}
vms:
  vm11a: {subnet: spoke11/workload}
  vm11b: {subnet: spoke11/workload}
  vm11c: {subnet: spoke11/workload}
  dark11: {subnet: spoke11/dark}
  vm12a: {subnet: spoke12/workload}
  vm12b: {subnet: spoke12/workload}
  vmh1: {subnet: hub1/workload}
load_balancers:
  ilb1: {subnet: hub1/nva, ip: 10.1.0.100, backends: [nva1, nva2]}
route_tables:
  dark: {subnets: [spoke11/dark], disable_bgp_route_propagation: true}
  partly: {subnets: [spoke12/workload], routes: {own: {prefix: 10.30.0.0/16, next_hop_type: VirtualAppliance, next_hop_ip: 10.1.0.5}}}
"""


@cache
def plan() -> Plan:
    """The design, compiled."""
    return compiled(DESIGN)


@cache
def without_spoke12() -> Plan:
    """The same with spoke12's peering to the hub missing."""
    lines = [line for line in DESIGN.splitlines() if "hub1, to: spoke12" not in line and "spoke12, to: hub1" not in line]
    return compiled("\n".join(line for line in lines if "partly" not in line))


def compiled(text: str) -> Plan:
    """The plan of a topology's text."""
    return compile_plan(parse_topology(text).topology, templates=load_templates())
