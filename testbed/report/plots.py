"""Charts as markup: geometry in inline SVG and CSS, words in HTML, so that they stay readable at any width. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from testbed.measure.amounts import amount
from testbed.report.markup import Markup, join, tag

Row = tuple[str, float, str]
"""A label, a value, and the text beside its bar."""

_COLOURS = 6


def bars(rows: Sequence[Row], colours: Sequence[int] = ()) -> Markup:
    """Horizontal bars on one scale from zero; ``colours`` picks one of six by row."""
    top = max((value for _, value, _ in rows), default=0.0) or 1.0
    drawn = []
    for number, (label, value, text) in enumerate(rows):
        colour = colours[number] if colours else 3
        bar = tag("i", class_=f"c{colour % _COLOURS}", style=_span(0.0, value / top)) if value else None
        drawn.append(_row(label, tag("div", bar, class_="track"), text))
    return tag("div", drawn, class_="rows")


def waterfall(rows: Sequence[tuple[str, float, float, float, str, str]]) -> Markup:
    """Steps one after the other: (label, begin, end, last, text, title) in seconds.

    A bar from ``begin`` to ``end``, and a pale tail to ``last``, when the last of several observers was there.
    """
    top = max((max(end, last) for _, _, end, last, _, _ in rows), default=0.0) or 1.0
    drawn = []
    for number, (label, begin, end, last, text, title) in enumerate(rows):
        start, stop = min(begin, end) / top, max(begin, end) / top
        colour = f"c{number % _COLOURS}"
        parts = [tag("i", class_="led", style=_span(0.0, start)) if start > 0.005 else None]
        parts += [tag("i", class_=f"tail {colour}", style=_span(stop, last / top)) if last > end else None]
        parts += [tag("i", class_=colour, style=_span(start, stop))]
        drawn.append(_row(label, tag("div", parts, class_="track"), text, title))
    return tag("div", drawn, _axis(0.0, top), class_="rows")


def lanes(rows: Sequence[tuple[str, Iterable[tuple[float, float]], str]], begin: float, end: float, width: float, zero: str) -> Markup:
    """A lane a flow: (label, (time, part lost) of each bin that lost something, text); ``width`` of a bin, times in seconds.

    ``zero`` names what happened at time zero, which is marked.
    """
    drawn = []
    for label, lost, text in rows:
        cells = [
            tag(
                "rect",
                class_="lost",
                x=_place(at, begin, end),
                width=max(0.6, 1000 * width / (end - begin)),
                y=22 * (1 - part),
                height=22 * part,
            )
            for at, part in lost
            if begin <= at <= end
        ]
        mark = tag("line", class_="when", x1=_place(0.0, begin, end), x2=_place(0.0, begin, end), y1=0, y2=22)
        lane = tag(
            "svg", cells, mark, class_="lane", viewBox="0 0 1000 22", preserveAspectRatio="none", role="img", aria_label=f"{label}: {text}"
        )
        drawn.append(_row(label, lane, text))
    return tag("div", drawn, _axis(begin, end, zero), class_="rows")


def samples(rows: Sequence[tuple[str, Sequence[tuple[float, bool]], float | None, str]]) -> Markup:
    """Every sample of a repeated figure as a dot (amber: invalid), its median as a stroke: (label, (value, valid), median, text).

    Each row has a scale of its own, from zero to its greatest value.
    """
    drawn = []
    for label, values, median, text in rows:
        top = max((value for value, _ in values), default=0.0) * 1.04 or 1.0
        dots = [tag("i", class_=f"dot {'c3' if valid else 'c1'}", style=f"left:{_percent(value / top)}") for value, valid in values]
        mark = None if median is None else tag("i", class_="mark", style=f"left:{_percent(median / top)}")
        drawn.append(_row(label, tag("div", dots, mark, class_="track"), text))
    return tag("div", drawn, class_="rows")


def loop(pair: Mapping[str, Any]) -> Markup:
    """A packet's loop: where it came from, the nodes it went round, and how often; or the straight way when it arrived."""
    cycle = list(pair["cycle"])
    if not cycle:
        return Markup("")
    width, height, centre, radius = 430, 214, (270.0, 108.0), 70.0
    points = _circle(len(cycle), centre, radius)
    arcs = _self_loop(points[0]) if len(cycle) == 1 else [_arc(points, index, radius) for index in range(len(cycle))]
    start = (58.0, points[0][1])
    lead = _arrow(
        f"M{start[0] + 34:.1f},{start[1]:.1f} L{points[0][0] - 42:.1f},{points[0][1]:.1f}", points[0][0] - 38, points[0][1], 0.0, "lead"
    )
    turns = f"{max(pair['turns'])} turns" if pair["turns"] else ""
    middle = (points[0][0] + 6, points[0][1] - 74) if len(cycle) == 1 else centre
    words = [tag("text", turns, x=middle[0], y=middle[1], text_anchor="middle")]
    if pair.get("first_ttl"):
        ttl = f"TTL {pair['first_ttl']} → {pair['last_ttl']}"
        words.append(tag("text", ttl, class_="soft", x=middle[0], y=middle[1] + 17, text_anchor="middle"))
    nodes = [_node(name, *point) for name, point in zip(cycle, points, strict=True)]
    return tag(
        "svg", arcs, lead, _node(str(pair["source"]), *start, "start"), nodes, words,
        class_="loop", viewBox=f"0 0 {width} {height}", role="img", aria_label=f"loop {' → '.join(cycle)}",
    )  # fmt: skip


# --- parts ---


def _row(label: str, chart: Markup, text: str, title: str | None = None) -> Markup:
    words, _, more = text.partition("|")
    value = tag("div", words, tag("small", more) if more else None, class_="value")
    return join((tag("div", label, class_="label", title=title or label), chart, value))


def _span(begin: float, end: float) -> str:
    return f"left:{_percent(begin)};width:{_percent(max(0.0, end - begin))}"


def _percent(part: float) -> str:
    return f"{100 * part:.3f}%"


def _place(at: float, begin: float, end: float) -> float:
    return 1000 * (at - begin) / (end - begin)


def _axis(begin: float, end: float, zero: str = "") -> Markup:
    """Round ticks below a chart that spans its own column."""
    ticks = _ticks(begin, end)
    marks = [
        tag("span", zero if zero and abs(tick) < 1e-9 else _tick(tick), style=f"left:{_percent((tick - begin) / (end - begin))}")
        for tick in ticks
    ]
    return join((tag("div"), tag("div", marks, class_="axis"), tag("div")))


def _tick(value: float) -> str:
    return "0" if abs(value) < 1e-12 else amount(value, "s")


def _ticks(begin: float, end: float, about: int = 4) -> list[float]:
    raw = (end - begin) / about
    if raw <= 0:
        return [begin]
    size = 10 ** math.floor(math.log10(raw))
    step = next((factor * size for factor in (1, 2, 5, 10) if factor * size >= raw), 10 * size)
    first = math.ceil(begin / step - 1e-9)
    return [number * step for number in range(first, math.floor(end / step + 1e-9) + 1)]


def _circle(count: int, centre: tuple[float, float], radius: float) -> list[tuple[float, float]]:
    """Points on a circle, the first at its left."""
    if count == 1:
        return [(centre[0] - 20, centre[1] + 30)]
    angles = [math.pi - 2 * math.pi * index / count for index in range(count)]
    return [(centre[0] + radius * 1.35 * math.cos(angle), centre[1] - radius * math.sin(angle)) for angle in angles]


def _node(name: str, x: float, y: float, kind: str = "") -> Markup:
    width = max(60.0, 9.0 * len(name) + 18)
    box = tag("rect", class_=f"node {kind}".strip(), x=x - width / 2, y=y - 15, width=width, height=30.0, rx=8)
    return join((box, tag("text", name, x=x, y=y + 4.5, text_anchor="middle")))


def _arrow(path: str, x: float, y: float, angle: float, kind: str = "") -> Markup:
    """A line and its tip, which points to ``angle`` (radians)."""
    corners = [(x + size * math.cos(angle + turn), y + size * math.sin(angle + turn)) for size, turn in ((6, 0), (7, 2.5), (7, -2.5))]
    tip = "M" + " L".join(f"{a:.1f},{b:.1f}" for a, b in corners) + "Z"
    return join((tag("path", d=path, class_=kind or None), tag("path", d=tip, class_=f"tip {kind}".strip())))


def _arc(points: Sequence[tuple[float, float]], index: int, radius: float) -> Markup:
    """From a node to the next one of the cycle, bent outwards."""
    (x1, y1), (x2, y2) = points[index], points[(index + 1) % len(points)]
    length = math.hypot(x2 - x1, y2 - y1) or 1.0
    middle = ((x1 + x2) / 2 + (y2 - y1) / length * -radius * 0.55, (y1 + y2) / 2 - (x2 - x1) / length * radius * 0.55)
    if len(points) > 2:
        middle = ((x1 + x2) / 2, (y1 + y2) / 2)
    begin, end = _towards((x1, y1), middle, 36.0), _towards((x2, y2), middle, 40.0)
    angle = math.atan2(y2 - middle[1], x2 - middle[0])
    return _arrow(f"M{begin[0]:.1f},{begin[1]:.1f} Q{middle[0]:.1f},{middle[1]:.1f} {end[0]:.1f},{end[1]:.1f}", *end, angle)


def _self_loop(point: tuple[float, float]) -> list[Markup]:
    """Out of a node and back into it: the fabric hands the packet to the node it came from."""
    x, y = point
    path = f"M{x - 16:.1f},{y - 16:.1f} C{x - 150:.1f},{y - 165:.1f} {x + 165:.1f},{y - 165:.1f} {x + 26:.1f},{y - 23:.1f}"
    return [_arrow(path, x + 24, y - 21, 2.25)]


def _towards(start: tuple[float, float], end: tuple[float, float], distance: float) -> tuple[float, float]:
    length = math.hypot(end[0] - start[0], end[1] - start[1]) or 1.0
    return start[0] + (end[0] - start[0]) * distance / length, start[1] + (end[1] - start[1]) * distance / length * 0.6
