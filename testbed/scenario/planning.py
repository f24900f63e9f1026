"""From a topology file to a plan for this machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from testbed.model.frr_file import find_frr_config
from testbed.model.loader import Loaded, load_topology, read_text
from testbed.model.topology import Topology
from testbed.plan.compile import compile_plan
from testbed.plan.frr import OWN_FILE
from testbed.plan.templates import load_templates
from testbed.plan.types import Capabilities, Choice, Plan


def compile_file(path: Path, lab: str | None = None, choice: Choice | None = None) -> tuple[Loaded, Plan]:
    """Load a topology and compile it with what this machine can do. Raises InputError with all problems, MachineError for the choice."""
    loaded = load_topology(path)
    return loaded, _compile(loaded.topology, lab, own_configurations(path, loaded.topology), _able(choice))


def own_configurations(path: Path, topology: Topology) -> dict[str, str]:
    """By NVA: the text of the FRR configuration that it brings along, from beside the topology file ``path`` or its repository."""
    directory = path.absolute().parent
    files = {name: nva.frr_config for name, nva in topology.nvas.items() if nva.frr_config is not None}
    return {name: read_text(find_frr_config(directory, file) or directory / file) for name, file in files.items()}


def compile_again(topology: Topology, running: Plan) -> Plan:
    """The plan of a changed topology, for the lab that runs by another plan."""
    own = {name: running.node(name).files[OWN_FILE] for name, nva in topology.nvas.items() if nva.frr_config is not None}
    return _compile(topology, running.lab, own, running.capabilities)


def _able(choice: Choice | None) -> Capabilities:
    from testbed.emulation.doctor import capabilities, examine

    return capabilities(examine(), choice)


def _compile(topology: Topology, lab: str | None, own: Mapping[str, str], able: Capabilities) -> Plan:
    templates = load_templates() | {f"user/{name}": text for name, text in own.items()}
    return compile_plan(topology, lab=lab, templates=templates, capabilities=able)
