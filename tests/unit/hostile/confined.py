"""Loads files in a process that may do nothing else: little memory and time, no child, no file written, none read but a few.

``python confined.py FOLDER KIND:FILE…`` prints a JSON line a file: its verdict (``fine``, ``refused`` or what went wrong), the seconds, and
the memory of the process so far in MB.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

MEMORY = 1500 * 2**20
SECONDS = 120
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_NEVER = (
    "subprocess.", "os.system", "os.exec", "os.spawn", "os.posix_spawn", "os.fork", "pty.", "socket.connect", "pickle.",
    "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.symlink", "os.link", "os.chmod", "os.chown", "shutil.",
)  # fmt: skip


class Forbidden(BaseException):
    """Something that reading a file must never do; no ``except Exception`` hides it."""


def guard(readable: tuple[str, ...]) -> None:
    """From now on forbid processes, connections, changes of files, and reading outside of ``readable``."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event.startswith(_NEVER):
            raise Forbidden(f"{event} {arguments}")
        if event == "open":
            path, _, flags = arguments
            if flags & _WRITES:
                raise Forbidden(f"writes {path}")
            if isinstance(path, str | bytes) and not os.path.realpath(os.fsdecode(path)).startswith(readable):
                raise Forbidden(f"reads {path}")

    sys.addaudithook(hook)


def loaders(design: Path) -> dict[str, Callable[[Path], object]]:
    """What reads files, by kind; what ``az`` printed is compared with the prediction for ``design``."""
    from testbed.azure.captured import compare_advertised, compare_effective, compare_learned
    from testbed.azure.control_plane import converge
    from testbed.model.loader import load_topology, read_text
    from testbed.model.scenario_file import load_scenario

    plane = converge(load_topology(design).topology)

    def effective(path: Path) -> object:
        return compare_effective(plane, "vm11", read_text(path), path.name)

    def learned(path: Path) -> object:
        compare_advertised(plane, "rs1", "nva1", read_text(path), path.name)
        return compare_learned(plane, "rs1", "nva1", read_text(path), path.name)

    return {"topology": load_topology, "scenario": load_scenario, "effective": effective, "learned": learned}


def main(folder: str, *files: str) -> None:
    """Load each, in turn."""
    from testbed.errors import InputError

    kinds = loaders(Path(folder) / "design.yaml")
    for kind, load in kinds.items():  # whatever is imported late is imported now
        with suppress(InputError):
            load(Path(folder) / f"warm-up-{kind}")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    guard((os.path.realpath(folder), sys.prefix, sys.base_prefix, str(Path(__file__).resolve().parents[3] / "testbed")))
    for each in files:
        kind, _, name = each.partition(":")
        start = time.process_time()
        try:
            kinds[kind](Path(folder) / name)
            verdict = "fine"
        except InputError as error:
            verdict = "refused" if len(str(error)) < 300_000 else "refused, in too many words"
        except BaseException as error:
            verdict = f"{type(error).__name__}: {str(error)[:300]}"
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(json.dumps({"file": name, "verdict": verdict, "seconds": time.process_time() - start, "memory": memory}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
