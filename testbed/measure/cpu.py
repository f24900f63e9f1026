"""Who used the processors meanwhile: two readings of /proc, and the pure difference between them."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from testbed.netns import NAMESPACES

_TICKS = os.sysconf("SC_CLK_TCK")
_SATURATED = 0.9  # of one core (a process of one busy thread), or of the machine


@dataclass(frozen=True)
class CpuReading:
    """The counters at one moment: monotonic seconds, cores, CPU seconds since boot, packets that the kernel's backlog dropped.

    ``processes``: (pid, start time in ticks) → (name, CPU seconds).
    """

    time: float
    cores: int
    busy: float
    interrupts: float
    steal: float
    backlog_drops: int
    processes: Mapping[tuple[int, int], tuple[str, float]]


@dataclass(frozen=True)
class ProcessUse:
    """What one process used: cores (1.0 is one core all the time), and whether it is one of the lab's or the measurement's own."""

    pid: int
    name: str
    cores: float
    own: bool


@dataclass(frozen=True)
class CpuUse:
    """Who used the processors between two readings. All but ``seconds`` and ``backlog_drops`` in cores.

    ``busy`` is everything, ``interrupts`` the part in the kernel's packet handling outside of processes, ``foreign`` what is neither that
    nor a process of ours, ``steal`` what the hypervisor took away. ``processes``: the busiest first.
    """

    seconds: float
    cores: int
    busy: float
    interrupts: float
    foreign: float
    steal: float
    backlog_drops: int
    processes: tuple[ProcessUse, ...]

    @property
    def bottleneck(self) -> str:
        """In words: the process that had a whole core, or the machine, or nothing; and the busiest process in any case."""
        if not self.processes:
            return "no process used the CPU"
        top = self.processes[0]
        busiest = f"{top.name} (pid {top.pid}) used {top.cores:.0%} of a core"
        if top.cores >= _SATURATED:
            return f"{busiest}: it is the bottleneck"
        if self.busy >= _SATURATED * self.cores:
            return f"the machine's {self.cores} cores were {self.busy / self.cores:.0%} busy; {busiest}"
        return f"not the CPU: {busiest}"


def read_cpu(proc: Path = Path("/proc")) -> CpuReading:
    """Read the counters now; some milliseconds."""
    lines = (proc / "stat").read_text().splitlines()
    user, nice, system, _idle, _iowait, irq, softirq, steal = (int(field) / _TICKS for field in lines[0].split()[1:9])
    return CpuReading(
        time=time.monotonic(),
        cores=sum(line.startswith("cpu") for line in lines) - 1,
        busy=user + nice + system + irq + softirq,
        interrupts=irq + softirq,
        steal=steal,
        backlog_drops=sum(int(line.split()[1], 16) for line in (proc / "net/softnet_stat").read_text().splitlines()),
        processes=_processes(proc),
    )


def _processes(proc: Path) -> dict[tuple[int, int], tuple[str, float]]:
    found = {}
    for folder in proc.iterdir():
        if not folder.name.isdigit():
            continue
        with suppress(OSError, IndexError):  # it ended meanwhile
            head, _, tail = (folder / "stat").read_text().rpartition(") ")
            fields = tail.split()
            found[int(folder.name), int(fields[19])] = (head.partition("(")[2], (int(fields[11]) + int(fields[12])) / _TICKS)
    return found


def cpu_use(before: CpuReading, after: CpuReading, own: Collection[int], names: Mapping[int, str] | None = None) -> CpuUse:
    """The difference of two readings. ``own``: pids of the lab and of the measurement; ``names``: better names for some pids.

    A process that ended in between counts as foreign for what it used after the first reading: end those of the measurement afterwards.
    """
    seconds = max(after.time - before.time, 1e-9)
    used = []
    for key, (name, total) in after.processes.items():
        spent = total - (before.processes[key][1] if key in before.processes else 0.0)
        if spent > 0:
            used.append(ProcessUse(key[0], (names or {}).get(key[0], name), spent / seconds, key[0] in own or name.startswith("ksoftirqd")))
    busy, interrupts = (after.busy - before.busy) / seconds, (after.interrupts - before.interrupts) / seconds
    ours = sum(process.cores for process in used if process.own)
    # Some kernels book packet handling that interrupts a process on that process as well; what strangers are seen to use is the least.
    strangers = sum(process.cores for process in used if not process.own)
    return CpuUse(
        seconds=seconds,
        cores=after.cores,
        busy=busy,
        interrupts=interrupts,
        foreign=max(busy - interrupts - ours, strangers),
        steal=(after.steal - before.steal) / seconds,
        backlog_drops=after.backlog_drops - before.backlog_drops,
        processes=tuple(sorted(used, key=lambda process: -process.cores)),
    )


def with_descendants(pids: Collection[int], proc: Path = Path("/proc")) -> frozenset[int]:
    """These processes and all that descend from them now."""
    parents = {}
    for folder in proc.iterdir():
        if folder.name.isdigit():
            with suppress(OSError, IndexError):
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(") ")[2].split()[1])
    family = set(pids)
    while grown := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= grown
    return frozenset(family)


def processes_in(namespaces: Collection[str], proc: Path = Path("/proc")) -> frozenset[int]:
    """The processes that live in these network namespaces now: those of a lab, whoever started them."""
    wanted = {(NAMESPACES / name).stat().st_ino for name in namespaces if (NAMESPACES / name).exists()}
    found = set()
    for folder in proc.iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                if (folder / "ns/net").stat().st_ino in wanted:
                    found.add(int(folder.name))
    return frozenset(found)
