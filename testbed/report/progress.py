"""Progress of a bring-up: a live line a stage on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, TextIO


class Progress:
    """A context manager that shows stages as they end; call it with (stage, seconds since the start). Everything goes to stderr."""

    def __init__(self, title: str, stages: Sequence[str], stream: TextIO | None = None) -> None:
        self._title = title
        self._stages = list(stages)
        self._stream = stream if stream is not None else sys.stderr
        self._done: dict[str, float] = {}
        self._start = time.monotonic()
        self._live: Any = None

    def __enter__(self) -> Progress:
        if self._stream.isatty():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(file=self._stream), get_renderable=self._render, refresh_per_second=12, transient=True)
            self._live.start()
        return self

    def __call__(self, stage: str, seconds: float) -> None:
        """A stage has ended, so many seconds after the start."""
        since = max(self._done.values(), default=0.0)
        self._done[stage] = seconds
        if self._live is None:
            self._stream.write(f"{self._title}: {stage} {seconds - since:.2f} s\n")
            self._stream.flush()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()
            self._stream.write(self._summary() + "\n")

    @property
    def done(self) -> dict[str, float]:
        """Seconds since the start at which each stage ended."""
        return dict(self._done)

    def _summary(self) -> str:
        before, parts = 0.0, []
        for stage, seconds in self._done.items():
            parts.append(f"{stage} {seconds - before:.2f} s")
            before = seconds
        return f"{self._title}: " + ", ".join(parts)

    def _render(self) -> Any:
        from rich.text import Text

        waiting = [stage for stage in self._stages if stage not in self._done]
        text = Text(f"{self._title}  ", style="bold")
        for stage in self._stages:
            if stage in self._done:
                text.append(f"✓ {stage}  ", style="green")
            elif waiting and stage == waiting[0]:
                text.append(f"… {stage}  ", style="yellow")
            else:
                text.append(f"  {stage}  ", style="dim")
        text.append(f"{time.monotonic() - self._start:5.1f} s")
        return text
