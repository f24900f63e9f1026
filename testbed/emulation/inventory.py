"""What of this machine a lab could have left behind or changed, as a list that can be compared before and after."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from subprocess import run

from msgspec import Struct

from testbed.emulation.paths import LAB_DIR_VARIABLE, LAB_VARIABLE, NETNS_DIR, run_dir

NAMESPACE = re.compile(r"(t[0-9a-f]{4})(fab|n\d+)")
_SYSCTLS = ("net/core", "net/ipv4", "net/ipv6", "net/unix", "kernel/pid_max", "fs/inotify", "fs/file-max")
_VOLATILE = re.compile(r"neigh/|/conf/|route/flush|random|_mem$|fs/.*-nr$|nf_conntrack_count")
_SYSTEM_SWITCH = ("/etc/openvswitch", "/run/openvswitch", "/var/lib/openvswitch")


class Inventory(Struct, frozen=True):
    """Everything listed, by kind: each item a text that says which it is."""

    interfaces: frozenset[str]
    namespaces: frozenset[str]
    mounts: frozenset[str]
    processes: frozenset[str]
    files: frozenset[str]
    switches: frozenset[str]
    filters: frozenset[str]
    rules: frozenset[str]
    listening: frozenset[str]
    sysctls: frozenset[str]

    def changes(self, later: Inventory) -> list[str]:
        """What is there later and was not before, or is gone: ``+ process 4711 bgpd …``, ``- rule …``; empty when nothing changed."""
        lines = []
        for kind in self.__struct_fields__:
            before, after = getattr(self, kind), getattr(later, kind)
            lines += [f"+ {kind}: {item}" for item in sorted(after - before)] + [f"- {kind}: {item}" for item in sorted(before - after)]
        return lines


def inventory(folder: Path | None = None) -> Inventory:
    """List this machine now. ``folder`` is the run folder whose labs count (all labs' namespaces are listed but those of other folders)."""
    folder = folder or run_dir()
    tagged = _tagged()
    foreign = {lab for lab, directory, _ in tagged if Path(directory).parent != folder}
    namespaces = frozenset(name for name in _namespaces() if not _belongs(name, foreign))
    return Inventory(
        interfaces=frozenset(name for _, name in socket.if_nameindex()),
        namespaces=namespaces,
        mounts=frozenset(mount for mount in _mounts() if not _belongs(mount.rpartition("/")[2], foreign)),
        processes=frozenset(text for _, directory, text in tagged if Path(directory).parent == folder),
        files=frozenset(str(path) for path in folder.rglob("*")) if folder.is_dir() else frozenset(),
        switches=frozenset(f"{path} {path.stat().st_size}" for root in _SYSTEM_SWITCH for path in Path(root).rglob("*") if path.is_file()),
        filters=_output("nft", "--stateless", "list", "ruleset"),
        rules=_output("ip", "rule") | _output("ip", "-4", "route", "show", "table", "all"),
        listening=_listening(),
        sysctls=_sysctls(),
    )


def _namespaces() -> list[str]:
    return [entry.name for entry in os.scandir(NETNS_DIR) if NAMESPACE.fullmatch(entry.name)] if NETNS_DIR.is_dir() else []


def _belongs(namespace: str, labs: set[str]) -> bool:
    """Whether it is a namespace of one of these labs."""
    from testbed.plan.addressing import lab_id

    match = NAMESPACE.fullmatch(namespace)
    return match is not None and match[1] in {lab_id(lab) for lab in labs}


def _mounts() -> list[str]:
    targets = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [target for target in targets if target.startswith(f"{NETNS_DIR}/") and NAMESPACE.fullmatch(target.rpartition("/")[2])]


def _tagged() -> list[tuple[str, str, str]]:
    """Lab, lab folder and description of every process that carries a lab's tag."""
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with suppress(OSError):
                variables = _environment(int(entry.name))
                if LAB_VARIABLE in variables and LAB_DIR_VARIABLE in variables:
                    command = Path(f"/proc/{entry.name}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                    found.append((variables[LAB_VARIABLE], variables[LAB_DIR_VARIABLE], f"{entry.name} {command}"))
    return found


def _environment(pid: int) -> Mapping[str, str]:
    data = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    return dict(item.split("=", 1) for item in data.split("\0") if "=" in item)


def _output(*argv: str) -> frozenset[str]:
    with suppress(OSError):
        lines = run(argv, capture_output=True, text=True, check=False).stdout.splitlines()
        return frozenset(f"{argv[0]} {line.strip()}" for line in lines if line.strip())
    return frozenset()


def _listening() -> frozenset[str]:
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    return frozenset(f"tcp {row[1]}" for row in rows if row[3] == "0A")


def _sysctls() -> frozenset[str]:
    settings = set()
    for name in _SYSCTLS:
        root = Path("/proc/sys") / name
        for path in [root] if root.is_file() else root.rglob("*"):
            text = str(path.relative_to("/proc/sys"))
            if not _VOLATILE.search(text) and path.is_file():
                with suppress(OSError, UnicodeDecodeError):
                    settings.add(f"{text} = {path.read_text().strip()}")
    return frozenset(settings)
