"""Tunnels: the far end must not be reached through the tunnel itself."""

from __future__ import annotations

import re
from collections.abc import Iterator

from testbed.azure.design_checks.finding import Case, Finding
from testbed.azure.fib import outer_addresses
from testbed.azure.lookup import covers
from testbed.azure.networks import tunnel_name
from testbed.model.addresses import subnet_of

_STATIC_ROUTE = re.compile(r"^\s*ip route ([0-9.]+/[0-9]{1,2})\s", re.MULTILINE)


def host_routes(case: Case) -> Iterator[Finding]:
    """An NVA with a configuration of its own needs a host route to each far end; where the testbed writes it, it has one."""
    for number, tunnel in enumerate(case.topology.tunnels):
        ends = outer_addresses(case.topology, tunnel)
        for place, name in enumerate(tunnel.between):
            remote, text = ends[1 - place], case.frr_texts.get(name)
            if text is None or not remote or not tunnel.bgp or _pinned(text, remote):
                continue
            nva = case.topology.nvas[name]
            first = subnet_of(case.topology, nva.subnet).network_address + 1
            learned = f"{nva.frr_config} has no host route to {remote}: learned inside {tunnel_name(tunnel)}, the tunnel leads into itself"
            yield Finding("OV001", f"tunnels[{number}]", f"{name}: {learned}", f"ip route {remote}/32 {first}")


def _pinned(text: str, remote: str) -> bool:
    return any(covers(prefix, remote) and int(prefix.rpartition("/")[2]) == 32 for prefix in _STATIC_ROUTE.findall(text))


CHECKS = (host_routes,)
