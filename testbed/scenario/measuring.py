"""Carries out what a step measures: picks the pairs, asks the prediction, and calls whoever measures that kind of thing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from testbed.azure.control_plane import ControlPlane
from testbed.errors import InputError
from testbed.model.measurement import Measurement
from testbed.plan.trace import Tracer
from testbed.scenario import carrying, failing_over, looping, talkers
from testbed.scenario.failing_over import Lab
from testbed.scenario.measured import Measured
from testbed.scenario.standing import Standing


def measure(
    lab: Lab,
    wanted: Measurement,
    vms: Sequence[str],
    control: ControlPlane,
    act: Callable[[], Iterable[str]],
    healing: bool,
    expected: Callable[[], Standing] = dict,
) -> Measured:
    """Measure one thing. ``vms``: what ``all`` stands for; ``control``: the prediction; ``act``: the step's actions, for a failover.

    ``expected``: the sessions that should be up as things stand when it is called.

    Raises InputError when no pair of nodes is left, LabError when the lab does not let itself be measured.
    """
    detail = wanted.detail
    pairs = pairs_of(detail.from_, detail.to, vms, both_ways=getattr(detail, "both_ways", False))
    if not pairs:
        raise InputError(f"{wanted.verb}: no two different nodes in from and to")
    if wanted.failover is not None:
        return failing_over.measure(lab, wanted.failover, pairs, act, healing, expected)
    tracer = Tracer(lab.plan, control)
    if wanted.loop is not None:
        return looping.measure(lab, wanted.loop, pairs, lambda source, target: _cycle(tracer, source, target))
    assert wanted.throughput is not None
    return carrying.measure(lab, wanted.throughput, pairs, lambda source, target: _overlay(tracer, source, target))


def pairs_of(sources: Sequence[str], targets: Sequence[str], vms: Sequence[str], *, both_ways: bool) -> tuple[tuple[str, str], ...]:
    """All ordered pairs of two different nodes, one from each list, and their reverse if asked for."""
    senders, receivers = (vms if "all" in names else names for names in (sources, targets))
    forward = [(one, other) for one in senders for other in receivers if one != other]
    return tuple(dict.fromkeys(forward + [(other, one) for one, other in forward] if both_ways else forward))


def _cycle(tracer: Tracer, source: str, target: str) -> tuple[str, ...]:
    walk = tracer.trace(source, talkers.port(tracer.plan, target).ip)
    return walk.cycle


def _overlay(tracer: Tracer, source: str, target: str) -> str:
    walk = tracer.trace(source, talkers.port(tracer.plan, target).ip)
    types = {tunnel.name: tunnel.type for tunnel in tracer.plan.tunnels}
    used = dict.fromkeys(types[name] for name in walk.tunnels if name in types)
    return "+".join(used) or "none"
