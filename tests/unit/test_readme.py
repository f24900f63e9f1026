"""The README's commands are run, and print what the README shows.

A ```console block of the README holds `$ ./testbed.sh …` lines and what they print. `$ echo $?` with a number below states the exit
code of the command before (0 otherwise). Of the output shown, each line must be printed, in that order; others may stand between.
`…` (or `...`) stands for anything, and figures before a unit (1.7 s, 480 MB, 12 %) may differ.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
LAUNCHER = "./testbed.sh"
UNITS = r"ms|µs|s|min|KB|MB|MiB|GB|GiB|kb/s|Mb/s|Gb/s|packets/s|routes/s|%"


@dataclass
class Example:
    """One command of the README with what it shows."""

    line: int
    command: list[str]
    shown: list[str] = field(default_factory=list)
    code: int = 0

    def __str__(self) -> str:
        return f"README.md:{self.line}: {shlex.join(self.command)}"

    @property
    def ours(self) -> bool:
        """A command of the testbed; not the tests, which are what runs here."""
        return self.command[:1] == [LAUNCHER] and self.command[1:2] != ["test"]

    @property
    def root(self) -> bool:
        """The launcher's own answer to whether the command needs root."""
        if self.command[1:2] == ["setup"]:
            return True
        # Sourced under another name: under its own it would run the command.
        asked = 'source "$1"; shift; needs_root "$@" && echo root || echo no'
        answer = subprocess.run(["bash", "-c", asked, "-", ROOT / LAUNCHER, *self.command[1:]], capture_output=True, text=True, check=True)
        assert answer.stdout in {"root\n", "no\n"}, f"{self}: the launcher was not asked but run"
        return answer.stdout == "root\n"


def examples(text: str) -> list[Example]:
    """The commands of all ```console blocks, in order."""
    found: list[Example] = []
    inside = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("```"):
            inside = line.strip() == "```console"
        elif inside and line.startswith("$ "):
            words = shlex.split(line[2:], comments=True)
            found.append(Example(number, words[1:] if words[:1] == ["sudo"] else words))
        elif inside and found:
            found[-1].shown.append(line)
    for before, asked in pairwise(found):
        if asked.command == ["echo", "$?"]:
            before.code = int(asked.shown[0])
    return found


def not_printed(shown: list[str], printed: str) -> str | None:
    """The first shown line that was not printed after those before it, or None."""
    lines = iter([squeeze(line) for line in printed.splitlines()])
    for line in shown:
        pattern = ".*".join(re.escape(part) for part in re.split(r"…|\.\.\.", squeeze(line)))
        if pattern not in {"", ".*"} and not any(re.fullmatch(pattern, candidate) for candidate in lines):
            return line
    return None


def squeeze(line: str) -> str:
    """A line without what may differ: the width of gaps, figures before a unit."""
    return re.sub(rf"\d+(?:[.,]\d+)*(\s?)(?=(?:{UNITS})(?!\w))", r"#\1", " ".join(line.split()))


def run(example: Example) -> None:
    """Runs one command and compares."""
    result = subprocess.run(
        [ROOT / LAUNCHER, *example.command[1:]],
        cwd=ROOT,
        env=os.environ | {"NO_COLOR": "1", "COLUMNS": "120"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert result.returncode == example.code, f"{example} ended with {result.returncode}:\n{result.stdout}"
    missing = not_printed(example.shown, result.stdout)
    assert missing is None, f"{example} did not print {missing!r}:\n{result.stdout}"


EXAMPLES = [example for example in examples(README.read_text()) if example.ours]


def test_the_readme_shows_commands() -> None:
    commands = {example.command[1] for example in EXAMPLES if len(example.command) > 1}
    assert "run" in commands, "the README does not show the main job in a ```console block"


@pytest.mark.parametrize("example", [example for example in EXAMPLES if not example.root], ids=str)
def test_commands_without_root(example: Example) -> None:
    run(example)


@pytest.mark.root
@pytest.mark.timeout(600)
def test_commands_as_root(request: pytest.FixtureRequest) -> None:
    """In the order of the README, since one works on the lab of the one before."""
    ordered = [example for example in EXAMPLES if example.root]
    assert ordered
    if any(example.command[1] == "up" for example in ordered):
        request.addfinalizer(lambda: subprocess.run([ROOT / LAUNCHER, "down"], cwd=ROOT, capture_output=True, check=False))
    for example in ordered:
        run(example)


SAMPLE = """
# Title
```console
$ sudo ./testbed.sh check a.yaml   # a comment
a.yaml: fine, 12 nodes
$ ./testbed.sh check b.yaml
b.yaml:3: …
$ echo $?
2
```
```sh
$ ./testbed.sh not-this
```
```console
$ ./testbed.sh test
$ vagrant up
```
"""


def test_blocks_are_read() -> None:
    first, second = [example for example in examples(SAMPLE) if example.ours]
    assert (first.line, first.command, first.shown, first.code) == (4, ["./testbed.sh", "check", "a.yaml"], ["a.yaml: fine, 12 nodes"], 0)
    assert (second.command, second.shown, second.code) == (["./testbed.sh", "check", "b.yaml"], ["b.yaml:3: …"], 2)


def test_the_launcher_is_asked_and_not_run() -> None:
    assert Example(1, [LAUNCHER, "exec", "nobody", "--", "true"]).root
    assert not Example(1, [LAUNCHER, "--version"]).root


@pytest.mark.parametrize(
    ("shown", "printed", "missing"),
    [
        (["ready in 1.7 s"], "network\nready in 2.31 s", None),
        (["a", "…", "c"], "a\nb\nc", None),
        (["c", "a"], "a\nb\nc", "a"),
        (["10.1.0.4  via 10.2.0.4"], "10.1.0.4 via 10.2.0.5", "10.1.0.4  via 10.2.0.4"),
        (["record: results/…/record.json"], "record: results/7/record.json", None),
        (["12 passed"], "13 passed", "12 passed"),
        (["memory 480 MB, 3 %"], "memory 91 MB, 12 %", None),
        ([], "anything", None),
    ],
)
def test_shown_lines_are_compared(shown: list[str], printed: str, missing: str | None) -> None:
    assert not_printed(shown, printed) == missing


def test_a_command_that_does_otherwise_is_found() -> None:
    run(Example(1, [LAUNCHER, "--version"]))
    with pytest.raises(AssertionError, match="ended with 0"):
        run(Example(1, [LAUNCHER, "--version"], code=2))
    with pytest.raises(AssertionError, match="did not print"):
        run(Example(1, [LAUNCHER, "--version"], shown=["no such line"]))
