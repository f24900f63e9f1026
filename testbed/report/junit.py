"""A run as JUnit XML, which CI systems show: a suite a record, a case a check, invalid figures as skipped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree as Xml


def junit(records: Sequence[Mapping[str, Any]]) -> str:
    """The XML text."""
    root = Xml.Element("testsuites", name="testbed")
    for record in records:
        root.append(_suite(record))
    Xml.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + Xml.tostring(root, encoding="unicode") + "\n"


def _suite(record: Mapping[str, Any]) -> Xml.Element:
    cases = list(_cases(record))
    counts = {kind: sum(case.find(kind) is not None for case in cases) for kind in ("failure", "error", "skipped")}
    suite = Xml.Element(
        "testsuite", name=str(record["scenario"]), timestamp=str(record["started"]), tests=str(len(cases)),
        failures=str(counts["failure"]), errors=str(counts["error"]), skipped=str(counts["skipped"]),
        time=f"{record.get('seconds', 0):.3f}",
    )  # fmt: skip
    suite.extend(cases)
    return suite


def _cases(record: Mapping[str, Any]) -> Iterator[Xml.Element]:
    if record["error"]:
        case = _case(record, "run", "the run itself", 0.0)
        Xml.SubElement(case, "error", message=_clean(record["error"]))
        yield case
    for step in record["steps"]:
        if step["error"]:
            case = _case(record, step["stage"], "actions", 0.0)
            Xml.SubElement(case, "error", message=_clean(step["error"]))
            yield case
        for check in step["checks"]:
            case = _case(record, step["stage"], check["expected"], check["seconds"])
            if not check["ok"]:
                Xml.SubElement(case, "failure", message=_clean(check["reason"]))
            yield case
        for measured in step.get("measurements", ()):
            case = _case(record, step["stage"], f"figures of {measured['kind']}: {measured['title']}", 0.0)
            if not measured["valid"]:
                Xml.SubElement(case, "skipped", message=_clean("; ".join(measured["reasons"])))
            yield case


def _case(record: Mapping[str, Any], stage: str, name: str, seconds: float) -> Xml.Element:
    where = f"{record['scenario']}.{stage}"
    return Xml.Element("testcase", classname=_clean(where), name=_clean(name), time=f"{seconds:.3f}")


def _clean(text: str) -> str:
    """Without the control characters that XML cannot hold."""
    return "".join(letter for letter in text if letter >= " " or letter in "\t\n")
