"""By hand: ``python -m bombardment 100000 [SEED]`` (as root, with tests/emulation and the repository in PYTHONPATH)."""

from __future__ import annotations

import sys
import time

from .fire import CASES, allowed, bombard, drip, every_case, flood
from .range import shooting_range


def main(count: int = 100_000, seed: int = 1) -> None:
    """Fire, and print what came of it."""
    with shooting_range() as where:
        state = where.session()
        answers = every_case(where)
        for case in CASES:
            said = answers[case.name]
            verdict = "frr" if said == case.frr else "ok" if allowed(case, said) else "BAD"
            print(f"{verdict:3} {case.name}: {said}  (right: {', '.join(case.right)})")
        print("flood:", dict(flood(where, 2000)), "drip:", drip(where, range(30), 5.0))
        print("before:", where.memory(), "MB,", where.files(), "files")
        start = time.monotonic()
        tally = bombard(where, count, seed)
        print(f"{tally.sent} messages in {tally.sessions} sessions, {time.monotonic() - start:.0f} s: {dict(tally.heard)}")
        if where.bgpd.poll() is not None:
            print(where.last_words())
            return
        print("after:", where.memory(), "MB,", where.files(), "files; bgpd", where.bgpd.poll(), "honest", state, where.session())
        print("BMP problems:", where.bmp[:5])


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
