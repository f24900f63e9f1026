"""Each design of docs/azure-routing.md chapter 5: its columns "control plane" and "effective routes", worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from testbed.azure import route_server as brain
from testbed.azure.control_plane import ControlPlane, FibHop
from testbed.azure.predict_json import effective_rows
from testbed.azure.types import Session

from .paper_designs import ONPREM, OVERLAY, Change, best_paths, changed, joined, learned, programmed, received, region, sent, spoke

NVA1 = ("10.1.0.4",)
FABRIC1 = (FibHop("fabric", "10.1.0.1", "nva1"),)


def put(path: str, value: Any) -> Change:
    """Sets ``a.b.c`` of a design."""
    *way, last = path.split(".")

    def change(data: dict[str, Any]) -> None:
        for key in way:
            data = data.setdefault(key, {})
        data[last] = value

    return change


def add_peerings(*sides: dict[str, Any]) -> Change:
    def change(data: dict[str, Any]) -> None:
        data["peerings"] = [*data["peerings"], *sides]

    return change


def no_tunnel(data: dict[str, Any]) -> None:
    del data["tunnels"]
    data["bgp_sessions"] = [{"between": ["nva1", "nva2"]}]


def keep_65515(data: dict[str, Any]) -> None:
    for nva in data["nvas"].values():
        nva["as_override"] = False


class TestOverlayStripped:
    def test_route_server_learns_the_other_region_from_its_nva(self) -> None:
        plane = changed(OVERLAY)
        for instance in (0, 1):
            assert learned(plane, "rs1", "nva1", instance) == {
                "10.2.0.0/16": (65001, 65002, 65001),
                "10.21.0.0/16": (65001, 65002, 65001),
            }
        assert plane.settled

    def test_exclude_makes_the_path_shorter(self) -> None:
        def exclude(data: dict[str, Any]) -> None:
            data["nvas"]["nva1"] |= {"as_override": False, "as_path_exclude": [65515]}

        plane = changed(OVERLAY, exclude)
        assert learned(plane, "rs1", "nva1")["10.21.0.0/16"] == (65001, 65002)
        assert learned(plane, "rs2", "nva2")["10.11.0.0/16"] == (65002, 65001, 65002)

    def test_spoke_gets_the_remote_hub_and_spoke_and_nothing_of_its_own_region(self) -> None:
        assert programmed(changed(OVERLAY), "vm11") == {"10.2.0.0/16": NVA1, "10.21.0.0/16": NVA1}

    def test_nva_nic_points_at_itself_and_hub_goes_direct(self) -> None:
        plane = changed(OVERLAY)
        assert programmed(plane, "nva1") == {"10.21.0.0/16": NVA1}
        kinds = {row.prefix: row.next_hop_type.value for row in effective_rows(plane, "vmh1")}
        assert kinds["10.2.0.0/16"] == "VNetGlobalPeering"

    def test_instances_and_gateway_subnets_have_effective_routes_too(self) -> None:
        assert programmed(changed(OVERLAY), "rs1-0") == {"10.21.0.0/16": NVA1}

    def test_nva_forwards_into_the_tunnel_and_reaches_its_far_end_outside(self) -> None:
        fib = changed(OVERLAY).fib("nva1")
        assert fib["10.21.0.0/16"] == (FibHop("nva1-nva2", "198.18.0.1"),)
        assert fib["10.2.0.0/16"] == (FibHop("nva1-nva2", "198.18.0.1"),)
        assert fib["10.2.0.4/32"] == FABRIC1
        assert fib["10.11.0.0/16"] == FABRIC1
        assert fib["10.1.1.0/26"] == FABRIC1
        assert fib["10.1.0.4/32"] == (FibHop("local"),)

    def test_nothing_learned_from_a_route_server_goes_back_unless_the_filter_is_off(self) -> None:
        assert "10.11.0.0/16" not in received(changed(OVERLAY), "rs1", "nva1")
        # FRR does not send to the peer the best route came from; the other instance hears it
        plane = changed(OVERLAY, put("nvas.nva1.filter_route_server_routes", False))
        assert learned(plane, "rs1", "nva1", 1)["10.11.0.0/16"] == (65001, 65001)

    def test_three_regions_fully_meshed_take_the_direct_way(self) -> None:
        def third(data: dict[str, Any]) -> None:
            data["regions"]["r3"] = region(3)
            data["peerings"] += [*spoke("hub3", "s31"), *joined("hub1", "hub3"), *joined("hub2", "hub3")]
            data["route_servers"]["rs3"] = {"vnet": "hub3", "peers": ["nva3"]}
            data["nvas"]["nva3"] = {"subnet": "hub3/nva", "ip": "10.3.0.4", "asn": 65003, "as_override": True}
            data["tunnels"] += [{"type": "vxlan", "between": [one, "nva3"]} for one in ("nva1", "nva2")]

        plane = changed(OVERLAY, third)
        assert learned(plane, "rs1", "nva1")["10.31.0.0/16"] == (65001, 65003, 65001)
        assert plane.fib("nva1")["10.31.0.0/16"] == (FibHop("nva1-nva3", "198.18.0.3"),)
        assert len([each for each in plane.rib("nva1")["10.31.0.0/16"] if not each.dropped]) == 2


class TestOverlayKept:
    def test_nva_sends_and_route_server_drops_what_crossed_another(self) -> None:
        plane = changed(OVERLAY, keep_65515)
        assert best_paths(plane, "nva1")["10.21.0.0/16"] == (65002, 65515)
        assert received(plane, "rs1", "nva1")["10.21.0.0/16"].path.as_path == (65001, 65002, 65515)
        assert received(plane, "rs1", "nva1")["10.21.0.0/16"].dropped.startswith("RS8")
        assert learned(plane, "rs1", "nva1") == {}
        assert programmed(plane, "vm11") == {}

    def test_prefix_that_never_crossed_a_route_server_is_learned(self) -> None:
        plane = changed(OVERLAY, keep_65515, put("nvas.nva2.loopbacks", ["192.0.2.2/32"]), put("nvas.nva2.advertise", ["192.0.2.2/32"]))
        assert learned(plane, "rs1", "nva1") == {"192.0.2.2/32": (65001, 65002)}
        assert programmed(plane, "vm11") == {"192.0.2.2/32": NVA1}
        assert plane.fib("nva2")["192.0.2.2/32"] == (FibHop("local"),)


class TestNoOverlay:
    def test_looks_like_the_overlay_but_forwards_into_the_fabric(self) -> None:
        plane, overlay = changed(OVERLAY, no_tunnel), changed(OVERLAY)
        assert learned(plane, "rs1", "nva1") == learned(overlay, "rs1", "nva1")
        assert programmed(plane, "vm11") == programmed(overlay, "vm11")
        assert programmed(plane, "nva1") == {"10.21.0.0/16": NVA1}
        assert plane.fib("nva1")["10.21.0.0/16"] == FABRIC1

    def test_udrs_with_propagation_disabled_leave_no_gateway_row(self) -> None:
        table = {"subnets": ["hub1/nva"], "disable_bgp_route_propagation": True}
        routes = {"to-s21": {"prefix": "10.21.0.0/16", "next_hop_type": "VirtualAppliance", "next_hop_ip": "10.2.0.4"}}
        plane = changed(OVERLAY, no_tunnel, put("route_tables", {"static": {**table, "routes": routes}}))
        assert programmed(plane, "nva1") == {}
        active = {row.prefix: row.next_hops for row in effective_rows(plane, "nva1") if row.active}
        assert active["10.21.0.0/16"] == ("10.2.0.4",)
        assert learned(plane, "rs1", "nva1")["10.21.0.0/16"] == (65001, 65002, 65001)

    def test_injected_longer_prefix_beats_a_udr_where_propagation_is_on(self) -> None:
        routes = {"to-s21": {"prefix": "10.21.0.0/16", "next_hop_type": "VirtualAppliance", "next_hop_ip": "10.2.0.4"}}
        plane = changed(
            OVERLAY,
            no_tunnel,
            put("route_tables", {"static": {"subnets": ["hub1/nva"], "routes": routes}}),
            put("nvas.nva2.advertise", ["10.21.10.0/24"]),
        )
        assert programmed(plane, "nva1") == {"10.21.10.0/24": NVA1}

    def test_spoke_added_later_converges_in_the_control_plane(self) -> None:
        def later(data: dict[str, Any]) -> None:
            data["regions"]["r2"]["vnets"]["s22"] = {"address_space": ["10.22.0.0/16"], "subnets": {"w": "10.22.0.0/24"}}

        plane = changed(OVERLAY, no_tunnel, later, add_peerings(*spoke("hub2", "s22")))
        assert learned(plane, "rs1", "nva1")["10.22.0.0/16"] == (65001, 65002, 65001)
        assert sent(plane, "rs2", "nva2")["10.22.0.0/16"].as_path == (65515,)

    def test_unreachable_neighbour_is_down(self) -> None:
        def apart(data: dict[str, Any]) -> None:
            data["peerings"] = [*spoke("hub1", "s11"), *spoke("hub2", "s21")]

        plane = changed(OVERLAY, no_tunnel, apart)
        assert learned(plane, "rs1", "nva1") == {}


def standby(prepend: int) -> Change:
    def change(data: dict[str, Any]) -> None:
        data["nvas"]["nva1b"] = {"subnet": "hub1/nva", "ip": "10.1.0.5", "asn": 65001, "as_override": True, "prepend": prepend}
        data["route_servers"]["rs1"]["peers"].append("nva1b")
        data["tunnels"].append({"type": "vxlan", "between": ["nva1b", "nva2"]})

    return change


class TestActiveStandby:
    def test_prepended_path_is_known_and_not_programmed(self) -> None:
        plane = changed(OVERLAY, standby(2))
        assert learned(plane, "rs1", "nva1b")["10.21.0.0/16"] == (65001, 65001, 65001, 65002, 65001)
        assert programmed(plane, "vm11")["10.21.0.0/16"] == NVA1
        ranked = brain.candidates(plane.state, "hub1", 0)["10.21.0.0/16"]
        assert [[each.next_hop for each in tier] for tier in ranked] == [["10.1.0.4"], ["10.1.0.5"]]

    def test_standby_is_avoided_in_the_other_direction_as_well(self) -> None:
        assert changed(OVERLAY, standby(2)).fib("nva2")["10.11.0.0/16"] == (FibHop("nva1-nva2", "198.18.0.0"),)

    def test_equal_length_is_ecmp_both_ways(self) -> None:
        plane = changed(OVERLAY, standby(0))
        assert programmed(plane, "vm11")["10.21.0.0/16"] == ("10.1.0.4", "10.1.0.5")
        assert plane.fib("nva2")["10.11.0.0/16"] == (FibHop("nva1-nva2", "198.18.0.0"), FibHop("nva1b-nva2", "198.18.0.2"))

    def test_ninth_peer_and_more_are_refused(self) -> None:
        def nine(data: dict[str, Any]) -> None:
            data["limits"] = {"peers": 9}
            for number in range(5, 13):
                name = f"nva1-{number}"
                data["nvas"][name] = {"subnet": "hub1/nva", "ip": f"10.1.0.{number}", "asn": 65001, "advertise": ["0.0.0.0/0"]}
                data["route_servers"]["rs1"]["peers"].append(name)

        plane = changed(OVERLAY, nine)
        assert len(programmed(plane, "vm11")["0.0.0.0/0"]) == 8


def preference(value: str) -> Change:
    return put("route_servers.rs1.hub_routing_preference", value)


def nva_has_onprem(length: int) -> Change:
    """The NVA announces the on-premises prefix as well, with an AS path that long."""

    def change(data: dict[str, Any]) -> None:
        data["nvas"]["nva1"] |= {"advertise": ["10.100.0.0/16"], "prepend": length - 1}

    return change


GATEWAY_PAIR = ("10.1.2.4", "10.1.2.5")


class TestExpressRoute:
    def test_gateway_learns_and_programs(self) -> None:
        plane = changed(ONPREM)
        for instance in (0, 1):
            for msee in ("london-msee0", "london-msee1"):
                assert learned(plane, "er1", msee, instance)["10.100.0.0/16"] == (12076, 65100)
        assert programmed(plane, "vm11") == {"10.100.0.0/16": GATEWAY_PAIR}

    def test_onpremises_sees_12076_alone(self) -> None:
        plane = changed(
            ONPREM, put("route_servers.rs1.allow_branch_to_branch", True), nva_has_onprem(3), put("nvas.nva1.advertise", ["10.9.0.0/16"])
        )
        assert sent(plane, "er1", "london-msee0")["10.9.0.0/16"].as_path == (65515, 65001, 65001, 65001)
        assert best_paths(plane, "dc") == {
            "10.1.0.0/16": (12076,),
            "10.11.0.0/16": (12076,),
            "10.9.0.0/16": (12076,),
            "10.100.0.0/16": (),
        }

    def test_public_asns_survive_the_msee(self) -> None:
        plane = changed(
            ONPREM,
            put("route_servers.rs1.allow_branch_to_branch", True),
            put("nvas.nva1.asn", 3356),
            put("nvas.nva1.advertise", ["10.9.0.0/16"]),
        )
        assert best_paths(plane, "dc")["10.9.0.0/16"] == (12076, 3356)

    @pytest.mark.parametrize(
        ("mode", "length", "expected"),
        [
            ("ExpressRoute", 1, GATEWAY_PAIR),
            ("VpnGateway", 3, NVA1),
            ("ASPath", 1, NVA1),
            ("ASPath", 3, GATEWAY_PAIR),
            ("ASPath", 2, (*NVA1, *GATEWAY_PAIR)),
        ],
    )
    def test_preference_decides_who_carries_onpremises_traffic(self, mode: str, length: int, expected: tuple[str, ...]) -> None:
        for both in (False, True):
            plane = changed(ONPREM, preference(mode), nva_has_onprem(length), put("route_servers.rs1.allow_branch_to_branch", both))
            assert programmed(plane, "vm11")["10.100.0.0/16"] == expected, both

    @pytest.mark.parametrize(
        ("mode", "length", "passed_on"), [("ExpressRoute", 1, True), ("VpnGateway", 3, False), ("ASPath", 1, False), ("ASPath", 3, True)]
    )
    def test_preference_decides_what_other_nvas_hear(self, mode: str, length: int, passed_on: bool) -> None:
        """RS10, RS13: only the preferred path is passed on, and what an NVA said goes to no other NVA."""

        def second(data: dict[str, Any]) -> None:
            data["nvas"]["nva9"] = {"subnet": "hub1/nva", "ip": "10.1.0.9", "asn": 65009}
            data["route_servers"]["rs1"]["peers"].append("nva9")

        plane = changed(ONPREM, preference(mode), nva_has_onprem(length), second, put("route_servers.rs1.allow_branch_to_branch", True))
        heard = {prefix: path.as_path for prefix, path in sent(plane, "rs1", "nva9").items() if prefix == "10.100.0.0/16"}
        assert heard == ({"10.100.0.0/16": (65515, 12076, 65100)} if passed_on else {})

    def test_a_gateway_with_an_asn_of_its_own_hears_the_nvas_own_next_hop(self) -> None:
        """RS11 over eBGP, which would put the Route Server itself in its place; RS2: it carries nothing."""

        def own_asn(data: dict[str, Any]) -> None:
            data["gateways"] = {"vpn1": {"type": "vpn", "vnet": "hub1", "asn": 65300}}
            data["sites"] = {"branch": {"asn": 65200, "prefixes": ["10.200.0.0/16"], "connections": ["vpn1"]}}
            data.pop("circuits", None)

        plane = changed(ONPREM, own_asn, put("route_servers.rs1.allow_branch_to_branch", True), put("nvas.nva1.advertise", ["10.9.0.0/16"]))
        heard = [each for each in plane.rib("vpn1-0")["10.9.0.0/16"] if not each.dropped]
        assert {(each.peer, each.path.next_hop, each.path.as_path) for each in heard} == {
            (peer, "10.1.0.4", (65515, 65001)) for peer in ("rs1-0", "rs1-1")
        }

    def test_overlay_over_the_circuit(self) -> None:
        """GW6: only the tunnel's end is on the circuit, on-premises comes from the NVA."""

        def overlay(data: dict[str, Any]) -> None:
            data["sites"]["dc"] |= {"loopbacks": ["192.0.2.100/32"], "circuits": {"london": {"advertise": ["192.0.2.100/32"]}}}
            data["tunnels"] = [{"type": "ipsec", "between": ["nva1", "dc"]}]

        plane = changed(ONPREM, overlay)
        assert learned(plane, "er1", "london-msee0") == {"192.0.2.100/32": (12076, 65100)}
        assert learned(plane, "rs1", "nva1") == {"10.100.0.0/16": (65001, 65100)}
        assert programmed(plane, "vm11") == {"10.100.0.0/16": NVA1, "192.0.2.100/32": GATEWAY_PAIR}
        site = plane.fib("dc")
        assert site["10.11.0.0/16"] == (FibHop("nva1-dc", "198.18.0.0"),)
        assert {hop.device for hop in site["10.1.0.4/32"]} == {"london-msee0-dc", "london-msee1-dc"}
        assert plane.fib("nva1")["192.0.2.100/32"] == FABRIC1

    def test_onpremises_reaches_both_regions_through_the_overlay(self) -> None:
        def overlay(data: dict[str, Any]) -> None:
            data["sites"] = {"dc": {"asn": 65100, "prefixes": ["10.100.0.0/16"]}}
            data["tunnels"].append({"type": "ipsec", "between": ["nva1", "dc"]})

        plane = changed(OVERLAY, overlay)
        assert learned(plane, "rs2", "nva2")["10.100.0.0/16"] == (65002, 65001, 65100)
        assert programmed(plane, "vm21")["10.100.0.0/16"] == ("10.2.0.4",)
        assert best_paths(plane, "dc")["10.21.0.0/16"] == (65001, 65002, 65515)


def two_hubs_on_one_circuit(data: dict[str, Any]) -> None:
    data["regions"]["r2"] = region(2)
    data["peerings"] += spoke("hub2", "s21")
    data["route_servers"] = {
        "rs1": {"vnet": "hub1", "peers": ["nva1"], "allow_branch_to_branch": True},
        "rs2": {"vnet": "hub2", "peers": [], "allow_branch_to_branch": True},
    }
    data["vms"]["vm21"] = {"subnet": "s21/w"}
    data["nvas"]["nva1"]["advertise"] = ["10.9.0.0/16"]
    data["gateways"]["er2"] = {"type": "expressroute", "vnet": "hub2"}
    data["circuits"]["london"]["gateways"].append("er2")


class TestGateways:
    def test_branch_to_branch_off_exchanges_nothing(self) -> None:
        plane = changed(ONPREM, put("nvas.nva1.advertise", ["10.9.0.0/16"]))
        assert not sent(plane, "rs1", "nva1").keys() & {"10.100.0.0/16"}
        assert "10.9.0.0/16" not in best_paths(plane, "dc")
        assert all(session.peer != "er1-0" for session in plane.sessions)

    def test_branch_to_branch_on_has_65515_once(self) -> None:
        plane = changed(ONPREM, put("route_servers.rs1.allow_branch_to_branch", True), put("nvas.nva1.advertise", ["10.9.0.0/16"]))
        onprem = sent(plane, "rs1", "nva1")["10.100.0.0/16"]
        assert (onprem.as_path, onprem.next_hop) == ((65515, 12076, 65100), "10.1.1.4")
        assert learned(plane, "rs1", "er1-0")["10.100.0.0/16"] == (12076, 65100)
        assert received(plane, "rs1", "er1-0")["10.100.0.0/16"].path.next_hop == "10.1.2.4"
        assert received(plane, "er1", "rs1-0")["10.9.0.0/16"].path.next_hop == "10.1.0.4"

    def test_route_server_reflects_between_kinds_of_gateway(self) -> None:
        def vpn(data: dict[str, Any]) -> None:
            data["route_servers"]["rs1"]["allow_branch_to_branch"] = True
            data["gateways"]["vpn1"] = {"type": "vpn", "vnet": "hub1"}
            data["sites"]["branch"] = {"asn": 65200, "prefixes": ["10.200.0.0/16"], "connections": ["vpn1"]}

        plane = changed(ONPREM, vpn)
        assert best_paths(plane, "branch")["10.100.0.0/16"] == (65515, 12076, 65100)
        assert best_paths(plane, "dc")["10.200.0.0/16"] == (12076,)
        assert "10.100.0.0/16" not in received(plane, "er1", "rs1-0")
        off = changed(ONPREM, vpn, put("route_servers.rs1.allow_branch_to_branch", False))
        assert "10.100.0.0/16" not in best_paths(off, "branch")

    def test_vpn_gateway_programs_but_never_sends_a_default_route(self) -> None:
        def vpn(data: dict[str, Any]) -> None:
            del data["circuits"]
            data["gateways"] = {"vpn1": {"type": "vpn", "vnet": "hub1"}}
            data["sites"] = {"branch": {"asn": 65200, "prefixes": ["10.200.0.0/16"], "connections": ["vpn1"]}}
            data["route_servers"]["rs1"]["allow_branch_to_branch"] = True
            data["nvas"]["nva1"]["advertise"] = ["0.0.0.0/0", "0.0.0.0/1"]

        plane = changed(ONPREM, vpn)
        assert programmed(plane, "vm11")["10.200.0.0/16"] == GATEWAY_PAIR
        assert best_paths(plane, "branch")["0.0.0.0/1"] == (65515, 65001)
        assert "0.0.0.0/0" not in best_paths(plane, "branch")
        assert "0.0.0.0/0" in received(plane, "vpn1", "rs1-0")

    def test_active_standby_vpn_gateway_has_one_next_hop(self) -> None:
        def vpn(data: dict[str, Any]) -> None:
            del data["circuits"]
            data["gateways"] = {"vpn1": {"type": "vpn", "vnet": "hub1", "active_active": False}}
            data["sites"] = {"branch": {"asn": 65200, "prefixes": ["10.200.0.0/16"], "connections": ["vpn1"]}}

        assert programmed(changed(ONPREM, vpn), "vm11")["10.200.0.0/16"] == ("10.1.2.4",)

    def test_expressroute_sends_a_default_route(self) -> None:
        plane = changed(ONPREM, put("route_servers.rs1.allow_branch_to_branch", True), put("nvas.nva1.default_originate", True))
        assert best_paths(plane, "dc")["0.0.0.0/0"] == (12076,)

    def test_nva_routes_do_not_reach_a_second_route_server_through_the_msee(self) -> None:
        plane = changed(ONPREM, two_hubs_on_one_circuit)
        assert received(plane, "er2", "london-msee0")["10.9.0.0/16"].dropped
        assert programmed(plane, "vm21") == {"10.100.0.0/16": ("10.2.2.4", "10.2.2.5")}
        assert best_paths(plane, "dc")["10.9.0.0/16"] == (12076,)

    def test_onpremises_router_passes_one_circuit_on_to_the_other(self) -> None:
        """GW3: the MSEE accepts paths with 12076 in them; 65515 is gone by then."""

        def second(data: dict[str, Any]) -> None:
            data["circuits"] = {"london": {"gateways": ["er1"]}, "paris": {"gateways": ["er2"]}}
            data["sites"]["dc"] = {"asn": 133937, "circuits": ["london", "paris"], "prefixes": ["10.100.0.0/16"]}

        plane = changed(ONPREM, two_hubs_on_one_circuit, second)
        assert learned(plane, "er2", "paris-msee0")["10.11.0.0/16"] == (12076, 133937, 12076)
        assert learned(plane, "er2", "paris-msee0")["10.100.0.0/16"] == (12076, 133937)

    def test_onpremises_router_does_not_feed_a_circuit_with_its_own_routes(self) -> None:
        plane = changed(ONPREM)
        assert [each.peer for each in plane.rib("london-msee1")["10.11.0.0/16"]] == ["er1-0", "er1-1"]

    def test_ecmp_over_circuits_is_lost_with_a_route_server(self) -> None:
        def second(data: dict[str, Any]) -> None:
            data["circuits"]["paris"] = {"gateways": ["er1"]}
            data["sites"]["dc"]["circuits"] = ["london", "paris"]

        def no_route_server(data: dict[str, Any]) -> None:
            del data["route_servers"]

        assert len(changed(ONPREM, second).fib("er1-0")["10.100.0.0/16"]) == 1
        assert len(changed(ONPREM, second, no_route_server).fib("er1-0")["10.100.0.0/16"]) == 4

    def test_prepends_at_a_site_count_in_azure(self) -> None:
        plane = changed(ONPREM, put("sites.dc.prepend", 2))
        assert learned(plane, "er1", "london-msee0")["10.100.0.0/16"] == (12076, 65100, 65100, 65100)
        one = changed(ONPREM, put("sites.dc.prepend", 2), put("sites.dc.circuits", {"london": {"prepend": 1}}))
        assert learned(one, "er1", "london-msee0")["10.100.0.0/16"] == (12076, 65100, 65100)


class TestPeerings:
    def test_spoke_without_use_remote_gateways(self) -> None:
        def plain(data: dict[str, Any]) -> None:
            data["peerings"][1] = {"from": "s11", "to": "hub1", "allow_forwarded_traffic": True}

        plane = changed(OVERLAY, plain)
        assert sent(plane, "rs1", "nva1").keys() == {"10.1.0.0/16"}
        assert programmed(plane, "vm11") == {}
        assert "10.11.0.0/16" not in learned(plane, "rs2", "nva2")

    def test_full_mesh_of_spokes_bypasses_the_nva(self) -> None:
        plane = changed(OVERLAY, add_peerings(*joined("s11", "s21")))
        assert "10.21.0.0/16" in learned(plane, "rs1", "nva1")
        assert "10.21.0.0/16" not in programmed(plane, "vm11")
        assert {row.prefix: row.next_hop_type.value for row in effective_rows(plane, "vm11")}["10.21.0.0/16"] == "VNetGlobalPeering"

    def test_prefix_of_a_vnet_without_gateway_transit_is_learned_and_passed_on_to_gateways(self) -> None:
        def plain(data: dict[str, Any]) -> None:
            data["peerings"] = [{"from": "hub1", "to": "s11"}, {"from": "s11", "to": "hub1"}]
            data["route_servers"]["rs1"]["allow_branch_to_branch"] = True
            data["nvas"]["nva1"]["advertise"] = ["10.11.0.0/16"]

        plane = changed(ONPREM, plain)
        assert learned(plane, "rs1", "nva1") == {"10.11.0.0/16": (65001,)}
        assert "10.11.0.0/16" not in programmed(plane, "nva1")
        assert best_paths(plane, "dc")["10.11.0.0/16"] == (12076,)

    def test_nva_behind_a_blocked_peering_has_no_session(self) -> None:
        def in_spoke(data: dict[str, Any]) -> None:
            data["nvas"]["nva1"] = {"subnet": "s11/w", "ip": "10.11.0.9", "asn": 65001, "advertise": ["192.0.2.1/32"]}

        def blocked(data: dict[str, Any]) -> None:
            data["peerings"][0]["allow_virtual_network_access"] = False

        assert learned(changed(ONPREM, in_spoke), "rs1", "nva1") == {"192.0.2.1/32": (65001,)}
        plane = changed(ONPREM, in_spoke, blocked)
        assert learned(plane, "rs1", "nva1") == {}
        assert plane.down(Session("rs1", 0, "nva1")).startswith("RS3")


class TestRouteServerRules:
    def test_advertises_address_spaces_with_itself_as_next_hop(self) -> None:
        plane = changed(OVERLAY)
        for instance, address in ((0, "10.1.1.4"), (1, "10.1.1.5")):
            paths = sent(plane, "rs1", "nva1", instance)
            assert {prefix: (each.as_path, each.next_hop) for prefix, each in paths.items()} == {
                "10.1.0.0/16": ((65515,), address),
                "10.11.0.0/16": ((65515,), address),
            }

    def test_one_instance_peered(self) -> None:
        plane = changed(OVERLAY, put("nvas.nva1.neighbors", {"rs1": {"instances": [0]}}))
        assert learned(plane, "rs1", "nva1", 0)
        assert Session("rs1", 1, "nva1") not in plane.sessions
        assert "10.21.0.0/16" in plane.injected("hub1", 0)
        assert "10.21.0.0/16" not in plane.injected("hub1", 1)

    def test_nva_routes_are_not_reflected_to_other_nvas(self) -> None:
        def other(data: dict[str, Any]) -> None:
            data["nvas"]["fw"] = {"subnet": "hub1/nva", "ip": "10.1.0.9", "asn": 65009, "advertise": ["172.20.0.0/16"]}
            data["route_servers"]["rs1"] |= {"peers": ["nva1", "fw"], "allow_branch_to_branch": True}

        assert "172.20.0.0/16" not in sent(changed(OVERLAY, other), "rs1", "nva1")
        assumed = changed(OVERLAY, other, put("assumptions.reflect_nva_routes_with_branch_to_branch", True))
        assert sent(assumed, "rs1", "nva1")["172.20.0.0/16"].as_path == (65515, 65009)

    def test_default_route_supernet_and_exact_prefix(self) -> None:
        advertise = ["10.0.0.0/8", "10.11.0.0/16", "10.11.4.0/24"]
        plane = changed(OVERLAY, put("nvas.nva1.default_originate", True), put("nvas.nva1.advertise", advertise))
        assert {"0.0.0.0/0", "10.0.0.0/8", "10.11.0.0/16", "10.11.4.0/24"} <= learned(plane, "rs1", "nva1").keys()
        assert programmed(plane, "vm11").keys() == {"0.0.0.0/0", "10.0.0.0/8", "10.2.0.0/16", "10.21.0.0/16"}
        assert plane.fib("nva1")["0.0.0.0/0"] == FABRIC1

    def test_prefixes_of_the_own_vnet_are_not_learned_unless_assumed(self) -> None:
        def own(data: dict[str, Any]) -> None:
            data["route_servers"]["rs1"]["allow_branch_to_branch"] = True
            data["nvas"]["nva1"]["advertise"] = ["10.1.4.0/24", "10.9.0.0/16"]

        plane = changed(ONPREM, own)
        assert received(plane, "rs1", "nva1")["10.1.4.0/24"].dropped.startswith("RS9")
        assert "10.1.4.0/24" not in received(plane, "er1", "rs1-0")
        assumed = changed(ONPREM, own, put("assumptions.own_vnet_prefixes_learned", True))
        assert "10.1.4.0/24" in learned(assumed, "rs1", "nva1")
        assert programmed(plane, "nva1").keys() == programmed(assumed, "nva1").keys() == {"10.9.0.0/16", "10.100.0.0/16"}
        assert best_paths(assumed, "dc")["10.1.4.0/24"] == (12076,)

    def test_no_advertise_is_programmed_and_goes_to_no_peer(self) -> None:
        def both(data: dict[str, Any]) -> None:
            data["route_servers"]["rs1"]["allow_branch_to_branch"] = True
            data["nvas"]["nva1"]["advertise"] = ["10.9.0.0/16"]

        for community in ("no-advertise", "65535:65282"):
            plane = changed(ONPREM, both, put("nvas.nva1.neighbors", {"rs1": {"communities": [community]}}))
            assert programmed(plane, "vm11")["10.9.0.0/16"] == NVA1
            assert "10.9.0.0/16" not in received(plane, "er1", "rs1-0")
        other = changed(ONPREM, both, put("nvas.nva1.neighbors", {"rs1": {"communities": ["65001:7"]}}))
        assert received(other, "er1", "rs1-0")["10.9.0.0/16"].path.communities == ("65001:7",)

    def test_third_party_next_hop(self) -> None:
        plane = changed(OVERLAY, put("nvas.nva1.neighbors", {"rs1": {"next_hop": "10.1.0.100"}}))
        assert programmed(plane, "vm11") == {"10.2.0.0/16": ("10.1.0.100",), "10.21.0.0/16": ("10.1.0.100",)}

    def test_over_the_limit_the_session_drops_and_the_rest_goes_on(self) -> None:
        many = [f"172.16.{number}.0/24" for number in range(10)]

        def hub_alone(data: dict[str, Any]) -> None:
            data["peerings"] = [*spoke("hub2", "s21"), *joined("hub1", "hub2")]

        plane = changed(OVERLAY, hub_alone, put("nvas.nva1.advertise", many), put("limits.routes_per_peer", 11))
        assert "RS6" in plane.down(Session("rs1", 0, "nva1"))
        assert brain.sessions(plane.state)[Session("rs1", 0, "nva1")].reason == "max-prefix"
        assert programmed(plane, "vmh1") == {}
        assert learned(plane, "rs2", "nva2").keys() == set(many)
        exact = changed(OVERLAY, hub_alone, put("nvas.nva1.advertise", many), put("limits.routes_per_peer", 12))
        assert not exact.down(Session("rs1", 0, "nva1"))
        assert programmed(exact, "vmh1")

    def test_looped_routes_count_towards_the_limit(self) -> None:
        def kept(data: dict[str, Any]) -> None:
            for nva in data["nvas"].values():
                nva["as_override"] = False

        session = Session("rs1", 0, "nva1")
        looped = [each for each in changed(OVERLAY, kept).received(session) if each.dropped.startswith("RS8")]
        assert len(looped) == len(changed(OVERLAY, kept).received(session)) == 2
        assert changed(OVERLAY, kept, put("limits.routes_per_peer", 2)).down(session) == ""
        assert changed(OVERLAY, kept, put("limits.routes_per_peer", 1)).down(session).startswith("RS6")

    def test_prepend_by_prefix_and_by_neighbour(self) -> None:
        def change(data: dict[str, Any]) -> None:
            data["nvas"]["nva1"] |= {"advertise": ["192.0.2.1/32", "192.0.2.2/32"], "prepend": {"192.0.2.1/32": 2}}
            data["nvas"]["nva1"]["neighbors"] = {"nva2": {"prepend": 1}}

        plane = changed(OVERLAY, change)
        assert learned(plane, "rs1", "nva1")["192.0.2.1/32"] == (65001, 65001, 65001)
        assert learned(plane, "rs1", "nva1")["192.0.2.2/32"] == (65001,)
        assert best_paths(plane, "nva2")["192.0.2.1/32"] == (65001, 65001)
        assert best_paths(plane, "nva2")["192.0.2.2/32"] == (65001, 65001)

    def test_own_frr_configuration_is_reported_and_not_modelled(self) -> None:
        plane = changed(OVERLAY, put("nvas.nva1.frr_config", "my.conf"))
        assert "my.conf" in plane.unmodelled["nva1"]
        assert "not modelled" in plane.down(Session("rs1", 0, "nva1"))
        assert learned(plane, "rs1", "nva1") == {}

    def test_no_route_server_at_all(self) -> None:
        def none(data: dict[str, Any]) -> None:
            del data["route_servers"]
            data["peerings"] = [*joined("hub1", "s11"), *joined("hub1", "hub2")]

        plane = changed(OVERLAY, none)
        assert plane.sessions == ()
        assert programmed(plane, "vm11") == {}


@pytest.mark.parametrize("design", [OVERLAY, ONPREM], ids=["overlay", "onprem"])
@pytest.mark.parametrize("both", [False, True], ids=["alone", "branch-to-branch"])
def test_the_brain_says_the_same_of_what_a_route_server_advertises(design: dict[str, Any], both: bool) -> None:
    plane: ControlPlane = changed(
        design, put("route_servers.rs1.allow_branch_to_branch", both), put("nvas.nva1.advertise", ["10.9.0.0/16"])
    )
    for session in plane.sessions:
        if session.server in plane.topology.route_servers and not session.peer.startswith("er1"):
            assert sorted(brain.advertised(plane.state, session), key=str) == sorted(plane.advertised(session), key=str)


def test_the_same_topology_gives_the_same_result() -> None:
    first, second = changed(OVERLAY, standby(0)), changed(OVERLAY, standby(0))
    assert first.state == second.state
    assert first.outcomes == second.outcomes
