"""Health probes of load balancers: a TCP connection to every backend, as its own host would open it, again and again."""

from __future__ import annotations

import fcntl
import logging
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from msgspec import Struct

from testbed.errors import TestbedError
from testbed.netns import run_in
from testbed.plan.types import LoadBalancerPlan, Plan, ProbePlan

LOG = logging.getLogger("health")

IMPATIENT = 0.2
"""Seconds between probes until every backend has been healthy once: a lab that comes up need not wait for the interval."""
_TIMEOUT = 0.5
_SIOCGIFFLAGS, _IFF_RUNNING = 0x8913, 0x40


class Health(Struct, frozen=True, tag=True):
    """The backends of a load balancer that answer its probe (labels, in the order of the plan), from ``at`` on (monotonic)."""

    balancer: str
    healthy: tuple[str, ...]
    at: float


class Backend(NamedTuple):
    """Where a backend is: its namespace, the device of its NIC, its address."""

    namespace: str
    device: str
    address: str


class Counter:
    """What the probes of one backend come to. One answer makes it healthy, ``threshold`` misses in a row unhealthy. Pure."""

    def __init__(self, threshold: int) -> None:
        self._threshold = threshold
        self._missed = threshold
        self.has_been_healthy = False

    @property
    def healthy(self) -> bool:
        """Whether it gets traffic."""
        return self._missed < self._threshold

    def count(self, answered: bool) -> None:
        """Take one probe into account; before the first answer a backend is not healthy."""
        self._missed = 0 if answered else self._missed + 1
        self.has_been_healthy |= answered


class Watch:
    """The probes of one load balancer. What changes goes to ``deliver``, from a thread of its own; the first result always does."""

    def __init__(
        self, name: str, probe: ProbePlan, backends: Mapping[str, Backend], deliver: Callable[[Health], None],
        answers: Callable[[Backend, int], bool] | None = None,
    ) -> None:  # fmt: skip
        self.name, self.probe, self.backends = name, probe, dict(backends)
        self._deliver = deliver
        self._answers = answers or answers_now
        self._counters = {label: Counter(probe.threshold) for label in self.backends}
        self._known: tuple[str, ...] | None = None
        self._stopped = threading.Event()

    def start(self) -> None:
        """Probe in the background until `stop`."""
        threading.Thread(target=self._run, name=f"health-{self.name}", daemon=True).start()

    def stop(self) -> None:
        """Deliver nothing more."""
        self._stopped.set()

    def look(self) -> None:
        """Probe every backend once."""
        for label, backend in self.backends.items():
            self._counters[label].count(self._answers(backend, self.probe.port))
        healthy = tuple(label for label, counter in self._counters.items() if counter.healthy)
        if healthy != self._known and not self._stopped.is_set():
            self._known = healthy
            self._deliver(Health(self.name, healthy, time.monotonic()))

    def _run(self) -> None:
        while not self._stopped.is_set():
            self.look()
            patient = all(counter.has_been_healthy for counter in self._counters.values())
            self._stopped.wait(self.probe.interval if patient else min(IMPATIENT, self.probe.interval))


def answers_now(backend: Backend, port: int) -> bool:
    """Whether the backend's NIC has a link and somebody listens at that port."""
    try:
        return run_in(backend.namespace, lambda: _connects(backend, port))
    except TestbedError:
        return False  # the namespace is not there yet, or not any more


def _connects(backend: Backend, port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(_TIMEOUT)
        try:
            request = fcntl.ioctl(probe, _SIOCGIFFLAGS, struct.pack("16sH14x", backend.device.encode(), 0))
            if not struct.unpack_from("16sH", request)[1] & _IFF_RUNNING:
                return False
            probe.connect((backend.address, port))
        except OSError:
            return False
    return True


def watched(plan: Plan) -> dict[str, tuple[LoadBalancerPlan, ProbePlan, dict[str, Backend]]]:
    """The load balancers that have a probe, by name, with their backends by label."""
    nics, ids = {nic.label: nic for nic in plan.nics()}, {node.name: node.id for node in plan.nodes}
    return {
        balancer.name: (
            balancer,
            balancer.probe,
            {label: Backend(ids[nics[label].node], nics[label].name, nics[label].ip) for label in balancer.backends},
        )
        for balancer in plan.load_balancers
        if balancer.probe is not None
    }
