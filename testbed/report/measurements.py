"""One measurement of a record as a card of the report: its figures, its chart, its tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from testbed.measure.amounts import amount
from testbed.report import plots
from testbed.report.markup import Markup, join, tag

Data = Mapping[str, Any]
_MEANING = {
    "detected": "a BGP speaker noticed",
    "established": "the session is up",
    "withdrawn": "gone at the Route Server",
    "announced": "at the Route Server",
    "decided": "the brain decided",
    "sent": "sent to the switches",
    "programmed": "in force on the switches",
    "forwarding": "first packet another way",
    "recovered": "arrives again",
}
_TILES = {
    "failover": ("outage", "lost", "detected", "withdrawn", "own overhead", "forwarding"),
    "loop": ("looping packets", "turns", "amplification"),
}
_LAST = ("forwarding", "recovered")
"""Reached when the last flow has."""

_BEFORE = 0.1  # part of the charted time that lies before the stimulus


def measurement(measured: Data) -> Markup:
    """The card of a measurement."""
    draw: dict[str, Callable[[Data], Markup]] = {"failover": _failover, "loop": _loop, "throughput": _throughput}
    return tag(
        "div",
        tag("h3", f"{measured['kind'].capitalize()}: {measured['title']} ", verdict(measured)),
        [tag("p", reason, class_="small soft") for reason in measured["reasons"]],
        _tiles(measured),
        draw[measured["kind"]](measured["data"]),
        class_="card",
    )


def verdict(measured: Data) -> Markup:
    """Whether its figures may be believed."""
    return tag("span", "valid" if measured["valid"] else "invalid", class_=f"chip {'ok' if measured['valid'] else 'doubt'}")


def spread(repeats: Data) -> Markup:
    """The figures of repeated runs: every sample, the median, the range."""
    cards = []
    entries: Sequence[Data] = repeats["summaries"]
    for key in dict.fromkeys((entry["step"], entry["measurement"]) for entry in entries):
        own = [entry for entry in entries if (entry["step"], entry["measurement"]) == key]
        rows = [
            (entry["name"], [(each["measured"], each["valid"]) for each in entry["samples"]], entry["median"], _range(entry))
            for entry in own
        ]
        cards.append(tag("div", tag("h3", f"{own[0]['stage']}: {own[0]['title']}"), plots.samples(rows), class_="card"))
    note = "A dot is one run, the stroke the median of the valid ones; amber dots are invalid and not counted."
    return join((tag("h2", f"{repeats['count']} runs"), cards, tag("p", note, class_="small soft"))) if cards else Markup("")


def _range(entry: Data) -> str:
    if entry["median"] is None:
        return "no valid sample"
    unit = entry["unit"]
    return f"{amount(entry['median'], unit)}|{amount(entry['least'], unit)} – {amount(entry['greatest'], unit)}"


def _tiles(measured: Data) -> Markup:
    wanted = _TILES.get(measured["kind"])
    shown = [each for each in measured["figures"] if wanted is None or each["name"].partition(" (")[0] in wanted]
    tiles = [
        tag(
            "div",
            tag("b", amount(each["measured"], each["unit"])),
            tag("span", each["name"]),
            class_=f"tile{'' if each['valid'] else ' invalid'}",
        )
        for each in shown
    ]
    return tag("div", tiles, class_="tiles")


# --- failover ---


def _failover(data: Data) -> Markup:
    if data.get("time_lapse", 1.0) != 1.0:
        return join((_lapsed(data), _ways(data), _facts(data)))
    return join((_timeline(data), _losses(data), _loops(data), _flows(data), _facts(data)))


def _timeline(data: Data) -> Markup:
    """Who did what when, from the stimulus on: a bar is the time since the milestone before."""
    before, rows = 0.0, []
    for each in data["milestones"]:
        if each["name"] == "stimulus":
            continue
        at = each["last"] if each["name"] in _LAST else each["first"]
        step = at - before
        text = f"{'+' if step >= 0 else '−'}{amount(abs(step), 's')}|{amount(at, 's')}"
        who = ", ".join(dict.fromkeys(fact["observer"] for fact in each["facts"]))
        rows.append((each["name"], before, at, each["last"], text, f"{_MEANING.get(each['name'], '')}; seen by {who}"))
        before = at
    if not rows:
        return tag("p", "Nobody noticed anything: no milestone after the stimulus.", class_="soft")
    missing = [name for name in data["missing"] if name not in ("forwarding", "recovered")]
    note = f"Not seen by anyone: {', '.join(missing)}." if missing else None
    first = [_first(each) for each in data["milestones"] if each["name"] != "stimulus"]
    return join(
        (
            tag("h3", "What happened when"),
            plots.waterfall(rows),
            tag("details", tag("summary", "Who saw it"), tag("div", tag("table", first), class_="scroll")),
            tag("p", note, class_="small soft") if note else None,
        )
    )


_OF_ROUTERS = ("stimulus", "detected", "established", "withdrawn", "announced")


def _lapsed(data: Data) -> Markup:
    """The timeline of a time-lapse: what the routers' clocks decided, by these clocks."""
    factor = data["time_lapse"]
    kept = [
        each | {"first": each["first"] * factor, "last": each["last"] * factor}
        for each in data["milestones"]
        if each["name"] in _OF_ROUTERS
    ]
    note = f"""Time-lapse: the clocks of BGP ran {factor:g} times as fast as the wall's; the seconds above are theirs.
    Times of packets and of the testbed itself are not quoted. The facts below are in the wall's time."""
    return join((_timeline({**data, "milestones": kept, "missing": ()}), tag("p", note, class_="doubt")))


def _ways(data: Data) -> Markup:
    """The way of each flow before and after, without a time."""
    lines = [f"{_flow(each)}: {', '.join(each['before']) or 'none'} ⟶ {', '.join(each['after']) or 'nobody'}" for each in data["flows"]]
    return tag("ul", [tag("li", line) for line in lines], class_="plain")


def _first(milestone: Data) -> Markup:
    fact = milestone["facts"][0]
    meaning = _MEANING.get(milestone["name"], "")
    return tag(
        "tr",
        tag("td", amount(milestone["first"], "s"), class_="n"),
        tag("td", tag("b", milestone["name"]), tag("div", meaning, class_="small soft")),
        tag("td", fact["observer"]),
        tag("td", fact["detail"], class_="small"),
    )


def _losses(data: Data) -> Markup:
    """The loss over time of each flow, around the time when something was lost or changed."""
    ends = [window["end"] for flow in data["flows"] for window in flow["windows"]]
    last = max([*ends, *(each["first"] for each in data["milestones"]), 0.05])
    end = min(data["end"], last * 1.25 + data["bin"])
    begin = max(data["begin"], -_BEFORE * end)
    rows = []
    losing = [flow for flow in data["flows"] if flow["lost"]]
    others = len(data["flows"]) - len(losing)
    for flow in losing:
        lost = [(at, gone / sent) for at, sent, gone in flow["loss"]]
        rows.append((_flow(flow), lost, f"{flow['lost']:,} lost|of {flow['sent']:,}"))
    chart = plots.lanes(rows, begin, end, data["bin"], "stimulus") if rows else None
    note = "No packet was lost." if not rows else f"{others} flows lost nothing." if others else None
    return join((tag("h3", "Loss over time"), chart, tag("p", note, class_="soft") if note else None))


def _flow(flow: Data) -> str:
    return f"{flow['source']} → {flow['target']}" + (f" :{flow['source_port']}" if flow["source_port"] else "")


def _loops(data: Data) -> Markup:
    if not data["loops"]:
        return Markup("")
    lines = [
        f"{each['packets']} packets went round {' → '.join((*each['cycle'], each['cycle'][0]))} for "
        f"{amount(each['duration'], 's')}, from {amount(each['begin'], 's')} on"
        for each in data["loops"]
    ]
    return join((tag("h3", "Loops on the way"), tag("ul", [tag("li", line, class_="doubt") for line in lines], class_="plain")))


def _flows(data: Data) -> Markup:
    head = [("flow", ""), ("lost", "n"), ("outage", "n"), ("longest gap", "n"), ("twice", "n"), ("out of order", "n"), ("through", "")]
    rows = []
    for flow in data["flows"]:
        before, after = ", ".join(flow["before"]) or "none", ", ".join(flow["after"]) or "nobody"
        outage = amount(flow["loss_derived"], "s") + ("" if flow["recovered"] else ", still lost")
        numbers = (flow["lost"], outage, amount(flow["longest_gap"], "s"), flow["duplicated"], flow["reordered"])
        way = before if before == after else f"{before} ⟶ {after}"
        rows.append(tag("tr", tag("td", _flow(flow)), [tag("td", number, class_="n") for number in numbers], tag("td", way)))
    titles = tag("tr", [tag("th", title, class_=kind or None) for title, kind in head])
    return tag("details", tag("summary", f"The {len(rows)} flows"), tag("div", tag("table", titles, rows), class_="scroll"))


def _facts(data: Data) -> Markup:
    rows = [
        tag(
            "tr",
            tag("td", f"{fact['time'] * 1000:,.1f} ms", class_="n"),
            tag("td", fact["observer"]),
            tag("td", fact["what"]),
            tag("td", fact["detail"], class_="small"),
        )
        for fact in data["facts"]
    ]
    return tag("details", tag("summary", f"All {len(rows)} facts"), tag("div", tag("table", rows), class_="scroll"))


# --- loops ---


def _loop(data: Data) -> Markup:
    drawings = [
        tag("div", plots.loop(pair), tag("p", _loop_text(pair), class_="small"), class_="drawn") for pair in data["pairs"] if pair["cycle"]
    ]
    straight = [tag("li", _loop_text(pair), class_="ok") for pair in data["pairs"] if not pair["cycle"]]
    return join((tag("div", drawings, class_="two"), tag("ul", straight, class_="plain") if straight else None))


def _loop_text(pair: Data) -> str:
    agrees = "as predicted" if pair["agrees"] else f"predicted {' → '.join(pair['predicted']) or 'no loop'}"
    head = f"{pair['source']} → {pair['target']}: "
    if not pair["cycle"]:
        return f"{head}no loop, {pair['arrived']} of {pair['sent']} arrived; {agrees}"
    by = f", time exceeded from {pair['expired_at']}" if pair["expired_at"] else ", dropped in silence"
    return f"{head}{pair['looped']} of {pair['sent']} looped{by}; {pair['amplification']:.1f} bytes on the links per byte sent; {agrees}"


# --- throughput ---


def overview(record: Data) -> Markup | None:
    """The paths of all throughput measurements of a run side by side, when there are several."""
    found = [measured for step in record["steps"] for measured in step.get("measurements", ()) if measured["kind"] == "throughput"]
    if len(found) < 2:
        return None
    doubt = None if all(measured["valid"] for measured in found) else tag("p", "Some of them are invalid; see below.", class_="small soft")
    charts = _carried([path for measured in found for path in measured["data"]["paths"]])
    return join((tag("h2", "Throughput side by side"), tag("div", doubt, charts, class_="card")))


def _carried(paths: Sequence[Data]) -> Markup:
    """Bars of TCP goodput and of packet rate."""
    tcp = [
        (_path(each), each["tcp"]["bits_per_second"], amount(each["tcp"]["bits_per_second"], "bit/s")) for each in paths if "tcp" in each
    ]
    rates = [
        (
            _path(each),
            each["packets"]["best"]["received"],
            f"{amount(each['packets']['best']['received'], '')}/s|{_LIMITS[each['packets']['limit']]}",
        )
        for each in paths
        if each.get("packets", {}).get("best")
    ]
    return join(
        (
            [tag("h3", "TCP goodput"), plots.bars(tcp)] if tcp else None,
            [tag("h3", "Packets at no more than the allowed loss"), plots.bars(rates, [4] * len(rates))] if rates else None,
        )
    )


def _throughput(data: Data) -> Markup:
    paths: Sequence[Data] = data["paths"]
    none = [
        tag("li", f"{_path(each)}: even {amount(each['packets']['trials'][-1]['asked'], '')} packets/s lost too much", class_="doubt")
        for each in paths
        if "packets" in each and not each["packets"]["best"]
    ]
    delays = [_delays(each) for each in paths if "delay" in each]
    causes = [tag("li", f"{_path(each)}: {name}: {each[key]['bottleneck']}") for each in paths for key, name in _KINDS if key in each]
    return join(
        (
            _carried(paths),
            tag("ul", none, class_="plain") if none else None,
            [tag("h3", "One-way delay, unloaded"), tag("div", tag("table", _DELAY_HEAD, delays), class_="scroll")] if delays else None,
            [tag("h3", "What limits it"), tag("ul", causes, class_="plain")] if causes else None,
        )
    )


_KINDS = (("tcp", "TCP"), ("packets", "packets"))
_LIMITS = {"loss": "limited by loss", "sender": "limited by the sender", "range": "not exhausted"}
_PERCENTILES = ("minimum", "median", "p90", "p99", "p999", "maximum")
_DELAY_HEAD = tag(
    "tr", tag("th", "path"), [tag("th", name, class_="n") for name in ("least", "median", "90 %", "99 %", "99.9 %", "greatest")]
)


def _path(path: Data) -> str:
    return f"{path['label']}: {path['source']} → {path['target']}"


def _delays(path: Data) -> Markup:
    cells = [tag("td", amount(path["delay"][name], "s"), class_="n") for name in _PERCENTILES]
    return tag("tr", tag("td", _path(path)), cells)
