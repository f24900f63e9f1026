"""Checks a topology as a whole: names that exist, addresses that fit, and what Azure refuses to deploy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from testbed.model.checks import bgp, names, nics, onprem, peerings, routes, settings, spaces
from testbed.model.design import Design, declared_names
from testbed.model.findings import Finding
from testbed.model.salvage import salvage
from testbed.model.topology import Topology

CHECKS: tuple[Callable[[Design], Iterator[Finding]], ...] = (
    *names.CHECKS,
    *spaces.CHECKS,
    *peerings.CHECKS,
    *nics.CHECKS,
    *bgp.CHECKS,
    *routes.CHECKS,
    *onprem.CHECKS,
    *settings.CHECKS,
)


def examine(data: dict[str, Any]) -> tuple[Topology, list[Finding]]:
    """The topology in a file's data, and all that is wrong with it; with findings, only what fits the format is in the topology."""
    design, findings = salvage(data)
    for check in CHECKS:
        findings.extend(check(design))
    return design.topology, findings


def check_references(topology: Topology) -> list[Finding]:
    """All that is wrong with a topology that was made by a program."""
    design = Design(topology, declared_names(topology.model_dump(by_alias=True)))
    return [finding for check in CHECKS for finding in check(design)]
