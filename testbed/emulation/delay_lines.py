"""The processes of delay lines: how one is started, and whether all of them carry packets already."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

from testbed.emulation import netns
from testbed.plan.delay_lines import DelayLine, Span, delay_lines
from testbed.plan.types import Plan


def delay_line_argv(line: DelayLine) -> tuple[str, ...]:
    """How a delay line is started, in the fabric namespace."""
    return sys.executable, "-P", "-m", "testbed.emulation.delay_line", *(word for span in line.spans for word in _words(span))


def _words(span: Span) -> tuple[str, ...]:
    shape = span.shape
    return *span.devices, *map(repr, (shape.delay, shape.jitter, shape.loss, shape.reorder))


def silent_delay_line(plan: Plan) -> str | None:
    """None when every delay line listens at both of its devices, else which does not."""
    wanted = {device: line.process for line in delay_lines(plan) for span in line.spans for device in span.devices}
    if not wanted:
        return None
    with netns.inside(plan.fabric):
        rows = [line.split() for line in Path("/proc/thread-self/net/packet").read_text().splitlines()[1:]]
        names = dict(socket.if_nameindex())
    heard = {names.get(int(row[4])) for row in rows}
    silent = [process for device, process in wanted.items() if device not in heard]
    return f"{silent[0]} is not ready" if silent else None
