"""The routes in the kernels of a live lab's routers, to tell whether all of them came back, and whether one stayed behind."""

from __future__ import annotations

from testbed.emulation import enter
from testbed.emulation.client import LabClient
from testbed.plan.types import Plan

Kernels = dict[str, frozenset[str]]
"""By node: its routes, a line each."""


def kernels(client: LabClient, plan: Plan) -> Kernels:
    """The routes in the kernel of every node that routes."""
    found = {}
    for node in plan.nodes:
        if node.kind not in ("vm", "host"):
            printed = enter.run(plan, client.paths, node.name, ("ip", "-N", "-o", "route", "show", "table", "all")).stdout
            found[node.name] = frozenset(" ".join(_without_ids(line.split())) for line in printed.splitlines())
    return found


def _without_ids(words: list[str]) -> list[str]:
    """The words of a route without the number of its next-hop object, which every start of zebra deals anew."""
    return [word for place, word in enumerate(words) if word != "nhid" and words[max(0, place - 1)] != "nhid"]


def different(before: Kernels, after: Kernels) -> tuple[str, ...]:
    """Routes that a kernel has lost or has too much, in words."""
    lines = [f"{node} lacks the route {line}" for node in before for line in sorted(before[node] - after[node])]
    return (*lines, *(f"{node} has the route {line} too much" for node in before for line in sorted(after[node] - before[node])))
