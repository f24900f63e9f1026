"""The two small protocol clients against servers that speak them by hand, in pieces."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from testbed.emulation import ovsdb
from testbed.errors import LabError
from testbed.vty import Vty, show

Serve = Callable[[Callable[[socket.socket], None]], Path]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """A unix socket on which a function talks to one client."""
    path, threads = tmp_path / "bgpd.vty", []
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen(1)

    def start(talk: Callable[[socket.socket], None]) -> Path:
        def work() -> None:
            connection, _ = listener.accept()
            with connection:
                talk(connection)

        threads.append(threading.Thread(target=work))
        threads[-1].start()
        return path

    yield start
    for thread in threads:
        thread.join(5)
    listener.close()


def daemon(replies: dict[str, tuple[bytes, int]]) -> Callable[[socket.socket], None]:
    def talk(connection: socket.socket) -> None:
        data = b""
        while True:
            while b"\0" not in data:
                chunk = connection.recv(100)
                if not chunk:
                    return
                data += chunk
            command, _, data = data.partition(b"\0")
            text, status = replies.get(command.decode(), (b"", 0))
            for byte in text + b"\0\0\0" + bytes([status]):  # as torn as it gets
                connection.send(bytes([byte]))

    return talk


def test_a_command_is_answered_whole(serve: Serve) -> None:
    path = serve(daemon({"show bgp summary json": (b'{"peers":\n {}}', 0)}))
    assert show(path, "show bgp summary json") == {"peers": {}}


def test_a_refused_command_is_an_error_with_the_daemons_words(serve: Serve) -> None:
    path = serve(daemon({"nonsense": (b"% Unknown command: nonsense\n", 2)}))
    with Vty(path) as vty, pytest.raises(LabError, match="bgpd refused `nonsense`: % Unknown command"):
        vty.run("nonsense")


def test_a_daemon_that_hangs_up_is_an_error(serve: Serve) -> None:
    path = serve(lambda connection: connection.recv(10) and None)
    with pytest.raises(LabError, match="ended the conversation"), Vty(path):
        pass


def test_nobody_listening_is_an_oserror(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        show(tmp_path / "none.vty", "show version")


def database(results: list[object], before: bytes = b"") -> Callable[[socket.socket], None]:
    def talk(connection: socket.socket) -> None:
        request = json.loads(connection.recv(65536))
        assert request["params"][0] == "Open_vSwitch"
        connection.sendall(before)
        reply = json.dumps({"id": request["id"], "result": results, "error": None}).encode()
        connection.sendall(reply[:5])
        connection.sendall(reply[5:])
        connection.recv(65536)

    return talk


def test_a_transaction_gives_its_results_also_between_echoes(serve: Serve) -> None:
    echo = json.dumps({"method": "echo", "id": "echo", "params": []}).encode()
    with ovsdb.Connection(serve(database([{"rows": [{"name": "b1"}]}], before=echo))) as connection:
        assert connection.select("Bridge", ["name"]) == [{"name": "b1"}]


def test_a_refused_transaction_is_an_error_with_the_reason(serve: Serve) -> None:
    refusal = [{}, {"error": "constraint violation", "details": "no such port"}]
    with ovsdb.Connection(serve(database(refusal))) as connection, pytest.raises(LabError, match="constraint violation no such port"):
        connection.transact([{"op": "comment"}])


def test_sets_and_maps() -> None:
    assert ovsdb.from_map(ovsdb.to_map({"a": "1"})) == {"a": "1"}
    assert ovsdb.from_set(ovsdb.to_set([1, 2])) == [1, 2]
    assert ovsdb.from_set(7) == [7]
