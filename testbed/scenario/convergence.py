"""Has the lab converged? When what the controller has programmed is what the prediction says, or when it has stopped changing."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from testbed.azure.control_plane import ControlPlane, converge
from testbed.azure.types import Address, Prefix
from testbed.errors import TestbedError
from testbed.model.topology import Topology
from testbed.scenario import observed

Injected = Mapping[tuple[str, int], Mapping[Prefix, tuple[Address, ...]]]
PATIENCE = 5.0
"""Seconds without a change after which a lab counts as converged although the prediction differs: the difference is then reported."""


def expected_injection(state: ControlPlane) -> Injected:
    """By (hub, home instance): the injected prefixes and next hops of a predicted control plane."""
    return {(hub.vnet, home): state.injected(hub.vnet, home) for hub in state.hubs for home in (0, 1)}


def injection(client: observed.Controller, hubs: Iterable[str]) -> Injected:
    """By (hub, home instance): what is injected now. Raises what the controller's socket raises."""
    return {(hub, home): routes for hub in hubs for home, routes in observed.injected(client, hub).items()}


def differences(expected: Injected, found: Injected) -> tuple[str, ...]:
    """What the prediction has and the lab has not, and the other way round, in words."""
    lines = []
    for key in sorted(expected.keys() | found.keys()):
        hub, home = key
        want, have = expected.get(key, {}), found.get(key, {})
        for prefix in sorted(want.keys() | have.keys()):
            wanted, seen = sorted(want.get(prefix, ())), sorted(have.get(prefix, ()))
            if wanted != seen:
                lines.append(f"{hub} (home {home}): {prefix} predicted via {_hops(wanted)}, observed {_hops(seen)}")
    return tuple(lines)


def _hops(hops: list[Address]) -> str:
    return ", ".join(hops) or "nothing"


class AsPredicted:
    """A check for `client.up`: the injected routes of every hub are the predicted ones, or have not changed for `PATIENCE` seconds."""

    def __init__(self, topology: Topology, client: observed.Controller) -> None:
        self._topology = topology
        self._client = client
        self._expected: Injected | None = None
        self._seen: Injected | None = None
        self._since = 0.0

    def __call__(self) -> str | None:
        """None once converged, else the first difference."""
        if self._expected is None:
            self._expected = expected_injection(converge(self._topology))
        try:
            found = injection(self._client, sorted({hub for hub, _ in self._expected}))
        except (TestbedError, OSError) as error:
            return f"controller: {error}"
        missing = differences(self._expected, found)
        if found != self._seen:
            self._seen, self._since = found, time.monotonic()
        if not missing or time.monotonic() - self._since > PATIENCE:
            return None
        return f"{len(missing)} routes are not as predicted, e.g. {missing[0]}"
