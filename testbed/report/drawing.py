"""A picture from a description in DOT, drawn by Graphviz."""

from __future__ import annotations

import subprocess
from pathlib import Path

from testbed.errors import InputError, MachineError

FORMATS = {".svg": "svg", ".png": "png", ".pdf": "pdf"}


def svg(dot: str) -> str:
    """The picture as an SVG element for a page, without the XML head; nothing when there is no picture or no Graphviz."""
    if not dot:
        return ""
    try:
        drawn = subprocess.run(("dot", "-Tsvg"), input=dot, text=True, check=True, capture_output=True).stdout
    except (FileNotFoundError, subprocess.CalledProcessError):
        return ""
    return drawn[drawn.index("<svg") :].strip().replace('<polygon fill="white"', '<polygon fill="none"', 1)  # the page's own background


def draw(dot: str, output: Path) -> None:
    """Draw to a file; its ending chooses the format. Raises InputError for another ending, MachineError without Graphviz."""
    if output.suffix not in FORMATS:
        raise InputError(f"{output}: pictures end in {', '.join(FORMATS)} (or .dot)")
    try:
        subprocess.run(("dot", f"-T{FORMATS[output.suffix]}", "-o", str(output)), input=dot, text=True, check=True, capture_output=True)
    except FileNotFoundError:
        raise MachineError("Graphviz is not installed", "./testbed.sh setup installs it") from None
    except subprocess.CalledProcessError as error:
        raise InputError(f"{output}: {error.stderr.strip()}") from error
