"""How expectations word what they found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Verdict = str | None
"""None when an expectation holds, else what was observed instead of what was expected."""

_SHOWN = 6


def several(reasons: Sequence[str]) -> Verdict:
    """Reasons in one line, the first few of them; None when there is none."""
    if not reasons:
        return None
    more = f" (and {len(reasons) - _SHOWN} more)" if len(reasons) > _SHOWN else ""
    return "; ".join(reasons[:_SHOWN]) + more


def pick(names: Sequence[str], every: Sequence[str]) -> tuple[str, ...]:
    """The names, ``all`` standing for every one."""
    return tuple(every) if "all" in names else tuple(names)


def listed(rows: Iterable[object]) -> str:
    """Rows in one line; ``nothing`` when there is none."""
    return ", ".join(map(str, rows)) or "nothing"


def path_text(as_path: Sequence[int] | None) -> str:
    """``with AS path 65001-65002``, or nothing for any path."""
    if as_path is None:
        return ""
    return f" with AS path {'-'.join(map(str, as_path)) or 'empty'}"
