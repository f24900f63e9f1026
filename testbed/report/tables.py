"""Rows in aligned columns, for a terminal or a file."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

MANY = 500  # rows; beyond it drawing takes longer than working out what is drawn


def plain(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows in aligned columns, two spaces apart."""
    widths = [max(map(len, column)) for column in zip(headers, *rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in (headers, *rows))


def table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Rows under headers in aligned columns; on a terminal it is drawn with rich and fits its width."""
    if len(rows) > MANY or not sys.stdout.isatty():
        return plain(headers, [[str(cell) for cell in row] for row in rows])
    drawn = Table(*headers, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        drawn.add_row(*(str(cell) for cell in row))
    console = Console(width=shutil.get_terminal_size().columns, force_terminal=True, highlight=False)
    with console.capture() as captured:
        console.print(drawn)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())
