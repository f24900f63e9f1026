"""HTML and SVG as nested calls: text is escaped unless it is markup already, so that no name of a user's becomes a tag."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

_VOID = frozenset({"meta", "br", "hr", "line", "rect", "circle", "path", "col"})


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


Child = object
"""A string (escaped), markup (kept), a number, None (left out), or an iterable of these."""


def tag(element: str, /, *children: Child, **attributes: object) -> Markup:
    """An element. ``class_`` and ``for_`` lose their underscore, others become hyphens; an attribute of None is left out."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-") if key != "viewBox" else key}="{escape(_plain(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if element in _VOID and not children:
        return Markup(f"<{element}{given}/>")
    return Markup(f"<{element}{given}>{join(children)}</{element}>")


def join(children: Iterable[Child]) -> Markup:
    """Children one after the other."""
    return Markup("".join(_child(child) for child in children))


def _child(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Markup):
        return child
    if isinstance(child, str | int | float):
        return escape(_plain(child))
    if isinstance(child, Iterable):
        return join(child)
    raise TypeError(f"{type(child).__name__} is no markup")


def _plain(value: object) -> str:
    """Numbers without noise: coordinates to a hundredth."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
