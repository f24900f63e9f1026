"""Reads YAML files of the user: plain data only, bounded in every direction, each value with its line."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from testbed.errors import InputError, Problem
from testbed.model.addresses import assign_addresses
from testbed.model.document import Document, Lines, Step, dotted
from testbed.model.findings import problems_of
from testbed.model.frr_file import frr_file_findings
from testbed.model.references import examine
from testbed.model.topology import Topology
from testbed.model.values import found

MAX_BYTES = 20_000_000
MAX_DEPTH = 50
MAX_VALUES = 250_000
MAX_KEY = 256
MAX_PROBLEMS = 1000

_FROM_SHELL = ("/dev/stdin", "/dev/fd/")
_PARSER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff\ud800-\udfff]")
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,18})")
_DECIMAL = re.compile(r"[-+]?(0|[1-9][0-9]{0,18})?\.[0-9]{1,18}")
_WORDS: dict[str, bool | None] = {"": None, "~": None, "null": None, "Null": None, "NULL": None}
_WORDS |= {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NO_ANCHORS = "anchors, aliases and merge keys are not part of the format; write the value out"
_IN_PLAIN_WORDS = {
    "mapping values are not allowed": ("a second ':' where one value is expected", "quote the text, or start a new line"),
    "found character '\\t' that cannot start any token": ("a tab", "indent with spaces"),
    "found a tab character": ("a tab", "indent with spaces"),
    "found character that cannot start any token": ("a character that cannot start a value", "quote the text"),
    "could not find expected ':'": ("a key without ':'", "write KEY: VALUE"),
    "did not find expected ',' or '}'": ("a '{' that is not closed, or a comma is missing", "close it with '}'"),
    "did not find expected ',' or ']'": ("a '[' that is not closed, or a comma is missing", "close it with ']'"),
    "expected ',' or '}'": ("a '{' that is not closed, or a comma is missing", "close it with '}'"),
    "expected ',' or ']'": ("a '[' that is not closed, or a comma is missing", "close it with ']'"),
    "expected <block end>": ("the indentation does not fit the lines above", "keys of one mapping start in one column"),
    "did not find expected key": ("the indentation does not fit the lines above", "keys of one mapping start in one column"),
    "did not find expected '-' indicator": ("the indentation does not fit the list above", "items of one list start in one column"),
    "found unexpected end of stream": ("a quote that is never closed", "close it"),
    "found undefined tag handle": ("tags (!name) are not part of the format", "write the value alone"),
}


@dataclass(frozen=True)
class Loaded:
    """A topology with every address filled in, the file it came from, and where each of its values stands there."""

    topology: Topology
    file: str
    lines: Lines

    def line(self, path: str) -> int:
        """The line of a dotted path such as ``nvas.nva2.asn`` or ``peerings[3].to``; of the nearest parent where it is not written."""
        return self.lines.at(path)


def load_topology(path: Path) -> Loaded:
    """Read, validate and complete a topology file. Raises InputError with all its problems, in the order of the file."""
    return _topology(read_text(path), str(path), path.absolute().parent)


def parse_topology(text: str, file: str = "<text>") -> Loaded:
    """As ``load_topology``, from text; ``file`` is the name that problems show. A ``frr_config`` is not looked for."""
    return _topology(text, file, None)


def _topology(text: str, file: str, directory: Path | None) -> Loaded:
    document = read_document(text, file)
    topology, findings = examine(document.data)
    findings.extend(frr_file_findings(topology, directory))
    raise_problems([*document.problems, *problems_of(findings, document)], file)
    return Loaded(assign_addresses(topology, file), file, document.lines)


def raise_problems(problems: list[Problem], file: str) -> None:
    """Raise InputError with these problems in the order of the file, if there are any; a flood of them is cut."""
    if not problems:
        return
    ordered = sorted(dict.fromkeys(problems), key=lambda problem: problem.line)
    if len(ordered) > MAX_PROBLEMS:
        rest = len(ordered) - MAX_PROBLEMS
        ordered = [*ordered[:MAX_PROBLEMS], Problem(file, 0, "", f"and {rest} more problems")]
    raise InputError(ordered)


def read_text(path: Path) -> str:
    """The text of a file of at most 20 MB in UTF-8. Raises InputError when it is not that or cannot be read."""
    try:
        if _would_wait(path):
            raise InputError([Problem(str(path), 0, "", "is a pipe or a device, not a file", "save it as a file")])
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError([Problem(str(path), 0, "", f"cannot be read: {error.strerror}")]) from None
    except ValueError:
        raise InputError([Problem(repr(str(path)), 0, "", "is not a file name")]) from None
    if len(raw) > MAX_BYTES:
        raise InputError([Problem(str(path), 0, "", f"is larger than {MAX_BYTES // 1_000_000} MB", "is this a topology?")])
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise InputError([Problem(str(path), line, "", "is not UTF-8 text", "save the file as UTF-8")]) from None


def _would_wait(path: Path) -> bool:
    """Whether reading could take for ever: what a file names must be a file; only the shell's own pipes are let through."""
    mode = path.stat().st_mode
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or str(path).startswith(_FROM_SHELL))


def read_document(text: str, file: str) -> Document:
    """The data of a YAML text, and where each value stands. Raises InputError when it cannot be read as plain data."""
    if len(text) > MAX_BYTES:
        raise InputError([Problem(file, 0, "", f"is larger than {MAX_BYTES // 1_000_000} MB", "is this a topology?")])
    control = _CONTROL.search(text)
    if control is not None:
        line = text.count("\n", 0, control.start()) + 1
        raise InputError([Problem(file, line, "", f"a control character ({control[0]!r})", "remove it")])
    reader = _Reader(file)
    try:
        for event in yaml.parse(text, Loader=_PARSER):
            reader.take(event)
    except yaml.YAMLError as error:
        raise_problems([*reader.problems, _in_plain_words(error, text, file)], file)
    return reader.document()


def _in_plain_words(error: yaml.YAMLError, text: str, file: str) -> Problem:
    mark = getattr(error, "problem_mark", None)
    line = mark.line + 1 if mark is not None else 0
    problem = str(getattr(error, "problem", None) or error).strip()
    lines = text.split("\n", line)[:line]
    if lines and re.match(r"\s*\t", lines[-1]):
        return Problem(file, line, "", "a tab", "indent with spaces")
    words = next((words for start, words in _IN_PLAIN_WORDS.items() if problem.startswith(start)), None)
    if words is None:
        return Problem(file, line, "", f"is not valid YAML: {problem.splitlines()[0]}")
    return Problem(file, line, "", *words)


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark is not None else 0


def plain_value(text: str) -> Any:
    """What an unquoted YAML text stands for: true, false, null, a decimal number, or the text itself (so ``no`` and ``1:30`` stay text)."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _DECIMAL.fullmatch(text) else text


class _Open:
    """A mapping or list that is being read; ``key`` is the mapping's key whose value comes next."""

    __slots__ = ("data", "key", "key_line", "last", "lines", "skipped")

    def __init__(self, data: dict[str, Any] | list[Any], lines: Lines) -> None:
        self.data = data
        self.lines = lines
        self.key: str | None = None
        self.key_line = 0
        self.last: Step = ""  # the key or index of the value that was begun last
        self.skipped = False  # the next value belongs to a key that was there already


class _Reader:
    """Builds plain data from YAML events, one by one: no recursion, no constructors, nothing that a file could grow by."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self.fatal = False
        self.stack: list[_Open] = []
        self.data: Any = None
        self.lines = Lines(1)
        self.documents = 0
        self.values = 0
        self.aliases: set[str | None] = set()
        self._take: dict[type[yaml.Event], Callable[[Any], None]] = {
            yaml.ScalarEvent: self._scalar,
            yaml.MappingStartEvent: self._open_mapping,
            yaml.SequenceStartEvent: self._open_list,
            yaml.MappingEndEvent: self._close,
            yaml.SequenceEndEvent: self._close,
            yaml.AliasEvent: self._alias,
            yaml.DocumentStartEvent: self._document,
        }

    def take(self, event: yaml.Event) -> None:
        """Take the next event. Raises InputError when the file goes beyond a bound."""
        taker = self._take.get(type(event))
        if taker is not None:
            taker(event)

    def document(self) -> Document:
        """What was read. Raises InputError if it is no plain mapping."""
        if self.fatal:
            raise_problems(self.problems, self.file)
        if self.data is None:
            raise InputError([Problem(self.file, 0, "", "is empty", "see docs/topology.md for the format")])
        if not isinstance(self.data, dict):
            raise InputError([Problem(self.file, self.lines.line, "", f"expected a mapping (KEY: VALUE), found {found(self.data)}")])
        return Document(self.file, self.data, self.lines, tuple(self.problems))

    def _problem(self, line: int, message: str, hint: str = "", path: str | None = None) -> None:
        self.problems.append(Problem(self.file, line, self._path() if path is None else path, message, hint))
        if len(self.problems) > MAX_PROBLEMS:
            raise_problems(self.problems, self.file)

    def _path(self) -> str:
        if not self.stack:
            return ""
        top = self.stack[-1]
        pending: Step | None = len(top.data) if isinstance(top.data, list) else top.key
        steps = tuple(opened.last for opened in self.stack[:-1])
        return dotted(steps if pending is None else (*steps, pending))

    def _document(self, event: yaml.DocumentStartEvent) -> None:
        self.documents += 1
        if self.documents > 1:
            raise InputError([Problem(self.file, _line(event), "", "a second document ('---')", "one file holds one document")])

    def _decorations(self, event: Any) -> None:
        """Refuse anchors and tags: plain data needs neither."""
        line = _line(event)
        if event.anchor is not None:
            self.fatal = True
            self._problem(line, f"an anchor (&{event.anchor})", _NO_ANCHORS)
        if event.tag is not None:
            self.fatal = True
            self._problem(line, f"a tag ({event.tag[:60]})", "tags are not part of the format; write the value alone")

    def _alias(self, event: yaml.AliasEvent) -> None:
        self.fatal = True
        if event.anchor not in self.aliases:  # a bomb has many
            self.aliases.add(event.anchor)
            self._problem(_line(event), f"an alias (*{event.anchor})", _NO_ANCHORS)
        if self._wants_key():
            self._key("*", _line(event), "*")
        else:
            self._add(None, _line(event))

    def _wants_key(self) -> bool:
        return bool(self.stack) and isinstance(self.stack[-1].data, dict) and self.stack[-1].key is None

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        self._decorations(event)
        line = _line(event)
        value = plain_value(event.value) if event.implicit[0] else event.value
        if isinstance(value, str):
            self._refuse_control(value, line)
        if self._wants_key():
            self._key(value, line, event.value)
        else:
            self._add(value, line)

    def _refuse_control(self, value: str, line: int) -> None:
        control = _CONTROL.search(value)
        if control is not None:
            self.fatal = True
            self._problem(line, f"a control character ({control[0]!r})", "remove it")

    def _key(self, value: Any, line: int, text: str) -> None:
        opened = self.stack[-1]
        if not isinstance(value, str):
            self._problem(line, f"the key {found(value)} is not text", f'write "{text}", in quotes')
        key = text
        if len(key) > MAX_KEY:
            raise InputError([Problem(self.file, line, self._path(), f"a key of {len(key)} characters", f"the limit is {MAX_KEY}")])
        if key == "<<":
            self.fatal = True
            self._problem(line, "a merge key (<<)", _NO_ANCHORS)
        opened.skipped = key in opened.data
        if opened.skipped:
            first = opened.lines.inside[key]
            first_line = first if isinstance(first, int) else first.line
            path = f"{self._path()}.{key}".removeprefix(".")
            self._problem(line, f"is there twice; the first is on line {first_line}", "keep one of them", path)
        opened.key, opened.key_line = key, line

    def _add(self, value: Any, line: int, lines: Lines | None = None) -> None:
        """Put a value where it belongs; ``lines`` are those of a mapping or list."""
        self.values += 1
        if self.values > MAX_VALUES:
            raise InputError([Problem(self.file, line, "", f"more than {MAX_VALUES} values", "is this a topology?")])
        if not self.stack:
            self.data, self.lines = value, lines or Lines(line)
            return
        opened = self.stack[-1]
        if isinstance(opened.data, list):
            opened.last = len(opened.data)
            opened.lines.inside[opened.last] = lines or line
            opened.data.append(value)
            return
        key, opened.key = opened.key, None
        opened.last = key or ""
        if key is not None and not opened.skipped:
            if lines is not None:
                lines.line = opened.key_line
            opened.lines.inside[key] = lines or opened.key_line
            opened.data[key] = value

    def _open(self, data: dict[str, Any] | list[Any], event: Any) -> None:
        self._decorations(event)
        line = _line(event)
        if len(self.stack) >= MAX_DEPTH:
            raise InputError([Problem(self.file, line, "", f"nested more than {MAX_DEPTH} deep", "is this a topology?")])
        if self._wants_key():
            raise InputError([Problem(self.file, line, self._path(), f"{found(data)} as a key", "a key is text; write KEY: VALUE")])
        lines = Lines(line)
        self._add(data, line, lines)
        self.stack.append(_Open(data, lines))

    def _open_mapping(self, event: yaml.MappingStartEvent) -> None:
        self._open({}, event)

    def _open_list(self, event: yaml.SequenceStartEvent) -> None:
        self._open([], event)

    def _close(self, event: yaml.Event) -> None:
        self.stack.pop()
