"""Two ends of a tunnel that do not agree: the plan of a lab in which somebody mistyped a key, a proposal or a password. Pure."""

from __future__ import annotations

import re

from msgspec.structs import replace

from testbed.errors import InputError
from testbed.plan.ipsec import connection_name
from testbed.plan.sessions import password
from testbed.plan.types import Plan, TunnelPlan

OTHER_PROPOSALS = "aes128gcm16-prfsha256-ecp256"
_OTHER = ".other}"


def mismatched(plan: Plan, tunnel: str, what: str) -> Plan:
    """The plan with something else than agreed at the second end of a tunnel: its ``key``, its ``proposals`` or BGP's ``password``.

    Raises InputError when the tunnel has no such thing.
    """
    found = next((each for each in plan.tunnels if each.name == tunnel), None)
    if found is None:
        raise InputError(f"no tunnel named {tunnel}", f"known: {', '.join(each.name for each in plan.tunnels) or 'none'}")
    file, pattern, other = _places(found)[what]
    nodes = []
    for node in plan.nodes:
        if node.name == found.nodes[1]:
            text, count = re.subn(pattern, other, node.files.get(file, ""))
            if not count:
                raise InputError(
                    f"tunnel {tunnel} has no {what}", "keys and proposals are of IPsec tunnels, a password of `bgp_password: true`"
                )
            node = replace(node, files=node.files | {file: text})
        nodes.append(node)
    return replace(plan, nodes=tuple(nodes))


def _places(tunnel: TunnelPlan) -> dict[str, tuple[str, str, str]]:
    """By what differs: the file, what is in it, and what comes in its place."""
    name = re.escape(connection_name(tunnel))
    return {
        "key": ("swanctl.conf", rf"\{{secret:({name})\}}", r"{secret:\1" + _OTHER),
        "proposals": ("swanctl.conf", rf"(?m)(^  {name} \{{\n(?:    .*\n)*?    proposals = ).*$", rf"\g<1>{OTHER_PROPOSALS}"),
        "password": ("bgpd.conf", re.escape(password(tunnel.name))[:-2] + r"\}", password(tunnel.name)[:-1] + _OTHER),
    }
