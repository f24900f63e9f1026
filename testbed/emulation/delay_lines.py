"""The delay lines of a lab: which process carries which link, and whether it does already."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

from testbed.emulation import netns
from testbed.emulation.fabric import inner_end
from testbed.plan.types import PeeringLink, Plan


def process_name(link: PeeringLink) -> str:
    """What the process of a link's delay line is called in the lab."""
    return f"delay-{link.ends[0].id}"


def argv(link: PeeringLink) -> tuple[str, ...]:
    """How the process of a link's delay line is started, in the fabric namespace."""
    devices = (inner_end(end) for end in link.ends)
    return (
        sys.executable,
        "-P",
        "-m",
        "testbed.emulation.delay_line",
        *devices,
        *map(repr, (link.delay, link.jitter, link.loss, link.reorder)),
    )


def missing(plan: Plan) -> str | None:
    """None when every delay line listens at both of its devices, else which does not."""
    wanted = {inner_end(end): link for link in plan.delay_lines() for end in link.ends}
    if not wanted:
        return None
    with netns.inside(plan.fabric):
        rows = [line.split() for line in Path("/proc/thread-self/net/packet").read_text().splitlines()[1:]]
        names = dict(socket.if_nameindex())
    heard = {names.get(int(row[4])) for row in rows}
    silent = [link for device, link in wanted.items() if device not in heard]
    return f"the delay line {' - '.join(end.peer_vnet for end in silent[0].ends)} is not ready" if silent else None
