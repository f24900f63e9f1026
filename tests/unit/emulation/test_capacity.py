"""What a lab takes, what the machine has, and limits recognised by name."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from testbed.emulation import capacity
from testbed.emulation.capacity import forced, limits, named, require_room
from testbed.emulation.estimate import MB, Limits, Needs, in_words, needs, shortfalls
from testbed.errors import ExitCode, InputError, LabError, LabExists, MachineError, NotReady
from testbed.model.loader import load_topology
from testbed.plan.compile import compile_plan
from testbed.plan.delay_lines import delay_lines
from testbed.plan.templates import load_templates
from testbed.plan.types import Plan

TOPOLOGIES = Path(__file__).parents[3] / "topologies"


def plan_of(name: str) -> Plan:
    return compile_plan(load_topology(TOPOLOGIES / f"{name}.yaml").topology, templates=load_templates())


@pytest.fixture(scope="module")
def plan() -> Plan:
    return plan_of("dual-region")


def test_the_dual_region_takes_what_was_measured(plan: Plan) -> None:
    """Measured for the like of it: 187 MB of labd and below, and the command; 16 processes."""
    wanted = needs(plan)
    assert 187 * MB < wanted.memory < 320 * MB
    assert wanted.processes == 4 + len(delay_lines(plan)) + sum(len(node.daemons) for node in plan.nodes)
    assert wanted.namespaces == 1 + len(plan.nodes)
    assert 80 <= wanted.files < 250
    assert wanted.tasks > wanted.processes
    assert in_words(wanted).startswith(f"about {wanted.memory // MB} MB, {wanted.processes} processes")


def test_more_of_everything_takes_more(plan: Plan) -> None:
    bigger, smaller = needs(plan_of("two-circuits")), needs(plan)
    assert bigger.memory > smaller.memory
    assert bigger.tasks > smaller.tasks


WANTED = Needs(memory=1000 * MB, processes=50, tasks=200, files=500, namespaces=30, neighbours=400)


@pytest.mark.parametrize(
    ("have", "words", "remedy"),
    [
        (Limits(memory=900 * MB), "1000 MB of memory, and free memory leaves 900 MB", "smaller"),
        (Limits(memory=1, memory_by="the container's limit of 512 MB"), "the container's limit of 512 MB leaves 0 MB", "smaller"),
        (Limits(tasks=199), "50 processes with 200 threads, and kernel.pid_max leaves 199", "raise"),
        (Limits(tasks=-5), "leaves 0", "raise"),
        (Limits(files=499), "500 files, and the limit is 499", "ulimit -Hn 512"),
        (Limits(namespaces=29), "30 network namespaces, and user.max_net_namespaces is 29", "user.max_net_namespaces=32"),
        (Limits(neighbours=399), "400 neighbours (ARP), and the kernel has room for 399 more", "gc_thresh3=1024"),
    ],
)
def test_what_does_not_fit_is_said_with_both_figures(have: Limits, words: str, remedy: str) -> None:
    ((text, cure),) = shortfalls(WANTED, have)
    assert words in text
    assert remedy in cure


def test_what_fits_exactly_fits() -> None:
    assert list(shortfalls(WANTED, Limits(memory=1000 * MB, tasks=200, files=500, namespaces=30, neighbours=400))) == []
    assert list(shortfalls(WANTED, Limits())) == []


def machine(root: Path, *, cgroup: str, files: dict[str, str]) -> None:
    texts = {
        "proc/meminfo": "MemTotal: 8000000 kB\nMemAvailable:    4096000 kB\n",
        "proc/loadavg": "0.1 0.1 0.1 2/500 12345\n",
        "proc/sys/kernel/pid_max": "32768\n",
        "proc/sys/kernel/threads-max": "100000\n",
        "proc/sys/user/max_net_namespaces": "1000\n",
        "proc/sys/net/ipv4/neigh/default/gc_thresh3": "1024\n",
        "proc/net/stat/arp_cache": "entries  allocs\n00000061 000000b0\n00000061 00000000\n",
        "proc/self/cgroup": cgroup,
    }
    for name, text in (texts | files).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


@pytest.mark.parametrize(
    ("cgroup", "files", "memory", "tasks"),
    [
        ("0::/\n", {}, (4000 * MB, "free memory"), (32268, "kernel.pid_max")),
        (
            "0::/a/b\n",
            {
                "cg/a/b/memory.max": "max\n",
                "cg/a/memory.max": f"{600 * MB}\n",
                "cg/a/memory.current": f"{400 * MB}\n",
                "cg/a/memory.stat": f"anon 5\ninactive_file {100 * MB}\n",
                "cg/a/b/pids.max": "300\n",
                "cg/a/b/pids.current": "20\n",
            },
            (300 * MB, "the container's limit of 600 MB"),
            (280, "pids.max of {root}/cg/a/b"),
        ),
        (
            "4:memory:/x/unseen\n8:pids:/\n",
            {
                "cg/memory/memory.limit_in_bytes": f"{500 * MB}\n",
                "cg/memory/memory.usage_in_bytes": f"{100 * MB}\n",
                "cg/memory/memory.stat": f"inactive_file 1\ntotal_inactive_file {10 * MB}\n",
                "cg/pids/pids.current": "90\n",
                "cg/pids/pids.max": "max\n",
            },
            (410 * MB, "the container's limit of 500 MB"),
            (32268, "kernel.pid_max"),
        ),
    ],
)
def test_the_machine_and_its_container_limit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cgroup: str, files: dict[str, str], memory: tuple[int, str], tasks: tuple[int, str]
) -> None:
    machine(tmp_path, cgroup=cgroup, files=files)
    monkeypatch.setattr(capacity, "PROC", tmp_path / "proc")
    monkeypatch.setattr(capacity, "CGROUPS", tmp_path / "cg")
    found = limits()
    assert (found.memory, found.memory_by) == memory
    assert (found.tasks, found.tasks_by) == (tasks[0], tasks[1].format(root=tmp_path))
    assert (found.namespaces, found.neighbours) == (1000, 1024 - 0x61)


def test_this_machine_has_limits() -> None:
    found = limits()
    assert found.memory is not None
    assert found.memory > 0
    assert found.tasks is not None
    assert found.tasks > 0


def test_a_lab_that_does_not_fit_is_refused_with_all_reasons(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "limits", lambda: Limits(memory=10 * MB, files=10))
    with pytest.raises(MachineError) as caught:
        require_room(plan)
    assert caught.value.exit_code is ExitCode.CANNOT
    assert "free memory leaves 10 MB" in caught.value.message
    assert "the limit is 10" in caught.value.message
    assert "--force" in caught.value.hint
    monkeypatch.setattr(capacity, "limits", Limits)
    require_room(plan)


def test_what_was_forced_and_failed_says_that_it_was_known_not_to_fit() -> None:
    died = LabError("rs1-0: bgpd died (signal 6)", "memory statistics")
    missing = (("it runs 83 threads, and pids.max leaves 28", "raise the limit"), ("it takes 265 MB", "a smaller one"))
    found = forced(died, missing)
    assert isinstance(found, MachineError)
    assert found.message.splitlines() == [
        "rs1-0: bgpd died (signal 6)",
        "it was known not to fit: it runs 83 threads, and pids.max leaves 28",
        "it was known not to fit: it takes 265 MB",
    ]
    assert found.hint.startswith("raise the limit; a smaller one")
    assert forced(died, ()) is died
    exists = LabExists("lab x is already up")
    assert forced(exists, missing) is exists


def caused(error: OSError) -> LabError:
    try:
        raise LabError("nva1: cannot start bgpd") from error
    except LabError as made:
        return made


@pytest.mark.parametrize(
    ("error", "words", "remedy"),
    [
        (OSError(errno.EMFILE, "Too many open files"), "EMFILE", "ulimit -Hn"),
        (OSError(errno.ENFILE, "x"), "ENFILE", "fs.file-max"),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), "EAGAIN on fork", "kernel.pid_max"),
        (OSError(errno.ENOSPC, "No space left on device"), "on the disk", "free some space"),
        (OSError(errno.ENOSPC, "unshare: No space left on device"), "namespace", "user.max_net_namespaces"),
        (OSError(errno.ENOSPC, "inotify_add_watch: No space left on device"), "inotify", "max_user_watches"),
        (caused(OSError(errno.ENOMEM, "Cannot allocate memory")), "out of memory", "smaller"),
        (LabError("ip -batch failed", "RTNETLINK answers: Cannot allocate memory"), "ENOMEM", "smaller"),
        (LabError("nva1: charon died", "inotify_init: Too many open files"), "inotify", "fs.inotify.max_user_instances"),
        (LabError("x", "failed to add watch: inotify: No space left on device"), "inotify", "max_user_watches"),
        (LabError("x", "pthread_create: Resource temporarily unavailable"), "EAGAIN", "pids"),
        (RuntimeError("can't start new thread"), "EAGAIN", "pids"),
        (LabError("x", "accept: Too many open files in system"), "ENFILE", "fs.file-max"),
    ],
)
def test_limits_are_recognised_by_name(error: BaseException, words: str, remedy: str) -> None:
    found = named(error)
    assert isinstance(found, MachineError)
    assert words in found.message
    assert remedy in found.hint
    assert found.exit_code is ExitCode.CANNOT


@pytest.mark.parametrize(
    "error",
    [
        LabError("nva1: bgpd died at start", "line 3: unknown command"),
        NotReady("sessions: not ready: connect: Resource temporarily unavailable soon"),
        InputError("Too many open files in this sentence"),
        OSError(errno.ENOENT, "No such file or directory"),
        KeyError("x"),
    ],
)
def test_other_errors_stay_what_they_are(error: BaseException) -> None:
    assert named(error) is error
