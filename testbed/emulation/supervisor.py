"""Knows which processes of a lab run, hears at once of those that end, and stops and starts them by name."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import msgspec

from testbed.emulation import fast_clocks
from testbed.emulation.daemons import LAB, Running, Startup, clean_up_after, find, launch
from testbed.emulation.lab import Lab
from testbed.emulation.processes import Identity, end, send_signal
from testbed.errors import LabError
from testbed.plan.delay_lines import delay_lines
from testbed.wait import wait_until


@dataclass(frozen=True)
class Death:
    """A process that ended: how, when (seconds since the epoch), its last words, and whether we were asked to end it."""

    node: str
    daemon: str
    how: str
    at: float
    last_words: str
    on_purpose: bool


class Supervisor:
    """Knows which processes of the lab run, hears at once of those that end, and stops and starts them by name."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.deaths: list[Death] = []
        self.expected: set[str] = set()
        self._buried: set[Identity] = set()
        self._descriptors: dict[int, Running] = {}
        self._poll = select.poll()
        self._wake_in, self._wake_out = os.pipe()
        self._poll.register(self._wake_in, select.POLLIN)

    def watch_all(self) -> None:
        """Watch every process that is not watched yet."""
        known = {running.identity for running in self._descriptors.values()} | self._buried
        for running in [running for running in self.lab.running.values() if running.identity not in known]:
            try:
                descriptor = os.pidfd_open(running.pid)
            except OSError:
                self._bury(running)
                continue
            self._descriptors[descriptor] = running
            self._poll.register(descriptor, select.POLLIN)
        self.wake()

    def wake(self) -> None:
        """End the current `wait`, from any thread or signal handler."""
        os.write(self._wake_out, b".")

    def wait(self) -> None:
        """Sleep until a process ends or somebody wakes us."""
        for descriptor, _ in self._poll.poll():
            if descriptor == self._wake_in:
                os.read(self._wake_in, 4096)
                continue
            self._poll.unregister(descriptor)
            os.close(descriptor)
            self._bury(self._descriptors.pop(descriptor))

    def _bury(self, running: Running) -> None:
        clean_up_after(self.lab.plan, self.lab.paths, running)
        how = running.ended() or "gone"
        on_purpose = running.name in self.expected
        self.expected.discard(running.name)
        fast_clocks.forget([running.pid])
        self.deaths.append(Death(running.node, running.daemon, how, time.time(), self.lab.last_words(running), on_purpose))
        self._buried.add(running.identity)

    def last_death(self, node: str, daemon: str) -> Death | None:
        """How that process ended last, if it ever did."""
        return next((death for death in reversed(self.deaths) if (death.node, death.daemon) == (node, daemon)), None)

    def stop(self, node: str, daemon: str, number: int) -> None:
        """Send a signal to a process. One that ends it is waited for. Raises LabError when it does not run."""
        running = self._find(node, daemon)
        if number in (signal.SIGSTOP, signal.SIGCONT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            send_signal(running.identity, number)
            return
        self.expected.add(running.name)
        end([running.identity], number=number)
        wait_until(lambda: None if running.identity in self._buried else "not noticed yet", what=f"end of {running.name}", budget=5.0)

    def retire(self, daemon: str) -> None:
        """End a process of the lab's own that the lab does not need any more, if it runs; it is forgotten."""
        running = self.lab.running.pop(f"{LAB}.{daemon}", None)
        if running is not None and running.ended() is None:
            self.expected.add(running.name)
            end([running.identity])

    def start(self, node: str, daemon: str) -> None:
        """Start a process that is not running, and wait until it is ready.

        Processes of the node that live on it are started anew, too, as FRR's own watchfrr does: bgpd never tells a second zebra what it
        told the first one (FRR 8.4, bgp_zebra_connected).
        """
        running = self.lab.running.get(f"{node}.{daemon}")
        if running is not None and running.ended() is None:
            raise LabError(f"{node}: {daemon} already runs (pid {running.pid})")
        if node == LAB:
            self._start_lab_process(daemon)
        else:
            self._start_daemon(node, daemon)
        self.watch_all()
        for other in self._living_on(node, daemon):
            self.stop(node, other, signal.SIGTERM)
            self._start_daemon(node, other)
            self.watch_all()

    def _living_on(self, node: str, daemon: str) -> list[str]:
        """The processes of a node that run, and are started only after that one."""
        daemons = () if node == LAB else self.lab.plan.node(node).daemons
        known = ((each.name, self.lab.running.get(f"{node}.{each.name}")) for each in daemons if daemon in each.after)
        return [name for name, running in known if running is not None and running.ended() is None]

    def _start_daemon(self, node_name: str, daemon_name: str) -> None:
        node, daemon = find(self.lab.plan, node_name, daemon_name)
        alone = msgspec.structs.replace(node, daemons=(msgspec.structs.replace(daemon, after=()),))
        launch(self.lab.paths, node, daemon)
        startup = Startup([alone], self.lab.launcher, lambda running: self.lab.running.__setitem__(running.name, running))
        wait_until(startup.step, what=f"{node_name}: start of {daemon_name}", budget=10.0)

    def _start_lab_process(self, daemon: str) -> None:
        starts: dict[str, Callable[[], None]] = {
            "controller": self.lab.start_controller,
            "ovs-vswitchd": self.lab.start_switch_daemon,
            "ovsdb-server": self.lab.start_database,
        }
        for line in delay_lines(self.lab.plan):
            starts[line.process] = partial(self.lab.start_delay_lines, [line])
        if daemon not in starts:
            raise LabError(f"the lab has no process {daemon}", f"it has: {', '.join(starts)}")
        starts[daemon]()

    def _find(self, node: str, daemon: str) -> Running:
        running = self.lab.running.get(f"{node}.{daemon}")
        if running is None:
            known = ", ".join(sorted(other.daemon for other in self.lab.running.values() if other.node == node)) or "none"
            raise LabError(f"{node} has no process {daemon}", f"its processes: {known}")
        if (how := running.ended()) is not None:
            raise LabError(f"{node}: {daemon} does not run ({how})", f"`testbed heal process {node} {daemon}` starts it")
        return running
