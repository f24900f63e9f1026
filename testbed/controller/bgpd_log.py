"""What bgpd's log says before BMP does: FRR 8.4 reports a session's end over BMP once it has cleared its routes, ten milliseconds later."""

from __future__ import annotations

import ctypes
import os
import re
from pathlib import Path

from testbed.azure.types import Address
from testbed.controller.bmp import ENDED_HERE

_IN_MODIFY, _IN_CLOEXEC, _IN_NONBLOCK = 0x2, 0x80000, 0x800
_CHANGE = re.compile(rb"%ADJCHANGE: neighbor (\d+\.\d+\.\d+\.\d+)\S* .*?(Up|Down)\b ?([^\n]*)\n")
_CLOSED = b"Peer closed the session"
_EVENTS = 4096
_MOST = 1 << 20


class LogWatch:
    """The log of a bgpd from now on: readable (`fileno`) when something was written. Raises OSError when there is no such file."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        os.lseek(self._file, 0, os.SEEK_END)
        self._rest = b""
        libc = ctypes.CDLL(None, use_errno=True)
        self._events = libc.inotify_init1(_IN_CLOEXEC | _IN_NONBLOCK)
        if self._events < 0 or libc.inotify_add_watch(self._events, os.fsencode(path), _IN_MODIFY) < 0:
            error = ctypes.get_errno()
            self.close()
            raise OSError(error, os.strerror(error), str(path))

    def fileno(self) -> int:
        """What to poll for reading."""
        return int(self._events)

    def ended(self) -> dict[Address, str]:
        """The peers whose sessions ended since the last call and have not come up again, and why as far as the log says."""
        os.read(self._events, _EVENTS)
        data = self._rest + os.read(self._file, _MOST)
        whole, _, self._rest = data.rpartition(b"\n")
        found: dict[Address, str] = {}
        for peer, state, reason in _CHANGE.findall(whole + b"\n"):
            if state == b"Up":
                found.pop(peer.decode(), None)
            else:
                found[peer.decode()] = "closed" if reason.strip() == _CLOSED else ENDED_HERE
        return found

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)
        if self._events >= 0:
            os.close(self._events)
