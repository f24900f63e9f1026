"""The mistakes that look healthy and fail: one module a family, each finding with a code of `catalogue`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from testbed.azure.design_checks import gateways, overlay, paths, peerings, route_servers, routes
from testbed.azure.design_checks.finding import Case, Finding

CHECKS: tuple[Callable[[Case], Iterator[Finding]], ...] = (
    *route_servers.CHECKS,
    *paths.CHECKS,
    *gateways.CHECKS,
    *peerings.CHECKS,
    *routes.CHECKS,
    *overlay.CHECKS,
)


def examine(case: Case) -> list[Finding]:
    """All that the tables of a design tell; what takes a walk of packets is in `testbed.plan.design_checks`."""
    return [finding for check in CHECKS for finding in check(case)]
