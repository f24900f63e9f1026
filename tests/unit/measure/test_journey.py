"""The path is read from what was captured, whatever order it came in."""

from __future__ import annotations

import pytest

from testbed.measure.journey import Sighting, assemble


def seen(time: float, node: str, device: str, direction: str, ttl: int, outer: tuple[str, ...] = ()) -> Sighting:
    return Sighting(time, node, device, direction == "out", ttl, outer)


VXLAN = ("10.1.0.4 > 10.2.0.4 udp/4789",)
OVERLAY = [
    seen(0.0, "vm11", "eth0", "out", 64),
    seen(0.1, "nva1", "eth0", "in", 64),
    seen(0.2, "nva1", "vx0", "out", 63),
    seen(0.3, "nva1", "eth0", "out", 63, VXLAN),
    seen(0.4, "nva2", "eth0", "in", 63, VXLAN),
    seen(0.5, "nva2", "vx0", "in", 63),
    seen(0.6, "nva2", "eth0", "out", 62),
    seen(0.7, "vm21", "eth0", "in", 62),
]


@pytest.mark.parametrize("order", [1, -1])
def test_a_walk_through_two_tunnel_ends_visits_each_once(order: int) -> None:
    journey = assemble("vm11", "vm21", OVERLAY[::order])
    assert journey.nodes == ("vm11", "nva1", "nva2", "vm21")
    assert (journey.result, journey.ttl_down, journey.cycle) == ("delivered", 2, ())


def test_a_packet_that_comes_back_to_one_router_loops_there() -> None:
    turns = [s for n in range(3) for s in (seen(n, "nva1", "eth0", "in", 64 - n), seen(n + 0.5, "nva1", "eth0", "out", 63 - n))]
    journey = assemble("vm11", "vm21", [seen(-1, "vm11", "eth0", "out", 64), *turns], time_exceeded_by="10.1.0.4")
    assert journey.nodes == ("vm11", "nva1", "nva1", "nva1")
    assert (journey.result, journey.cycle) == ("loop", ("nva1",))


def test_a_cycle_of_two_is_named_in_order() -> None:
    hops = [("b", "out"), ("r", "in"), ("r", "out"), ("a", "in"), ("a", "out"), ("r", "in"), ("r", "out"), ("a", "in")]
    journey = assemble("b", "x", [seen(i, node, "eth0", way, 64 - i // 2) for i, (node, way) in enumerate(hops)])
    assert (journey.result, journey.cycle) == ("loop", ("r", "a"))


def test_nothing_after_the_sender_is_a_drop() -> None:
    journey = assemble("vm11", "vm21", OVERLAY[:1])
    assert (journey.result, journey.nodes) == ("dropped", ("vm11",))
