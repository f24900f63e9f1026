"""Rate, delay and loss of a link as lines for ``tc -batch``: pure, so that they can be read before they run."""

from __future__ import annotations

_FULL_FRAME = 1514


def shape(
    device: str,
    *,
    rate: float | None,
    delay: float = 0.0,
    jitter: float = 0.0,
    loss: float = 0.0,
    reorder: float = 0.0,
    netem: bool = False,
) -> list[str]:
    """The lines that shape what leaves by ``device``: bit/s, seconds, seconds, percent, percent.

    Without netem in the kernel only the rate is shaped; a delay line does the rest.
    """
    lines = []
    parent = "root"
    if netem and (delay or jitter or loss):
        lines.append(f"qdisc replace dev {device} root handle 1: netem limit {_queue(rate, delay)}{_netem(delay, jitter, loss, reorder)}")
        parent = "parent 1:1"
    if rate:
        # a bucket of 10 ms, and room for 50 ms more: small enough not to hide the rate, large enough for a busy machine to reach it
        burst = max(int(rate / 8 * 0.010), 4 * _FULL_FRAME)
        lines.append(f"qdisc replace dev {device} {parent} handle 2: tbf rate {rate:.0f}bit burst {burst} latency 50ms")
    return lines


def _netem(delay: float, jitter: float, loss: float, reorder: float) -> str:
    text = ""
    if delay or jitter:
        text += f" delay {delay * 1e6:.0f}us"
    if jitter:
        text += f" {jitter * 1e6:.0f}us"
    if loss:
        text += f" loss {loss:g}%"
    if reorder:
        text += f" reorder {reorder:g}%"
    return text


def _queue(rate: float | None, delay: float) -> int:
    """Packets that netem must hold so that a long fat link does not drop: everything in flight, of full size, and some room."""
    return max(1000, int((rate or 1e9) * delay / 8 / 500))
