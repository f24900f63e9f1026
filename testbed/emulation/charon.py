"""Talks to the charon of a node through its own socket, and reads what it said last."""

from __future__ import annotations

from testbed.emulation import enter
from testbed.emulation.paths import LabPaths
from testbed.emulation.processes import last_lines
from testbed.errors import LabError
from testbed.plan.ipsec import SWANCTL
from testbed.plan.types import Node, Plan


def swanctl(plan: Plan, paths: LabPaths, node: str, *words: str) -> str:
    """What a swanctl command prints. Raises LabError with charon's words when it fails."""
    folder = paths.node(plan.node(node))
    own = f"STRONGSWAN_CONF={folder}/strongswan.conf"  # the system's own names plugins that are not there
    done = enter.run(plan, paths, node, ("/usr/bin/env", own, SWANCTL, *words, "--uri", f"unix://{folder}/charon.vici"))
    if done.returncode != 0:
        raise LabError(f"{node}: swanctl {' '.join(words)} failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def security_associations(plan: Plan, paths: LabPaths, node: str) -> str:
    """What charon of a node says of its IKE and child SAs: peers, algorithms, counters, no keys. Raises LabError when it is silent."""
    return swanctl(plan, paths, node, "--list-sas")


def last_words(paths: LabPaths, node: Node) -> str:
    """What IKE said last at a node, but for the greetings that it exchanges every second; nothing when it said nothing."""
    lines = last_lines(paths.node(node) / "charon.log", 50).splitlines()
    spoken = [line.partition("> ")[2] for line in lines if "[IKE] <" in line and "DPD" not in line]
    return "; ".join(spoken[-3:])
