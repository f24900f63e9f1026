"""What is done to IPsec tunnels of a live lab: new keys while packets flow."""

from __future__ import annotations

import re

from testbed.emulation.charon import swanctl
from testbed.emulation.client import LabClient
from testbed.errors import InputError
from testbed.plan.ipsec import connection_name
from testbed.plan.types import Plan
from testbed.wait import wait_until

BUDGET = 5.0
"""Seconds within which both ends should use the new keys."""
_SPI = re.compile(r"\bstate=INSTALLED\b[^{}]*\bspi-in=([0-9a-f]+)")  # an old one is kept for a while, as DELETED
_COOKIE = re.compile(r"\bstate=ESTABLISHED\b[^{}]*\binitiator-spi=([0-9a-f]+)")


def rekey(client: LabClient, plan: Plan, name: str) -> None:
    """Replace the keys of a tunnel, of its packets and of IKE itself, and wait until they are in use.

    Raises InputError when there is no such IPsec tunnel, LabError when charon refuses, NotReady when nothing changes.
    """
    tunnel = next((each for each in plan.tunnels if each.name == name and each.type == "ipsec"), None)
    if tunnel is None:
        known = ", ".join(each.name for each in plan.tunnels if each.type == "ipsec") or "none"
        raise InputError(f"no IPsec tunnel named {name}", f"known: {known}")
    node, connection = tunnel.nodes[0], connection_name(tunnel)
    for what, key in (("--child", _SPI), ("--ike", _COOKIE)):
        before = _numbers(client, plan, node, connection, key)
        swanctl(plan, client.paths, node, "--rekey", what, connection)

        def check(before: frozenset[str] = before, key: re.Pattern[str] = key) -> str | None:
            now = _numbers(client, plan, node, connection, key)
            return None if now and not now & before else f"{node} still uses the old keys"

        wait_until(check, what=f"rekeying of {name}", budget=BUDGET, interval=0.02)


def _numbers(client: LabClient, plan: Plan, node: str, connection: str, kind: re.Pattern[str]) -> frozenset[str]:
    return frozenset(kind.findall(swanctl(plan, client.paths, node, "--list-sas", "--ike", connection, "--raw")))
