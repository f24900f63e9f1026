"""The lab's daemon: builds the lab, notices within moments when one of its processes dies, and answers on a unix socket.

It is forked from the command that builds, so nothing is loaded twice. Killed, it leaves the lab running; `client.adopt` starts another.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import sys
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from testbed import rpc
from testbed.emulation import changes, evidence, readiness, syscalls
from testbed.emulation.capacity import named, raise_soft_limits
from testbed.emulation.daemons import LAB
from testbed.emulation.lab import Lab
from testbed.emulation.lock import LabLock
from testbed.emulation.restarts import Restarts
from testbed.emulation.supervisor import Supervisor
from testbed.emulation.undo import undo
from testbed.errors import LabError, TestbedError
from testbed.wait import Check


class Abandoned(BaseException):
    """SIGTERM, or nobody listens any more: a lab that is being built is torn down."""


_given_up = threading.Event()


class Service:
    """labd itself: one lab, its supervisor, its socket."""

    def __init__(self, lab: Lab, lock: LabLock) -> None:
        self.lab = lab
        self.lock = lock
        self.state = "building"
        self.supervisor = Supervisor(lab)
        self.since = time.time()
        self._leave = False
        self._tear_down = False
        self._changing = threading.Lock()
        self.restarts = Restarts(self._start_again)
        self._seen_deaths = 0

    def routes(self) -> rpc.Routes:
        """What can be asked and ordered."""
        return {
            ("GET", "/status"): self.status,
            ("POST", "/down"): self.down,
            ("POST", "/stop-daemon"): self._one_at_a_time(self.stop_daemon),
            ("POST", "/start-daemon"): self._one_at_a_time(self.start_daemon),
            ("POST", "/link"): self._one_at_a_time(self.link),
            ("POST", "/plan"): self._one_at_a_time(self.change_plan),
        }

    def _one_at_a_time(self, change: rpc.Handler) -> rpc.Handler:
        """Changes wait for each other, a tear-down waits for the one under way, and after it none begins."""

        def handler(parameters: dict[str, Any]) -> Any:
            with self._changing:
                if self.state != "up":
                    raise LabError(f"lab {self.lab.plan.lab} is {self.state}", "wait until it is up")
                return change(parameters)

        return handler

    def begin(self) -> None:
        """The lab is up: from now on its processes are watched and changes are welcome."""
        self.supervisor.watch_all()
        self._seen_deaths = len(self.supervisor.deaths)  # an adopted lab's: nobody knows any more which were on purpose
        self.state = "up"

    def run(self) -> None:
        """Supervise until told to leave; gives the lab up, or tears it down when that was asked."""
        while not (self._leave or self._tear_down):
            self.supervisor.wait()
            self._restart_the_dead()
        if self._tear_down:
            with self._changing:
                self.state = "stopping"
            undo(self.lab.paths)
            self.lock.release()

    def _restart_the_dead(self) -> None:
        """Have daemons started again that died since the last time, if the topology wants it; never those that were told to end."""
        new = self.supervisor.deaths[self._seen_deaths :]
        self._seen_deaths += len(new)
        for death in new:
            if not death.on_purpose and self.lab.plan.restart == "always":
                self.restarts.after_death(death.node, death.daemon)

    def _start_again(self, node: str, daemon: str) -> None:
        with self._changing:
            running = self.lab.running.get(f"{node}.{daemon}")
            if self.state == "up" and (running is None or running.ended() is not None):
                self.supervisor.start(node, daemon)

    def leave(self) -> None:
        """End supervising, leave the lab running (SIGTERM)."""
        self._leave = True
        self.supervisor.wake()

    def down(self, parameters: dict[str, Any]) -> Any:
        """Tear the lab down; answered before it is done, the end of the lock says when it is."""
        self._tear_down = True
        self.supervisor.wake()
        return {"state": "stopping"}

    def stop_daemon(self, parameters: dict[str, Any]) -> Any:
        """Send ``signal`` (a number, default 15) to ``daemon`` of ``node`` (``lab`` for the lab's own)."""
        self.supervisor.stop(str(parameters["node"]), str(parameters["daemon"]), int(parameters.get("signal", signal.SIGTERM)))
        return self._process(str(parameters["node"]), str(parameters["daemon"]))

    def start_daemon(self, parameters: dict[str, Any]) -> Any:
        """Start ``daemon`` of ``node`` again."""
        self.supervisor.start(str(parameters["node"]), str(parameters["daemon"]))
        return self._process(str(parameters["node"]), str(parameters["daemon"]))

    def link(self, parameters: dict[str, Any]) -> Any:
        """Take a link ``up`` or down: ``nic`` (a label), ``peering`` ([vnet, vnet]), ``tunnel`` (a name) or ``wire`` ([node, node])."""
        changes.set_link(self.lab.plan, parameters, up=bool(parameters["up"]))
        return {}

    def change_plan(self, parameters: dict[str, Any]) -> Any:
        """Go over to another plan of the same nodes and bridges (``plan``: its JSON); tells the controller."""
        try:
            return changes.apply(self.lab, parameters["plan"], self.supervisor.retire)
        finally:
            self.supervisor.watch_all()

    def status(self, parameters: dict[str, Any]) -> Any:
        """Everything labd knows: state, stages with their times, nodes with their daemons, deaths, restarts, what is not emulated."""
        plan = self.lab.plan
        return {
            "lab": plan.lab,
            "state": self.state,
            "topology": plan.topology,
            "labd": os.getpid(),
            "dir": str(self.lab.paths.dir),
            "since": self.since,
            "stages": [{"name": name, "seconds": round(seconds, 4)} for name, seconds in self.lab.stages],
            "unsupported": list(plan.unsupported),
            "datapath": plan.capabilities.datapath,
            "processes": [self._process(LAB, running.daemon) for running in list(self.lab.running.values()) if running.node == LAB],
            "nodes": [
                {
                    "name": node.name,
                    "kind": node.kind,
                    "namespace": node.id,
                    "nics": [{"label": nic.label, "ip": nic.ip, "vnet": nic.vnet} for nic in node.nics],
                    "daemons": [self._process(node.name, daemon.name) for daemon in node.daemons],
                }
                for node in plan.nodes
            ],
            "deaths": [vars(death) for death in self.supervisor.deaths],
            "restart": plan.restart,
            "restarts": [vars(restart) for restart in list(self.restarts.done)],
            "switches_disconnected": self._disconnected(),
        }

    def _process(self, node: str, daemon: str) -> dict[str, Any]:
        running = self.lab.running.get(f"{node}.{daemon}")
        if running is None:
            return {"name": daemon, "pid": 0, "state": "not started"}
        how = running.ended()
        if how is None:
            return {"name": daemon, "pid": running.pid, "state": "running"}
        asked = any(death.node == node and death.daemon == daemon and death.on_purpose for death in self.supervisor.deaths[-50:])
        return {
            "name": daemon,
            "pid": running.pid,
            "state": "stopped" if asked else "dead",
            "how": how,
            "last_words": self.lab.last_words(running),
        }

    def _disconnected(self) -> list[str]:
        if not self.lab.with_controller:
            return []
        connected = readiness.connected_bridges(self.lab.paths)
        return [bridge.vnet for bridge in self.lab.plan.bridges if bridge.id not in connected]


def become_labd(lab: Lab, lock: LabLock, report: int, *, build: bool, converged: Check | None) -> NoReturn:
    """The life of a forked labd; ``report`` is the pipe on which the command that started us reads JSON lines. Never returns."""
    gc.freeze()  # objects of the command must not be finalized here: they may own descriptors that we close or reuse
    os.setsid()
    keep = {report, lock.descriptor}
    _detach(keep)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # not SIG_IGN, which every daemon would inherit
    signal.signal(signal.SIGTERM, _abandon)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGHUP, signal.SIGTERM})
    os.environ.clear()  # nothing of the user's reaches the lab, and every tool that we run carries its tag
    os.environ.update(lab.paths.environment())
    status = 1
    try:
        syscalls.become_subreaper()
        raise_soft_limits()
        lock.sign()
        _serve(lab, lock, report, build=build, converged=converged)
        status = 0
    except BaseException:  # the process ends here whatever it was
        traceback.print_exc()
    finally:
        os._exit(status)


def _serve(lab: Lab, lock: LabLock, report: int, *, build: bool, converged: Check | None) -> None:
    def say(**message: Any) -> None:
        try:
            os.write(report, json.dumps(message).encode() + b"\n")
        except BrokenPipeError:
            raise Abandoned("nobody listens") from None

    service = Service(lab, lock)
    try:
        say(pid=os.getpid())
        if build:
            lab.prepare()
        else:
            lab.resume()
        _log_to(lab)
        server = rpc.Server(lab.paths.labd_socket, service.routes())
        server.serve_in_background()
        if build:
            lab.build(lambda stage, seconds: say(stage=stage, seconds=seconds), converged, lambda: _check_listener(report))
        signal.signal(signal.SIGTERM, lambda *_: service.leave())
        _check_listener(report)
        service.begin()
        say(up=True)
    except BaseException as error:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        described = _described(error, lab.paths.dir)  # while what filled the disk is still there
        if build:
            if lab.evidence is not None and not isinstance(error, Abandoned):
                with suppress(OSError):
                    evidence.collect(lab.plan, lab.paths, lab.evidence)
            undo(lab.paths)
            lock.release()
        with suppress(Abandoned):
            say(**described)
        if not isinstance(error, TestbedError | Abandoned):
            raise
        return
    os.close(report)
    service.run()


def _check_listener(report: int) -> None:
    """Raise Abandoned when the command that started us is gone, or has said so."""
    poll = select.poll()
    poll.register(report, 0)
    if _given_up.is_set() or poll.poll(0):
        raise Abandoned("nobody listens")


def _described(error: BaseException, folder: Path) -> dict[str, str]:
    if isinstance(error, Abandoned):
        return {"error": "LabError", "message": "interrupted while the lab was being built; it has been torn down", "hint": ""}
    error = named(error, folder)
    if isinstance(error, TestbedError):
        return {"error": type(error).__name__, "message": error.message, "hint": error.hint}
    trace = "".join(traceback.format_exception(error)[-3:])
    return {"error": "TestbedError", "message": f"{type(error).__name__}: {error}", "hint": trace}


def _abandon(number: int, frame: object) -> None:
    """Raise Abandoned, wherever we are; Python loses it in a finalizer, so it is also written down."""
    _given_up.set()
    raise Abandoned


def _detach(keep: set[int]) -> None:
    """Let go of the command's terminal, pipes and files."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    for descriptor in [int(entry.name) for entry in os.scandir("/proc/self/fd")]:
        if descriptor > 2 and descriptor not in keep:
            with suppress(OSError):  # the listing's own is closed already
                os.close(descriptor)
    os.chdir("/")


def _log_to(lab: Lab) -> None:
    """From now on what we print is found in the lab's log folder."""
    descriptor = os.open(lab.paths.log(LAB, "labd"), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
