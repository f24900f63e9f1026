"""How much memory and how many file descriptors processes hold, and whether that grows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

MEMORY_GROWTH = 2 * 1024 * 1024
"""Bytes by which a process may grow beyond a tenth of what it had: allocators keep what they once got."""

DESCRIPTOR_GROWTH = 3
"""File descriptors by which a process may differ: a socket may be on its way."""

Samples = Sequence[Mapping[str, "Footprint"]]


@dataclass(frozen=True)
class Footprint:
    """One process at one moment: its pid, bytes of memory that are its own (heap, stacks), open file descriptors."""

    pid: int
    memory: int
    descriptors: int


@dataclass(frozen=True)
class Growth:
    """One life of a process: its name and pid, how many samples, the first of them and the last."""

    name: str
    samples: int
    first: Footprint
    last: Footprint

    @property
    def memory(self) -> int:
        """Bytes that it has more."""
        return self.last.memory - self.first.memory

    @property
    def descriptors(self) -> int:
        """File descriptors that it has more."""
        return self.last.descriptors - self.first.descriptors

    @property
    def bounded(self) -> bool:
        """Whether it counts as flat."""
        return self.memory <= MEMORY_GROWTH + self.first.memory // 10 and self.descriptors <= DESCRIPTOR_GROWTH


def footprint(pid: int) -> Footprint | None:
    """What a process holds now; None when it is gone.

    Memory is what the kernel calls anonymous: a share of libraries would grow whenever somebody else's process ends.
    """
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        descriptors = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return None
    own = next((line.split()[1] for line in rollup.splitlines() if line.startswith("Anonymous:")), "0")
    return Footprint(pid, int(own) * 1024, descriptors)


def footprints(pids: Mapping[str, int]) -> dict[str, Footprint]:
    """By name, what each process holds that is still there."""
    found = {}
    for name, pid in pids.items():
        with suppress(ProcessLookupError):
            held = footprint(pid) if pid else None
            if held is not None:
                found[name] = held
    return found


def growth(samples: Samples) -> tuple[Growth, ...]:
    """Every life of every process that was seen twice or more, from its first sample to its last; the most grown first."""
    lives: dict[tuple[str, int], list[Footprint]] = {}
    for sample in samples:
        for name, held in sample.items():
            lives.setdefault((name, held.pid), []).append(held)
    found = [Growth(name, len(held), held[0], held[-1]) for (name, _), held in lives.items() if len(held) > 1]
    return tuple(sorted(found, key=lambda each: -each.memory))


def unbounded(found: Iterable[Growth]) -> tuple[str, ...]:
    """The processes that grow, in words."""
    return tuple(
        f"{each.name} (pid {each.first.pid}): {each.first.memory / 2**20:.1f} → {each.last.memory / 2**20:.1f} MiB, "
        f"{each.first.descriptors} → {each.last.descriptors} file descriptors in {each.samples} samples"
        for each in found
        if not each.bounded
    )
