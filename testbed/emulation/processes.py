"""Processes of a lab: told apart by pid and start time, found by their tag, ended one by one, never by name."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, Popen

from testbed.emulation.paths import LAB_DIR_VARIABLE, LAB_VARIABLE, LabPaths
from testbed.wait import wait_until

_CRASH = re.compile(r": Received signal \d+ at (\d+)")
_STATISTICS = "core_handler: "
_REPORT_LINES = 12


@dataclass(frozen=True, order=True)
class Identity:
    """A process: its pid and when it started (clock ticks since boot), which no later process of that pid shares."""

    pid: int
    start: int


def identity(pid: int) -> Identity | None:
    """The identity of the process that has this pid now; None when there is none or only its zombie.

    The first thread of a killed process may be a zombie while the others still hold its files and sockets: that one is there.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    ended = fields[0] in (b"Z", b"X") and int(fields[17]) <= 1
    return None if ended else Identity(pid, int(fields[19]))


def alive(process: Identity) -> bool:
    """Whether this very process still runs."""
    return identity(process.pid) == process


def send_signal(process: Identity, number: int) -> bool:
    """Send a signal to this very process (by pidfd, so that it cannot meet another one); False when it is gone."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except OSError:
        return False
    try:
        if not alive(process):
            return False
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


def tagged(paths: LabPaths) -> frozenset[Identity]:
    """All processes that carry the lab's tag in their environment, but the caller and its ancestors."""
    spared = own_line()
    lab, folder = f"{LAB_VARIABLE}={paths.lab}".encode(), f"{LAB_DIR_VARIABLE}={paths.dir}".encode()
    found = set()
    for pid in _pids():
        if pid in spared:
            continue
        with suppress(OSError):
            environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            if lab in environment and folder in environment and (who := identity(pid)) is not None:
                found.add(who)
    return frozenset(found)


def _pids() -> Iterable[int]:
    return (int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit())


def own_line() -> set[int]:
    """The pids of the calling process and its ancestors, which a tear-down spares whatever their environment says."""
    pid, chain = os.getpid(), set()
    while pid > 1:
        chain.add(pid)
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[1])
        except OSError:
            break
    return chain


def end(processes: Iterable[Identity], *, number: int = signal.SIGKILL, grace: float = 2.0) -> None:
    """Send the signal to all, wait up to ``grace`` seconds for their end, then SIGKILL those that are left."""
    remaining = {process for process in processes if send_signal(process, number)}

    def ended() -> str | None:
        remaining.difference_update([process for process in remaining if not alive(process)])
        return f"{len(remaining)} processes are still there" if remaining else None

    if number != signal.SIGKILL:
        with suppress(Exception):
            wait_until(ended, what="end of processes", budget=grace, interval=0.003)
    for process in remaining:
        send_signal(process, signal.SIGKILL)
    wait_until(ended, what="end of killed processes", budget=10.0, interval=0.003)


def spawn(argv: Sequence[str], paths: LabPaths, log: Path, cwd: Path, extra: Mapping[str, str] | None = None) -> Popen[bytes]:
    """Start a process of the lab in the namespace the calling thread is in: own session, tagged, output appended to ``log``."""
    with log.open("ab") as output:
        return Popen(
            list(argv),
            stdin=DEVNULL,
            stdout=output,
            stderr=output,
            cwd=cwd,
            env=paths.environment() | dict(extra or {}),
            start_new_session=True,
        )


def last_lines(log: Path, count: int = 10) -> str:
    """The end of a log: the last words of a process."""
    return "\n".join(_end(log)[-count:])


def last_words(who: Identity, log: Path, own: Path) -> str:
    """What a process said at last: the end of its output, or the report of its crash in a log file of its ``own``, if FRR wrote one there.

    FRR's memory statistics, which follow and fill pages, are left out.
    """
    report = _end(own)
    for number, line in enumerate(report):
        crash = _CRASH.search(line)
        if crash is not None and int(crash[1]) >= began(who) - 1:  # not that of a predecessor
            return "\n".join(report[number : number + _REPORT_LINES])
    return "\n".join([line for line in _end(log) if not line.startswith(_STATISTICS)][-10:])


def began(who: Identity) -> float:
    """When a process started, in seconds since the epoch."""
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + who.start / os.sysconf("SC_CLK_TCK")


def _end(log: Path) -> list[str]:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 16384))
            return file.read().decode(errors="replace").splitlines()
    except OSError:
        return []
