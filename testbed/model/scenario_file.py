"""Loads a scenario and the topology it names, and checks every name it uses against that topology: all problems at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ValidationError

from testbed.errors import InputError
from testbed.model.findings import Finding, problems_of
from testbed.model.loader import Loaded, load_topology, raise_problems, read_document, read_text
from testbed.model.scenario import Scenario
from testbed.model.topology import Topology
from testbed.model.wording import findings_of


@dataclass(frozen=True)
class LoadedScenario:
    """A scenario, the file it came from, and its topology."""

    scenario: Scenario
    file: Path
    topology: Loaded


def load_scenario(path: Path) -> LoadedScenario:
    """Read and check a scenario file and its topology. Raises InputError with all problems of the file that has some."""
    document = read_document(read_text(path), str(path))
    try:
        scenario = Scenario.model_validate(document.data)
    except ValidationError as error:
        findings = [finding for _, finding in findings_of(error, document.data, Scenario)]
        raise_problems([*document.problems, *problems_of(findings, document)], str(path))
        raise InputError(str(error)) from None
    loaded = load_topology(path.parent / scenario.topology)
    raise_problems([*document.problems, *problems_of(unknown_names(scenario, loaded.topology), document)], str(path))
    return LoadedScenario(scenario, path, loaded)


def unknown_names(scenario: Scenario, topology: Topology) -> Iterator[Finding]:
    """A finding for every name in the steps that the topology does not have, and for every budget that is not declared."""
    known = _known(topology)
    for number, step in enumerate(scenario.steps):
        if step.budget is not None and step.budget not in scenario.budgets:
            message = f"the scenario has no budget {step.budget!r}"
            yield Finding(f"steps[{number}].budget", message, wrong=step.budget, known=tuple(scenario.budgets))
        for kind, parts in (("do", step.do), ("measure", step.measure), ("expect", step.expect)):
            for index, part in enumerate(parts):
                yield from _unknown(f"steps[{number}].{kind}[{index}].{part.verb}", part.detail, known)


_Known = dict[str, tuple[str, ...] | None]


def _known(topology: Topology) -> _Known:
    """By the name of a key, or ``VERB.KEY`` where it means something else there: the names that it may hold; None for any text."""
    vms, nvas = tuple(topology.vms), tuple(topology.nvas)
    hosts = tuple(host for site in topology.sites.values() for host in site.hosts)
    servers = (*topology.route_servers, *topology.gateways)
    instances = tuple(f"{name}-{number}" for name in servers for number in (0, 1))
    nics = (*vms, *nvas, *(f"{name}/{nic.name}" for name, nva in topology.nvas.items() for nic in nva.extra_nics), *instances)
    nodes = (*nics, *topology.sites, *hosts, *(f"{name}-msee{number}" for name in topology.circuits for number in (0, 1)))
    ends = ("all", *vms, *nvas, *hosts)
    vnets = tuple(topology.vnets())
    return {
        "route_server": servers,
        "refused.route_server": tuple(topology.route_servers),
        "peer": nodes,
        "nva": nvas,
        "neighbor": (*topology.route_servers, *nvas, *topology.sites),
        "between": (*servers, *topology.circuits, *nodes),
        "over": nvas,
        "nic": ("all", *nics),
        "nics": ("all", *nics),
        "from_": ends,
        "to": ends,
        "explained.to": None,  # an address will do
        "traceroute.to": None,
        "sides.from_": vnets,
        "sides.to": vnets,
        "path.through": (*nodes, *topology.gateways, *topology.circuits),
        "through": nodes,
        "node": nodes,
        "session": (*servers, *nodes),
        "cycle": nodes,
        "expired_at": nodes,
        "link": (*vnets, *nodes, *topology.gateways, *topology.circuits, "internet"),
        "table": tuple(topology.route_tables),
        "tunnel": (*(tunnel.name or "-".join(tunnel.between) for tunnel in topology.tunnels), *_connections(topology)),
    }


def _connections(topology: Topology) -> Iterator[str]:
    """The tunnels of VPN gateways, one from each instance to each site that is connected with it."""
    for name, site in topology.sites.items():
        for gateway in site.connections:
            yield from (f"{gateway}-{number}-{name}" for number in (0, 1))


def _unknown(path: str, detail: BaseModel, known: _Known) -> Iterator[Finding]:
    """The unknown names of one action or expectation, and of the parts that it is made of."""
    verb = path.rpartition(".")[2].partition("[")[0]
    for key, value in detail:
        names = known.get(f"{verb}.{key}", known.get(key))
        for number, each in enumerate(value if isinstance(value, tuple) else (value,)):
            if isinstance(each, BaseModel):
                yield from _unknown(f"{path}.{key}[{number}]" if isinstance(value, tuple) else f"{path}.{key}", each, known)
            elif names is not None and isinstance(each, str) and each not in names:
                yield Finding(f"{path}.{key.rstrip('_')}", f"the topology has no {_word(verb, key)} {each!r}", wrong=each, known=names)


_WORD: dict[str, str] = {
    "from_": "VM",
    "to": "VM",
    "nics": "NIC",
    "nic": "NIC",
    "nva": "NVA",
    "over": "NVA",
    "link": "VNet or node",
    "through": "node",
    "between": "node",
    "table": "route table",
    "neighbor": "neighbour",
    "sides.from_": "VNet",
    "sides.to": "VNet",
    "route_server": "Route Server",
}


def _word(verb: str, key: str) -> str:
    return _WORD.get(f"{verb}.{key}") or _WORD.get(key, key.replace("_", " "))
