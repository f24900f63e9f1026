"""The daemons of all nodes: started in parallel in the order they need, watched, stopped and started again one by one."""

from __future__ import annotations

import shlex
import socket
import stat
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from subprocess import Popen

from testbed.emulation import netns
from testbed.emulation.ledger import Entry, Ledger
from testbed.emulation.paths import LabPaths
from testbed.emulation.processes import Identity, alive, identity, last_lines, spawn
from testbed.errors import LabError
from testbed.plan.types import Daemon, Node, Plan

LAB = "lab"
"""The owner's name of the processes that belong to no node: ovsdb-server, ovs-vswitchd, controller."""


class Running:
    """A process of the lab: who it is, and how it ended once it has."""

    def __init__(self, node: str, daemon: str, log: Path, process: Popen[bytes] | Identity) -> None:
        """``process`` is a child, or the identity of one that an earlier labd started."""
        self.node = node
        self.daemon = daemon
        self.log = log
        self._child = process if isinstance(process, Popen) else None
        self._collecting = threading.Lock()
        self.identity = process if isinstance(process, Identity) else identity(process.pid) or Identity(process.pid, 0)

    @property
    def name(self) -> str:
        """``node.daemon``."""
        return f"{self.node}.{self.daemon}"

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.identity.pid

    def ended(self) -> str | None:
        """None while it runs, else how it ended: ``exit status 1``, ``signal 9``, ``gone`` when nobody could collect its status."""
        if self._child is None:
            return None if alive(self.identity) else "gone"
        with self._collecting:  # while one thread collects the status, `Popen.poll` tells any other that the process runs
            status = self._child.poll()
        if status is None:
            return None
        return f"signal {-status}" if status < 0 else f"exit status {status}"

    def entry(self) -> Entry:
        """Its entry in the ledger."""
        return Entry("process", self.name, pid=self.identity.pid, start=self.identity.start)


class Launcher:
    """Starts processes of one lab in their namespaces, each written in the ledger before and after."""

    def __init__(self, paths: LabPaths, ledger: Ledger) -> None:
        self.paths = paths
        self.ledger = ledger

    def start(self, starts: Iterable[tuple[str, str, str, tuple[str, ...], Path, Mapping[str, str]]]) -> list[Running]:
        """Start all of (node, daemon, namespace, argv, cwd, environment). Raises LabError when a program cannot be executed."""
        wanted = list(starts)
        if not wanted:
            return []
        self.ledger.note(Entry("process", f"{node}.{daemon}") for node, daemon, *_ in wanted)
        started = []
        try:
            for node, daemon, namespace, argv, cwd, environment in wanted:
                log = self.paths.log(node, daemon)
                with netns.inside(namespace):
                    process = spawn(argv, self.paths, log, cwd, environment)
                started.append(Running(node, daemon, log, process))
        except OSError as error:
            raise LabError(f"{node}: cannot start {daemon}: {error}", "`testbed doctor` says which package brings it") from error
        finally:
            self.ledger.note(running.entry() for running in started)
        return started


class Startup:
    """The start of all daemons of some nodes as a check to poll: each step starts what has become possible."""

    def __init__(
        self,
        nodes: Iterable[Node],
        launcher: Launcher,
        started: Callable[[Running], None],
        network_is_there: Callable[[], bool] = lambda: True,
    ) -> None:
        """``started`` is told of every process as soon as it runs; those that would talk first wait until ``network_is_there``."""
        self._launcher = launcher
        self._network_is_there = network_is_there
        self._told = started
        self._waiting = [(node, daemon) for node in nodes for daemon in node.daemons]
        self._starting: list[tuple[Node, Daemon, Running]] = []
        self._commands: list[tuple[str, tuple[str, ...], Popen[bytes], Path]] = []
        self._ready: set[tuple[str, str]] = set()

    def step(self) -> str | None:
        """None when all daemons are ready and their commands done, else whom we wait for. Raises LabError when one has died."""
        self._see_who_is_ready()
        self._see_which_commands_ended()
        self._start_what_can()
        if self._waiting or self._starting:
            names = [f"{node.name}.{daemon.name}" for node, daemon, _ in self._starting]
            names = names or [f"{node.name}.{daemon.name}" for node, daemon in self._waiting]
            return f"{', '.join(names[:5])}{' …' if len(names) > 5 else ''} not ready"
        return f"{self._commands[0][0]}: {shlex.join(self._commands[0][1])} still runs" if self._commands else None

    def _start_what_can(self) -> None:
        able = [pair for pair in self._waiting if all((pair[0].name, name) in self._ready for name in pair[1].after)]
        if any(speaks_first(*pair) for pair in able) and not self._network_is_there():
            able = [pair for pair in able if not speaks_first(*pair)]
        if not able:
            return
        self._waiting = [pair for pair in self._waiting if pair not in able]
        started = self._launcher.start(launch(self._launcher.paths, node, daemon) for node, daemon in able)
        for (node, daemon), running in zip(able, started, strict=True):
            self._starting.append((node, daemon, running))
            self._told(running)

    def _see_who_is_ready(self) -> None:
        still = []
        for node, daemon, running in self._starting:
            if (how := running.ended()) is not None:
                raise LabError(
                    f"{node.name}: {daemon.name} died at start ({how})", last_lines(running.log) or f"it left no words in {running.log}"
                )
            folder = self._launcher.paths.node(node)
            if daemon.ready is not None and not _answers(folder / filled(daemon.ready, folder)):
                still.append((node, daemon, running))
                continue
            self._ready.add((node.name, daemon.name))
            self._run_commands(node, daemon, folder)
        self._starting = still

    def _run_commands(self, node: Node, daemon: Daemon, folder: Path) -> None:
        for command in daemon.start:
            argv = tuple(filled(word, folder) for word in command)
            log = self._launcher.paths.log(node.name, f"{daemon.name}.start")
            with netns.inside(node.id):
                process = spawn(argv, self._launcher.paths, log, folder, environment(daemon, folder))
            self._commands.append((node.name, argv, process, log))

    def _see_which_commands_ended(self) -> None:
        for node, argv, process, log in list(self._commands):
            status = process.poll()
            if status is None:
                continue
            self._commands.remove((node, argv, process, log))
            if status != 0:
                raise LabError(f"{node}: {shlex.join(argv)} failed (exit status {status})", last_lines(log))


def check_configurations(nodes: Iterable[Node], paths: LabPaths) -> None:
    """Raise LabError if an FRR daemon met a line of its configuration that it does not know: it goes on without it, in silence.

    Daemons read their configuration just after their sockets answer; once their sessions are up they have.
    """
    for node in nodes:
        for daemon in node.daemons:
            with suppress(FileNotFoundError):
                for line in (paths.node(node) / f"{daemon.name}.log").read_text(errors="replace").splitlines():
                    if "on config line" in line:
                        words = line.rpartition("] ")[2]
                        hint = "mend the template in frr-configs/, or the NVA's own frr_config"
                        raise LabError(f"{node.name}: {daemon.name} does not understand its configuration: {words}", hint)


def speaks_first(node: Node, daemon: Daemon) -> bool:
    """Whether it sends packets of its own accord: into a fabric without flows the first is lost, and the next comes a second later."""
    return daemon.name != "zebra" and node.kind != "route_server"


def clean_up_after(plan: Plan, paths: LabPaths, running: Running) -> None:
    """Run what the plan wants done once this process has ended; the words of a command that fails are in its log."""
    for node in (each for each in plan.nodes if each.name == running.node):
        for daemon in (each for each in node.daemons if each.name == running.daemon):
            for command in daemon.stop:
                with netns.inside(node.id):
                    process = spawn(command, paths, running.log, paths.node(node))
                process.wait()


def launch(paths: LabPaths, node: Node, daemon: Daemon) -> tuple[str, str, str, tuple[str, ...], Path, Mapping[str, str]]:
    """What `Launcher.start` needs to start this daemon; a socket left by a predecessor is removed first."""
    folder = paths.node(node)
    if daemon.ready is not None:
        with suppress(FileNotFoundError):
            (folder / filled(daemon.ready, folder)).unlink()
    argv = tuple(filled(word, folder) for word in daemon.argv)
    return node.name, daemon.name, node.id, argv, folder, environment(daemon, folder)


def environment(daemon: Daemon, folder: Path) -> dict[str, str]:
    """The daemon's own environment variables, ``{dir}`` filled in."""
    return {name: filled(value, folder) for name, value in daemon.environment.items()}


def filled(text: str, folder: Path) -> str:
    """``{dir}`` filled in."""
    return text.replace("{dir}", str(folder))


def find(plan: Plan, node: str, daemon: str) -> tuple[Node, Daemon]:
    """The node and its daemon of these names. Raises LabError that names those there are."""
    for candidate in plan.nodes:
        if candidate.name == node:
            for process in candidate.daemons:
                if process.name == daemon:
                    return candidate, process
            known = ", ".join(process.name for process in candidate.daemons) or "none"
            raise LabError(f"{node} has no daemon {daemon}", f"its daemons: {known}")
    raise LabError(f"there is no node {node}", f"nodes: {', '.join(candidate.name for candidate in plan.nodes)}")


def _answers(path: Path) -> bool:
    """Whether the path exists and, if it is a socket, somebody listens: between bind and listen a client would be refused."""
    try:
        if not stat.S_ISSOCK(path.stat().st_mode):
            return True
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(1.0)
            probe.connect(str(path))
    except OSError:
        return False
    return True
