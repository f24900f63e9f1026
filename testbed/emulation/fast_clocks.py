"""What libfaketime leaves behind when a process is killed: two small files a process in the machine's shared memory."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")
_FILES = ("faketime_shm_{}", "sem.faketime_sem_{}")


def forget(pids: Iterable[int], folder: Path = SHARED_MEMORY) -> None:
    """Remove the files of processes that have ended; a later process of that number could not start with them there."""
    for pid in pids:
        for name in _FILES:
            with suppress(OSError):
                (folder / name.format(pid)).unlink()
