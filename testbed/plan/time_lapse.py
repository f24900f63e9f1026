"""The time-lapse: clocks that run faster for the daemons that speak BGP, by libfaketime. Pure."""

from __future__ import annotations

from msgspec.structs import replace

from testbed.plan.types import Daemon, Node

LIBRARY = "/usr/$LIB/faketime/libfaketimeMT.so.1"
"""Of Debian's package libfaketime, for programs with threads; the dynamic linker fills ``$LIB`` in."""

QUICKENED = ("zebra", "bgpd")
"""Not bfdd: 300 ms at twenty times the speed would be less than a busy machine lets a process wait."""


def quickened(node: Node, factor: float) -> Node:
    """The node with the clocks of its BGP speaker running ``factor`` times as fast; the same for every node of a lab."""
    if factor == 1.0:
        return node
    return replace(node, daemons=tuple(_quick(each, factor) if each.name in QUICKENED else each for each in node.daemons))


def _quick(daemon: Daemon, factor: float) -> Daemon:
    clock = {"LD_PRELOAD": LIBRARY, "FAKETIME": f"+0 x{factor:g}"}
    return replace(daemon, environment=daemon.environment | clock)
