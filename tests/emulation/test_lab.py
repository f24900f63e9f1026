"""The life of a lab: up, refused twice, two at once, killed at any point, adopted, supervised, down."""

from __future__ import annotations

import os
import random
import signal
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from testbed.emulation import client, ledger, lock, processes
from testbed.emulation.client import LabClient
from testbed.emulation.paths import LabPaths
from testbed.errors import InputError, LabError, LabExists, NoSuchLab, NotReady
from testbed.plan.types import Daemon, Plan
from testbed.scenario.planning import compile_file
from testbed.wait import poll, wait_until

pytestmark = pytest.mark.root

IPSEC = Path(__file__).parents[2] / "topologies" / "ipsec-overlay.yaml"


def silent(stage: str, seconds: float) -> None:
    """Progress nobody looks at."""


MakePlan = Callable[[str], Plan]
Down = Callable[[str], float]


def up(plan: Plan) -> LabClient:
    return client.up(plan, silent, with_controller=False)


def kill_labd(paths: LabPaths) -> None:
    who = lock.holder(paths)
    assert who is not None
    processes.end([who])


def deaths(lab: LabClient) -> dict[str, dict[str, object]]:
    return {f"{death['node']}.{death['daemon']}": death for death in lab.status()["deaths"]}


def test_a_lab_goes_through_its_stages_and_down_leaves_nothing(small_plan: MakePlan, lab_name: str, down: Down) -> None:
    stages: list[str] = []
    lab = client.up(small_plan(lab_name), lambda stage, seconds: stages.append(stage), with_controller=False)
    status = lab.status()
    assert stages == ["network", "daemons", "tunnels", "sessions", "routes"]
    assert status["state"] == "up"
    assert {daemon["state"] for node in status["nodes"] for daemon in node["daemons"]} == {"running"}
    assert client.labs() == (lab_name,)
    down(lab_name)
    assert client.labs() == ()
    assert not lab.paths.dir.exists()
    with pytest.raises(NoSuchLab):
        down(lab_name)
    with pytest.raises(NoSuchLab):
        LabClient(lab_name)


def test_the_same_lab_twice_is_refused_and_the_first_goes_on(small_plan: MakePlan, lab_name: str, down: Down) -> None:
    first = up(small_plan(lab_name))
    with pytest.raises(LabExists, match="already up"):
        up(small_plan(lab_name))
    assert first.status()["state"] == "up"
    down(lab_name)


def test_two_labs_at_once_do_not_meet(small_plan: MakePlan, lab_name: str, down: Down) -> None:
    up(small_plan(lab_name))
    second = up(small_plan(f"{lab_name}-b"))
    assert client.labs() == (lab_name, f"{lab_name}-b")
    down(lab_name)
    assert second.status()["state"] == "up"
    assert all(daemon["state"] == "running" for node in second.status()["nodes"] for daemon in node["daemons"])
    down(f"{lab_name}-b")


def test_a_killed_labd_leaves_the_lab_running_and_another_adopts_it(small_plan: MakePlan, lab_name: str, down: Down) -> None:
    lab = up(small_plan(lab_name))
    before = {daemon["pid"] for node in lab.status()["nodes"] for daemon in node["daemons"]}
    kill_labd(lab.paths)
    with pytest.raises(LabExists, match="labd is gone"):
        up(small_plan(lab_name))
    status = lab.status()  # adopts
    assert {daemon["pid"] for node in status["nodes"] for daemon in node["daemons"]} == before
    assert status["deaths"] == []
    os.kill(next(iter(before)), signal.SIGKILL)
    wait_until(lambda: None if lab.status()["deaths"] else "not noticed", what="death seen by the new labd", budget=10.0)
    down(lab_name)


def test_down_works_without_labd(small_plan: MakePlan, lab_name: str, down: Down) -> None:
    lab = up(small_plan(lab_name))
    kill_labd(lab.paths)
    down(lab_name)


@pytest.mark.parametrize("delay", [0.005, 0.03, 0.06, 0.1, 0.15, 0.2, 0.3])
def test_labd_killed_while_building_leaves_nothing(small_plan: MakePlan, lab_name: str, down: Down, delay: float) -> None:
    plan, paths = small_plan(lab_name), LabPaths.of(lab_name)

    def kill() -> None:
        if (who := lock.holder(paths)) is not None:
            processes.send_signal(who, signal.SIGKILL)

    timer = threading.Timer(delay, kill)
    timer.start()
    try:
        lab = up(plan)
    except LabError:
        pass  # killed in time: `up` has cleaned up
    else:  # killed too early or too late: the lab is up
        down(lab.lab)
    timer.join()
    if client.labs():
        down(lab_name)


IN_CI = 4
SEEDS = [*range(IN_CI), *(pytest.param(seed, marks=pytest.mark.full) for seed in range(IN_CI, 60))]


@pytest.mark.parametrize("seed", SEEDS)
def test_anything_killed_at_any_point_of_a_life_leaves_nothing(small_plan: MakePlan, lab_name: str, down: Down, seed: int) -> None:
    """A process of the lab or its labd is killed at a random moment of the building, two more while it is up, then its tear-down.

    Every other lab has tunnels with IPsec, and charon and bfdd with them. What was killed is printed (``-rP``).
    """
    chance = random.Random(seed)
    paths = LabPaths.of(lab_name)
    plan = small_plan(lab_name) if seed % 2 == 0 else compile_file(IPSEC, lab_name)[1]

    def kill() -> None:
        victims = sorted(processes.tagged(paths)) + [who for who in [lock.holder(paths)] if who]
        if victims:
            victim = chance.choice(victims)
            with suppress(OSError):
                print("killed:", Path(f"/proc/{victim.pid}/cmdline").read_bytes().split(b"\0")[0].decode())
            processes.send_signal(victim, signal.SIGKILL)

    timer = threading.Timer(chance.uniform(0.0, 2.5), kill)
    timer.start()
    with suppress(LabError, NotReady):
        client.up(plan, silent)
    timer.join()
    for _ in range(2):
        poll(lambda: "not yet", budget=chance.uniform(0.0, 0.3), interval=0.01)
        kill()
    if client.labs():
        half_down(lab_name, chance.uniform(0.0, 0.2))
    if client.labs() or paths.lock.exists():
        down(lab_name)


@pytest.mark.parametrize("delay", [0.001, 0.02, 0.1])
def test_a_killed_tear_down_is_finished_by_the_next(small_plan: MakePlan, lab_name: str, down: Down, delay: float) -> None:
    up(small_plan(lab_name))
    half_down(lab_name, delay)
    if client.labs() or LabPaths.of(lab_name).lock.exists():
        down(lab_name)


def half_down(name: str, delay: float) -> None:
    """A `down` in a process of its own, killed after ``delay`` seconds."""
    child = os.fork()
    if child == 0:
        try:
            client.down(name)
        finally:
            os._exit(0)
    timer = threading.Timer(delay, lambda: os.kill(child, signal.SIGKILL))
    timer.start()
    timer.join()
    os.waitpid(child, 0)


def test_a_labd_that_hangs_while_building_is_ended_by_force(small_plan: MakePlan, lab_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while labd is stopped: nothing of the lab is left all the same."""
    paths = LabPaths.of(lab_name)
    monkeypatch.setattr(client, "GIVE_UP_BUDGET", 0.2)
    monkeypatch.setattr(lock.take_over, "__defaults__", (0.2,))

    def hang(stage: str, seconds: float) -> None:
        labd = lock.holder(paths)
        assert labd is not None
        os.kill(labd.pid, signal.SIGSTOP)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        client.up(small_plan(lab_name), hang)
    assert not paths.dir.exists()
    assert not paths.lock.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("delay", [0.01, 0.02, 0.03, 0.1, 0.2])
def test_a_command_that_ends_while_building_takes_its_lab_along(
    small_plan: MakePlan, lab_name: str, down: Down, number: signal.Signals, delay: float
) -> None:
    plan, paths = small_plan(lab_name), LabPaths.of(lab_name)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            client.up(plan, silent, with_controller=False, converged=lambda: "this lab never converges")
        except KeyboardInterrupt:
            status = 130
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    timer = threading.Timer(delay, lambda: os.kill(child, number))
    timer.start()
    timer.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == (130 if number == signal.SIGINT else -signal.SIGKILL)
    wait_until(lambda: "there still" if paths.dir.exists() or held(paths) else None, what="the lab's end", budget=5.0)
    if paths.lock.exists():  # killed before it had forked anybody who could remove it: a file that nobody holds
        assert number == signal.SIGKILL
        down(lab_name)


def held(paths: LabPaths) -> bool:
    """Whether somebody has the lab's lock; leaves none behind."""
    if not paths.lock.exists():
        return False
    if (mine := lock.acquire(paths)) is None:
        return True
    mine.close()
    return False


def test_a_daemon_that_dies_at_start_is_named_with_its_last_words(small_plan: MakePlan, lab_name: str) -> None:
    plan = small_plan(lab_name)
    broken = Daemon("talker", ("/bin/sh", "-c", "echo no licence >&2; exit 7"), ready="never")
    nodes = tuple(msgspec.structs.replace(node, daemons=(broken,)) if node.name == "vm1" else node for node in plan.nodes)
    with pytest.raises(LabError) as caught:
        up(msgspec.structs.replace(plan, nodes=nodes))
    assert "vm1: talker died" in caught.value.message
    assert "exit status 7" in caught.value.message
    assert "no licence" in caught.value.hint
    assert client.labs() == ()


def test_a_program_that_is_not_there_is_named(small_plan: MakePlan, lab_name: str) -> None:
    plan = small_plan(lab_name)
    nodes = tuple(msgspec.structs.replace(node, daemons=(Daemon("x", ("/no/such/program",)),)) for node in plan.nodes)
    with pytest.raises(LabError, match="cannot start x"):
        up(msgspec.structs.replace(plan, nodes=nodes))


def test_a_failing_ip_line_is_shown(small_plan: MakePlan, lab_name: str) -> None:
    plan = small_plan(lab_name)
    nodes = tuple(msgspec.structs.replace(node, setup=("route add 10.99.0.0/16 via 192.0.2.99",)) for node in plan.nodes)
    with pytest.raises(LabError, match=r"vm1: ip -batch - failed: .*\(line: route add 10\.99\.0\.0/16 via 192\.0\.2\.99\)"):
        up(msgspec.structs.replace(plan, nodes=nodes))


def test_a_dead_daemon_is_noticed_named_and_can_be_started_again(small_plan: MakePlan, lab_name: str, down: Down) -> None:
    lab = up(small_plan(lab_name))
    node = next(node for node in lab.status()["nodes"] if node["name"] == "nva1")
    bgpd = next(daemon for daemon in node["daemons"] if daemon["name"] == "bgpd")
    os.kill(bgpd["pid"], signal.SIGKILL)
    wait_until(lambda: None if "nva1.bgpd" in deaths(lab) else "not noticed", what="death noticed", budget=10.0)
    death = deaths(lab)["nva1.bgpd"]
    assert (death["how"], death["on_purpose"]) == ("signal 9", False)
    again = lab.start_daemon("nva1", "bgpd")
    assert (again["state"], again["pid"] != bgpd["pid"]) == ("running", True)
    down(lab_name)


def test_a_daemon_stopped_on_purpose_is_not_an_accident(small_plan: MakePlan, lab_name: str, down: Down) -> None:
    lab = up(small_plan(lab_name))
    assert lab.stop_daemon("rs1-0", "bgpd", signal.SIGKILL)["state"] == "stopped"
    assert deaths(lab)["rs1-0.bgpd"]["on_purpose"] is True
    with pytest.raises(LabError, match="does not run"):
        lab.stop_daemon("rs1-0", "bgpd")
    with pytest.raises(LabError, match="has no process"):
        lab.stop_daemon("rs1-0", "zebra")
    down(lab_name)


def test_a_link_goes_down_and_up(small_plan: MakePlan, lab_name: str, down: Down) -> None:
    lab = up(small_plan(lab_name))
    namespace = lab.plan.node("vm1").id

    def carrier() -> str:
        from testbed.emulation import netns

        with netns.inside(namespace):
            import subprocess

            return subprocess.run(["ip", "-o", "link", "show", "eth0"], capture_output=True, text=True, check=True).stdout

    lab.set_link(nic="vm1", up=False)
    assert "NO-CARRIER" in carrier()
    lab.set_link(nic="vm1", up=True)
    assert "NO-CARRIER" not in carrier()
    lab.set_link(peering=["hub1", "hub2"], up=False)
    with pytest.raises(LabError, match="one region"):
        lab.set_link(peering=["hub1", "spoke1"], up=False)
    with pytest.raises(LabError, match="no NIC"):
        lab.set_link(nic="vm9", up=False)
    down(lab_name)


def test_files_of_a_former_boot_are_recognised(small_plan: MakePlan, lab_name: str, run_folder: Path, down: Down) -> None:
    paths = LabPaths.of(lab_name)
    paths.dir.mkdir()
    foreign = processes.identity(os.getpid())
    assert foreign is not None
    lines = [ledger.Entry("boot", "another-boot"), ledger.Entry("directory", str(paths.dir)), ledger.Entry("namespace", "lo"),
             ledger.Entry("process", "lab.old", pid=foreign.pid, start=foreign.start)]  # fmt: skip
    paths.ledger.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    with pytest.raises(NoSuchLab, match="restarted"):
        client.adopt(lab_name)
    up(small_plan(lab_name))  # removes the files, then builds
    down(lab_name)


def test_a_lab_of_a_former_boot_does_not_hide_the_others(small_plan: MakePlan, lab_name: str, down: Down) -> None:
    from click.testing import CliRunner

    from testbed.cli.lab import down as down_command
    from testbed.cli.lab import status

    old = f"{lab_name}-old"
    paths = LabPaths.of(old)
    paths.dir.mkdir()
    paths.ledger.write_bytes(msgspec.json.encode(ledger.Entry("boot", "another-boot")) + b"\n")
    up(small_plan(lab_name))
    said = CliRunner().invoke(status, [])
    assert f"lab {lab_name}: up" in said.output
    assert f"lab {old}: lab {old} was up before this machine restarted" in said.output
    assert CliRunner().invoke(down_command, ["--all"]).exit_code == 0
    assert client.labs() == ()


def test_what_was_started_by_exec_ends_with_the_lab(small_plan: MakePlan, lab_name: str, down: Down) -> None:
    import subprocess

    from testbed.emulation import enter, netns

    lab = up(small_plan(lab_name))
    with netns.inside(lab.plan.node("vm1").id):
        left = subprocess.Popen(["sleep", "1000"], env=enter.environment(lab.plan, lab.paths, "vm1"), start_new_session=True)
    down(lab_name)
    assert left.wait(2) == -signal.SIGKILL


def test_labd_tears_its_lab_down_when_asked(small_plan: MakePlan, lab_name: str) -> None:
    lab = up(small_plan(lab_name))
    assert lab.call("POST", "/down") == {"state": "stopping"}
    wait_until(lambda: "there" if lab.paths.dir.exists() or lab.paths.lock.exists() else None, what="the lab's end", budget=5.0)


def test_labd_asked_to_end_leaves_its_lab_up(small_plan: MakePlan, lab_name: str, down: Down) -> None:
    lab = up(small_plan(lab_name))
    who = lock.holder(lab.paths)
    assert who is not None
    processes.end([who], number=signal.SIGTERM)
    assert lab.status()["deaths"] == []
    assert lab.status()["labd"] != who.pid
    down(lab_name)


def test_a_lab_that_was_never_finished_is_not_adopted(small_plan: MakePlan, lab_name: str, down: Down) -> None:
    paths = LabPaths.of(lab_name)
    paths.dir.mkdir()
    book = ledger.Ledger(paths.ledger)
    book.note([ledger.Entry("namespace", "t0000n1")])
    book.close()
    with pytest.raises(LabError, match="not finished"):
        LabClient(lab_name).status()
    down(lab_name)


@pytest.mark.parametrize("name", ["../x", "a/b", "", "Ä", "; rm -rf /", "x" * 41])
def test_what_is_no_name_of_a_lab_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="is no name of a lab"):
        client.down(name)


def test_a_daemon_that_died_is_started_again_if_the_topology_says_so(small_plan: MakePlan, lab_name: str, down: Down) -> None:
    lab = up(msgspec.structs.replace(small_plan(lab_name), restart="always"))

    def bgpd() -> dict[str, Any]:
        node = next(node for node in lab.status()["nodes"] if node["name"] == "nva1")
        return next(daemon for daemon in node["daemons"] if daemon["name"] == "bgpd")

    first = bgpd()["pid"]
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: None if bgpd()["state"] == "running" and bgpd()["pid"] != first else "dead", what="start again", budget=5.0)
    wait_until(lambda: None if lab.status()["restarts"] else "not told", what="restart told", budget=10.0)
    assert [(each["node"], each["daemon"], each["error"]) for each in lab.status()["restarts"]] == [("nva1", "bgpd", "")]
    assert deaths(lab)["nva1.bgpd"]["on_purpose"] is False
    lab.stop_daemon("nva1", "bgpd", signal.SIGKILL)  # on purpose: stays dead, also when something else dies and is started again
    zebra = next(
        daemon for node in lab.status()["nodes"] if node["name"] == "nva1" for daemon in node["daemons"] if daemon["name"] == "zebra"
    )
    os.kill(zebra["pid"], signal.SIGKILL)
    wait_until(lambda: None if len(lab.status()["restarts"]) == 2 else "not told", what="restart of zebra", budget=5.0)
    assert bgpd()["state"] == "stopped"
    assert lab.start_daemon("nva1", "bgpd")["state"] == "running"
    down(lab_name)
