"""What single faults cost on paper: who is lost, who goes another way, and what counts as a difference from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.azure.control_plane import converge
from testbed.azure.impairment import INTACT, Broken
from testbed.model.loader import load_topology
from testbed.plan.compile import compile_plan
from testbed.plan.templates import load_templates
from testbed.plan.types import Capabilities, Plan
from testbed.scenario.elements import Element, elements
from testbed.scenario.sweep import LOST, PARTLY, Fate, Forecast, Outlook, Pair, combined, told, unexpected, worst

TOPOLOGIES = Path(__file__).parents[3] / "topologies"


def forecast_of(name: str, ipsec: str = "libipsec") -> Forecast:
    topology = load_topology(TOPOLOGIES / f"{name}.yaml").topology
    return Forecast(topology, compile_plan(topology, templates=load_templates(), capabilities=Capabilities(ipsec=ipsec)))


def element(plan: Plan, name: str) -> Element:
    return next(each for each in elements(plan) if each.name == name)


@pytest.fixture(scope="module")
def dual() -> Forecast:
    """The dual-region design: one NVA and one tunnel a region pair."""
    return forecast_of("dual-region")


def lost(forecast: Forecast, *names: str) -> set[Pair]:
    return set(forecast.outlook([element(forecast.plan, name) for name in names]).lost)


def test_everything_that_can_fail_is_listed(dual: Forecast) -> None:
    names = [each.name for each in elements(dual.plan)]
    assert len(names) == len(set(names)) == 21
    for expected in (
        "nva1: all processes",
        "nva1: power",
        "nva2: bfdd",
        "rs1-1: power",
        "tunnel nva1-nva2",
        "link hub1 - hub2",
        "controller",
    ):
        assert expected in names
    assert not any(name.startswith("vm") for name in names)


def test_circuits_gateways_and_msees_are_listed() -> None:
    from tests.unit.plan import designs

    topology = designs.parse_topology(designs.ON_PREMISES).topology
    names = {each.name for each in elements(designs.compiled(topology))}
    assert {"er1-0: all processes", "london-msee0: all processes", "circuit er1-0-london-msee0"} <= names
    assert {"er1-0: power", "london-msee0: power"} <= names  # with their links


def test_one_nva_alone_is_a_single_point_of_failure_between_the_regions(dual: Forecast) -> None:
    crossing = {("vm11", "vm21"), ("vm22", "vm12"), ("vmh1", "vm21"), ("vm12", "vmh2")}
    assert crossing <= set(dual.intact.served_before)
    for name in ("nva1: all processes", "nva1: power", "nva2: bgpd", "tunnel nva1-nva2"):
        assert crossing <= lost(dual, name)
        assert ("vmh1", "vmh2") not in lost(dual, name)
    assert ("vmh1", "vmh2") in lost(dual, "link hub1 - hub2")


def test_a_route_server_instance_alone_costs_nothing_but_both_cost_the_routes(dual: Forecast) -> None:
    assert lost(dual, "rs1-0: all processes") == set()
    assert ("vm11", "vm21") in lost(dual, "rs1-0: power", "rs1-1: power")


def test_processes_that_decide_nothing_cost_nothing(dual: Forecast) -> None:
    for name in ("nva1: zebra", "nva1: bfdd", "controller"):
        assert lost(dual, name) == set()


def test_with_the_controller_dead_the_switches_still_send_packets_to_a_dead_nva(dual: Forecast) -> None:
    both = dual.outlook([element(dual.plan, "controller"), element(dual.plan, "nva1: power")])
    assert both.fates["vm11", "vm21"].reason == "nva1 is silent"
    alone = dual.outlook([element(dual.plan, "nva1: power")])
    assert "None" in alone.fates["vm11", "vm21"].reason


def test_a_standby_takes_over_and_the_pairs_count_as_moved() -> None:
    forecast = forecast_of("active-standby")
    outlook = forecast.outlook([element(forecast.plan, "nva1: power")])
    assert outlook.lost == ()
    assert outlook.moved
    assert all("nva1b" in way for pair in outlook.moved for way in outlook.fates[pair].ways)


@pytest.mark.parametrize("ipsec", ["libipsec", "kernel"])
def test_encryption_ends_with_its_charon(ipsec: str) -> None:
    assert ("vm11", "vm21") in lost(forecast_of("ipsec-overlay", ipsec), "nva1: charon")


def test_nothing_broken_changes_nothing(dual: Forecast) -> None:
    intact = dual.outlook(())
    assert intact.fates == dual.intact.fates
    assert intact.name == "nothing broken"
    assert converge(dual.topology, broken=INTACT).outcomes == converge(dual.topology).outcomes


def test_broken_sessions_say_why(dual: Forecast) -> None:
    cut = converge(dual.topology, broken=Broken(peerings=frozenset((frozenset(("hub1", "hub2")),))))
    downs = {each.down for each in cut.layout.network.adjacencies}
    assert downs == {"", "the link between hub1 and hub2 is down"}
    mute = converge(dual.topology, broken=Broken(mute=frozenset(("nva1",))))
    assert sum(each.down == "nva1 does not speak BGP" for each in mute.layout.network.adjacencies) == 3


def test_pairs_of_faults_are_of_different_places(dual: Forecast) -> None:
    single = elements(dual.plan)
    chosen = combined(single, pairs=True)
    assert chosen[: len(single)] == tuple((each,) for each in single)
    assert all(len({each.place for each in pair}) == len(pair) for pair in chosen)
    assert len(combined(single, pairs=False)) == len(single)


def test_the_worst_come_first(dual: Forecast) -> None:
    outlooks = [dual.outlook(each) for each in combined(elements(dual.plan), pairs=False)]
    first, second, *_ = worst(outlooks, 3)
    assert first.name == "link hub1 - hub2"
    assert len(first.lost) >= len(second.lost) > 0
    assert len(worst(outlooks, 3)) == 3


def test_what_was_not_predicted_is_told_and_what_may_go_either_way_is_not(dual: Forecast) -> None:
    fates = {("a", "b"): Fate("delivered", ()), ("b", "a"): Fate(LOST, (), "E3: why"), ("a", "c"): Fate(PARTLY, ())}
    outlook = Outlook((), INTACT, dual.intact.control, fates, fates)
    assert unexpected(outlook, {("a", "b"): True, ("b", "a"): False, ("a", "c"): True}) == ()
    assert unexpected(outlook, {("a", "b"): False, ("b", "a"): True, ("a", "c"): False}) == (
        "a → b: predicted delivered, observed lost",
        "b → a: predicted lost (E3: why), observed delivered",
    )


def test_a_prediction_is_plain_data(dual: Forecast) -> None:
    data = told(dual.outlook([element(dual.plan, "link hub1 - hub2")]))
    assert data["fault"] == "link hub1 - hub2"
    assert "vmh1 → vmh2" in data["lost"]  # type: ignore[operator]
    assert data["served_before"] == 26


def test_a_tunnel_ends_with_the_last_circuit_that_carries_it_and_so_does_the_session_inside() -> None:
    forecast = forecast_of("expressroute-overlay")
    plan = forecast.plan
    one, both = ["circuit london-msee0-onprem"], ["circuit london-msee0-onprem", "circuit london-msee1-onprem"]
    assert "nva1-onprem" not in forecast.outlook([element(plan, name) for name in one]).broken.devices
    gone = forecast.outlook([element(plan, name) for name in both])
    assert "nva1-onprem" in gone.broken.devices
    assert forecast.intact.control.injected("hub1", 0).lookup("10.100.0.10") is not None
    assert gone.control.injected("hub1", 0).lookup("10.100.0.10") is None
    crossed = ["circuit er1-0-london-msee0", "circuit er1-1-london-msee0", "circuit london-msee1-onprem"]
    assert "nva1-onprem" in forecast.outlook([element(plan, name) for name in crossed]).broken.devices


def test_gateways_connections_over_the_internet_are_taken_to_be_carried() -> None:
    forecast = forecast_of("vpn-gateway")
    assert {each.name for each in forecast.plan.tunnels} == {"vpn1-0-onprem", "vpn1-1-onprem"}
    assert forecast.outlook([element(forecast.plan, "vpn1-0: all processes")]).lost == ()
    both = [element(forecast.plan, f"tunnel vpn1-{instance}-onprem") for instance in (0, 1)]
    assert ("client", "vm11") in forecast.outlook(both).lost


def test_a_kernel_no_longer_uses_a_circuit_that_is_down_but_still_one_whose_far_end_lost_its_routes() -> None:
    forecast = forecast_of("expressroute-overlay")
    down = forecast.outlook([element(forecast.plan, "circuit london-msee0-onprem")])
    assert down.fates["client", "vm11"].verdict == "delivered"
    mute = forecast.outlook([element(forecast.plan, "london-msee0: bgpd")])
    assert mute.fates["client", "vm11"].verdict == PARTLY  # the site's own routes to the tunnel's end lead over both circuits
    assert mute.fates["vm11", "client"].verdict == PARTLY, "and a tunnel that works in one direction only carries no session"
    assert mute.control.injected("hub1", 0).lookup("10.100.0.10") is not None
    assert mute.otherwise is not None
    assert mute.otherwise.control.injected("hub1", 0).lookup("10.100.0.10") is None
    assert down.otherwise is None
