"""What the controller saw and did, each fact stamped by the one who observed it: the raw material of a failover's timeline."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec


class Journal:
    """An append-only file of JSON lines. Each has ``t`` (CLOCK_MONOTONIC, seconds), ``wall`` (seconds since 1970), ``event``, and facts."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._held: list[bytes] | None = None

    def write(self, event: str, at: float | None = None, **facts: Any) -> None:
        """Append one fact; ``at`` is when it was observed (monotonic), now if not given. One write call: lines of threads never mix."""
        now = time.monotonic()
        stamp = now if at is None else at
        line = {"t": round(stamp, 6), "wall": round(time.time() - (now - stamp), 6), "event": event, **facts}
        data = msgspec.json.encode(line) + b"\n"
        if self._held is None:
            os.write(self._file, data)
        else:
            self._held.append(data)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Write the facts of this block at its end, in one call; for one thread at a time."""
        held: list[bytes] = []
        self._held = held
        try:
            yield
        finally:
            self._held = None
            if held:
                os.write(self._file, b"".join(held))
