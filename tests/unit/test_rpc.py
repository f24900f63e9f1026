"""The sockets of labd and the controller: calls and errors arrive, and no client can stop, fill or occupy a server."""

from __future__ import annotations

import json
import socket
import stat
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from testbed import rpc
from testbed.errors import NoSuchLab, TestbedError
from testbed.rpc import MAX_BODY, MAX_CLIENTS, Server, call
from testbed.wait import wait_until


def echo(parameters: dict[str, Any]) -> Any:
    return parameters


def fail(parameters: dict[str, Any]) -> Any:
    raise NoSuchLab("no lab x is up", "say which")


def trip(parameters: dict[str, Any]) -> Any:
    return open(parameters["file"])  # noqa: PTH123 - it fails


@pytest.fixture
def path(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(rpc, "PATIENCE", 0.5)
    with tempfile.TemporaryDirectory() as folder:  # short enough for a socket's name
        socket_path = Path(folder) / "s"
        server = Server(socket_path, {("GET", "/echo"): echo, ("POST", "/echo"): echo, ("POST", "/fail"): fail, ("POST", "/trip"): trip})
        server.serve_in_background()
        yield socket_path
        server.shutdown()
        server.server_close()


def connected(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.settimeout(10)
    try:
        client.connect(str(path))
    except OSError:  # its queue is full
        client.close()
        raise
    return client


def answer(path: Path, data: bytes) -> bytes:
    """What the server says to these bytes before it hangs up."""
    said = b""
    with closing(connected(path)) as client, suppress(ConnectionError):
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        while chunk := client.recv(65536):
            said += chunk
    return said


def assert_alive(path: Path) -> None:
    assert call(path, "GET", "/echo", {"a": "b"}) == {"a": "b"}


def test_calls_and_errors_arrive(path: Path) -> None:
    assert call(path, "POST", "/echo", {"a": [1, None]}) == {"a": [1, None]}
    with pytest.raises(NoSuchLab, match="no lab x is up") as caught:
        call(path, "POST", "/fail")
    assert caught.value.hint == "say which"
    with pytest.raises(TestbedError, match="no such call"):
        call(path, "GET", "/nothing")
    with pytest.raises(TestbedError, match="missing 'file'"):
        call(path, "POST", "/trip")


def test_the_socket_is_its_owners_alone(path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_large_call_gets_through(path: Path) -> None:
    assert call(path, "POST", "/echo", {"a": "x" * 3_000_000})["a"] == "x" * 3_000_000


def post(body: bytes, length: object = None) -> bytes:
    return b"POST /echo HTTP/1.1\r\nContent-Length: " + str(len(body) if length is None else length).encode() + b"\r\n\r\n" + body


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (post(b"nonsense"), b"not JSON"),
        (post(b"\xff\xfe"), b"not JSON"),
        (post(b"[1]"), b"not a JSON object but a list"),
        (post(b"NaN"), b"not a JSON object but a float"),
        (post(b"[" * 100_000), b"not JSON"),
        (post(b'{"a":' * 50_000), b"not JSON"),
        (post(b"9" * 100_000), b"not JSON"),
        (post(b"{}", -1), b"no length"),
        (post(b"{}", "1e3"), b"no length"),
        (post(b"{}", "٣"), b"no length"),
        (post(b"{}", MAX_BODY + 1), b"larger than"),
        (post(b"{}", "9" * 5000), b"no length"),
        (b"GET /" + b"x" * 60_000 + b" HTTP/1.1\r\n\r\n", b"no such call"),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"GET /echo HTTP/1.1\r\n" + b"a: b\r\n" * 500 + b"\r\n", b"431"),
        (b"GET /echo HTTP/1.1\r\na: " + b"b" * 70_000 + b"\r\n\r\n", b"431"),
        (b"DELETE /echo HTTP/1.1\r\n\r\n", b"501"),
        (b"GET /../../etc/passwd HTTP/1.1\r\n\r\n", b"no such call"),
        (b"GET //[/echo HTTP/1.1\r\n\r\n", b""),
    ],
)
def test_a_bad_request_is_answered_in_words(path: Path, data: bytes, words: bytes) -> None:
    assert words in answer(path, data)
    assert_alive(path)


def test_an_error_of_the_callee_is_no_loss_of_the_connection(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(TestbedError, match="FileNotFoundError"):
        call(path, "POST", "/trip", {"file": "/no/such/file"})


def test_who_says_half_of_it_is_hung_up_on(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert answer(path, post(b'{"a": ', 1000)) == b""
    with closing(connected(path)) as client:
        client.sendall(post(b'{"a": ', 1000))
        assert client.recv(1000) == b""
    assert "Traceback" not in capfd.readouterr().err


def test_who_drips_is_hung_up_on(path: Path) -> None:
    with closing(connected(path)) as client:
        start = time.monotonic()

        def drip() -> str | None:
            try:
                client.sendall(b"G")
                return "still connected"
            except OSError:
                return None

        wait_until(drip, what="the end of the connection", budget=5.0, interval=0.02)
        assert time.monotonic() - start < 3.0


def test_who_does_not_read_is_hung_up_on(path: Path) -> None:
    with closing(connected(path)) as client:
        body = json.dumps({"a": "x" * 4_000_000}).encode()
        client.sendall(post(body))
        wait_until(lambda: "busy" if count("process_request_thread") else None, what="the end of the answer", budget=5.0)
    assert_alive(path)


def count(name: str) -> int:
    """The threads that answer."""
    return sum(name in thread.name for thread in threading.enumerate())


def test_a_flood_of_idle_clients_is_bounded_and_passes(path: Path) -> None:
    clients: list[socket.socket] = []
    with suppress(OSError):
        clients.extend(connected(path) for _ in range(4 * MAX_CLIENTS))
    assert len(clients) > MAX_CLIENTS
    assert count("process_request_thread") <= MAX_CLIENTS + 2, "a thread gives its place back just before it ends"

    def check() -> str | None:
        try:
            assert_alive(path)
        except OSError as error:
            return str(error)
        return None

    wait_until(check, what="a place", budget=5.0)
    for client in clients:
        client.close()


@given(st.binary(max_size=400), st.sampled_from([b"", b"GET /echo", b"POST /echo HTTP/1.1\r\nContent-Length: 20\r\n\r\n", b"GET /echo?"]))
@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_bytes_end_the_server(path: Path, data: bytes, before: bytes) -> None:
    answer(path, before + data)
    assert_alive(path)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_json_is_answered(path: Path, value: Any) -> None:
    said = answer(path, post(json.dumps(value).encode()))
    assert said.startswith(b"HTTP/1.1 200" if isinstance(value, dict) else b"HTTP/1.1 400")
