"""Flows and groups as data: what the pipeline computes, the controller sends, and the tests walk packets through.

Match fields and registers carry Open vSwitch's names (``in_port``, ``eth_type``, ``ipv4_dst``, ``reg0``, ``arp_tpa`` …). A value is an
int, or text for addresses; ``10.1.0.0/16`` and ``0x1/0x1`` are masked. Everything is OpenFlow 1.3 plus Nicira extensions.
"""

from __future__ import annotations

from msgspec import Struct

Value = int | str


class SetField(Struct, frozen=True, tag=True):
    """Write a header field or a register."""

    field: str
    value: Value


class Move(Struct, frozen=True, tag=True):
    """Copy one field over another of the same width (Nicira ``move``)."""

    source: str
    target: str


class Output(Struct, frozen=True, tag=True):
    """Send out of a port; ``in_port`` is set to 0 before, so that the ingress port is a port like any other (no silent drop of a loop)."""

    port: int


class Resubmit(Struct, frozen=True, tag=True):
    """Look the packet up in another table and come back (Nicira ``resubmit``)."""

    table: int


class ToGroup(Struct, frozen=True, tag=True):
    """Apply a group."""

    id: int


class Multipath(Struct, frozen=True, tag=True):
    """Hash the 5-tuple (``symmetric_l3l4+udp``) with a seed, modulo ``links``, into a register (Nicira ``multipath``)."""

    basis: int
    links: int
    register: str


Action = SetField | Move | Output | Resubmit | ToGroup | Multipath


class Flow(Struct, frozen=True):
    """One flow entry. Its identity is (table, priority, match); no actions and no ``goto`` means drop. ``note`` is for people."""

    table: int
    priority: int
    match: tuple[tuple[str, Value], ...]
    actions: tuple[Action, ...] = ()
    goto: int | None = None
    cookie: int = 0
    note: str = ""

    @property
    def key(self) -> tuple[int, int, tuple[tuple[str, Value], ...]]:
        """What makes it this flow: adding another of the same key replaces it."""
        return self.table, self.priority, self.match


class Group(Struct, frozen=True):
    """An indirect group (one bucket of actions); without actions it drops (sent as type ``all`` with no bucket)."""

    id: int
    actions: tuple[Action, ...] = ()
    note: str = ""
