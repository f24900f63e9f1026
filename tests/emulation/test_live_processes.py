"""The live labd and controller, talked to by somebody who wishes them ill: they answer everybody else, and do not grow."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import pytest
from frames import reach, ready

from testbed.controller.stations import PORT
from testbed.emulation import client
from testbed.emulation.client import LabClient
from testbed.errors import TestbedError
from testbed.netns import run_in
from testbed.plan.types import Plan
from testbed.rpc import MAX_BODY
from testbed.wait import wait_until

pytestmark = pytest.mark.root

GOLDEN = Path(__file__).parents[1] / "golden" / "frr-8.4.bmp"


@pytest.fixture
def lab(small_plan: Callable[[str], Plan], lab_name: str, down: Callable[[str], float]) -> Iterator[LabClient]:
    yield client.up(small_plan(lab_name), lambda stage, seconds: None)
    down(lab_name)


def resident(pid: int) -> int:
    """MB of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 // 2**20


def files(pid: int) -> int:
    """Open files of a process."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def pids(lab: LabClient) -> dict[Path, int]:
    """By control socket: the process behind it."""
    status = lab.status()
    controller = next(each["pid"] for each in status["processes"] if each["name"] == "controller")
    return {lab.paths.labd_socket: status["labd"], lab.paths.controller_socket: controller}


def said(path: Path, data: bytes) -> bytes:
    """What is answered to these bytes."""
    answer = b""
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as stream, suppress(OSError):
        stream.settimeout(15.0)
        stream.connect(str(path))
        stream.sendall(data)
        stream.shutdown(socket.SHUT_WR)
        while chunk := stream.recv(65536):
            answer += chunk
    return answer


def post(target: str, body: bytes) -> bytes:
    return f"POST {target} HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


WRONG: tuple[Any, ...] = (
    None,
    True,
    5,
    -1,
    1e308,
    "",
    "\0",
    "../../x",
    "x" * 100_000,
    [],
    {},
    [[[]]],
    {"plan": {}},
    ["nva1"],
    {"node": "nva1"},
)


def test_wrong_types_in_every_call(lab: LabClient) -> None:
    keys = ("node", "daemon", "signal", "up", "nic", "peering", "tunnel", "wire", "plan", "server", "peer", "hub", "home", "bridge")
    calls = {
        lab.paths.labd_socket: ("/stop-daemon", "/start-daemon", "/link", "/plan"),
        lab.paths.controller_socket: ("/learned", "/injected", "/effective", "/flows", "/groups"),
    }
    for path, targets in calls.items():
        for target in targets:
            for value in WRONG:
                body = json.dumps(dict.fromkeys(keys, value)).encode()
                method = post(target, body) if path == lab.paths.labd_socket else post(target, body).replace(b"POST", b"GET", 1)
                assert said(path, method).startswith(b"HTTP/1.1 "), (target, value)
                with pytest.raises(TestbedError):
                    lab.call("POST", "/stop-daemon", node="nobody", daemon="none")
    assert lab.status()["deaths"] == []
    wait_until(lambda: ready(lab), what="the controller", budget=5.0)
    reach(lab, "vm1", "nva1")


def test_bytes_at_random_huge_bodies_and_slow_clients(lab: LabClient) -> None:
    chance = random.Random(6)
    for path, pid in pids(lab).items():
        before = resident(pid), files(pid)
        for _ in range(200):
            said(path, chance.choice((b"", b"GET /status", post("/plan", b"")[:-4])) + chance.randbytes(chance.randrange(300)))
        for body in (
            b"[" * MAX_BODY,
            b'{"plan":[' + b"{}," * (MAX_BODY // 3 - 10) + b"{}]}",
            b'"' + b"x" * (MAX_BODY - 2) + b'"',
            b"x" * (MAX_BODY + 1),
        ):
            said(path, post("/status", body))
        with ExitStack() as stack:
            for _ in range(20):  # fewer than there are places: others are still answered
                slow = stack.enter_context(closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)))
                slow.connect(str(path))
                slow.sendall(b"POST /status HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n{")
            assert lab.status()["state"] == "up"
            assert ready(lab) is None
        assert resident(pid) - before[0] < 700
        wait_until(lambda pid=pid, before=before: None if files(pid) <= before[1] + 2 else f"{files(pid)} files", what="files", budget=20.0)  # type: ignore[misc]
    assert lab.status()["deaths"] == []


def dial(lab: LabClient, node: str) -> socket.socket:
    """A connection to the controller's BMP station of a speaker, from its namespace."""
    return run_in(lab.plan.node(node).id, lambda: socket.create_connection(("127.0.0.1", PORT), timeout=10.0))


def test_bmp_that_is_none_or_half_ends_and_bgpd_is_heard_again(lab: LabClient) -> None:
    """bgpd holds the station's one connection; only without it is anybody else listened to, and never for long."""
    chance = random.Random(7)
    real = GOLDEN.read_bytes()
    (controller,) = (pid for path, pid in pids(lab).items() if path == lab.paths.controller_socket)
    lab.stop_daemon("rs1-0", "bgpd", signal.SIGKILL)
    before = resident(controller), files(controller)
    for number in range(300):
        data = bytearray(real[: chance.randrange(1, len(real))])
        for _ in range(chance.randrange(4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        with closing(dial(lab, "rs1-0")) as stream, suppress(OSError):
            stream.sendall(chance.randbytes(chance.randrange(1, 2000)) if number % 3 == 0 else bytes(data))
            stream.shutdown(socket.SHUT_WR)
            assert stream.recv(1) == b"", "a station says nothing"
    with closing(dial(lab, "rs1-0")) as silent, closing(dial(lab, "rs1-0")) as half:
        half.sendall(real[:20])
        for stream in (silent, half):
            stream.settimeout(15.0)
            with suppress(ConnectionResetError):
                assert stream.recv(1) == b"", "hung up on"
    lab.start_daemon("rs1-0", "bgpd")
    wait_until(lambda: _sessions(lab) or _unequal(lab), what="the sessions and their routes", budget=20.0)
    assert resident(controller) - before[0] < 100
    assert files(controller) <= before[1] + 5
    assert [death for death in lab.status()["deaths"] if death["daemon"] == "controller"] == []


def _sessions(lab: LabClient) -> str | None:
    status = lab.controller("GET", "/status")
    down = [each for each in status["sessions"] if not each["up"]]
    return None if status["ready"] and not down else f"{status['reasons']} {down}"


def _unequal(lab: LabClient) -> str | None:
    """Both instances hear the same of the NVA; the second was not touched."""
    learned = lab.controller("GET", "/learned", server="rs1")
    first, second = ({each["path"]["prefix"] for each in learned[instance]} for instance in ("0", "1"))
    return None if first == second != set() else f"{first} and {second}"


def test_the_check_sees_a_process_that_dies(lab: LabClient) -> None:
    os.kill(pids(lab)[lab.paths.controller_socket], signal.SIGKILL)
    wait_until(lambda: None if lab.status()["deaths"] else "not noticed", what="the death", budget=5.0)
