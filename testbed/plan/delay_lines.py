"""Which links are carried by delay lines: processes that delay, lose and reorder packets where the kernel has no netem; pure."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from testbed.plan.types import PeeringLink, Plan, Shape, Wire


class Span(Struct, frozen=True):
    """Two devices in the fabric's namespace between which packets are carried, and what becomes of them on the way."""

    devices: tuple[str, str]
    shape: Shape


class DelayLine(Struct, frozen=True):
    """A process of the lab, by its name there, and what it carries."""

    process: str
    spans: tuple[Span, ...]


def delay_lines(plan: Plan) -> tuple[DelayLine, ...]:
    """One for each impaired peering across regions, and one for all impaired lines of a circuit; none where the kernel has netem."""
    return tuple(_all(plan))


def _all(plan: Plan) -> Iterator[DelayLine]:
    for link in plan.peerings:
        if (line := peering_line(plan, link)) is not None:
            yield line
    circuits: dict[str, list[Span]] = {}
    for wire in plan.wires:
        if delayed(plan, wire.shape):
            circuits.setdefault(wire.circuit, []).append(Span(wire_ends(wire), wire.shape))
    for circuit, spans in circuits.items():
        yield DelayLine(f"delay-{circuit}", tuple(spans))


def peering_line(plan: Plan, link: PeeringLink) -> DelayLine | None:
    """The delay line that carries a peering; None when it needs none."""
    if not delayed(plan, link.shape):
        return None
    first, second = link.ends
    return DelayLine(f"delay-{first.id}", (Span((f"{first.id}d", f"{second.id}d"), link.shape),))


def delayed(plan: Plan, shape: Shape) -> bool:
    """Whether a delay line carries a link with these properties."""
    return shape.impaired and not plan.capabilities.netem


def wire_ends(wire: Wire) -> tuple[str, str]:
    """The devices on the delay line's side of a wire, in the order of its nodes."""
    return f"{wire.id}a", f"{wire.id}b"
