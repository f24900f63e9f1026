"""What must be done inside the nodes to turn one plan into another: ``ip`` lines and FRR commands; pure."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from testbed.plan.types import Node, Plan

_NOISE = ("!", "exit", "exit-address-family", "end")
Context = tuple[str, ...]


class NodeChange(Struct, frozen=True):
    """What to do in one node. ``ip``: lines for ``ip -batch``; ``bgpd``: configuration commands for bgpd, in order.

    ``files``: other files that differ.
    """

    node: str
    ip: tuple[str, ...] = ()
    bgpd: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


def node_changes(old: Plan, new: Plan) -> tuple[NodeChange, ...]:
    """The changes of all nodes that both plans have and that differ, in the order of the new plan."""
    before = {node.name: node for node in old.nodes}
    changes = (_change(before[node.name], node) for node in new.nodes if node.name in before)
    return tuple(change for change in changes if change.ip or change.bgpd or change.files)


def _change(old: Node, new: Node) -> NodeChange:
    gone = [line.replace(" add ", " del ", 1) for line in old.setup if line not in new.setup]
    come = [line for line in new.setup if line not in old.setup]
    files = tuple(name for name, text in new.files.items() if name != "bgpd.conf" and old.files.get(name) != text)
    return NodeChange(new.name, (*gone, *come), bgpd_commands(old.files.get("bgpd.conf", ""), new.files.get("bgpd.conf", "")), files)


def bgpd_commands(old: str, new: str) -> tuple[str, ...]:
    """The commands that turn one of our own rendered bgpd configurations into another; removals come first.

    Both texts are indented by one space a level, as FRR prints them. What is gone is undone by ``no``, a block as a whole.
    """
    before, after = list(_lines(old)), list(_lines(new))
    gone = [entry for entry in before if entry not in set(after)]
    come = [entry for entry in after if entry not in set(before)]
    blocks = {(*context, line) for context, line in gone}
    undone = [(context, line) for context, line in gone if not any(context[: n + 1] in blocks for n in range(len(context)))]
    left = {_neighbor(line) for _, line in undone if _ENDS_NEIGHBOR in line}
    undone = [(context, line) for context, line in undone if _ENDS_NEIGHBOR in line or _neighbor(line) not in left]
    commands = _enter([*((context, _undo(line)) for context, line in undone), *come])
    if any((*context, line)[0].startswith(_POLICIES) for context, line in (*gone, *come)):
        commands += ["end", "clear bgp ipv4 unicast * soft"]
    return tuple(commands)


_POLICIES = ("route-map ", "ip prefix-list ", "bgp community-list ", "bgp as-path ")
"""What bgpd applies to routes that it has already only five seconds after it was changed, unless it is asked."""


_ENDS_NEIGHBOR = " remote-as "
_BARE = ("set as-path prepend", "set community")  # bgpd takes their `no` without what was set, and only so


def _neighbor(line: str) -> str:
    """The neighbour that a line is about, or nothing: without its ``remote-as`` bgpd forgets all else it knew of one."""
    words = line.split()
    return words[1] if words[:1] == ["neighbor"] else ""


def _undo(line: str) -> str:
    return "no " + next((bare for bare in _BARE if line.startswith(f"{bare} ")), line)


def _lines(text: str) -> Iterator[tuple[Context, str]]:
    """Each line with the block headers above it."""
    context: list[str] = []
    for raw in text.splitlines():
        line = raw.strip()
        if not line or line.startswith(_NOISE):
            continue
        depth = len(raw) - len(raw.lstrip())
        context[depth:] = [line]
        yield tuple(context[:depth]), line


def _enter(entries: list[tuple[Context, str]]) -> list[str]:
    """Commands with the way into their block in front; every one starts from the top, so that order is all that counts."""
    commands: list[str] = ["configure terminal"] if entries else []
    current: Context = ()
    for context, line in entries:
        if context != current:
            commands += ["end", "configure terminal", *context]
            current = context
        commands.append(line)
    return commands
