"""Talks to FRR daemons by their own vty socket, as vtysh does but without starting it: a command takes about a millisecond."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from testbed.errors import LabError

_END = b"\0\0\0"
_DONE = 0
_WARNING = 1


class Vty:
    """A conversation with one daemon (``{dir}/bgpd.vty``); use it as a context manager.

    Raises OSError when nobody listens, LabError when the daemon hangs up.
    """

    def __init__(self, path: Path, timeout: float = 5.0) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout)
        try:
            self._socket.connect(str(path))
            self.run("enable")
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Vty:
        return self

    def __exit__(self, *exception: object) -> None:
        self._socket.close()

    def run(self, command: str) -> str:
        """Run one command and give back what it printed. Raises LabError with the daemon's words when it refuses."""
        self._socket.sendall(command.encode() + b"\0")
        data = b""
        while len(data) < 4 or data[-4:-1] != _END:
            chunk = self._socket.recv(65536)
            if not chunk:
                raise LabError(f"{self.path.stem} ended the conversation at `{command}`")
            data += chunk
        text, status = data[:-4].decode(errors="replace"), data[-1]
        if status not in (_DONE, _WARNING):
            raise LabError(f"{self.path.stem} refused `{command}`: {text.strip() or f'status {status}'}")
        return text


def show(path: Path, command: str) -> Any:
    """The JSON that a ``show … json`` command prints. Raises OSError when the daemon does not listen, LabError when it refuses."""
    with Vty(path) as vty:
        return json.loads(vty.run(command) or "{}")
