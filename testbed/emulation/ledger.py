"""What a lab created, written down before it is created, so that all of it, and nothing else, can be removed again."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import msgspec
from msgspec import Struct

from testbed.emulation.processes import Identity
from testbed.errors import LabError

BUILT = "built"
"""The kind of the entry that says that everything is there."""


class Entry(Struct, frozen=True, omit_defaults=True):
    """One thing of the lab.

    ``kind``: ``boot`` (name = the kernel's boot id; opens every session of writing), ``directory`` (a path, removed with all it
    holds), ``file`` (a path), ``namespace`` (a name in /run/netns), ``process`` (announced with ``pid`` 0, then noted again with
    its own), ``built`` (nothing is missing any more), and what dies with its namespace and is noted for its full name only:
    ``link``, ``bridge``.
    """

    kind: str
    name: str
    full_name: str = ""
    pid: int = 0
    start: int = 0


class World(Protocol):
    """What undoing does to the machine. Every call is fine with the thing being gone already."""

    def end_processes(self, known: frozenset[Identity]) -> None:
        """End these processes, and those that carry the lab's tag (an announced process whose pid was never noted)."""

    def remove_namespace(self, name: str) -> None:
        """Remove a named network namespace, and all devices in it."""

    def remove_file(self, path: Path) -> None:
        """Remove one file."""

    def remove_directory(self, path: Path) -> None:
        """Remove a folder and all it holds."""


def boot_id() -> str:
    """The kernel's name for the time since the machine started."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


class Ledger:
    """An append-only file of JSON lines. Batches reach the kernel before `note` returns, so they survive a kill at any moment."""

    def __init__(self, path: Path) -> None:
        """Open or create the ledger at ``path``, and note under which boot what follows is created."""
        self.path = path
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not _ends_with_newline(path):
            os.write(self._descriptor, b"\n")
        self.note([Entry("boot", boot_id())])

    def note(self, entries: Iterable[Entry]) -> None:
        """Write all entries down, in one go. Raises LabError when they could not be written: then nothing may be created."""
        data = b"".join(msgspec.json.encode(entry) + b"\n" for entry in entries)
        try:
            written = os.write(self._descriptor, data)
        except OSError as error:
            raise LabError(f"cannot write {self.path}: {error.strerror}", "free some space and try again") from error
        if written != len(data):
            raise LabError(f"cannot write {self.path}: no space left", "free some space and try again")

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def _ends_with_newline(path: Path) -> bool:
    data = path.read_bytes()
    return not data or data.endswith(b"\n")


def read(path: Path) -> tuple[Entry, ...]:
    """All entries of a ledger, in order; a line torn by a crash or a full disk is skipped. No file: no entries."""
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return ()
    return tuple(entry for line in lines if (entry := _decoded(line)) is not None)


def _decoded(line: bytes) -> Entry | None:
    try:
        return msgspec.json.decode(line, type=Entry)
    except msgspec.DecodeError:
        return None


def of_this_boot(entries: Iterable[Entry], boot: str) -> tuple[Entry, ...]:
    """The entries written since the machine started; namespaces and processes of former boots are gone, their numbers reused."""
    current, kept = "", []
    for entry in entries:
        if entry.kind == "boot":
            current = entry.name
        elif current == boot:
            kept.append(entry)
    return tuple(kept)


def processes(entries: Iterable[Entry]) -> dict[str, Identity]:
    """The processes by name, each with its latest identity."""
    return {entry.name: Identity(entry.pid, entry.start) for entry in entries if entry.kind == "process" and entry.pid}


def undo(entries: Iterable[Entry], boot: str, world: World) -> None:
    """Remove what the entries say, in reverse order of creation; any part may be gone already, and doing it twice is fine.

    Processes end first, all of them at once; then namespaces, files and folders, last created first. Of former boots only
    files and folders are left to remove.
    """
    everything = tuple(entries)
    current = of_this_boot(everything, boot)
    if any(entry.kind in ("process", "namespace") for entry in current):
        known = frozenset(Identity(entry.pid, entry.start) for entry in current if entry.kind == "process" and entry.pid)
        world.end_processes(known)
    for name in _latest_first(current, "namespace"):
        world.remove_namespace(name)
    for name in _latest_first(everything, "file"):
        world.remove_file(Path(name))
    for name in _latest_first(everything, "directory"):
        world.remove_directory(Path(name))


def _latest_first(entries: tuple[Entry, ...], kind: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(entry.name for entry in reversed(entries) if entry.kind == kind))
