"""Which BGP sessions should be up, and which cannot be, by the prediction: what makes a lab calm. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from testbed.azure.control_plane import ControlPlane

Pair = frozenset[str]
Standing = Mapping[Pair, bool]
"""The two nodes of a session → whether it should be up; sessions of which nothing can be said are not there."""


def standing(control: ControlPlane) -> Standing:
    """By pair of routers: whether all their sessions are up; NVAs whose BGP is not modelled are left out."""
    found: dict[Pair, bool] = {}
    for each in control.layout.network.adjacencies:
        pair = frozenset((each.a.router, each.b.router))
        if not pair & control.unmodelled.keys():
            found[pair] = found.get(pair, True) and not each.down
    return found
