"""A small client of ovsdb-server's JSON-RPC (RFC 7047): one transaction for a whole fabric, and rows for status."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from testbed.errors import LabError

DATABASE = "Open_vSwitch"
Operation = Mapping[str, Any]
Row = Mapping[str, Any]


def to_set(values: Sequence[Any]) -> list[Any]:
    """An OVSDB set."""
    return ["set", list(values)]


def to_map(values: Mapping[str, str]) -> list[Any]:
    """An OVSDB map."""
    return ["map", [[key, value] for key, value in values.items()]]


def named(uuid_name: str) -> list[Any]:
    """A row inserted in the same transaction, by its ``uuid-name``."""
    return ["named-uuid", uuid_name]


def from_map(value: Any) -> dict[str, str]:
    """A Python dict of an OVSDB map."""
    return dict(value[1])


def from_set(value: Any) -> list[Any]:
    """A Python list of an OVSDB set (which a single value may stand for)."""
    return list(value[1]) if isinstance(value, list) and value and value[0] == "set" else [value]


class Connection:
    """A connection to one ovsdb-server by its unix socket; use it as a context manager. Raises LabError when nobody answers."""

    def __init__(self, path: Path, timeout: float = 10.0) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout)
        try:
            self._socket.connect(str(path))
        except OSError as error:
            self._socket.close()
            raise LabError(f"Open vSwitch's database does not answer: {error.strerror or error}") from error
        self._buffer = ""
        self._decoder = json.JSONDecoder()
        self._next = 0

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *exception: object) -> None:
        self._socket.close()

    def transact(self, operations: Sequence[Operation]) -> list[dict[str, Any]]:
        """Run all operations as one transaction; gives back one result each. Raises LabError when the database refuses."""
        self._next += 1
        try:
            reply = self._ask({"method": "transact", "params": [DATABASE, *operations], "id": self._next})
        except OSError as error:
            raise LabError(f"Open vSwitch's database does not answer: {error.strerror or error}") from error
        results: list[dict[str, Any]] = reply["result"] or []
        for result in [reply, *results]:
            if result and result.get("error"):
                raise LabError(f"Open vSwitch's database refused: {result['error']} {result.get('details', '')}")
        return results

    def select(self, table: str, columns: Sequence[str]) -> list[dict[str, Any]]:
        """The columns of all rows of a table."""
        rows: list[dict[str, Any]] = self.transact([{"op": "select", "table": table, "where": [], "columns": list(columns)}])[0]["rows"]
        return rows

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        self._socket.sendall(json.dumps(request).encode())
        while (reply := self._receive()).get("id") != request["id"]:
            if reply.get("method") == "echo":
                self._socket.sendall(json.dumps({"result": reply["params"], "error": None, "id": reply["id"]}).encode())
        return reply

    def _receive(self) -> dict[str, Any]:
        while True:
            text = self._buffer.lstrip()
            try:
                message, end = self._decoder.raw_decode(text)
            except json.JSONDecodeError:
                data = self._socket.recv(65536)
                if not data:
                    raise LabError("Open vSwitch's database closed the connection") from None
                self._buffer = text + data.decode()
                continue
            self._buffer = text[end:]
            reply: dict[str, Any] = message
            return reply
