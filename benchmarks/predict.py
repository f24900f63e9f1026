"""How long load, predict and check take on paper, and how much memory, as a design grows to 500 VNets and 4,000 routes."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REGIONS = 4
SIZES = (10, 50, 100, 200, 350, 500)
ROUTES = 4000
COMMANDS = {"predict": ("predict", "--json"), "check": ("check",), "check, own tables": ("check",)}
GOALS = {"predict": "≤ 3 s, ≤ 500 MB", "check": "≤ 5 s", "check, own tables": "≤ 5 s"}
OWN_ROUTES = 20


def measure() -> list[dict[str, str]]:
    """Each command on designs of growing size, in a process of its own; the last size is the one with a goal."""
    figures: list[dict[str, str]] = []
    with tempfile.TemporaryDirectory(prefix="testbed-benchmark-") as folder:
        for name, goal in GOALS.items():
            own = name.endswith("own tables")
            files = {size: Path(folder) / f"{size}.yaml" for size in SIZES}
            for size, path in files.items():
                path.write_text(json.dumps(with_own_tables(design(size)) if own else design(size)))
            curve = {size: run(*COMMANDS[name], str(path)) for size, path in files.items()}
            for size, (seconds, busy, megabytes) in curve.items():
                what = f"testbed {' '.join(COMMANDS[name])}: {size} VNets, {REGIONS} regions, {2 * REGIONS} NVAs, {ROUTES} routes"
                what += f", each spoke {OWN_ROUTES} UDRs of its own" if own else ""
                figures.append(
                    {
                        "what": what,
                        "measured": f"{seconds:.2f} s ({busy:.2f} s of CPU), {megabytes:.0f} MB",
                        "goal": goal if size == SIZES[-1] else "",
                    }
                )
    return figures


def run(*arguments: str) -> tuple[float, float, float]:
    """The seconds that a command of the testbed takes, those of them on a CPU, and its largest resident size in megabytes."""
    start = time.monotonic()
    null = (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)
    pid = os.posix_spawn(sys.executable, [sys.executable, "-m", "testbed.cli", *arguments], os.environ, file_actions=[null])
    _, status, usage = os.wait4(pid, 0)
    seconds = time.monotonic() - start
    if os.waitstatus_to_exitcode(status):
        raise RuntimeError(f"testbed {' '.join(arguments)} ended with {os.waitstatus_to_exitcode(status)}")
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def design(vnets: int, routes: int = ROUTES, regions: int = REGIONS) -> dict[str, Any]:
    """Hubs with a Route Server and two NVAs each, spokes with a VM each, two planes of tunnels between the NVAs."""
    spokes = [f"s{number}" for number in range(vnets - regions)]
    return {
        "name": f"size-{vnets}",
        "regions": {f"r{number}": {"vnets": dict(_vnets(number, spokes[number - 1 :: regions]))} for number in _numbers(regions)},
        "peerings": [*_hub_peerings(regions), *(side for index, spoke in enumerate(spokes) for side in _spoke(index % regions + 1, spoke))],
        "route_servers": {
            f"rs{number}": {"vnet": f"hub{number}", "peers": [f"nva{number}a", f"nva{number}b"]} for number in _numbers(regions)
        },
        "nvas": dict(_nvas(routes, regions)),
        "tunnels": list(_tunnels(regions)),
        "vms": {f"vm-{spoke}": {"subnet": f"{spoke}/w"} for spoke in spokes},
    }


def with_own_tables(plain: dict[str, Any], routes: int = OWN_ROUTES) -> dict[str, Any]:
    """The same design, every spoke with a route table of its own: to its region's first NVA, by default and for some other spokes."""
    tables: dict[str, Any] = {}
    spaces = {
        vnet: (region[1:], each["address_space"][0])
        for region, declared in plain["regions"].items()
        for vnet, each in declared["vnets"].items()
        if vnet.startswith("s")
    }
    names = list(spaces)
    for place, (spoke, (region, _)) in enumerate(spaces.items()):
        others = dict.fromkeys(names[(7 * place + 13 * step + 1) % len(names)] for step in range(routes))
        prefixes = ["0.0.0.0/0", *(spaces[other][1] for other in others if other != spoke)]
        hop = {"next_hop_type": "VirtualAppliance", "next_hop_ip": f"10.{region}.0.4"}
        declared = {f"r{number}": {"prefix": prefix, **hop} for number, prefix in enumerate(prefixes)}
        tables[spoke] = {"subnets": [f"{spoke}/w"], "routes": declared}
    return {**plain, "route_tables": tables}


def _numbers(regions: int) -> range:
    return range(1, regions + 1)


def _vnets(region: int, spokes: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    subnets = {"nva": f"10.{region}.0.0/24", "RouteServerSubnet": f"10.{region}.1.0/26"}
    yield f"hub{region}", {"address_space": [f"10.{region}.0.0/16"], "subnets": subnets}
    for spoke in spokes:
        high, low = divmod(int(spoke[1:]), 256)
        yield spoke, {"address_space": [f"10.{100 + high}.{low}.0/24"], "subnets": {"w": f"10.{100 + high}.{low}.0/25"}}


def _spoke(region: int, spoke: str) -> list[dict[str, Any]]:
    return [
        {"from": f"hub{region}", "to": spoke, "allow_gateway_transit": True, "allow_forwarded_traffic": True},
        {"from": spoke, "to": f"hub{region}", "use_remote_gateways": True, "allow_forwarded_traffic": True},
    ]


def _hub_peerings(regions: int) -> list[dict[str, Any]]:
    pairs = ((one, other) for one in _numbers(regions) for other in _numbers(regions) if one != other)
    return [{"from": f"hub{one}", "to": f"hub{other}", "allow_forwarded_traffic": True} for one, other in pairs]


def _nvas(routes: int, regions: int) -> Iterator[tuple[str, dict[str, Any]]]:
    each = routes // (2 * regions)
    for number in _numbers(regions):
        for place, letter in enumerate("ab"):
            first = (2 * number + place - 2) * each
            owned = [f"172.{16 + index // 256}.{index % 256}.0/24" for index in range(first, first + each)]
            yield (
                f"nva{number}{letter}",
                {
                    "subnet": f"hub{number}/nva",
                    "ip": f"10.{number}.0.{4 + place}",
                    "asn": 65000 + 10 * number + place,
                    "as_override": True,
                    "loopbacks": owned,
                    "advertise": owned,
                },
            )


def _tunnels(regions: int) -> Iterator[dict[str, Any]]:
    for letter in "ab":
        for one in _numbers(regions):
            for other in range(one + 1, regions + 1):
                yield {"type": "vxlan", "between": [f"nva{one}{letter}", f"nva{other}{letter}"]}


if __name__ == "__main__":
    for figure in measure():
        print(f"{figure['what']:<80} {figure['measured']:>34}  {figure['goal']}")
