"""Finds the FRR configuration that an NVA brings along (``frr_config``), inside the topology's own folder or repository."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from testbed.model.findings import Finding
from testbed.model.topology import Topology


def find_frr_config(directory: Path, name: str) -> Path | None:
    """The file a ``frr_config`` names, relative to the topology's directory or else to the repository it is in; None if there is none.

    Nothing outside of those is looked at, symbolic links included.
    """
    roots = [root for root in (directory, repository_of(directory)) if root is not None]
    for root in roots:
        try:
            path = (root / name).resolve()
            if path.is_file() and any(path.is_relative_to(each.resolve()) for each in roots):
                return path
        except (OSError, ValueError, RuntimeError):  # a loop of links, a name too long, a null byte
            continue
    return None


def repository_of(directory: Path) -> Path | None:
    """The nearest directory upwards that is the top of a repository, or None."""
    return next((each for each in (directory, *directory.parents) if (each / ".git").exists()), None)


def frr_file_findings(topology: Topology, directory: Path | None) -> Iterator[Finding]:
    """A finding for each NVA whose file is not there; without a directory only names that lead elsewhere are found."""
    for name, nva in topology.nvas.items():
        if nva.frr_config is None:
            continue
        path = f"nvas.{name}.frr_config"
        if Path(nva.frr_config).is_absolute():
            yield Finding(path, f"{nva.frr_config!r} is an absolute path", "name it relative to this file or the repository")
        elif directory is not None and find_frr_config(directory, nva.frr_config) is None:
            yield Finding(path, f"there is no file {nva.frr_config!r} beside this file or in its repository", "check the path")
