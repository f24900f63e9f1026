"""NVAs that share an ASN speak iBGP: nothing is done to the AS path there, and the next hop is the sender."""

from __future__ import annotations

import re

import pytest

from testbed.azure.control_plane import converge
from testbed.model.loader import parse_topology
from testbed.model.topology import Topology

from . import designs

PAIR = """
name: pair
regions:
  region1:
    vnets:
      hub1: {address_space: [10.1.0.0/16], subnets: {nva: 10.1.0.0/24, RouteServerSubnet: 10.1.1.0/26}}
  region2:
    vnets:
      hub2: {address_space: [10.2.0.0/16], subnets: {nva: 10.2.0.0/24}}
peerings:
  - {from: hub1, to: hub2}
  - {from: hub2, to: hub1}
route_servers:
  rs1: {vnet: hub1, peers: [nva1]}
nvas:
  nva1:
    {subnet: hub1/nva, ip: 10.1.0.11, asn: 65001, prepend: 2, neighbors: {nva2: {as_override: true, as_path_exclude: [65515]}}}
  nva2: {subnet: hub2/nva, ip: 10.2.0.11, asn: 65001}
tunnels:
  - {type: vxlan, between: [nva1, nva2]}
"""


@pytest.fixture(scope="module")
def topology() -> Topology:
    return parse_topology(PAIR).topology


def policy(conf: str, name: str) -> str:
    return "\n".join(re.findall(rf"^route-map {name} .*?^!", conf, re.MULTILINE | re.DOTALL))


def test_bgpd_is_not_told_to_rewrite_the_path_nor_to_keep_the_next_hop(topology: Topology) -> None:
    conf = designs.compiled(topology).node("nva1").files["bgpd.conf"]
    assert "as-path" not in policy(conf, "TO-nva2")
    assert "set as-path prepend 65001 65001" in policy(conf, "TO-rs1")
    assert re.search(r"neighbor 198\.18\.0\.1 next-hop-self$", conf, re.MULTILINE)
    assert "as-override" not in conf  # FRR takes it on eBGP only, and would not start


def test_every_neighbour_is_in_an_update_group_of_its_own(topology: Topology) -> None:
    """With others in it, FRR sends a route back to where it came from."""
    plan = designs.compiled(topology)
    for node in ("nva1", "nva2", "rs1-0"):
        conf = plan.node(node).files["bgpd.conf"]
        assert conf.count("remote-as") == len(re.findall(r"^ neighbor \S+ solo$", conf, re.MULTILINE)) > 0


def test_the_model_says_the_same(topology: Topology) -> None:
    (route,) = converge(topology).rib("nva2")["10.1.0.0/16"]
    assert (route.path.as_path, route.path.next_hop, route.dropped) == ((65515,), "198.18.0.0", "")
