"""A record as one self-contained page: no request goes out, no script runs; readable on a phone, light and dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from testbed.measure.amounts import amount
from testbed.report import plots
from testbed.report.compare import comparison
from testbed.report.drawing import svg
from testbed.report.markup import Markup, join, tag
from testbed.report.measurements import measurement, overview, spread
from testbed.report.style import CSS

Record = Mapping[str, Any]
_FEW = 6
_STAGES = ("network", "daemons", "tunnels", "sessions", "routes")


def page(records: Sequence[Record], *, compare: bool = False) -> str:
    """The page of one record, of several one after the other with a comparison on top, or of the comparison alone."""
    title = records[0]["scenario"] if len(records) == 1 else f"{len(records)} runs compared"
    parts: list[Markup] = []
    if len(records) > 1:
        parts += [tag("h1", title), comparison(records)]
    if not compare or len(records) == 1:
        parts += [_run(record) for record in records]
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", Markup(CSS)),
    )
    return "<!doctype html>\n" + tag("html", head, tag("body", tag("main", parts, _footer(records[0]))), lang="en") + "\n"


def chip(verdict: str) -> Markup:
    """The verdict as a coloured word."""
    return tag("span", verdict, class_=f"chip {'ok' if verdict == 'passed' else 'bad'}")


def _run(record: Record) -> Markup:
    return tag(
        "section",
        tag("h1", record["scenario"], " ", chip(record["verdict"])),
        tag("p", record.get("description", ""), class_="soft") if record.get("description") else None,
        tag("p", _when(record), class_="soft small"),
        tag("p", record["error"], class_="card") if record["error"] else None,
        _tiles(record),
        _died(record),
        _picture(record),
        overview(record),
        [spread(record["repeats"])] if record.get("repeats") else None,
        [_step(step) for step in record["steps"]],
        _bring_up(record),
        _machine(record),
    )


def _when(record: Record) -> str:
    started = datetime.fromisoformat(record["started"])
    return f"lab {record['lab']} · {started:%Y-%m-%d %H:%M:%S} UTC"


def _tiles(record: Record) -> Markup:
    checks = [check for step in record["steps"] for check in step["checks"]]
    figures = [measured for step in record["steps"] for measured in step.get("measurements", ())]
    up = max((record["stages"].get(stage, 0.0) for stage in _STAGES), default=0.0)
    tiles = [
        (f"{sum(check['ok'] for check in checks)} of {len(checks)}", "expectations held"),
        (amount(up, "s"), "until converged"),
        (amount(record["stages"].get("down", 0.0), "s"), "to tear down"),
        (amount(record.get("seconds", 0.0), "s"), "in all"),
    ]
    if figures:
        valid = sum(measured["valid"] for measured in figures)
        tiles.insert(1, (f"{valid} of {len(figures)}", "measurements valid"))
    return tag("div", [tag("div", tag("b", value), tag("span", name), class_="tile") for value, name in tiles], class_="tiles")


def _died(record: Record) -> Markup | None:
    """The processes of the lab that ended though nobody had asked them to, and what became of them."""
    deaths = record.get("deaths") or ()
    if not deaths:
        return None
    rows = [
        tag("li", f"{death['node']}: {death['daemon']} ({death['how']})", tag("span", death["last_words"], class_="reason"), class_="bad")
        for death in deaths
    ]
    rows += [tag("li", f"{each['node']}: {each['daemon']} was started again", each["error"]) for each in record.get("restarts") or ()]
    return join((tag("h2", "Died unasked"), tag("ul", rows, class_="plain")))


def _picture(record: Record) -> Markup | None:
    drawn = svg(record.get("picture") or "")
    if not drawn:
        return None
    return join((tag("h2", "The design"), tag("div", Markup(drawn), class_="card picture")))


def _step(step: Mapping[str, Any]) -> Markup:
    shown = [check for check in step["checks"] if not check["ok"]]
    held = [check for check in step["checks"] if check["ok"]]
    some, rest = (held, []) if len(held) <= _FEW else (held[:_FEW], held[_FEW:])
    return tag(
        "section",
        tag("h2", step["stage"], " ", chip("passed" if step["ok"] else "failed")),
        tag("ul", [tag("li", action) for action in step["actions"]], class_="plain") if step["actions"] else None,
        tag("p", step["error"], class_="card") if step["error"] else None,
        [measurement(measured) for measured in step.get("measurements", ())],
        tag("ul", [_check(check) for check in (*shown, *some)], class_="plain") if step["checks"] else None,
        tag("details", tag("summary", f"{len(rest)} more that held"), tag("ul", map(_check, rest), class_="plain")) if rest else None,
    )


def _check(check: Mapping[str, Any]) -> Markup:
    reason = tag("span", check["reason"], class_="reason") if check["reason"] else None
    return tag("li", check["expected"], reason, class_="ok" if check["ok"] else "bad")


def _bring_up(record: Record) -> Markup | None:
    before, rows = 0.0, []
    for stage in _STAGES:
        if stage in record["stages"]:
            end = record["stages"][stage]
            rows.append((stage, before, end, end, amount(end - before, "s"), ""))
            before = end
    if not rows:
        return None
    return join((tag("h2", "Bring-up"), tag("div", plots.waterfall(rows), class_="card")))


def _machine(record: Record) -> Markup:
    found = record["machine"]
    rows = [
        ("kernel", found["kernel"]),
        ("processors", found["processors"]),
        ("memory", f"{found['memory'] / 2**30:.1f} GiB"),
        ("load at the end", ", ".join(f"{load:.2f}" for load in found["load"])),
        *((name, version) for name, version in found["versions"].items()),
        ("Python", found["python"]),
        ("switch datapath", record.get("datapath", "")),
        ("not emulated", "; ".join(record["not_emulated"]) or "nothing"),
        *((name, tag("span", value[:16], class_="mono")) for name, value in record["files"].items()),
    ]
    cells = [tag("tr", tag("td", name, class_="soft"), tag("td", value)) for name, value in rows if value]
    return join((tag("h2", "Where it ran"), tag("div", tag("div", tag("table", cells), class_="scroll"), class_="card")))


def _footer(record: Record) -> Markup:
    return tag("footer", f"Azure Route Server testbed {record['testbed']}, record format {record['format']}. ", "Times are wall-clock.")
