"""What the real switches hold: their flows and groups as Open vSwitch itself lists them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable

from msgspec import Struct

from testbed.emulation import openvswitch
from testbed.emulation.paths import LabPaths
from testbed.errors import LabError
from testbed.plan.types import Bridge

_ASK = {"flows": ("--no-names", "--no-stats", "dump-flows"), "groups": ("--no-names", "dump-groups")}


class SwitchState(Struct, frozen=True):
    """The lines that ``ovs-ofctl`` prints for the flows and the groups of one bridge."""

    flows: tuple[str, ...]
    groups: tuple[str, ...]


def dump(paths: LabPaths, bridges: Iterable[Bridge]) -> dict[str, SwitchState]:
    """The state of these bridges by bridge id, all asked at once. Raises LabError when a switch does not answer."""
    asked = [(bridge.id, what, _ask(paths, bridge, what)) for bridge in bridges for what in _ASK]
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for bridge, what, process in asked:
        output, errors = process.communicate()
        if process.returncode:
            raise LabError(f"the switch {bridge} does not show its {what}: {errors.strip()}")
        found[bridge, what] = tuple(line.strip() for line in output.splitlines() if "actions=" in line or "group_id=" in line)
    return {bridge: SwitchState(found[bridge, "flows"], found[bridge, "groups"]) for bridge, what in found if what == "flows"}


def _ask(paths: LabPaths, bridge: Bridge, what: str) -> subprocess.Popen[str]:
    argv = ("ovs-ofctl", "-O", "OpenFlow13", *_ASK[what], f"unix:{paths.ovs / bridge.id}.mgmt")
    return subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=paths.environment() | openvswitch.environment(paths),
    )
