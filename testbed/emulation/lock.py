"""The lock of a lab: one process at a time builds, supervises or removes it, and others can find out who."""

from __future__ import annotations

import fcntl
import os
import signal
from contextlib import suppress
from dataclasses import dataclass

from testbed.emulation.paths import LabPaths
from testbed.emulation.processes import Identity, identity, send_signal
from testbed.errors import MachineError, NotReady
from testbed.wait import wait_until


@dataclass
class LabLock:
    """A lock that is held; it ends with the last process that has it open, however that process ends."""

    paths: LabPaths
    descriptor: int

    def sign(self) -> None:
        """Write down that the calling process holds it."""
        who = identity(os.getpid())
        assert who is not None
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, f"{who.pid} {who.start}\n".encode(), 0)

    def close(self) -> None:
        """Give it up here; another process that inherited it goes on holding it."""
        os.close(self.descriptor)

    def release(self) -> None:
        """Give it up and remove its file, and the folder of all labs when this was the last."""
        with suppress(FileNotFoundError):
            self.paths.lock.unlink()
        os.close(self.descriptor)
        with suppress(OSError):
            self.paths.dir.parent.rmdir()


def acquire(paths: LabPaths) -> LabLock | None:
    """Take the lock; None when somebody else holds it. Raises MachineError when its file cannot be made."""
    while True:
        try:
            paths.dir.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            descriptor = os.open(paths.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            continue  # a tear-down removed the empty folder in between
        except OSError as error:
            raise MachineError(f"cannot create {paths.lock}: {error.strerror}", "run as root") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), paths.lock.stat()):
                return LabLock(paths, descriptor)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except FileNotFoundError:
            pass  # its last holder removed it while we waited: try the next one
        os.close(descriptor)


def holder(paths: LabPaths) -> Identity | None:
    """Who signed the lock last."""
    try:
        pid, start = paths.lock.read_text().split()
        return Identity(int(pid), int(start))
    except (OSError, ValueError):
        return None


def take_over(paths: LabPaths, patience: float = 10.0) -> LabLock:
    """Take the lock, asking its holder (labd) to let go; one that does not within ``patience`` seconds is killed."""
    taken: list[LabLock] = []
    asked: set[tuple[Identity, int]] = set()

    def attempt(number: int) -> str | None:
        if (lock := acquire(paths)) is not None:
            taken.append(lock)
            return None
        who = holder(paths)
        if who is not None and (who, number) not in asked and send_signal(who, number):
            asked.add((who, number))
        return f"it is held by {f'process {who.pid}' if who else 'a process that has not signed yet'}"

    try:
        wait_until(lambda: attempt(signal.SIGTERM), what=f"lock of lab {paths.lab}", budget=patience, interval=0.003)
    except NotReady:
        wait_until(lambda: attempt(signal.SIGKILL), what=f"lock of lab {paths.lab}", budget=5.0, interval=0.003)
    return taken[0]
