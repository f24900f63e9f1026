"""Network namespaces as named mounts: made before anything joins them, so that they outlive every process of the lab."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from testbed.emulation import syscalls
from testbed.emulation.paths import NETNS_DIR
from testbed.errors import LabError, MachineError

Result = TypeVar("Result")
_OWN = "/proc/thread-self/ns/net"


def path(name: str) -> Path:
    """Where the namespace of that name is mounted."""
    return NETNS_DIR / name


def exists(name: str) -> bool:
    """Whether there is a namespace (or the leftover file of one) of that name."""
    return path(name).exists()


def prepare() -> None:
    """Make /run/netns the way ``ip netns`` does: a shared mount, so that what is unmounted here is unmounted everywhere."""
    NETNS_DIR.mkdir(mode=0o755, parents=True, exist_ok=True)
    directory = str(NETNS_DIR)
    try:
        syscalls.mount("none", directory, syscalls.MS_SHARED | syscalls.MS_REC)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise MachineError(f"cannot prepare {directory}: {error}", "run as root, outside of a restricted container") from error
        syscalls.mount(directory, directory, syscalls.MS_BIND | syscalls.MS_REC)
        syscalls.mount("none", directory, syscalls.MS_SHARED | syscalls.MS_REC)


@contextmanager
def names_reserved(names: Sequence[str]) -> Iterator[None]:
    """Hold the lock that ``ip netns`` takes too, and make sure that none of the names is in use.

    Whoever creates them inside this context creates his own, and nobody else's: raises LabError when one is taken.
    """
    prepare()
    descriptor = os.open(NETNS_DIR, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if taken := [name for name in names if exists(name)]:
            raise LabError(
                f"network namespace {taken[0]} already exists and is not this lab's",
                f"look at it with `ip netns pids {taken[0]}`; use another lab name if it belongs to another lab",
            )
        yield
    finally:
        os.close(descriptor)


def create(names: Sequence[str], configure: Callable[[str], None]) -> None:
    """Make all namespaces, with ``lo`` up, and call ``configure(name)`` inside each; about 1 ms a namespace.

    In the calling thread, not in one of its own: a signal that ends the build ends this, too, before anything is undone.
    """
    home = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for name in names:
            target = path(name)
            os.close(os.open(target, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0))
            syscalls.new_network_namespace()
            syscalls.mount(_OWN, str(target), syscalls.MS_BIND)
            syscalls.set_link("lo", up=True)
            configure(name)
    finally:
        syscalls.enter_network_namespace(home)
        os.close(home)


def remove(name: str) -> None:
    """Remove a namespace's name; without processes in it, it and its devices go at once. Nothing there is fine."""
    target = path(name)
    for _ in range(8):  # a name may be mounted more than once after a bind mount of the whole folder
        try:
            syscalls.unmount(str(target))
        except OSError:
            break
    with suppress(FileNotFoundError):
        target.unlink()


@contextmanager
def inside(name: str) -> Iterator[None]:
    """The calling thread is in that namespace; processes that it starts and sockets that it opens are born there."""
    with _joined(path(name)):
        yield


@contextmanager
def _joined(target: Path) -> Iterator[None]:
    home = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
    try:
        there = os.open(target, os.O_RDONLY | os.O_CLOEXEC)
        try:
            syscalls.enter_network_namespace(there)
        finally:
            os.close(there)
        try:
            yield
        finally:
            syscalls.enter_network_namespace(home)
    finally:
        os.close(home)


def in_thread(function: Callable[[], Result]) -> Result:
    """Call ``function`` in a thread of its own, whose namespace ends with it; what it raises is raised here."""
    results: list[Result] = []
    failures: list[BaseException] = []

    def work() -> None:
        try:
            results.append(function())
        except BaseException as error:  # carried over to the caller, whatever it is
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]


def write_sysctls(settings: dict[str, str]) -> dict[str, str]:
    """Write sysctls (``net.ipv4.ip_forward``) in the current namespace; gives back those whose file does not exist (yet)."""
    missing = {}
    for key, value in settings.items():
        file = Path("/proc/sys") / (key if "/" in key else key.replace(".", "/"))
        try:
            file.write_text(value)
        except FileNotFoundError:
            missing[key] = value
        except OSError as error:
            raise LabError(f"sysctl {key} = {value}: {error.strerror}") from error
    return missing


def names(prefixes: Iterable[str] = ("",)) -> tuple[str, ...]:
    """The names of all namespaces that begin with one of ``prefixes``."""
    wanted = tuple(prefixes)
    if not NETNS_DIR.is_dir():
        return ()
    return tuple(sorted(entry.name for entry in NETNS_DIR.iterdir() if entry.name.startswith(wanted)))
