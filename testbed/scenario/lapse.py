"""What may be quoted of a time-lapse, in which the clocks of BGP run faster than those of packets and of the testbed. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from testbed.measure.validity import Figure

OF_ROUTERS = ("detected", "established", "withdrawn", "announced")
"""The milestones that the routers' clocks decide about."""


def labelled(name: str, time_lapse: float) -> str:
    """The name of a figure, and how much faster than the wall's the clock of its seconds ran."""
    return name if time_lapse == 1.0 else f"{name} (time-lapse {time_lapse:g}×)"


def in_routers_time(figures: Iterable[Figure], time_lapse: float) -> tuple[Figure, ...]:
    """Seconds from the stimulus as the routers' clocks count them, and nothing of packets and of the testbed's own work.

    Without a time-lapse all figures as they are.
    """
    if time_lapse == 1.0:
        return tuple(figures)
    kept = (figure for figure in figures if figure.name in OF_ROUTERS)
    return tuple(replace(each, name=labelled(each.name, time_lapse), measured=each.measured * time_lapse) for each in kept)
