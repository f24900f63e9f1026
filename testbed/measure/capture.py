"""A pcap file of recorded frames, for Wireshark and tcpdump."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

from testbed.measure.recorder import Frame

_MAGIC_NANOSECONDS = 0xA1B23C4D
_ETHERNET = 1
_NO_ETHERNET = b"\0" * 12 + b"\x08\x00"


def write_pcap(frames: Iterable[Frame], file: Path) -> int:
    """Write frames (those without an Ethernet header get an empty one) in the order of time; gives back how many."""
    count = 0
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as out:
        out.write(struct.pack("<IHHiIII", _MAGIC_NANOSECONDS, 2, 4, 0, 0, 65535, _ETHERNET))
        for frame in sorted(frames, key=lambda frame: frame.time):
            data = frame.data if frame.ethernet else _NO_ETHERNET + frame.data
            seconds = int(frame.time)
            out.write(struct.pack("<IIII", seconds, int((frame.time - seconds) * 1e9), len(data), len(data)) + data)
            count += 1
    return count
