"""strongSwan in a node: one charon for all its tunnels, its configuration, and the guard that lets nothing out in clear."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from testbed.plan.overlay import IPSEC_MTU
from testbed.plan.templates import Templates
from testbed.plan.types import Capabilities, Daemon, TunnelPlan

CHARON = "/usr/sbin/charon-systemd"
SWANCTL = "/usr/sbin/swanctl"
_TCP_OVERHEAD = 40
_WORD = re.compile(r"[^A-Za-z0-9_\-]")


class Ipsec(NamedTuple):
    """What a node runs for its tunnels: files, the rules of its guard, and charon."""

    files: dict[str, str]
    nftables: str
    daemon: Daemon


def secret(tunnel: TunnelPlan) -> str:
    """The place of a tunnel's pre-shared key in a file: the emulation puts a random key of the lab there, the same at both ends."""
    return f"{{secret:{connection_name(tunnel)}}}"


def connection_name(tunnel: TunnelPlan) -> str:
    """What charon calls a tunnel: its name as one word."""
    return _WORD.sub("-", tunnel.name)


def ipsec(templates: Templates, node: str, ends: Sequence[tuple[TunnelPlan, int]], able: Capabilities) -> Ipsec | None:
    """The IPsec of a node with these tunnel ends, or None when none of them is protected."""
    protected = [(tunnel, end) for tunnel, end in ends if tunnel.type == "ipsec"]
    if not protected:
        return None
    tunnels = [
        {
            "name": connection_name(tunnel),
            "local": tunnel.bound[end],
            "remote": tunnel.outer[1 - end],
            "local_id": tunnel.nodes[end],
            "remote_id": tunnel.nodes[1 - end],
            "local_vtep": tunnel.vtep[end],
            "remote_vtep": tunnel.vtep[1 - end],
            "secret": secret(tunnel),
        }
        for tunnel, end in protected
    ]
    files = {
        "strongswan.conf": templates.render("strongswan.conf.j2", hostname=node, userspace=able.ipsec != "kernel"),
        "swanctl.conf": templates.render("swanctl.conf.j2", hostname=node, tunnels=tunnels),
    }
    guard = templates.render(
        "ipsec-guard.nft.j2",
        hostname=node,
        remote_vteps=[each["remote_vtep"] for each in tunnels],
        mss=IPSEC_MTU - _TCP_OVERHEAD,
    )
    return Ipsec(files, guard, _charon(able))


_FLUSH = (("ip", "xfrm", "state", "flush"), ("ip", "xfrm", "policy", "flush"))
"""What userspace ESP loses with its process, the kernel would keep: a dead charon means the same with either."""


def _charon(able: Capabilities) -> Daemon:
    """IKEv2 in a process of its own, without systemd and without a pid file in /run."""
    load = (SWANCTL, "--load-all", "--noprompt", "--file", "{dir}/swanctl.conf", "--uri", "unix://{dir}/charon.vici")
    environment = {"STRONGSWAN_CONF": "{dir}/strongswan.conf"}
    return Daemon(
        "charon", (CHARON,), ready="charon.vici", environment=environment, start=(load,), stop=_FLUSH if able.ipsec == "kernel" else ()
    )
