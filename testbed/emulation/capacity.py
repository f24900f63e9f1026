"""Whether this machine can hold a lab: its limits, read before building, and recognised by name when one is met all the same."""

from __future__ import annotations

import errno
import os
import re
import resource
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from testbed.emulation.estimate import Limits, in_words, needs, shortfalls
from testbed.errors import LabError, LabExists, MachineError, TestbedError
from testbed.plan.types import Plan

CGROUPS = Path("/sys/fs/cgroup")
PROC = Path("/proc")
_UNLIMITED = 2**60

_BY_NUMBER = {
    errno.EMFILE: ("a process has too many open files (EMFILE)", "ulimit -Hn 4096, then try again"),
    errno.ENFILE: ("the machine has too many open files (ENFILE)", "raise fs.file-max"),
    errno.EAGAIN: (
        "no further process can be started (EAGAIN on fork)",
        "raise kernel.pid_max, ulimit -u or the container's limit of pids",
    ),
    errno.ENOMEM: ("the machine is out of memory (ENOMEM)", "take another lab down, or build a smaller one"),
    errno.ENOSPC: ("no space is left on the disk (ENOSPC)", "free some space, then try again"),
    errno.EDQUOT: ("the user's quota is used up (EDQUOT)", "free space, or raise the quota"),
}
_BY_WORDS = (
    (re.compile(r"unshare: No space left on device"), "no network namespace is left (ENOSPC)", "raise user.max_net_namespaces"),
    (re.compile(r"inotify.*(No space left|Too many open files)", re.IGNORECASE | re.DOTALL), "no inotify watch or instance is left",
     "raise fs.inotify.max_user_instances and fs.inotify.max_user_watches"),
    (re.compile(r"Too many open files in system"), *_BY_NUMBER[errno.ENFILE]),
    (re.compile(r"Too many open files"), *_BY_NUMBER[errno.EMFILE]),
    (re.compile(r"(fork|clone|thread|process)[^\n]*Resource temporarily unavailable", re.IGNORECASE), *_BY_NUMBER[errno.EAGAIN]),
    (re.compile(r"can't start new thread"), *_BY_NUMBER[errno.EAGAIN]),
    (re.compile(r"Cannot allocate memory"), *_BY_NUMBER[errno.ENOMEM]),
    (re.compile(r"no space left", re.IGNORECASE), *_BY_NUMBER[errno.ENOSPC]),
)  # fmt: skip


def require_room(plan: Plan) -> None:
    """Raise MachineError, with the figures, when the lab cannot fit into what the machine has left."""
    if missing := lacking(plan):
        remedies = "; ".join(dict.fromkeys(remedy for _, remedy in missing))
        lines = "\n".join(f"lab {plan.lab} does not fit: {text}" for text, _ in missing)
        raise MachineError(lines, f"{remedies}; --force builds it all the same (it takes {in_words(needs(plan))})")


def lacking(plan: Plan) -> tuple[tuple[str, str], ...]:
    """What the lab would need more of than the machine has left, in words with both figures, each with a remedy."""
    return tuple(shortfalls(needs(plan), limits()))


def forced(error: LabError, missing: Iterable[tuple[str, str]]) -> LabError | MachineError:
    """Why a lab that was built by ``--force`` though it did not fit is not there: what ends first, and how, is chance."""
    texts, remedies = zip(*missing, strict=True) if missing else ((), ())
    if not texts or isinstance(error, LabExists):
        return error
    words = "\n".join(f"it was known not to fit: {text}" for text in texts)
    return MachineError(f"{error.message}\n{words}", "; ".join((*dict.fromkeys(remedies), error.hint)))


def limits() -> Limits:
    """What this machine, and the container this process is in, have left."""
    memory, memory_by = min(_memory(), key=lambda each: each[0])
    tasks, tasks_by = min(_tasks(), key=lambda each: each[0])
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return Limits(
        memory=memory,
        memory_by=memory_by,
        tasks=tasks,
        tasks_by=tasks_by,
        files=None if files == resource.RLIM_INFINITY else files,
        namespaces=_number(PROC / "sys/user/max_net_namespaces"),
        neighbours=_neighbours(),
    )


def raise_soft_limits() -> None:
    """Let this process and its children open as many files as the hard limit allows: the soft one, often 1,024, is for users of select."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _memory() -> Iterator[tuple[int, str]]:
    for line in _lines(PROC / "meminfo"):
        if line.startswith("MemAvailable:"):
            yield int(line.split()[1]) * 1024, "free memory"
    for folder in _folders("memory"):
        limit = _first(folder, "memory.max", "memory.limit_in_bytes")
        used = _first(folder, "memory.current", "memory.usage_in_bytes")
        if limit is not None and used is not None and limit < _UNLIMITED:
            yield limit - used + _reclaimable(folder), f"the container's limit of {limit >> 20} MB"
    yield _UNLIMITED, ""


def _reclaimable(folder: Path) -> int:
    """Bytes of the page cache that the kernel gives up when asked."""
    stats = dict(line.split(maxsplit=1) for line in _lines(folder / "memory.stat") if " " in line)
    return int(stats.get("total_inactive_file", stats.get("inactive_file", 0)))


def _tasks() -> Iterator[tuple[int, str]]:
    load = _lines(PROC / "loadavg")
    now = int(load[0].split()[3].partition("/")[2]) if load else 0
    for name in ("kernel/pid_max", "kernel/threads-max"):
        if (most := _number(PROC / "sys" / name)) is not None:
            yield most - now, name.replace("/", ".")
    for folder in _folders("pids"):
        most, used = _number(folder / "pids.max"), _number(folder / "pids.current")
        if most is not None and used is not None:
            yield most - used, f"pids.max of {folder}"
    yield _UNLIMITED, ""


def _neighbours() -> int | None:
    """Entries of the neighbour table that are left: one table for all namespaces, the kernel's limit is that of the first one."""
    most = _number(PROC / "sys/net/ipv4/neigh/default/gc_thresh3")
    used = [int(line.split()[0], 16) for line in _lines(PROC / "net/stat/arp_cache")[1:2] if line]
    return None if most is None else most - sum(used)


def _folders(controller: str) -> Iterator[Path]:
    """The control groups of this process for a controller, from its own upwards, as far as they can be seen."""
    for line in _lines(PROC / "self/cgroup"):
        _, names, path = line.split(":", 2)
        if names == "" or controller in names.split(","):
            top = CGROUPS / controller if names else CGROUPS
            own = top / path.strip("/")
            yield from (each for each in (own, *own.parents) if each.is_relative_to(top) and each.is_dir())


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:
        return []


def _number(file: Path) -> int | None:
    """A file's number; None for ``max``, and where there is no such file."""
    with suppress(ValueError, IndexError):
        return int(_lines(file)[0])
    return None


def _first(folder: Path, *names: str) -> int | None:
    return next((number for name in names if (number := _number(folder / name)) is not None), None)


def named(error: BaseException, folder: Path | None = None) -> BaseException:
    """The error as a MachineError with a remedy, if a limit of the machine is behind it; else as it is.

    ``folder`` is where a process that died would have left its last words, had there been space for them.
    """
    if isinstance(error, TestbedError) and not isinstance(error, LabError):
        return error
    found = _by_words(error) or _by_number(error) or (_BY_NUMBER[errno.ENOSPC] if folder is not None and _is_full(folder) else None)
    if found is None:
        return error
    problem, remedy = found
    return MachineError(f"{problem}: {error.message if isinstance(error, TestbedError) else error}", remedy)


def _is_full(folder: Path) -> bool:
    with suppress(OSError):
        state = os.statvfs(folder)
        return state.f_bavail == 0 or (state.f_files > 0 and state.f_favail == 0)
    return False


def _by_number(error: BaseException | None) -> tuple[str, str] | None:
    while error is not None:
        if isinstance(error, OSError) and error.errno in _BY_NUMBER:
            return _BY_NUMBER[error.errno]
        error = error.__cause__
    return None


def _by_words(error: BaseException) -> tuple[str, str] | None:
    """By what the error says, and the last words of a daemon in its hint."""
    said = f"{error} {error.hint if isinstance(error, TestbedError) else ''}"
    return next(((problem, remedy) for words, problem, remedy in _BY_WORDS if words.search(said)), None)
