"""What a failed run leaves for whoever looks into it: configurations, BGP tables, flows, logs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from testbed.errors import TestbedError
from testbed.scenario.live import LiveLab
from testbed.scenario.tunnels import security_associations
from testbed.vty import show


def collect(lab: LiveLab, folder: Path) -> None:
    """Write a lab's state below a folder (made if need be). What cannot be had is named in its file instead.

    Pre-shared keys are not among it: configurations are the plan's, which has places for keys and no keys.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = lab.client.paths
    for name in ("status", "groups", "flows"):
        _save(folder / f"controller-{name}.json", lambda n=name: lab.client.controller("GET", f"/{n}"))  # type: ignore[misc]
    _save(folder / "labd-status.json", lab.client.status)
    for node in lab.plan.nodes:
        for file, text in node.files.items():
            if file.endswith(".conf"):
                (folder / f"{node.name}.{file}").write_text(text)
        if "bgpd.conf" in node.files:
            socket = paths.node(node) / "bgpd.vty"
            _save(folder / f"{node.name}.bgp.json", lambda s=socket: show(s, "show bgp ipv4 unicast json"))  # type: ignore[misc]
        if "swanctl.conf" in node.files:
            _save(folder / f"{node.name}.sas.json", lambda n=node.name: security_associations(lab.client, lab.plan, n).splitlines())  # type: ignore[misc]
        for log in paths.node(node).glob("*.log"):
            shutil.copyfile(log, folder / f"{node.name}.{log.name}")
    shutil.copytree(paths.logs, folder / "log", dirs_exist_ok=True)


def _save(file: Path, ask: Callable[[], Any]) -> None:
    try:
        answer = ask()
    except (TestbedError, OSError, ValueError) as error:
        answer = {"error": str(error)}
    file.write_text(json.dumps(answer, indent=1))
