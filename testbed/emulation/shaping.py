"""Rate, delay and loss of a link as lines for ``tc -batch``: pure, so that they can be read before they run."""

from __future__ import annotations

from testbed.plan.types import Shape

_FULL_FRAME = 1514


def queueing(device: str, shape: Shape, *, netem: bool) -> list[str]:
    """The lines that shape what leaves by ``device``. Without netem in the kernel only the rate is shaped; a delay line does the rest."""
    lines = []
    parent = "root"
    if netem and shape.impaired:
        lines.append(f"qdisc replace dev {device} root handle 1: netem limit {_limit(shape)}{_netem(shape)}")
        parent = "parent 1:1"
    if shape.rate:
        # a bucket of 10 ms, and room for 50 ms more: small enough not to hide the rate, large enough for a busy machine to reach it
        burst = max(int(shape.rate / 8 * 0.010), 4 * _FULL_FRAME)
        lines.append(f"qdisc replace dev {device} {parent} handle 2: tbf rate {shape.rate:.0f}bit burst {burst} latency 50ms")
    return lines


def _netem(shape: Shape) -> str:
    text = ""
    if shape.delay or shape.jitter:
        text += f" delay {shape.delay * 1e6:.0f}us"
    if shape.jitter:
        text += f" {shape.jitter * 1e6:.0f}us"
    if shape.loss:
        text += f" loss {shape.loss:g}%"
    if shape.reorder:
        text += f" reorder {shape.reorder:g}%"
    return text


def _limit(shape: Shape) -> int:
    """Packets that netem must hold so that a long fat link does not drop: everything in flight, of full size, and some room."""
    return max(1000, int((shape.rate or 1e9) * shape.delay / 8 / 500))
