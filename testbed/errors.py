"""Every error a user can meet, and the exit code it ends with.

::

    TestbedError                        4  internal error (also every unexpected exception)
    ├── InputError                      2  a file, a name or an argument is wrong; carries all problems at once
    ├── MachineError                    3  this machine cannot do what is asked (package, privilege, kernel feature)
    ├── LabError                        4  building, running or removing a lab failed
    │   ├── LabExists                   2  a lab of that name is already up
    │   ├── NoSuchLab                   2  no lab of that name
    │   └── NotReady                    1  a wait ran out of its budget; carries the last reason
    └── ExpectationFailed               1  what was observed is not what was expected
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum


class ExitCode(IntEnum):
    """What a command's exit status means (DESIGN chapter 4)."""

    OK = 0
    EXPECTATION_FAILED = 1
    BAD_INPUT = 2
    CANNOT = 3
    INTERNAL = 4


@dataclass(frozen=True)
class Problem:
    """One thing wrong in a file: where it stands, what was found, and what to do.

    ``path`` is the dotted way to the value (``nvas.nva2.asn``), ``message`` says what was found and what is wrong with it,
    ``hint`` what to do; ``line`` counts from 1 and is 0 when the problem belongs to no line.
    """

    file: str
    line: int
    path: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}: " if self.line else f"{self.file}: "
        text = f"{where}{_cut(self.path)}: {_cut(self.message)}" if self.path else f"{where}{_cut(self.message)}"
        return printable(f"{text}; {_cut(self.hint)}" if self.hint else text)


_LONGEST = 1000


def _cut(text: str) -> str:
    """A text of bearable length: it may quote a file."""
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def printable(text: str) -> str:
    """A text as one line that cannot drive a terminal: what is not printable is written as its escape (``\\n``, ``\\x1b``)."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


class TestbedError(Exception):
    """The root: something the testbed says in its own words. ``hint`` tells the user what to do."""

    __test__ = False  # not a test class, whatever its name looks like to pytest
    exit_code = ExitCode.INTERNAL

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


class InputError(TestbedError):
    """The input is wrong. ``problems`` holds all of them, in the order of the file."""

    exit_code = ExitCode.BAD_INPUT

    def __init__(self, problems: Sequence[Problem] | str, hint: str = "") -> None:
        self.problems: tuple[Problem, ...] = () if isinstance(problems, str) else tuple(problems)
        message = problems if isinstance(problems, str) else "\n".join(str(problem) for problem in problems)
        super().__init__(message, hint)


class MachineError(TestbedError):
    """This machine cannot do it: a package, a privilege or a kernel feature is missing."""

    exit_code = ExitCode.CANNOT


class LabError(TestbedError):
    """Building, running or removing a lab failed."""


class LabExists(LabError):
    """A lab of that name is already up."""

    exit_code = ExitCode.BAD_INPUT


class NoSuchLab(LabError):
    """No lab of that name is up."""

    exit_code = ExitCode.BAD_INPUT


class NotReady(LabError):
    """A wait ran out of its budget; the message carries the last reason why not."""

    exit_code = ExitCode.EXPECTATION_FAILED


class ExpectationFailed(TestbedError):
    """What was observed is not what was expected."""

    exit_code = ExitCode.EXPECTATION_FAILED
