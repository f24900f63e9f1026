"""The real machine, as the ledger's undo sees it."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from testbed.emulation import ledger, netns, processes
from testbed.emulation.paths import LabPaths
from testbed.emulation.processes import Identity


class Machine:
    """Removes what is one lab's from this machine."""

    def __init__(self, paths: LabPaths) -> None:
        self._paths = paths

    def end_processes(self, known: frozenset[Identity]) -> None:
        """Kill them and all that carry the lab's tag, at once: nothing of theirs is kept, so nothing is gained by asking nicely.

        Looked for again until none is left: one may have been forking.
        """
        spared = processes.own_line()
        doomed = frozenset(process for process in known if process.pid not in spared) | processes.tagged(self._paths)
        while doomed:
            processes.end(doomed)
            doomed = processes.tagged(self._paths)

    def remove_namespace(self, name: str) -> None:
        """Unmount and unlink its name."""
        netns.remove(name)

    def remove_file(self, path: Path) -> None:
        """Unlink."""
        with suppress(FileNotFoundError):
            path.unlink()

    def remove_directory(self, path: Path) -> None:
        """Remove the lab's folder, or one inside it; a ledger that names any other has been tampered with and is not obeyed."""
        if path == self._paths.dir or path.is_relative_to(self._paths.dir):
            shutil.rmtree(path, ignore_errors=True)


def undo(paths: LabPaths) -> None:
    """Remove all that the lab's ledger names. The caller holds the lab's lock."""
    ledger.undo(ledger.read(paths.ledger), ledger.boot_id(), Machine(paths))
