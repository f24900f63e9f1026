"""Which way the packets of a stream went, read from where they were seen; and those that went round on the way. Pure.

Made for streams: it works on whole arrays of arrivals, where `loops` reads captured frames one by one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt

from testbed.measure.loops import LoopEpisode

_NS = 1e-9
_QUIET = 0.1  # seconds without a looping packet after which a loop is over


def share(arrivals: npt.NDArray[Any], begin: float, end: float) -> int:
    """How many of these packets were sent between two moments (wall-clock seconds)."""
    return int(np.count_nonzero((arrivals["sent"] >= begin / _NS) & (arrivals["sent"] < end / _NS)))


def detours(seen: Mapping[str, npt.NDArray[Any]]) -> tuple[LoopEpisode, ...]:
    """Loops that packets met: ``seen`` maps a node to the arrivals there (all flows together; a node's devices in one array).

    A packet that came to a node again with a lower TTL went round. The cycle is named by the nodes it came to in between.
    """
    rounds = [_repeated(arrivals) for arrivals in seen.values()]
    looping = np.unique(np.concatenate(rounds)) if rounds else np.empty(0, np.uint64)
    if not len(looping):
        return ()
    visits: dict[int, list[tuple[int, str]]] = defaultdict(list)
    for node, arrivals in seen.items():
        keys = _keys(arrivals)
        for place in np.flatnonzero(np.isin(keys, looping)):
            visits[int(keys[place])].append((int(arrivals["received"][place]), node))
    return _episodes([_round(sorted(found)) for found in visits.values()])


def _keys(arrivals: npt.NDArray[Any]) -> npt.NDArray[np.uint64]:
    keys: npt.NDArray[np.uint64] = arrivals["flow"].astype(np.uint64) << np.uint64(32) | arrivals["sequence"].astype(np.uint64)
    return keys


def _repeated(arrivals: npt.NDArray[Any]) -> npt.NDArray[np.uint64]:
    """The packets that came to a node more than once, with different TTLs."""
    keys = _keys(arrivals)
    order = np.lexsort((arrivals["ttl"], keys))
    keys, ttls = keys[order], arrivals["ttl"][order]
    return np.unique(keys[1:][(keys[1:] == keys[:-1]) & (ttls[1:] != ttls[:-1])])


def _round(visits: list[tuple[int, str]]) -> tuple[tuple[str, ...], float, float]:
    """The cycle of one packet, when it was first and last seen."""
    nodes = [node for _, node in visits]
    for index, node in enumerate(nodes):
        if node in nodes[:index]:
            before = nodes.index(node)
            cycle = tuple(nodes[before:index])
            return min(cycle[turn:] + cycle[:turn] for turn in range(len(cycle))), visits[0][0] * _NS, visits[-1][0] * _NS
    return (nodes[0],), visits[0][0] * _NS, visits[-1][0] * _NS


def _episodes(rounds: list[tuple[tuple[str, ...], float, float]]) -> tuple[LoopEpisode, ...]:
    found: list[LoopEpisode] = []
    for cycle, group in groupby(sorted(rounds), key=lambda each: each[0]):
        begin = end = count = 0.0
        for _, first, last in group:
            if count and first - end > _QUIET:
                found.append(LoopEpisode(cycle, begin, end, int(count), 0))
                count = 0
            begin, end = (begin, max(end, last)) if count else (first, last)
            count += 1
        found.append(LoopEpisode(cycle, begin, end, int(count), 0))
    return tuple(sorted(found, key=lambda episode: episode.begin))
