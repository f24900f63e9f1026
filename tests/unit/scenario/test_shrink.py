"""Failing designs are made small: what does not matter goes, what refers to it goes along, what is left is still a design."""

from __future__ import annotations

from pathlib import Path

from testbed.model.loader import load_topology, parse_topology
from testbed.scenario.agreement import Disagreement
from testbed.scenario.fuzz import Tried, saved, smallest, text_of
from testbed.scenario.generator import Design, design, seeded
from testbed.scenario.shrink import paths, pruned, shrunk, without


def big() -> Design:
    """The first design of a series with three NVAs, a tunnel, a balancer and a route table."""
    wanted = ("tunnels", "load_balancers", "route_tables")
    made = (design(seeded(1, number)) for number in range(500))
    return next(
        each for each in made if len(each.get("nvas", {})) == 3 and len(each["regions"]) == 3 and all(key in each for key in wanted)
    )


def test_only_what_matters_is_left() -> None:
    small = shrunk(big(), lambda smaller: "nva2" in smaller.get("nvas", {}))
    assert set(small) == {"name", "regions", "nvas"}
    assert list(small["nvas"]) == ["nva2"]
    assert set(small["nvas"]["nva2"]) == {"subnet", "ip", "asn"}
    assert [len(region["vnets"]) for region in small["regions"].values()] == [1]


def test_what_only_goes_together_stays_together() -> None:
    small = shrunk(big(), lambda smaller: bool(smaller.get("tunnels")))
    assert len(small["tunnels"]) == 1
    assert sorted(small["nvas"]) == sorted(small["tunnels"][0]["between"])
    assert not {"load_balancers", "route_tables", "vms"} & set(small)


def test_every_step_is_a_design() -> None:
    made = big()
    region = next(iter(made["regions"]))
    smaller = without(made, ("regions", region))
    assert smaller is not None
    parse_topology(text_of(smaller))
    assert region not in smaller["regions"]
    assert without(made, ("regions", "nowhere")) is None


def test_a_design_without_loose_ends_stays_as_it_is() -> None:
    made = big()
    assert pruned(made) == made


def test_it_ends_when_it_was_asked_often_enough() -> None:
    asked: list[Design] = []
    shrunk(big(), lambda smaller: bool(asked.append(smaller)) or True, most=5)
    assert len(asked) == 5


def test_what_fails_is_saved_with_its_story(tmp_path: Path) -> None:
    def compare(smaller: Design) -> tuple[Disagreement, ...]:
        return (Disagreement("it", "this", "that"),) if "nva1" in smaller.get("nvas", {}) else ()

    tried = Tried(1, 7, big() | {"name": "fuzz-1-7"}, compare(big()))
    small = smallest(tried, compare, 400)
    assert compare(small.design) == small.found
    file = saved(small, tmp_path / "made")
    assert file.name == "fuzz-1-7.yaml"
    assert file.read_text().startswith(
        "# Design 7 of seed 1, made as small as it could be. What disagreed:\n# it: the model says this, found that\n"
    )
    assert list(load_topology(file).topology.nvas) == ["nva1"]


def test_whatever_is_taken_away_the_rest_can_be_pruned() -> None:
    for number in range(40):
        made = design(seeded(1, number))
        assert all(without(made, path) is not None for path in paths(made))
