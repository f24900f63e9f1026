"""Who used the CPU, from a /proc made by hand."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from testbed.measure.cpu import CpuReading, CpuUse, cpu_use, read_cpu, with_descendants

TICKS = os.sysconf("SC_CLK_TCK")


def process(proc: Path, pid: int, name: str, parent: int, ticks: int, start: int = 5) -> None:
    (proc / str(pid)).mkdir(parents=True, exist_ok=True)
    fields = ["S", parent, *[0] * 9, ticks, 0, 0, 0, 20, 0, 1, 0, start, 0]
    (proc / str(pid) / "stat").write_text(f"{pid} ({name}) " + " ".join(map(str, fields)))


def machine(proc: Path, user: int, softirq: int = 0, steal: int = 0, drops: int = 0) -> None:
    (proc / "net").mkdir(exist_ok=True)
    line = f" {user} 0 0 0 0 0 {softirq} {steal} 0 0\n"
    (proc / "stat").write_text("cpu " + line + "cpu0" + line + "cpu1" + line + "ctxt 5\n")
    (proc / "net/softnet_stat").write_text(f"00000010 {drops:08x} 00000000\n00000010 00000001 00000000\n")


def between(proc: Path, own: set[int]) -> CpuUse:
    before = replace(read_cpu(proc), time=100.0)
    machine(proc, 1000 + 3 * TICKS, softirq=TICKS // 2, steal=TICKS // 10, drops=2)
    process(proc, 10, "ovs-vswitchd", 1, 100 + 2 * TICKS)
    process(proc, 11, "a (strange) name", 1, TICKS // 2)
    return cpu_use(before, replace(read_cpu(proc), time=102.0), own)


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    machine(tmp_path, 1000)
    process(tmp_path, 10, "ovs-vswitchd", 1, 100)
    process(tmp_path, 11, "a (strange) name", 1, 0)
    return tmp_path


def test_what_neither_ours_nor_the_kernel_used_is_foreign(proc: Path) -> None:
    use = between(proc, {10})
    assert (use.cores, use.busy, use.interrupts) == (2, pytest.approx(1.75), pytest.approx(0.25))
    assert use.foreign == pytest.approx(0.5)
    assert use.steal == pytest.approx(0.05)
    assert use.backlog_drops == 2
    assert [(entry.name, entry.own) for entry in use.processes] == [("ovs-vswitchd", True), ("a (strange) name", False)]


def test_packet_handling_that_is_booked_twice_does_not_hide_a_stranger(proc: Path) -> None:
    before = replace(read_cpu(proc), time=100.0)
    machine(proc, 1000 + TICKS // 2, softirq=TICKS)
    process(proc, 10, "ovs-vswitchd", 1, 100 + TICKS)
    process(proc, 11, "hog", 1, TICKS // 2)
    assert cpu_use(before, replace(read_cpu(proc), time=101.0), {10}).foreign == pytest.approx(0.5)


def test_the_bottleneck_is_the_process_that_had_a_whole_core(proc: Path) -> None:
    use = between(proc, {10})
    assert use.bottleneck == "ovs-vswitchd (pid 10) used 100% of a core: it is the bottleneck"


def test_without_a_busy_process_the_machine_or_nothing_is_the_bottleneck(proc: Path) -> None:
    use = between(proc, {10})
    half = tuple(replace(entry, cores=0.5) for entry in use.processes)
    assert "machine's 2 cores were 100% busy" in replace(use, processes=half, busy=2.0).bottleneck
    assert replace(use, processes=half, busy=0.6).bottleneck.startswith("not the CPU: ")
    assert replace(use, processes=()).bottleneck == "no process used the CPU"


def test_a_pid_that_was_used_again_is_another_process(proc: Path) -> None:
    before = replace(read_cpu(proc), time=100.0)
    process(proc, 10, "new", 1, TICKS, start=900)
    use = cpu_use(before, replace(read_cpu(proc), time=101.0), ())
    assert [(entry.name, entry.cores) for entry in use.processes] == [("new", pytest.approx(1.0))]


def test_descendants_belong_to_the_family(proc: Path) -> None:
    process(proc, 20, "child", 10, 0)
    process(proc, 21, "grandchild", 20, 0)
    assert with_descendants({10}, proc) == {10, 20, 21}


def test_this_machine_can_be_read() -> None:
    reading: CpuReading = read_cpu()
    assert reading.cores == os.cpu_count()
    assert any(pid == os.getpid() for pid, _ in reading.processes)
