"""Processes are told apart by pid and start time, found by their tag, and only those that are meant are ended."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.emulation import processes
from testbed.emulation.daemons import Running
from testbed.emulation.paths import LabPaths
from testbed.emulation.processes import Identity, began, identity, last_words
from testbed.wait import wait_until

Sleeper = subprocess.Popen[bytes]


@pytest.fixture
def paths(tmp_path: Path) -> LabPaths:
    return LabPaths(tmp_path / "lab")


@pytest.fixture
def sleeper(paths: LabPaths, tmp_path: Path) -> Iterator[Sleeper]:
    process = processes.spawn(("sleep", "60"), paths, tmp_path / "log", tmp_path)
    yield process
    process.kill()
    process.wait()


def test_a_process_has_one_identity_until_it_ends(sleeper: Sleeper) -> None:
    who = processes.identity(sleeper.pid)
    assert who is not None
    assert processes.alive(who)
    assert not processes.alive(Identity(who.pid, who.start + 1))  # a later process of that pid
    processes.end([who])
    assert not processes.alive(who)
    assert sleeper.wait(2) == -signal.SIGKILL


def test_a_signal_does_not_reach_another_process_of_that_pid(sleeper: Sleeper) -> None:
    assert not processes.send_signal(Identity(sleeper.pid, 1), signal.SIGKILL)
    assert sleeper.poll() is None


def test_processes_are_found_by_lab_and_folder(sleeper: Sleeper, paths: LabPaths, tmp_path: Path) -> None:
    def tagged() -> str | None:
        return None if {who.pid for who in processes.tagged(paths)} == {sleeper.pid} else "not found"

    wait_until(tagged, what="tagged process", budget=2.0)  # its environment is there once it has been executed
    assert processes.tagged(LabPaths(tmp_path / "lab2")) == frozenset()
    assert processes.tagged(LabPaths(tmp_path / "elsewhere" / "lab")) == frozenset()


def test_the_caller_is_spared_even_with_the_tag() -> None:
    assert {os.getpid(), os.getppid()} <= processes.own_line()


def test_a_stubborn_process_is_killed_after_its_grace(paths: LabPaths, tmp_path: Path) -> None:
    stubborn = processes.spawn(("sh", "-c", "trap '' TERM; echo ready; exec sleep 60"), paths, tmp_path / "log", tmp_path)
    wait_until(lambda: None if (tmp_path / "log").read_text() else "starting", what="start", budget=2.0)
    processes.end(processes.tagged(paths), number=signal.SIGTERM, grace=0.1)
    assert stubborn.wait(2) == -signal.SIGKILL


@pytest.mark.parametrize(("script", "how"), [("exit 3", "exit status 3"), ("kill -9 $$", "signal 9")])
def test_how_a_process_ended(paths: LabPaths, tmp_path: Path, script: str, how: str) -> None:
    process = processes.spawn(("sh", "-c", script), paths, tmp_path / "log", tmp_path)
    running = Running("n", "d", tmp_path / "log", process)
    wait_until(lambda: None if running.ended() else "runs", what="end", budget=2.0)
    assert running.ended() == how


def test_who_hears_of_an_end_is_told_how_even_while_others_ask(paths: LabPaths, tmp_path: Path) -> None:
    """labd's own thread wakes up by the pidfd at the moment in which a call's thread collects the status."""
    asking, over = [], threading.Event()

    def ask() -> None:
        while not over.is_set():
            for running in asking:
                running.ended()

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    heard = []
    try:
        for _ in range(60):
            running = Running("n", "d", tmp_path / "log", processes.spawn(("sleep", "60"), paths, tmp_path / "log", tmp_path))
            asking[:] = [running]
            descriptor = os.pidfd_open(running.pid)
            os.kill(running.pid, signal.SIGSEGV)
            select.select([descriptor], [], [])
            heard.append(running.ended())
            os.close(descriptor)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert set(heard) == {"signal 11"}


def test_last_words(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("\n".join(str(number) for number in range(5000)))
    assert processes.last_lines(log, 2) == "4998\n4999"
    assert processes.last_lines(tmp_path / "none") == ""


def test_last_words_are_the_report_of_the_crash_of_this_very_process(tmp_path: Path) -> None:
    me = identity(os.getpid())
    assert me is not None
    log, own = tmp_path / "out", tmp_path / "bgpd.log"
    log.write_text("first\nlast\n" + "core_handler: memstats:  BGP node : 30 * 192\n" * 100)
    assert last_words(me, log, own) == "first\nlast"
    own.write_text("routine\nBGP: Received signal 11 at 1000 (si_addr 0x18); aborting...\nBGP: old\n")
    assert last_words(me, log, own) == "first\nlast", "a predecessor's crash"
    report = [
        f"BGP: Received signal 11 at {int(time.time())} (si_addr 0x18); aborting...",
        *(f"BGP: frame {number}" for number in range(30)),
    ]
    own.write_text("\n".join(["routine", *report]))
    assert last_words(me, log, own).splitlines() == report[:12]
    assert abs(began(me) - time.time()) < 86400
