"""Run a function inside a named network namespace; the sockets it opens stay there."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from testbed.errors import LabError

T = TypeVar("T")

NAMESPACES = Path("/run/netns")
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def set_namespace(name: str) -> None:
    """Move the calling thread into the namespace of that name. Raises LabError when it is not there or not allowed."""
    try:
        descriptor = os.open(NAMESPACES / name, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise LabError(f"namespace {name}: {error.strerror}") from error
    try:
        if _libc.setns(descriptor, _CLONE_NEWNET):
            raise LabError(f"namespace {name}: {os.strerror(ctypes.get_errno())}")
    finally:
        os.close(descriptor)


def run_in(name: str, function: Callable[[], T]) -> T:
    """Call ``function`` in a short-lived thread inside the namespace and give back its result, or raise what it raised."""
    results: list[T] = []
    failures: list[BaseException] = []

    def body() -> None:
        try:
            set_namespace(name)
            results.append(function())
        except BaseException as error:  # handed to the caller, whatever it is
            failures.append(error)

    thread = threading.Thread(target=body, name=f"netns-{name}")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]
