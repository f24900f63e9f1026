"""The FRR templates: read from ``frr-configs/`` once, rendered with every variable required."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined, TemplateError, TemplateNotFound

from testbed.errors import InputError, Problem

FOLDER = "frr-configs"
SUFFIX = ".j2"


def default_folder() -> Path:
    """The repository's own ``frr-configs``."""
    return Path(__file__).resolve().parents[2] / FOLDER


def load_templates(directory: Path | None = None) -> dict[str, str]:
    """The texts of all ``*.j2`` of a folder (the repository's when None) by file name. Raises InputError when there are none."""
    folder = directory or default_folder()
    texts = {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.glob(f"*{SUFFIX}"))}
    if not texts:
        raise InputError(f"{folder}: no FRR templates (*{SUFFIX})", "run from a complete clone of the repository, or name the right folder")
    return texts


class Templates:
    """A set of templates by name. ``{dir}`` in a template is left as it is: the emulation fills it in."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts
        self._environment = Environment(
            loader=FunctionLoader(self._source),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
            autoescape=False,  # router configurations, not HTML
        )

    def _source(self, name: str) -> tuple[str, str, None] | None:
        return (self._texts[name], _path(name), None) if name in self._texts else None

    def render(self, name: str, **variables: Any) -> str:
        """The template filled in. Raises InputError with the template's file and line when it is broken or asks for what isn't there."""
        try:
            return self._environment.get_template(name).render(**variables)
        except TemplateNotFound as error:
            raise InputError([Problem(_path(str(error)), 0, "", "there is no such template", "restore it")]) from error
        except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as error:
            raise InputError([Problem(_path(name), _line(name, error), "", str(error), "mend the template")]) from error


def _path(name: str) -> str:
    return f"{FOLDER}/{name}"


def _line(name: str, error: Exception) -> int:
    """Where in the template: Jinja rewrites tracebacks to the template's own lines."""
    if (line := getattr(error, "lineno", None)) is not None:
        return int(line)
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == _path(name)]
    return lines[-1] or 0 if lines else 0
