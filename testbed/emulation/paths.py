"""Where a lab lives on disk and what its kernel objects are called."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from testbed.errors import InputError
from testbed.plan.types import Node, Plan

RUN_DIR_VARIABLE = "TESTBED_RUN_DIR"
LAB_VARIABLE = "TESTBED_LAB"
LAB_DIR_VARIABLE = "TESTBED_LAB_DIR"
NETNS_DIR = Path("/run/netns")
LAB_NAME = re.compile(r"[a-z0-9][a-z0-9\-]{0,39}")


def run_dir() -> Path:
    """The folder of all labs: /run/testbed, or what the environment variable TESTBED_RUN_DIR says."""
    return Path(os.environ.get(RUN_DIR_VARIABLE, "/run/testbed")).absolute()


@dataclass(frozen=True)
class LabPaths:
    """The run folder of one lab and the files in it."""

    dir: Path

    @classmethod
    def of(cls, lab: str) -> LabPaths:
        """The paths of the lab of that name, whether it is up or not. Raises InputError for what is no lab's name."""
        if not LAB_NAME.fullmatch(lab):
            raise InputError(f"{lab!r} is no name of a lab", "small letters, digits and hyphens, at most 40")
        return cls(run_dir() / lab)

    @property
    def lab(self) -> str:
        """The lab's name."""
        return self.dir.name

    @property
    def lock(self) -> Path:
        """Held by whoever builds, supervises or removes the lab; beside the folder, because the folder itself comes and goes."""
        return self.dir.with_name(f".{self.dir.name}.lock")

    @property
    def ledger(self) -> Path:
        """What was created, in order."""
        return self.dir / "ledger.jsonl"

    @property
    def plan(self) -> Path:
        """The plan as msgspec JSON; the controller's input."""
        return self.dir / "plan.json"

    @property
    def keys(self) -> Path:
        """The lab's pre-shared keys (see `keys.Keys`), for root alone."""
        return self.dir / "keys.json"

    @property
    def labd_socket(self) -> Path:
        """Where labd answers."""
        return self.dir / "labd.sock"

    @property
    def controller_socket(self) -> Path:
        """Where the controller answers."""
        return self.dir / "controller.sock"

    @property
    def logs(self) -> Path:
        """Standard output and error of every process of the lab."""
        return self.dir / "log"

    @property
    def ovs(self) -> Path:
        """The run folder of the lab's own Open vSwitch."""
        return self.dir / "ovs"

    def node(self, node: Node) -> Path:
        """``{dir}`` of a node."""
        return self.dir / "nodes" / node.id

    def log(self, node: str, daemon: str) -> Path:
        """The log of one process."""
        return self.logs / f"{node}.{daemon}.log"

    def environment(self) -> dict[str, str]:
        """The whole environment of the lab's processes: nothing of the user's leaks in, and the tag tells them from all others."""
        return {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            LAB_VARIABLE: self.lab,
            LAB_DIR_VARIABLE: str(self.dir),
        }


def namespaces(plan: Plan) -> tuple[str, ...]:
    """The names of all network namespaces of the lab, the fabric's first."""
    return (plan.fabric, *(node.id for node in plan.nodes))
