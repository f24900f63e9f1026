"""What an NVA sends to whom, from its declaration."""

from __future__ import annotations

from typing import Any

import pytest

from testbed.azure.nva_policy import OVERLAY, ROUTE_SERVER, SITE, community, exports, instances, originated, router
from testbed.model.topology import Nva


def nva(**settings: Any) -> Nva:
    return Nva.model_validate({"subnet": "hub/nva", "asn": 65001, **settings})


def test_towards_a_route_server_only_what_did_not_come_from_one() -> None:
    assert exports(nva(), "rs1", ROUTE_SERVER).sources == {"local", "overlay", "underlay", "site"}
    assert ROUTE_SERVER in exports(nva(filter_route_server_routes=False), "rs1", ROUTE_SERVER).sources


@pytest.mark.parametrize("role", [OVERLAY, SITE])
def test_everything_to_others(role: str) -> None:
    assert exports(nva(), "nva2", role).sources == {"local", "overlay", "underlay", "site", "route_server"}


def test_override_and_exclude_apply_towards_route_servers_unless_a_neighbour_says_otherwise() -> None:
    declared = nva(as_override=True, as_path_exclude=[65515], neighbors={"rs2": {"as_override": False}, "nva2": {"as_path_exclude": [1]}})
    assert exports(declared, "rs1", ROUTE_SERVER).as_override
    assert exports(declared, "rs1", ROUTE_SERVER).exclude == {65515}
    assert not exports(declared, "rs2", ROUTE_SERVER).as_override
    assert not exports(declared, "nva3", OVERLAY).as_override
    assert exports(declared, "nva3", OVERLAY).exclude == frozenset()
    assert exports(declared, "nva2", OVERLAY).exclude == {1}


def test_prepends() -> None:
    assert exports(nva(prepend=2), "rs1", ROUTE_SERVER).prepend == 2
    by_prefix = nva(advertise=["192.0.2.0/24"], prepend={"192.0.2.0/24": 3}, neighbors={"nva2": {"prepend": 0}})
    assert exports(by_prefix, "rs1", ROUTE_SERVER).prepend_by_prefix == {"192.0.2.0/24": 3}
    assert exports(by_prefix, "nva2", OVERLAY).prepend_by_prefix == {}


def test_prepends_towards_one_neighbour_by_prefix_also_of_what_it_passes_on() -> None:
    declared = nva(prepend=1, neighbors={"rs1": {"prepend": {"10.31.0.0/24": 2}}})
    towards = exports(declared, "rs1", ROUTE_SERVER)
    assert (towards.prepend, towards.prepend_by_prefix) == (0, {"10.31.0.0/24": 2})
    assert exports(declared, "rs2", ROUTE_SERVER).prepend == 1


def test_each_neighbour_gets_the_own_prefixes_that_are_meant_for_it() -> None:
    declared = nva(
        advertise=["192.0.2.0/24"], default_originate=True, neighbors={"rs1": {"advertise": ["10.0.0.0/8"]}, "rs2": {"advertise": []}}
    )
    assert originated(declared) == {"192.0.2.0/24", "0.0.0.0/0", "10.0.0.0/8"}
    assert exports(declared, "rs1", ROUTE_SERVER).deny == {"192.0.2.0/24", "0.0.0.0/0"}
    assert exports(declared, "rs2", ROUTE_SERVER).deny == originated(declared)
    assert exports(declared, "nva2", OVERLAY).deny == {"10.0.0.0/8"}


def test_between_two_route_servers_routes_are_passed_on_and_none_goes_back() -> None:
    servers = frozenset({"route_server rs1", "route_server rs2"})
    assert exports(nva(), "rs1", "route_server rs1", servers).sources == {"local", "overlay", "underlay", "site", "route_server rs2"}
    assert servers <= exports(nva(filter_route_server_routes=False), "rs1", "route_server rs1", servers).sources
    assert servers <= exports(nva(), "nva2", OVERLAY, servers).sources


def test_next_hop_and_communities_of_a_neighbour() -> None:
    policy = exports(nva(neighbors={"rs1": {"next_hop": "10.1.0.100", "communities": ["65535:65282", "1:2"]}}), "rs1", ROUTE_SERVER)
    assert policy.next_hop == "10.1.0.100"
    assert policy.communities == ("no-advertise", "1:2")


def test_communities_have_one_spelling() -> None:
    assert [community(each) for each in ("65535:65281", "NO-EXPORT", "65535:65283", "65001:1")] == [
        "no-export",
        "no-export",
        "local-AS",
        "65001:1",
    ]


def test_originated_prefixes() -> None:
    declared = nva(advertise=["192.0.2.0/24"], loopbacks=["198.51.100.1/32"], default_originate=True)
    assert originated(declared) == {"192.0.2.0/24", "0.0.0.0/0"}
    made = router("nva1", declared, "10.1.0.4")
    assert made.originates == {"192.0.2.0/24", "0.0.0.0/0"}
    assert (made.asn, made.router_id, made.maximum_paths) == (65001, "10.1.0.4", 8)


def test_instances() -> None:
    assert instances(nva(neighbors={"rs1": {"instances": [1]}}), "rs1") == (1,)
    assert instances(nva(), "rs1") == (0, 1)
