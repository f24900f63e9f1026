"""Ctrl-C, a kill and a closed terminal end a command in the same way: once, and with its lab torn down."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """The first signal raises KeyboardInterrupt, now or once nobody holds it back; a second one cannot cut a tear-down short."""

    def __init__(self) -> None:
        self._held = False
        self._waiting = False
        self._come = False

    def install(self) -> None:
        """Take the signals over; those that the caller ignores (``nohup``) stay ignored."""
        for number in NUMBERS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._take)

    def hold(self) -> None:
        """From here on a signal waits for `release`."""
        self._held = True

    def release(self) -> None:
        """Let signals through again. Raises KeyboardInterrupt when one has come meanwhile."""
        self._held = False
        if self._waiting:
            self._waiting = False
            raise KeyboardInterrupt

    def ignore(self) -> None:
        """The command has done its work: a signal in its last moments must not make it look undone."""
        for number in NUMBERS:
            signal.signal(number, signal.SIG_IGN)

    @contextmanager
    def every(self) -> Iterator[None]:
        """While somebody talks with the user, every Ctrl-C counts."""
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _take(self, number: int, frame: FrameType | None) -> None:
        if self._come:
            os.write(2, b"being torn down already, a moment\n")
            return
        self._come = True
        if self._held:
            self._waiting = True
            return
        raise KeyboardInterrupt


interrupts = Interrupts()
"""Those of this process."""
