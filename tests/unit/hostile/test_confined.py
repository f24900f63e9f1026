"""Files made to exhaust, to run or to reach something, loaded by a process that may not: refused, in bounded time and memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from . import confined
from .texts import DESIGN, SCENARIO

BIG = 10_000_000
BASE = "name: x\nregions: {r: {vnets: {v: {address_space: [10.0.0.0/8], subnets: {a: 10.1.0.0/16}}}}}\n"


def laughs() -> str:
    return "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{f'*{chr(97 + n)},' * 10}]\n" for n in range(20))


TOPOLOGIES: dict[str, Callable[[], str]] = {
    "billion laughs": laughs,
    "laughs by merge keys": lambda: "a: &a {x: 1}\nb: &b {<<: *a, y: 1}\nc: {<<: [*a, *b]}\n",
    "itself": lambda: "a: &a [*a]\n",
    "deep lists": lambda: "a: " + "[" * 1_000_000,
    "deep closed lists": lambda: "a: " + "[" * 100_000 + "]" * 100_000,
    "deep mappings": lambda: "a: " + "{a: " * 300_000,
    "deep by indentation": lambda: "\n".join(" " * depth + "- " * 20 for depth in range(1500)),
    "a name of 10 MB": lambda: f"name: {'x' * BIG}\n",
    "a text of 10 MB": lambda: f"{BASE}description: {'x' * BIG}\n",
    "a quoted text of 10 MB": lambda: f'{BASE}description: "{"x " * (BIG // 2)}"\n',
    "a text of 10 MB of escapes": lambda: f'{BASE}description: "{chr(92)}x41{chr(92)}u0042{"x" * BIG}"\n',
    "a block of 10 MB": lambda: BASE + "description: |\n" + "  x\n" * (BIG // 4),
    "a key of 10 MB": lambda: f"{'x' * BIG}: 1\n",
    "a number of 10 MB": lambda: f"{BASE}limits: {{peers: {'9' * BIG}}}\n",
    "a comment of 10 MB": lambda: f"{BASE}# {'x' * BIG}\n",
    "10 MB of blank lines": lambda: "\n" * BIG,
    "10 MB of spaces": lambda: " " * BIG,
    "10 MB of colons": lambda: "a: " + ": " * (BIG // 2),
    "10 MB of dashes": lambda: "- " * (BIG // 2),
    "10 MB of quotes": lambda: '"' * BIG,
    "10 MB of tags": lambda: "a: " + "!a " * (BIG // 3),
    "10 MB of percent signs": lambda: "%" * BIG,
    "10 MB of directives": lambda: "%TAG !a! tag:x,1:\n" * (BIG // 20),
    "10 MB of documents": lambda: "---\n" * (BIG // 4),
    "10 MB of prefixes": lambda: "name: x\nregions: {r: {vnets: {v: {address_space: [" + "10.0.0.0/8," * (BIG // 11) + "]}}}}\n",
    "a prefix of 10 MB": lambda: "name: x\nregions: {r: {vnets: {v: {address_space: [" + "1." * (BIG // 2) + "/8]}}}}\n",
    "an address of 10 MB": lambda: f"{BASE}vms: {{m: {{subnet: v/a, ip: {'1' * BIG}}}}}\n",
    "a duration of 10 MB": lambda: f"{BASE}timers: {{bgp: {{hold: {'1' * BIG}s}}}}\n",
    "a community of 10 MB": lambda: (
        f"{BASE}nvas: {{n: {{subnet: v/a, asn: 1, neighbors: {{n: {{communities: ['{'1:' * (BIG // 2)}']}}}}}}}}\n"
    ),
    "a reference of 10 MB": lambda: f"{BASE}vms: {{m: {{subnet: {'v/' * (BIG // 2)}}}}}\n",
    "a link of 10 MB": lambda: f"{BASE}links: {{? {'a-' * 100}: {{}}}}\n",
    "every ASN range": lambda: f"{BASE}limits: {{azure_asns: [{'1-2,' * 50_000}]}}\nnvas: {{{'n: 1,' * 10}}}\n",
    "as many machines as fit": lambda: BASE + "vms:\n" + "".join(f"  m{number}: {{subnet: v/a}}\n" for number in range(60_000)),
    "as many values as fit": lambda: "a: [" + "x," * 249_000 + "]\n",
    "more values than fit": lambda: "a: [" + "x," * 2_000_000 + "]\n",
    "a python object": lambda: "a: !!python/object/apply:os.system ['touch /tmp/zq9']\n",
    "a python name": lambda: "a: !!python/name:os.system\n",
    "binary": lambda: "a: !!binary aGVsbG8=\n",
    "a time stamp": lambda: "name: 2001-12-14t21:59:43.10-05:00\n",
    "a number in base 60": lambda: f"{BASE}limits: {{peers: {'1:' * 100_000}1}}\n",
    "not a number": lambda: f"{BASE}timers: {{bgp: {{hold: .nan}}}}\nlinks: {{r-r: {{delay: .inf, rate: -.inf, loss: 1e999}}}}\n",
    "right to left": lambda: "name: \u202ex\u202c\nregions: {}\n",
    "a lone surrogate": lambda: 'name: "\\ud800"\nregions: {"\\udfff": {}}\n',
    "an FRR configuration elsewhere": lambda: BASE + "nvas: {n: {subnet: v/a, asn: 65001, frr_config: ../../../../../../etc/shadow}}\n",
    "an absolute FRR configuration": lambda: BASE + "nvas: {n: {subnet: v/a, asn: 65001, frr_config: /etc/shadow}}\n",
    "a linked FRR configuration": lambda: BASE + "nvas: {n: {subnet: v/a, asn: 65001, frr_config: shadow.conf}}\n",
    "an FRR configuration that is a pipe": lambda: BASE + "nvas: {n: {subnet: v/a, asn: 65001, frr_config: pipe}}\n",
    "an FRR configuration with a null byte": lambda: BASE + 'nvas: {n: {subnet: v/a, asn: 65001, frr_config: "a\\0b"}}\n',
}
FINE = {
    "scenario: 100,000 steps that are right",
    "a comment of 10 MB",
    "as many machines as fit",
    "a text of 10 MB",
    "a quoted text of 10 MB",
    "a text of 10 MB of escapes",
    "a block of 10 MB",
}

STEPS: dict[str, Any] = {
    "a topology that is a pipe": {"topology": "pipe"},
    "a topology that is a device": {"topology": "/dev/zero"},
    "a topology that is a folder": {"topology": "."},
    "a topology with a null byte": {"topology": "a\0b"},
    "a topology with a long name": {"topology": "x" * 100_000},
    "a topology that is a scenario": {"topology": "scenario 0"},
    "itself as topology": {"topology": "scenario 5"},
    "a name that leads elsewhere": {"name": "../../x"},
    "a name that is an option": {"name": "-rf"},
    "a name of 10 MB": {"name": "x" * BIG},
    "a stage of 10 MB": {"steps": [{"stage": "x" * BIG, "do": [{"capture": {"file": "../../x", "node": "nva1"}}]}]},
    "20,000 steps": {"steps": [{"stage": "x", "do": [{"fail": {"node": "nva9"}}]}] * 20_000},
    "100,000 steps that are right": {"steps": [{"stage": "x"}] * 100_000},
    "everything at once": {"steps": [{"stage": "x", "do": [{"fail": {"node": "nva1"}, "heal": {"node": "nva1"}}]}]},
}

ROW = {"addressPrefix": ["10.0.0.0/8"], "nextHopIpAddress": [], "nextHopType": "None", "source": "Default", "state": "Active"}
AZ: dict[str, Callable[[], str]] = {
    "deep lists": lambda: "[" * 1_000_000,
    "deep closed objects": lambda: '{"value":' * 200_000 + "1" + "}" * 200_000,
    "10 MB of empty objects": lambda: '{"value":[' + "{}," * (BIG // 3) + "{}]}",
    "10 MB of empty lists": lambda: "[" + "[]," * (BIG // 3) + "[]]",
    "10 MB of rows that are right": lambda: json.dumps({"value": [ROW] * (BIG // 200)}),
    "10 MB of prefixes in a row": lambda: json.dumps({"value": [ROW | {"addressPrefix": ["10.0.0.0/8"] * (BIG // 14)}]}),
    "a text of 10 MB": lambda: json.dumps({"value": [ROW | {"source": "x" * BIG}]}),
    "a key of 10 MB": lambda: json.dumps({"value": [ROW | {"x" * BIG: 1}]}),
    "a number of 10 MB": lambda: '{"value":[' + "9" * BIG + "]}",
    "a number of 4000 digits": lambda: '{"value":[' + "9" * 4000 + "]}",
    "no number": lambda: '{"value":[NaN,Infinity,-Infinity]}',
    "a lone surrogate": lambda: '{"value":[{"source":"\\ud800","addressPrefix":["\\udfff"]}]}',
    "control characters": lambda: json.dumps({"value": [ROW | {"state": "\x1b[31m\n"}]}),
    "a prefix with digits of another script": lambda: json.dumps({"value": [ROW | {"addressPrefix": ["١٠.0.0.0/8"]}]}),
    "a prefix of 4 kB": lambda: json.dumps({"value": [ROW | {"addressPrefix": ["1." * 2000 + "/8"]}]}),
    "not JSON": lambda: "NextHop  Type\n",
    "nothing": lambda: "",
    "null": lambda: "null",
    "duplicate keys": lambda: '{"value":[],"value":5}',
    "roles that are no lists": lambda: '{"RouteServiceRole_IN_0":5,"RouteServiceRole_IN_1":{"a":1}}',
}
AZ_FINE = {"10 MB of rows that are right", "10 MB of prefixes in a row", "a key of 10 MB"}
"""Those whose rows Azure itself could print; a key that nobody asks for is not looked at."""


def write_all(folder: Path) -> list[str]:
    """Write all files, named by number; gives back what `confined` is asked to load."""
    (folder / "design.yaml").write_text(json.dumps(DESIGN))
    (folder / "shadow.conf").symlink_to("/etc/shadow")
    os.mkfifo(folder / "pipe")
    (folder / "topology fifo").symlink_to(folder / "pipe")
    asked = []
    for number, text in enumerate(TOPOLOGIES.values()):
        (folder / f"topology {number}").write_text(text())
        asked.append(f"topology:topology {number}")
    for number, change in enumerate(STEPS.values()):
        (folder / f"scenario {number}").write_text(json.dumps(SCENARIO | change))
        asked.append(f"scenario:scenario {number}")
    for kind in ("effective", "learned"):
        for number, text in enumerate(AZ.values()):
            (folder / f"az {number}").write_text(text())
            asked.append(f"{kind}:az {number}")
    return [*asked, "topology:topology fifo"]


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("hostile")
    asked = write_all(folder)
    argv = [sys.executable, str(Path(confined.__file__)), str(folder), *asked]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    result = subprocess.run(argv, capture_output=True, text=True, timeout=250, env=environment, check=False)
    assert result.returncode == 0, result.stderr
    routes = [f"{kind}: {name}" for kind in ("effective", "learned") for name in AZ]
    names = [*TOPOLOGIES, *(f"scenario: {name}" for name in STEPS), *routes, "a pipe"]
    return dict(zip(names, map(json.loads, result.stdout.splitlines()), strict=True))


def test_what_is_not_right_is_refused_in_words(verdicts: dict[str, dict[str, Any]]) -> None:
    fine = FINE | {f"effective: {name}" for name in AZ_FINE}
    wrong = {name: found["verdict"] for name, found in verdicts.items() if found["verdict"] != "refused" and name not in fine}
    assert wrong == {}
    assert {name: verdicts[name]["verdict"] for name in fine} == dict.fromkeys(fine, "fine")


def test_no_file_takes_long_or_much(verdicts: dict[str, dict[str, Any]]) -> None:
    slow = {name: found["seconds"] for name, found in verdicts.items() if found["seconds"] > 12}
    assert slow == {}
    assert max(found["memory"] for found in verdicts.values()) < 900


def test_the_guard_sees_what_it_should(tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(Path(confined.__file__).parent)!r}); import confined; confined.guard(({str(tmp_path)!r},)); "
    )
    for act in ("open('/etc/passwd')", f"open('{tmp_path}/x', 'w')", "import os; os.system('true')", "import os; os.fork()"):
        result = subprocess.run([sys.executable, "-c", code + act], capture_output=True, text=True, check=False)
        assert "Forbidden" in result.stderr, act
