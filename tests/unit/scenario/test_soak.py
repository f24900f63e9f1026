"""What a soak chooses, what it holds against processes and kernels, and when it calls something broken."""

from __future__ import annotations

import random

from testbed.azure.impairment import INTACT
from testbed.measure.footprint import Footprint, footprint, growth, unbounded
from testbed.model.scenario import Fault
from testbed.scenario.elements import Element
from testbed.scenario.kernels import different
from testbed.scenario.soak import Soak, some
from testbed.scenario.trial import Trial

MIB = 2**20
EVERYTHING = tuple(Element(f"e{number}", f"place{number // 2}", Fault(controller=True), INTACT) for number in range(8))


def test_the_same_seed_breaks_the_same_things_and_never_two_of_one_place() -> None:
    one, other = ([some(choose, EVERYTHING) for _ in range(200)] for choose in (random.Random(7), random.Random(7)))
    assert one == other
    assert {len(each) for each in one} == {1, 2}
    assert all(len({element.place for element in each}) == len(each) for each in one)
    assert {element.name for each in one for element in each} == {element.name for element in EVERYTHING}


def test_growth_is_measured_within_one_life_of_a_process() -> None:
    samples = [
        {"bgpd": Footprint(10, 5 * MIB, 20), "labd": Footprint(1, 30 * MIB, 9)},
        {"bgpd": Footprint(10, 6 * MIB, 20), "labd": Footprint(1, 30 * MIB, 9)},
        {"bgpd": Footprint(11, 90 * MIB, 20), "labd": Footprint(1, 40 * MIB, 9)},  # bgpd is another process
    ]
    found = {each.name: each for each in growth(samples)}
    assert (found["bgpd"].memory, found["bgpd"].samples) == (MIB, 2)
    assert found["bgpd"].bounded
    assert not found["labd"].bounded
    assert unbounded(growth(samples)) == ("labd (pid 1): 30.0 → 40.0 MiB, 9 → 9 file descriptors in 3 samples",)


def test_file_descriptors_may_not_pile_up() -> None:
    samples = [{"labd": Footprint(1, MIB, descriptors)} for descriptors in (9, 12, 13)]
    assert len(unbounded(growth(samples))) == 1
    assert unbounded(growth(samples[:2])) == ()


def test_a_process_has_a_footprint_and_a_dead_one_has_none() -> None:
    import os

    own = footprint(os.getpid())
    assert own is not None
    assert own.memory > MIB
    assert own.descriptors >= 3
    assert footprint(2**22 + 1) is None


def test_routes_that_kernels_lost_or_kept_are_named() -> None:
    before = {"nva1": frozenset(("10.0.0.0/8 via 10.1.0.1", "default via 10.1.0.1")), "nva2": frozenset(("default via 10.2.0.1",))}
    after = {"nva1": frozenset(("default via 10.1.0.1", "10.9.0.0/16 dev x")), "nva2": frozenset(("default via 10.2.0.1",))}
    assert different(before, after) == (
        "nva1 lacks the route 10.0.0.0/8 via 10.1.0.1",
        "nva1 has the route 10.9.0.0/16 dev x too much",
    )
    assert different(before, before) == ()


def test_a_soak_is_broken_by_what_was_left_by_growth_and_by_deaths() -> None:
    assert Soak(1, trials=[Trial("x")]).broken == ()
    assert Soak(1, trials=[Trial("x", left=("a route",))]).broken == ("x: a route",)
    died = {"node": "nva1", "daemon": "bgpd", "how": "signal 11"}
    assert Soak(1, deaths=[died]).broken == ("died unasked: nva1.bgpd (signal 11)",)
    assert not Trial("x", not_back=("a → b",)).as_predicted
