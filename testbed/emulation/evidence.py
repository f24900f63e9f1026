"""What a lab leaves for whoever looks into a failure: configurations, BGP tables, security associations, flows, logs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from testbed import rpc
from testbed.emulation import charon
from testbed.emulation.paths import LabPaths
from testbed.errors import TestbedError
from testbed.plan.types import Plan
from testbed.vty import show

_TIMEOUT = 5.0


def collect(plan: Plan, paths: LabPaths, folder: Path) -> None:
    """Write the state of a lab, whole or half built, below a folder (made if need be). What cannot be had is named in its file instead.

    Keys and passwords are not among it: configurations are the plan's, which has places for keys and no keys.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("status", "groups", "flows"):
        _save(folder / f"controller-{name}.json", lambda n=name: rpc.call(paths.controller_socket, "GET", f"/{n}", {}, _TIMEOUT))  # type: ignore[misc]
    _save(folder / "labd-status.json", lambda: rpc.call(paths.labd_socket, "GET", "/status", {}, _TIMEOUT))
    for node in plan.nodes:
        for file, text in node.files.items():
            if file.endswith(".conf"):
                (folder / f"{node.name}.{file}").write_text(text)
        if "bgpd.conf" in node.files:
            socket = paths.node(node) / "bgpd.vty"
            _save(folder / f"{node.name}.bgp.json", lambda s=socket: show(s, "show bgp ipv4 unicast json"))  # type: ignore[misc]
        if "swanctl.conf" in node.files:
            _save(folder / f"{node.name}.sas.json", lambda n=node.name: charon.security_associations(plan, paths, n).splitlines())  # type: ignore[misc]
        for log in paths.node(node).glob("*.log"):
            shutil.copyfile(log, folder / f"{node.name}.{log.name}")
    if paths.logs.is_dir():
        shutil.copytree(paths.logs, folder / "log", dirs_exist_ok=True)


def _save(file: Path, ask: Callable[[], Any]) -> None:
    try:
        answer = ask()
    except (TestbedError, OSError, ValueError) as error:
        answer = {"error": str(error)}
    file.write_text(json.dumps(answer, indent=1))
