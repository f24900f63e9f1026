"""The real machine, as the ledger's undo sees it."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from testbed.emulation import fast_clocks, ledger, netns, processes
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
            known |= doomed
            doomed = processes.tagged(self._paths)
        fast_clocks.forget(process.pid for process in known if processes.identity(process.pid) is None)

    def remove_namespace(self, name: str) -> None:
        """Unmount and unlink its name."""
        netns.remove(name)

    def remove_file(self, path: Path) -> None:
        """Unlink."""
        with suppress(FileNotFoundError):
            path.unlink()

    def remove_directory(self, path: Path) -> None:
        """Remove the lab's folder, or one inside it; a ledger that names any other has been tampered with and is not obeyed.

        The ledger goes last: killed on the way, the next attempt still knows what to do.
        """
        if path == self._paths.dir:
            for entry in path.iterdir() if path.is_dir() else ():
                if entry != self._paths.ledger:
                    _remove(entry)
            _remove(path)
        elif path.is_relative_to(self._paths.dir) and ".." not in path.parts:
            _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(FileNotFoundError):
            path.unlink()


def undo(paths: LabPaths) -> None:
    """Remove all that the lab's ledger names, and its folder, which exists a moment before the ledger does. The caller holds the lock."""
    machine = Machine(paths)
    ledger.undo(ledger.read(paths.ledger), ledger.boot_id(), machine)
    machine.remove_directory(paths.dir)
