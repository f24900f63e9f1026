"""What commands do with labs: bring one up, find it, ask it, take it down, also when its labd is gone."""

from __future__ import annotations

import http.client
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from testbed import errors, rpc
from testbed.emulation import ledger
from testbed.emulation import lock as locks
from testbed.emulation.capacity import forced, lacking, named, require_room
from testbed.emulation.doctor import require
from testbed.emulation.lab import Lab, Told, read_plan
from testbed.emulation.labd import become_labd
from testbed.emulation.lock import LabLock
from testbed.emulation.paths import RUN_DIR_VARIABLE, LabPaths, run_dir
from testbed.emulation.processes import Identity, alive, identity, send_signal
from testbed.emulation.undo import undo
from testbed.errors import LabError, LabExists, MachineError, NoSuchLab
from testbed.plan.types import Plan
from testbed.wait import Check, poll

INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

GIVE_UP_BUDGET = 10.0
"""Seconds that a labd has to tear down what it was building."""
LONGEST_DIR = 108 - len("/nodes/t1234n99999/charon.vici/") - 1
"""Bytes: a unix socket's path holds 108."""


class LabClient:
    """A lab that is up: its labd's calls as methods. A labd that died is replaced on the first call."""

    def __init__(self, lab: str) -> None:
        """Raises NoSuchLab when no lab of that name is up."""
        self.lab = lab
        self.paths = LabPaths.of(lab)
        if not self.paths.ledger.exists():
            up = ", ".join(labs()) or "none"
            raise NoSuchLab(f"no lab {lab} is up", f"labs that are up: {up}")

    @property
    def plan(self) -> Plan:
        """The lab's plan as it stands now."""
        return read_plan(self.paths)

    def call(self, method: str, target: str, timeout: float = 30.0, **parameters: Any) -> Any:
        """Call labd; adopts the lab when there is none."""
        try:
            return rpc.call(self.paths.labd_socket, method, target, parameters, timeout)
        except (ConnectionRefusedError, FileNotFoundError):
            adopt(self.lab)
            return rpc.call(self.paths.labd_socket, method, target, parameters, timeout)
        except (ConnectionResetError, http.client.RemoteDisconnected) as error:
            raise LabError(f"labd of lab {self.lab} died at {method} {target}", "say it again: another labd takes the lab on") from error

    def status(self) -> dict[str, Any]:
        """labd's status (see `labd.Service.status`)."""
        status: dict[str, Any] = self.call("GET", "/status")
        return status

    def stop_daemon(self, node: str, daemon: str, number: int = signal.SIGTERM) -> dict[str, Any]:
        """Send a signal to a daemon; node ``lab`` has the controller, ovs-vswitchd and ovsdb-server. Returns its state."""
        state: dict[str, Any] = self.call("POST", "/stop-daemon", node=node, daemon=daemon, signal=int(number))
        return state

    def start_daemon(self, node: str, daemon: str) -> dict[str, Any]:
        """Start a daemon that does not run and wait until it is ready. Returns its state."""
        state: dict[str, Any] = self.call("POST", "/start-daemon", node=node, daemon=daemon)
        return state

    def set_link(self, *, up: bool, **which: Any) -> None:
        """Take one link down or up: ``nic=``, ``peering=``, ``tunnel=`` or ``wire=`` (see `changes.set_link`)."""
        self.call("POST", "/link", up=up, **which)

    def change_plan(self, plan: Plan) -> dict[str, Any]:
        """Go over to another plan of the same nodes; returns what was added, removed and reconfigured."""
        done: dict[str, Any] = self.call("POST", "/plan", plan=msgspec.to_builtins(plan))
        return done

    def controller(self, method: str, target: str, timeout: float = 30.0, **parameters: Any) -> Any:
        """Call the controller. Raises LabError when it does not answer."""
        try:
            return rpc.call(self.paths.controller_socket, method, target, parameters, timeout)
        except OSError as error:
            raise LabError(f"the controller of lab {self.lab} does not answer: {error}", f"`testbed status {self.lab}` says why") from error


def labs() -> tuple[str, ...]:
    """The names of all labs that are up (or were left behind), sorted."""
    folder = run_dir()
    return tuple(sorted(entry.name for entry in folder.iterdir() if (entry / "ledger.jsonl").exists())) if folder.is_dir() else ()


def the_lab(name: str | None = None) -> LabClient:
    """The lab of that name, or the only one. Raises NoSuchLab, with the names there are."""
    if name is not None:
        return LabClient(name)
    names = labs()
    if len(names) == 1:
        return LabClient(names[0])
    raise NoSuchLab(
        "no lab is up" if not names else "several labs are up: say which", ", ".join(names) or "`testbed up TOPOLOGY` builds one"
    )


def up(
    plan: Plan,
    told: Told,
    *,
    with_controller: bool = True,
    converged: Check | None = None,
    force: bool = False,
    evidence: Path | None = None,
    finish: Callable[[LabClient], None] = lambda lab: None,
) -> LabClient:
    """Build a lab in a labd of its own and wait until it has converged; ``told`` hears of every stage. ``force`` does not ask for room.

    ``finish`` is the last of it, with the lab up. Raises LabExists, LabError, NotReady or MachineError, or what ``finish`` raises; then
    nothing of the lab is left; what it looked like when it failed is in the folder ``evidence``. KeyboardInterrupt tears down, too,
    until ``finish`` has returned.
    """
    require(plan)
    if not force:
        require_room(plan)
    missing = lacking(plan)
    paths = LabPaths.of(plan.lab)
    if len(os.fsencode(paths.dir)) > LONGEST_DIR:
        raise MachineError(
            f"{paths.dir} is too long for the sockets in it", f"set {RUN_DIR_VARIABLE} to a shorter path, or use a shorter name"
        )
    lab = Lab(plan, paths, with_controller=with_controller, evidence=evidence)
    try:
        with _forked(lab, _reserve, build=True, converged=converged) as messages:
            _follow(messages, told)
            found = LabClient(plan.lab)
            finish(found)
    except OSError as error:
        raise named(error) from error
    except LabError as error:
        raise forced(error, missing) from error
    return found


def adopt(lab: str) -> None:
    """Start a labd for a lab that has lost its own. Raises NoSuchLab, or LabError when somebody is busy with it."""
    paths = LabPaths.of(lab)
    if not paths.ledger.exists():
        raise NoSuchLab(f"no lab {lab} is up")
    entries = ledger.of_this_boot(ledger.read(paths.ledger), ledger.boot_id())
    if not entries:
        raise NoSuchLab(f"lab {lab} was up before this machine restarted", f"`testbed down {lab}` removes its files")
    if not any(entry.kind == ledger.BUILT for entry in entries):
        raise LabError(
            f"lab {lab} is not finished: it is being built, or its labd was killed while it built it",
            f"if nobody builds it any more, `testbed down {lab}` removes what there is",
        )
    with _forked(Lab(read_plan(paths), paths), _take, build=False, converged=None) as messages:
        _follow(messages, lambda stage, seconds: None)


def down(lab: str) -> float:
    """Tear a lab down: all and only what its ledger names, with or without its labd. Gives back the seconds it took.

    Safe to repeat after being killed. Raises NoSuchLab when there is nothing of that name.
    """
    start = time.monotonic()
    paths = LabPaths.of(lab)
    if not paths.dir.exists() and not paths.lock.exists():
        raise NoSuchLab(f"no lab {lab} is up", f"labs that are up: {', '.join(labs()) or 'none'}")
    with _uninterrupted():
        lock = locks.take_over(paths)
        try:
            undo(paths)
        finally:
            lock.release()
    return time.monotonic() - start


def _take(paths: LabPaths) -> LabLock:
    """The lock of a lab that is there and has no labd."""
    lock = locks.acquire(paths)
    if lock is None:
        raise LabError(f"lab {paths.lab} is being built or torn down, or its labd hangs", "wait a moment, then try again")
    return lock


def _reserve(paths: LabPaths) -> LabLock:
    """The lock of a lab that is not there. Files left by a former boot are removed first."""
    lock = locks.acquire(paths)
    if lock is None:
        raise LabExists(f"lab {paths.lab} is already up", f"`testbed down {paths.lab}` removes it; `--name` builds another beside it")
    if ledger.of_this_boot(ledger.read(paths.ledger), ledger.boot_id()):
        lock.close()
        raise LabExists(
            f"lab {paths.lab} is there, but its labd is gone",
            f"`testbed status {paths.lab}` takes it on again, `testbed down {paths.lab}` removes it",
        )
    undo(paths)  # files of a former boot, or of a build that was killed before its ledger's first line
    return lock


@contextmanager
def _forked(lab: Lab, locked: Callable[[LabPaths], LabLock], *, build: bool, converged: Check | None) -> Iterator[Iterator[dict[str, Any]]]:
    """Fork labd; the context is its messages. When the context ends early, labd is told to give up, and a dead one is cleaned up after."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTS)  # a Ctrl-C before or amid the fork waits for the inner `try`
    try:
        reading = _fork(lab, locked(lab.paths), build=build, converged=converged)
        with os.fdopen(reading) as lines:
            messages = _Messages(lines)
            try:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
                yield messages
            except BaseException:
                with _uninterrupted():
                    messages.give_up()
                    if build and not messages.refused and lab.paths.lock.exists():
                        down(lab.paths.lab)
                raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _fork(lab: Lab, lock: LabLock, *, build: bool, converged: Check | None) -> int:
    """Fork labd, as nobody's child, and hand the lock over to it; gives back the end of the pipe on which it talks."""
    try:
        reading, writing = os.pipe()
        middle = os.fork()
    except OSError as error:
        lock.release()
        raise MachineError(f"cannot start labd: {error.strerror}", "too many processes or open files: see `ulimit -a`") from error
    if middle == 0:
        try:
            if os.fork() == 0:
                become_labd(lab, lock, writing, build=build, converged=converged)
        finally:
            os._exit(0)
    os.waitpid(middle, 0)
    os.close(writing)
    lock.close()
    return reading


class _Messages:
    """The JSON lines of a labd."""

    def __init__(self, lines: Any) -> None:
        self._lines = lines
        self._labd: Identity | None = None
        self.refused = False

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self

    def __next__(self) -> dict[str, Any]:
        line = self._lines.readline()
        if not line:
            raise StopIteration
        message: dict[str, Any] = json.loads(line)
        if "pid" in message:
            self._labd = identity(message["pid"])
        self.refused = "error" in message
        return message

    def give_up(self) -> None:
        """Ask labd to end, and wait until it has; one that takes too long is left to `down`, which ends it by force."""
        labd = self._labd
        if labd is not None and send_signal(labd, signal.SIGTERM):
            poll(lambda: "labd tears down" if alive(labd) else None, budget=GIVE_UP_BUDGET)


def _follow(messages: Iterator[Mapping[str, Any]], told: Told) -> None:
    for message in messages:
        if "stage" in message:
            told(message["stage"], message["seconds"])
        if "error" in message:
            kind = getattr(errors, message["error"], LabError)
            raise kind(message["message"], message["hint"])
        if message.get("up"):
            return
    raise LabError("labd was killed; what it had built is torn down")


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C, a kill and a closed terminal wait: a tear-down takes a moment, half of one takes a second `down`."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = [(number, signal.signal(number, signal.SIG_IGN)) for number in INTERRUPTS]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)
