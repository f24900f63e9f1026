"""The ledger, on a made-up machine: whatever was created can be removed from what is on disk at any moment, and nothing else is."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.emulation import ledger
from testbed.emulation.ledger import Entry, Ledger
from testbed.emulation.processes import Identity
from testbed.errors import LabError

BOOT = ledger.boot_id()
NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
KINDS = st.sampled_from(["namespace", "process", "file", "directory", "link", "bridge"])


@dataclass
class MadeUpMachine:
    """Things by kind; a lab's processes carry its tag, so that one whose pid was never noted is found, too."""

    things: set[tuple[str, str]] = field(default_factory=set)
    tagged: set[Identity] = field(default_factory=set)
    order: list[str] = field(default_factory=list)

    def end_processes(self, known: frozenset[Identity]) -> None:
        self.order.append("processes")
        self.tagged.clear()

    def remove_namespace(self, name: str) -> None:
        self.order.append(name)
        self.things -= {("namespace", name), ("link", name), ("bridge", name)}

    def remove_file(self, path: Path) -> None:
        self.things.discard(("file", str(path)))

    def remove_directory(self, path: Path) -> None:
        self.things.discard(("directory", str(path)))


def entries(kinds: st.SearchStrategy[str] = KINDS) -> st.SearchStrategy[list[Entry]]:
    names = NAMES.map(lambda name: "/lab/" + name.replace("/", "_").replace(".", "_"))
    return st.lists(st.builds(Entry, kinds, names, NAMES), max_size=20)


@given(batches=st.lists(entries(), max_size=5), crash=st.integers(0, 100), torn=st.integers(0, 40), foreign=entries())
@settings(max_examples=200)
def test_undo_leaves_nothing_of_the_lab_and_all_of_the_others(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[Entry]], crash: int, torn: int, foreign: list[Entry]
) -> None:
    """Create batch by batch, each written first; die after ``crash`` creations, perhaps in the middle of writing the next batch."""
    path = tmp_path_factory.mktemp("ledger") / "ledger.jsonl"
    machine = MadeUpMachine()
    others = {(entry.kind, "/other" + entry.name) for entry in foreign}
    machine.things |= others
    book, created = Ledger(path), 0
    for batch in batches:
        if created >= crash:
            with path.open("ab") as file:  # a write that the crash tore
                file.write(b'{"kind":"namespace","name":"never made"}\n'[:torn])
            break
        book.note(batch)
        for entry in batch[: crash - created]:
            created += 1
            if entry.kind == "process":
                machine.tagged.add(Identity(created, 1))
            elif entry.kind not in ("link", "bridge"):  # those live in a namespace
                machine.things.add((entry.kind, entry.name))
    book.close()

    ledger.undo(ledger.read(path), BOOT, machine)
    assert machine.things == others
    assert machine.tagged == set()
    ledger.undo(ledger.read(path), BOOT, machine)
    assert machine.things == others


@given(batch=entries(), garbage=st.binary(max_size=50))
def test_what_is_written_is_read_whatever_stands_between(
    tmp_path_factory: pytest.TempPathFactory, batch: list[Entry], garbage: bytes
) -> None:
    path = tmp_path_factory.mktemp("ledger") / "ledger.jsonl"
    path.write_bytes(garbage.replace(b"{", b"("))
    book = Ledger(path)  # goes on behind a torn line
    book.note(batch)
    book.close()
    assert ledger.of_this_boot(ledger.read(path), BOOT) == tuple(batch)


def test_of_a_former_boot_only_files_are_removed(tmp_path: Path) -> None:
    machine = MadeUpMachine({("namespace", "t1234n1"), ("directory", "/lab"), ("file", "/lab/x")}, {Identity(1, 1)})
    old = [
        Entry("boot", "before"),
        Entry("directory", "/lab"),
        Entry("file", "/lab/x"),
        Entry("namespace", "t1234n1"),
        Entry("process", "p", pid=1),
    ]
    ledger.undo(old, BOOT, machine)
    assert machine.things == {("namespace", "t1234n1")}
    assert machine.tagged == {Identity(1, 1)}


def test_undo_goes_backwards_and_ends_processes_first() -> None:
    machine = MadeUpMachine()
    ledger.undo([Entry("boot", BOOT), Entry("namespace", "a"), Entry("process", "p"), Entry("namespace", "b")], BOOT, machine)
    assert machine.order == ["processes", "b", "a"]


def test_the_latest_identity_of_a_process_counts() -> None:
    found = ledger.processes(
        [Entry("process", "x"), Entry("process", "x", pid=3, start=5), Entry("process", "x"), Entry("process", "x", pid=9, start=7)]
    )
    assert found == {"x": Identity(9, 7)}


def test_no_ledger_means_no_entries(tmp_path: Path) -> None:
    assert ledger.read(tmp_path / "none") == ()


@pytest.mark.parametrize("written", [0, 7])
def test_a_full_disk_is_said_before_anything_is_created(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int) -> None:
    book = Ledger(tmp_path / "ledger.jsonl")
    monkeypatch.setattr("os.write", lambda descriptor, data: written)
    with pytest.raises(LabError, match=r"cannot write .*: no space left"):
        book.note([Entry("namespace", "n")])
    monkeypatch.undo()
    book.close()
