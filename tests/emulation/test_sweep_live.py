"""`sweep` on a real lab: the worst faults cost the pairs that were predicted, for a measured time, and nothing stays broken."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from testbed.emulation import client

pytestmark = pytest.mark.root

HERE = Path(__file__).parents[2]


def test_the_worst_faults_are_as_predicted_and_leave_nothing(tmp_path: Path, lab_name: str) -> None:
    command = ("sweep", "topologies/dual-region.yaml", "--live", "2", "--name", lab_name, "--results", str(tmp_path), "--json")
    done = subprocess.run((sys.executable, "-m", "testbed.cli", *command), cwd=HERE, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    (file,) = tmp_path.glob("*/sweep.json")
    kept = json.loads(file.read_text())
    assert kept["tried"] == json.loads(done.stdout)["tried"]
    assert len(kept["predicted"]) == 21
    link, nva = kept["tried"]
    assert (link["fault"], nva["fault"]) == ("link hub1 - hub2", "nva1: all processes")
    for trial, pairs in ((link, 18), (nva, 16)):
        assert len(trial["observed_lost"]) == pairs
        assert trial["observed_lost"] == trial["predicted_lost"]
        assert set(trial["back"]) == set(trial["predicted_lost"])
        assert all(seconds > 0 for seconds in trial["back"].values())
        assert trial["left"] == trial["not_back"] == trial["unexpected"] == []
    assert client.labs() == ()


def test_circuits_come_back_whole_one_alone_and_all_of_them(lab_name: str) -> None:
    """Kernels forget routes over links that go down, and FRR 8.4 what it had put into a group of next hops."""
    from testbed.scenario.building import build
    from testbed.scenario.elements import elements
    from testbed.scenario.sweep import Forecast
    from testbed.scenario.trial import Observer, attempt

    lab, _ = build(HERE / "topologies/expressroute-overlay.yaml", lambda stage, seconds: None, lab_name)
    try:
        forecast = Forecast(lab.topology, lab.plan)
        known = {each.name: each for each in elements(lab.plan)}
        observer = Observer(lab, forecast)
        for names, lost in (
            (("circuit er1-0-london-msee0",), 0),
            (("circuit london-msee0-onprem", "circuit london-msee1-onprem"), 4),
        ):
            trial = attempt(observer, forecast.outlook([known[name] for name in names]), timed=False)
            assert trial.as_predicted, (trial.unexpected, trial.left)
            assert len(trial.observed_lost) == lost
    finally:
        client.down(lab_name)


def test_a_wrong_prediction_is_found(lab_name: str) -> None:
    """A fault that breaks less than it does in truth: the lab contradicts, pair by pair."""
    from msgspec.structs import replace

    from testbed.azure.impairment import INTACT
    from testbed.scenario.building import build
    from testbed.scenario.elements import elements
    from testbed.scenario.sweep import Forecast
    from testbed.scenario.trial import Observer, attempt

    lab, _ = build(HERE / "topologies/dual-region.yaml", lambda stage, seconds: None, lab_name)
    try:
        forecast = Forecast(lab.topology, lab.plan)
        tunnel = next(each for each in elements(lab.plan) if each.name.startswith("tunnel"))
        observer = Observer(lab, forecast)
        observer.budget = 6.0
        trial = attempt(observer, forecast.outlook([replace(tunnel, broken=INTACT)]), timed=True)
        assert "vm11 → vm21: predicted delivered, observed lost" in trial.unexpected
        assert len(trial.observed_lost) == 16
        assert trial.left == ()
        assert not trial.as_predicted
    finally:
        client.down(lab_name)
