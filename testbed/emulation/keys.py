"""The lab's pre-shared keys: random, one for each name, in one file that root alone can read, and nowhere else but where they are used."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

import msgspec

from testbed.emulation.paths import LabPaths
from testbed.errors import LabError

_PLACE = re.compile(r"\{secret:([A-Za-z0-9_.\-]+)\}")
_BYTES = 32


def holds_keys(text: str) -> bool:
    """Whether a text of the plan has a place for a key."""
    return _PLACE.search(text) is not None


class Keys:
    """The keys of one lab by name. They are made when first asked for and kept in the lab's folder, so a new labd finds the same."""

    def __init__(self, paths: LabPaths) -> None:
        """Reads what is there. Raises LabError when the file is damaged."""
        self._file = paths.keys
        self._known = _read(self._file)

    def filled(self, text: str) -> str:
        """``text`` with a key in every place for one. What comes back is for files written by `write_private` alone."""
        missing = sorted(set(_PLACE.findall(text)) - self._known.keys())
        if missing:
            self._known |= {name: secrets.token_urlsafe(_BYTES) for name in missing}
            draft = self._file.with_suffix(".new")
            write_private(draft, msgspec.json.encode(self._known).decode())
            draft.replace(self._file)
        return _PLACE.sub(lambda place: self._known[place[1]], text)


def write_private(file: Path, text: str) -> None:
    """Write a new file that only its owner, root, can read, from its first byte on; one that is there, whosever, is replaced."""
    file.unlink(missing_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)


def _read(file: Path) -> dict[str, str]:
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, str])
    except FileNotFoundError:
        return {}
    except msgspec.MsgspecError:
        raise LabError(f"the lab's keys in {file} cannot be read", "take the lab down and up again: it gets new ones") from None
