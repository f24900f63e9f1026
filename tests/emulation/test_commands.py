"""What users type, against real labs: up, show, exec, fail, heal, run, down."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from testbed.emulation import client

pytestmark = pytest.mark.root

HERE = Path(__file__).parents[2]
DUAL_REGION = HERE / "topologies" / "dual-region.yaml"


def ctl(*arguments: str, code: int = 0) -> str:
    """Run one command line as a user would; give back what it printed on stdout."""
    done = subprocess.run((sys.executable, "-m", "testbed.cli", *arguments), cwd=HERE, capture_output=True, text=True, timeout=120)
    assert done.returncode == code, f"{arguments}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout + (done.stderr if code else "")


@pytest.fixture
def lab(lab_name: str, down: Callable[[str], float]) -> Iterator[str]:
    """The dual-region lab, up."""
    ctl("up", str(DUAL_REGION), "--name", lab_name)
    yield lab_name
    down(lab_name)


def test_the_main_job_shows_what_it_promises(tmp_path: Path, lab_name: str) -> None:
    printed = ctl("run", "scenarios/dual-region.yaml", "--name", lab_name, "--results", str(tmp_path))
    (file,) = tmp_path.glob("*/record.json")
    record = json.loads(file.read_text())
    assert record["verdict"] == "passed", printed
    assert [step["stage"] for step in record["steps"]][:4] == [
        "BGP sessions",
        "routes learned by each Route Server instance",
        "effective routes",
        "packets",
    ]
    assert all(check["ok"] for step in record["steps"] for check in step["checks"])
    assert list(record["stages"]) == ["network", "daemons", "tunnels", "sessions", "routes", "down"]
    assert "passed" in printed
    assert client.labs() == ()


def test_a_failed_expectation_says_where_and_leaves_a_bundle(tmp_path: Path, lab_name: str) -> None:
    scenario = tmp_path / "wrong.yaml"
    scenario.write_text(
        f"name: wrong\ntopology: {os.path.relpath(DUAL_REGION, tmp_path)}\nsteps:\n"
        "  - {stage: wrong, within: 0.1, expect: [{dropped: {from: vm11, to: vm21}}, {sessions: {kind: overlay}}]}\n"
    )
    printed = ctl("run", str(scenario), "--name", lab_name, "--results", str(tmp_path), code=1)
    assert "vm11 → vm21: delivered, expected dropped" in printed
    assert "✓ BGP sessions (overlay): all established" in printed
    bundle = {path.name for path in tmp_path.glob("*/bundle/*")}
    assert {"controller-flows.json", "nva1.bgpd.conf", "nva1.bgp.json", "log"} <= bundle


def test_show_has_azures_shape(lab: str) -> None:
    effective = json.loads(ctl("show", "effective-routes", "vm11", "--json", "--lab", lab))
    (row,) = [row for row in effective["value"] if row["addressPrefix"] == ["10.21.0.0/16"]]
    assert row["nextHopIpAddress"] == ["10.1.0.4"]
    assert (row["nextHopType"], row["source"], row["state"]) == ("VirtualNetworkGateway", "VirtualNetworkGateway", "Active")
    learned = json.loads(ctl("show", "learned-routes", "rs1", "nva1", "--json", "--lab", lab))
    assert {entry["localAddress"] for entry in learned["RouteServiceRole_IN_1"]} == {"10.1.1.5"}
    assert {(entry["network"], entry["asPath"]) for entry in learned["RouteServiceRole_IN_0"]} == {
        ("10.2.0.0/16", "65001-65002-65001"),
        ("10.21.0.0/16", "65001-65002-65001"),
        ("10.22.0.0/16", "65001-65002-65001"),
    }
    advertised = json.loads(ctl("show", "advertised-routes", "rs1", "nva1", "--json", "--lab", lab))
    assert {(entry["network"], entry["asPath"], entry["nextHop"]) for entry in advertised["RouteServiceRole_IN_0"]} == {
        (prefix, "65515", "10.1.1.4") for prefix in ("10.1.0.0/16", "10.11.0.0/16", "10.12.0.0/16")
    }


@pytest.mark.parametrize("command", ["effective-routes vm11", "learned-routes rs1 nva1", "advertised-routes rs1 nva1"])
def test_what_is_shown_live_is_what_is_predicted(lab: str, command: str) -> None:
    live = json.loads(ctl("show", *command.split(), "--json", "--lab", lab))
    paper = json.loads(ctl("show", *command.split(), "--json", "--predict", str(DUAL_REGION)))
    assert {key: sorted(map(str, rows)) for key, rows in live.items()} == {key: sorted(map(str, rows)) for key, rows in paper.items()}


def test_the_live_lab_can_be_looked_into(lab: str) -> None:
    assert "10.21.0.4" in ctl("exec", "vm21", "--lab", lab, "--", "ip", "-br", "address")
    assert "Established" in ctl("show", "bgp", "--lab", lab)
    (tunnel,) = json.loads(ctl("show", "tunnels", "--json", "--lab", lab))
    assert (tunnel["type"], tunnel["answers"], tunnel["mtu"]) == ("vxlan", True, 1450)
    assert "10.21.0.0/16 VirtualNetworkGateway" in ctl("show", "flows", "spoke11", "--lab", lab)
    journey = json.loads(ctl("trace", "vm11", "vm21", "--json", "--lab", lab))
    assert journey["nodes"] == journey["predicted"] == ["vm11", "nva1", "nva2", "vm21"]
    assert (journey["result"], journey["ttl_down"]) == ("delivered", 2)


def test_exec_ends_as_its_command_ends(lab: str) -> None:
    ctl("exec", "vm11", "--lab", lab, "--", "sh", "-c", "exit 7", code=7)
    assert "no node" in ctl("exec", "vm99", "--lab", lab, "--", "true", code=2)


def routes_of(lab: str, nic: str) -> set[str]:
    rows = json.loads(ctl("show", "effective-routes", nic, "--json", "--lab", lab))["value"]
    return {row["addressPrefix"][0] for row in rows if row["source"] == "VirtualNetworkGateway"}


def test_a_dead_daemon_takes_its_routes_away_and_comes_back(lab: str) -> None:
    from testbed.wait import wait_until

    ctl("fail", "nva1", "--daemon", "bgpd", "--lab", lab)
    wait_until(lambda: "still there" if routes_of(lab, "vm11") else None, what="routes gone", budget=15)
    ctl("heal", "nva1", "--daemon", "bgpd", "--lab", lab)
    wait_until(lambda: None if len(routes_of(lab, "vm11")) == 3 else "not yet", what="routes back", budget=15)


def test_a_link_is_cut_and_mended(lab: str) -> None:
    from testbed.wait import wait_until

    assert ctl("fail", "--link", "hub1", "hub2", "--lab", lab) == "failed hub1 hub2\n"
    wait_until(lambda: "still there" if routes_of(lab, "vm11") else None, what="routes gone", budget=15)
    assert ctl("heal", "--link", "hub1", "hub2", "--lab", lab) == "healed hub1 hub2\n"
    wait_until(lambda: None if len(routes_of(lab, "vm11")) == 3 else "not yet", what="routes back", budget=15)
    assert "name one thing" in ctl("fail", "nva1", "--link", "hub1", "hub2", "--lab", lab, code=2)


def test_a_lab_that_is_up_is_refused_with_advice(lab: str) -> None:
    assert f"testbed down {lab}" in ctl("up", str(DUAL_REGION), "--name", lab, code=2)


def test_two_labs_run_side_by_side(lab: str, down: Callable[[str], float]) -> None:
    other = f"{lab}-b"
    ctl("up", str(DUAL_REGION), "--name", other)
    assert {each["lab"] for each in status()} == {lab, other}
    ctl("down", other)
    assert {each["lab"] for each in status()} == {lab}
    assert len(routes_of(lab, "vm11")) == 3


def status() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(ctl("status", "--json"))
    return found


def test_a_template_that_frr_does_not_understand_ends_the_bring_up(lab_name: str, tmp_path: Path) -> None:
    shutil.copytree(HERE / "frr-configs", tmp_path / "frr-configs")
    template = tmp_path / "frr-configs" / "nva.conf.j2"
    template.write_text(template.read_text() + "no such words\n")
    script = (
        "import sys; from pathlib import Path; from testbed.plan import templates; from testbed.cli import execute;"
        "templates.default_folder = lambda: Path(sys.argv[1]); sys.exit(execute(sys.argv[2:]))"
    )
    argv = (sys.executable, "-c", script, str(tmp_path / "frr-configs"), "up", str(DUAL_REGION), "--name", lab_name)
    done = subprocess.run(argv, cwd=HERE, capture_output=True, text=True, timeout=60)
    assert done.returncode == 4
    assert "bgpd does not understand its configuration: No such command on config line" in done.stderr
    assert client.labs() == ()


@pytest.mark.parametrize("after", [0.3, 0.9, 1.5])
def test_ctrl_c_at_any_moment_tears_down(lab_name: str, after: float) -> None:
    running = subprocess.Popen(
        (sys.executable, "-m", "testbed.cli", "up", str(DUAL_REGION), "--name", lab_name), cwd=HERE, stderr=subprocess.PIPE, text=True
    )
    try:
        running.wait(after)
    except subprocess.TimeoutExpired:
        running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    if running.returncode == 0:  # it was quicker
        client.down(lab_name)
    else:
        assert running.returncode in (130, -signal.SIGINT), said  # a shell shows 130 for both: it may still be importing
    assert client.labs() == ()


def test_ctrl_c_when_the_lab_has_just_come_up_tears_down(lab_name: str) -> None:
    """Between the last stage and the last word the lab is not anybody's yet."""
    script = (
        "import os, signal, sys; from testbed.scenario import building; from testbed.cli import execute;"
        "building.differences = lambda *_: os.kill(os.getpid(), signal.SIGINT) or []; sys.exit(execute(sys.argv[1:]))"
    )
    argv = (sys.executable, "-c", script, "up", str(DUAL_REGION), "--name", lab_name)
    done = subprocess.run(argv, cwd=HERE, capture_output=True, text=True, timeout=60)
    assert (done.returncode, client.labs()) == (130, ()), done.stderr
    assert "interrupted" in done.stderr


def test_ctrl_c_after_the_last_word_leaves_the_lab_up(lab_name: str) -> None:
    script = (
        "import os, signal, sys; from testbed.cli import execute;"
        "code = execute(sys.argv[1:]); os.kill(os.getpid(), signal.SIGINT); sys.exit(code)"
    )
    argv = (sys.executable, "-c", script, "up", str(DUAL_REGION), "--name", lab_name)
    done = subprocess.run(argv, cwd=HERE, capture_output=True, text=True, timeout=60)
    assert (done.returncode, client.labs()) == (0, (lab_name,)), done.stderr
    client.down(lab_name)


def test_who_dies_unasked_is_in_the_record_with_its_last_words(tmp_path: Path, lab_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from testbed.cli import conduct
    from testbed.model.scenario_file import load_scenario
    from testbed.scenario.live import LiveLab
    from testbed.scenario.runner import StepResult
    from testbed.wait import wait_until

    def take(scenario: object, lab: LiveLab, tell: object) -> list[StepResult]:
        bgpd = next(
            each for node in lab.client.status()["nodes"] if node["name"] == "nva1" for each in node["daemons"] if each["name"] == "bgpd"
        )
        os.kill(bgpd["pid"], signal.SIGSEGV)
        wait_until(lambda: None if lab.client.status()["deaths"] else "not noticed", what="the death", budget=10.0)
        return []

    monkeypatch.setattr(conduct, "take", take)
    loaded = load_scenario(HERE / "scenarios/dual-region.yaml")
    conduct.conduct(loaded, tmp_path, lab_name=lab_name, keep=False, prompt_on_failure=False, quiet=True)
    (death,) = json.loads((tmp_path / "record.json").read_text())["deaths"]
    assert (death["node"], death["daemon"], death["how"]) == ("nva1", "bgpd", "signal 11")
    assert "Received signal 11" in death["last_words"]
    page = (tmp_path / "report.html").read_text()
    assert "Died unasked" in page
    assert "Received signal 11" in page
