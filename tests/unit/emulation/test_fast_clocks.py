"""What fast clocks need, and what they leave behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.emulation import doctor, fast_clocks
from testbed.errors import MachineError
from testbed.model.loader import load_topology
from testbed.plan.compile import compile_plan
from testbed.plan.templates import load_templates

TOPOLOGIES = Path(__file__).parents[3] / "topologies"


def test_only_the_files_of_the_processes_named_are_removed(tmp_path: Path) -> None:
    for name in ("faketime_shm_12", "sem.faketime_sem_12", "faketime_shm_123", "pulse-shm-12"):
        (tmp_path / name).touch()
    fast_clocks.forget([12, 99], tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["faketime_shm_123", "pulse-shm-12"]


@pytest.mark.parametrize(("design", "needed"), [("azure-timers", True), ("active-standby", False)])
def test_without_libfaketime_a_time_lapse_is_refused(design: str, needed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The dynamic linker would leave the library out with a word nobody reads, and 60/180 s would be what they say."""
    plan = compile_plan(load_topology(TOPOLOGIES / f"{design}.yaml").topology, templates=load_templates())
    monkeypatch.setattr(doctor.os, "geteuid", lambda: 0)
    monkeypatch.setattr(doctor.shutil, "which", lambda name, path: None if name == "faketime" else f"/bin/{name}")
    if needed:
        with pytest.raises(MachineError, match="faketime is not found"):
            doctor.require(plan)
    else:
        doctor.require(plan)
