"""What an attacker would write into a file: values for any place of a design, and a design that has every place."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import yaml
from plan.designs import ON_PREMISES

MARK = "zq9"
"""Stands in every hostile text, so that it can be found again wherever it got to."""

TEXTS = (
    f"; rm -rf / {MARK}",
    f"$(touch /tmp/{MARK})",
    f"`touch /tmp/{MARK}`",
    f"| {MARK} &",
    f"../../{MARK}",
    f"/etc/{MARK}",
    f"-rf{MARK}",
    f"--{MARK}",
    f"{MARK}\nneighbor 10.0.0.9 remote-as 1",
    f"{MARK}\n!\nlog file /etc/passwd",
    f"{MARK}\r\nend",
    f"{MARK} dev lo",
    f"{MARK}\tx",
    f"{MARK}\x00",
    f"{MARK}\x1b[31m",
    f"{MARK}\u202e\u2028",
    f"{MARK}{{dir}}{{secret:x}}{{{{ 7 * 7 }}}}{{% for %}}",
    f'{MARK}"; }} table x {{',
    f"{MARK},actions=output:1",
    f"{MARK}é🎉",
    MARK + "x" * 300,
    f"{MARK}\ud800",
)
OTHERS: tuple[Any, ...] = (
    None, True, [], {}, [[]], {"a": {}}, "", " ", "~", 0, -1, 2**31, 2**63, 10**30, 0.5, 1e300, float("nan"), float("inf"), ["x"] * 200,
)  # fmt: skip

DESIGN: dict[str, Any] = yaml.safe_load(ON_PREMISES) | {
    "description": "every section of the format",
    "load_balancers": {"ilb1": {"subnet": "hub1/nva", "ip": "10.1.0.100", "backends": ["nva1"]}},
    "bgp_sessions": [{"between": ["nva1", "nva2"], "bfd": False}],
    "route_tables": {
        "t1": {
            "subnets": ["spoke11/workload"],
            "disable_bgp_route_propagation": True,
            "routes": {"r1": {"prefix": "10.21.0.0/16", "next_hop_type": "VirtualAppliance", "next_hop_ip": "10.1.0.4"}},
        }
    },
    "links": {"region1-region2": {"delay": "10ms", "jitter": "1ms", "loss": 0.5, "rate": "1gbit"}},
    "timers": {"bgp": {"keepalive": "1s", "hold": "3s"}, "bfd": {"interval": "100ms", "multiplier": 3}},
    "overlay_pool": "198.18.0.0/16",
    "limits": {"peers": 8, "routes_per_peer": 4000, "azure_asns": ["8074", "65517-65520"]},
    "assumptions": {"aspath_tie": "both"},
    "suppress": [{"code": "RS008", "at": "nva1", "reason": "known and accepted"}],
}
DESIGN["nvas"]["nva1"] |= {
    "neighbors": {"rs1": {"as_path_exclude": [65515], "prepend": 2, "communities": ["no-advertise", "65001:1"], "next_hop": "10.1.0.100"}},
    "loopbacks": ["192.0.2.1/32"],
    "advertise": ["192.0.2.1/32"],
    "prepend": {"192.0.2.1/32": 1},
    "extra_nics": [{"name": "outside", "subnet": "hub1/nva", "ip": "10.1.0.50", "public_ip": "203.0.113.77"}],
}
DESIGN["tunnels"][0]["name"] = "t1"

SCENARIO: dict[str, Any] = {
    "name": "hostile",
    "description": "every kind of place",
    "topology": "design.yaml",
    "budgets": {"hold-timer": "5s"},
    "steps": [
        {
            "stage": "a stage",
            "within": "5s",
            "budget": "hold-timer",
            "do": [
                {"announce": {"nva": "nva1", "prefix": "192.0.2.0/24", "count": 2}},
                {"fail": {"node": "nva1", "daemon": "bgpd"}},
                {"heal": {"tunnel": "t1"}},
                {"neighbor": {"nva": "nva1", "neighbor": "rs1", "settings": {"communities": ["no-advertise"]}}},
                {"route": {"table": "t1", "route": "r2", "prefix": "10.9.0.0/16", "next_hop_type": "None"}},
                {"capture": {"file": "frames", "node": "nva1"}},
            ],
            "expect": [
                {"sessions": {"kind": "route_server", "established": 4}},
                {"session": {"between": ["rs1", "nva1"], "up": False, "reason": "closed"}},
                {"learned": {"route_server": "rs1", "peer": "nva1", "prefix": "192.0.2.1/32", "as_path": [65001], "dropped": "RS8"}},
                {"effective_route": {"nic": ["vm11"], "prefix": "192.0.2.1/32", "next_hop_type": "Internet", "next_hops": ["10.1.0.4"]}},
                {"delivered": {"from": "all", "to": ["vm21"], "ttl_down": 2}},
                {"looping": {"from": "vm11", "to": "vm21", "at": "10.1.0.4"}},
                {"explained": {"from": "vm11", "to": "10.9.9.9", "verdict": "dropped", "because": "RS8"}},
                {"only_on_link": {"link": ["hub1", "hub2"], "kinds": ["udp/4500"], "from": "vm11", "to": "vm21"}},
            ],
        }
    ],
}

Place = tuple[str | int, ...]


def places(data: Any, at: Place = ()) -> Iterator[tuple[Place, bool]]:
    """Every place of some data, with whether it is a key (to be renamed) or a value (to be replaced)."""
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for step, value in items:
        yield (*at, step), False
        if isinstance(step, str):
            yield (*at, step), True
        yield from places(value, (*at, step))


def put(data: Any, place: Place, is_key: bool, value: Any) -> Any:
    """A copy of the data with the value (or, if ``is_key``, the name) at that place replaced."""
    copy = deepcopy(data)
    here = copy
    for step in place[:-1]:
        here = here[step]
    if is_key:
        here[value] = here.pop(place[-1])
    else:
        here[place[-1]] = deepcopy(value)
    return copy


def strings(data: Any) -> Iterator[str]:
    """Every text in plain data, keys too."""
    if isinstance(data, str):
        yield data
    elif isinstance(data, dict):
        for key, value in data.items():
            yield str(key)
            yield from strings(value)
    elif isinstance(data, list | tuple):
        for value in data:
            yield from strings(value)
