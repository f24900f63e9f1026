"""Builds a lab from its plan, stage by stage, and keeps what is known of its processes."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path

import msgspec

import testbed
from testbed.emulation import fabric, ledger, netns, openvswitch, ovsdb, readiness
from testbed.emulation.daemons import LAB, Launcher, Running, Startup, check_configurations
from testbed.emulation.delay_lines import delay_line_argv, silent_delay_line
from testbed.emulation.paths import LabPaths, namespaces
from testbed.emulation.processes import last_words
from testbed.errors import LabError
from testbed.plan.delay_lines import DelayLine, delay_lines
from testbed.plan.types import Plan
from testbed.wait import Check, wait_until

STAGES = ("network", "daemons", "tunnels", "sessions", "routes")
BUDGETS = {"network": 20.0, "daemons": 20.0, "tunnels": 20.0, "sessions": 30.0, "routes": 30.0}
"""Seconds, generous for a busy machine: they bound a failure, they do not delay a success."""

_OWN_CODE = {"PYTHONPATH": str(Path(testbed.__file__).resolve().parents[1]), "PYTHONUNBUFFERED": "1"}

Told = Callable[[str, float], None]
"""Hears of a stage's end: its name and the seconds since the build began."""


class Lab:
    """One lab: its plan, its ledger, its processes. Whoever holds it holds the lab's lock."""

    def __init__(self, plan: Plan, paths: LabPaths, *, with_controller: bool = True, evidence: Path | None = None) -> None:
        """``with_controller`` False leaves the controller out: the switches then drop everything that nobody tells them to forward.

        ``evidence``: the folder for what the lab looked like when its build failed.
        """
        self.plan = plan
        self.paths = paths
        self.with_controller = with_controller
        self.evidence = evidence and evidence.resolve()
        self.running: dict[str, Running] = {}
        self.stages: list[tuple[str, float]] = []
        self._startup: Startup | None = None
        self._controller_connected = not with_controller
        self._programmed = False
        self._wanted: Callable[[], None] = lambda: None

    def prepare(self) -> None:
        """Make the lab's folder, its ledger, the plan's file. Raises LabError when the disk is full."""
        paths = self.paths
        paths.dir.mkdir(mode=0o711)
        self.ledger = ledger.Ledger(paths.ledger)
        self.ledger.note([ledger.Entry("directory", str(paths.dir))])
        for folder in (paths.logs, paths.ovs, paths.dir / "nodes"):
            folder.mkdir(mode=0o711)
        write_plan(self.plan, paths)
        self.launcher = Launcher(paths, self.ledger)

    def resume(self) -> None:
        """Take on a lab that an earlier labd built: its processes by pid and start time."""
        self.ledger = ledger.Ledger(self.paths.ledger)
        self.launcher = Launcher(self.paths, self.ledger)
        entries = ledger.of_this_boot(ledger.read(self.paths.ledger), ledger.boot_id())
        for name, process in ledger.processes(entries).items():
            node, _, daemon = name.rpartition(".")
            self.running[name] = Running(node, daemon, self.paths.log(node, daemon), process)

    def build(self, told: Told, converged: Check | None = None, wanted: Callable[[], None] = lambda: None) -> None:
        """Build everything and wait until it has converged; ``converged`` is one more check of the last stage.

        ``wanted`` is called now and then and raises when nobody wants the lab any more.
        Raises LabError (a process died, a command failed) or NotReady (a stage ran out of its budget, with the last reason).
        """
        start = time.monotonic()
        self._wanted = wanted

        def end(stage: str) -> None:
            self.stages.append((stage, time.monotonic() - start))
            told(*self.stages[-1])

        self._make_network()
        self._startup = Startup(self.plan.nodes, self.launcher, self._remember, self._forwards)
        self._wait("network", self._switch_is_ready)
        end("network")
        self._wait("daemons", self._startup.step)
        end("daemons")
        with closing(readiness.TunnelProbe(self.plan, self.paths)) as tunnels:
            self._wait("tunnels", tunnels if self.with_controller else lambda: None)
        end("tunnels")
        try:
            self._wait("sessions", readiness.sessions(self.plan, self.paths) if self.with_controller else lambda: None)
        finally:  # the real reason if sessions do not come up, and an error even if they do
            check_configurations(self.plan.nodes, self.paths)
        end("sessions")
        self._wait("routes", self._routes(converged))
        end("routes")
        self.ledger.note([ledger.Entry(ledger.BUILT, self.plan.lab)])
        self._startup = None

    def _make_network(self) -> None:
        """Make the network as Mininet objects; first of all the fabric's namespace with the controller, which takes longest to be there."""
        with netns.names_reserved(namespaces(self.plan)):
            self.ledger.note(fabric.announce(self.plan))
            fabric.create_namespaces(self.plan, (self.plan.fabric,))
            if self.with_controller:
                self.start_controller()
            from testbed.emulation.mininet_lab import LabNet  # here: it takes its time to import, the controller starts meanwhile

            network = LabNet(self.plan, self.paths)
            network.create_namespaces()
        self._start_database()
        network.create_links()
        self.start_delay_lines(delay_lines(self.plan))
        self._start_switch()
        fabric.write_files(self.plan, self.paths)
        network.configure_hosts()

    def _routes(self, converged: Check | None) -> Check:
        checks: list[Check] = [readiness.Settled(self.plan, self.paths)]
        if self.with_controller:
            checks.insert(0, lambda: readiness.controller(self.paths))
        if converged is not None:
            checks.append(converged)
        return readiness.first_reason(checks)

    def start_controller(self) -> None:
        """Start the controller in the fabric namespace; the switches are connected once it listens."""
        argv = (sys.executable, "-P", "-m", "testbed.controller", "--lab-dir", str(self.paths.dir))
        self._start(("controller", argv, _OWN_CODE))

    def _start_database(self) -> None:
        fabric.run_batches([fabric.Batch("Open vSwitch", self.plan.fabric, openvswitch.database_argv(self.paths), [""])])
        self.start_database()

    def _start_switch(self) -> None:
        """Fill the database, then start the switch daemon: it finds everything there at once."""
        socket = openvswitch.database_socket(self.paths)
        self._wait("network", lambda: None if _connects(socket) else "ovsdb-server does not answer")
        with ovsdb.Connection(socket) as connection:
            openvswitch.initialize(connection)
            connection.transact(openvswitch.build(self.plan))
        self.start_switch_daemon()

    def start_switch_daemon(self) -> None:
        """Start ovs-vswitchd on the database as it is."""
        self._start(("ovs-vswitchd", openvswitch.switch_argv(self.paths), openvswitch.environment(self.paths)))

    def start_delay_lines(self, lines: Iterable[DelayLine]) -> None:
        """Start delay lines."""
        for line in lines:
            self._start((line.process, delay_line_argv(line), _OWN_CODE))

    def start_database(self) -> None:
        """Start ovsdb-server on the file that is there."""
        self._start(("ovsdb-server", openvswitch.server_argv(self.paths), openvswitch.environment(self.paths)))

    def _start(self, process: tuple[str, tuple[str, ...], dict[str, str]]) -> None:
        name, argv, environment = process
        for running in self.launcher.start([(LAB, name, self.plan.fabric, argv, self.paths.dir, environment)]):
            self._remember(running)

    def _remember(self, running: Running) -> None:
        self.running[running.name] = running

    def _forwards(self) -> bool:
        """Whether the switches have the flows that need no BGP."""
        if not self.with_controller:
            return True
        self._programmed = self._programmed or (self._controller_connected and readiness.programmed(self.paths) is None)
        return self._programmed

    def _switch_is_ready(self) -> str | None:
        try:
            with ovsdb.Connection(openvswitch.database_socket(self.paths)) as connection:
                reason = openvswitch.applied(connection) or openvswitch.misplaced_port(connection, self.plan)
                return reason or silent_delay_line(self.plan)
        except LabError as error:  # if it died, the next look at the processes says so with its last words
            return error.message

    def last_words(self, running: Running) -> str:
        """What a process of the lab said at last."""
        folder = next((self.paths.node(node) for node in self.plan.nodes if node.name == running.node), self.paths.logs)
        return last_words(running.identity, running.log, folder / f"{running.daemon}.log")

    def _wait(self, stage: str, check: Check) -> None:
        """Poll the check; meanwhile daemons go on starting, the controller is connected, and a death is an error at once."""

        def step() -> str | None:
            self._advance()
            return check()

        wait_until(step, what=stage, budget=BUDGETS[stage], interval=0.005)

    def _advance(self) -> None:
        self._wanted()
        for running in self.running.values():
            if (how := running.ended()) is not None:
                raise LabError(f"{running.node}: {running.daemon} died ({how})", self.last_words(running) or f"no words in {running.log}")
        if self._startup is not None:
            self._startup.step()
        if not self._controller_connected and self._startup is not None:
            self.connect_controller()

    def connect_controller(self) -> None:
        """Point the bridges at the controller if it listens: their first attempt then succeeds, the next would come a second later."""
        if readiness.listening(self.plan.fabric, readiness.CONTROLLER_PORT):
            with ovsdb.Connection(openvswitch.database_socket(self.paths)) as connection:
                connection.transact(openvswitch.connect_controller(self.plan))
            self._controller_connected = True


def write_plan(plan: Plan, paths: LabPaths) -> None:
    """Write plan.json, whole or not at all."""
    draft = paths.plan.with_suffix(".new")
    try:
        draft.write_bytes(msgspec.json.encode(plan))
        draft.chmod(0o600)
        draft.replace(paths.plan)
    except OSError as error:
        raise LabError(f"cannot write {paths.plan}: {error.strerror}") from error


def read_plan(paths: LabPaths) -> Plan:
    """The plan of a lab that is there. Raises LabError when it cannot be read."""
    try:
        return msgspec.json.decode(paths.plan.read_bytes(), type=Plan)
    except (OSError, msgspec.DecodeError) as error:
        raise LabError(f"cannot read {paths.plan}: {error}", f"`testbed down {paths.lab}` removes what is left of the lab") from error


def _connects(socket: Path) -> bool:
    try:
        with ovsdb.Connection(socket):
            return True
    except LabError:
        return False
