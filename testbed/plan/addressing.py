"""Names, numbers and addresses of a lab: kernel ids, OpenFlow ports, MACs, datapath ids, tunnel ends; from the topology alone.

Kernel names have at most 15 characters. Numbers follow the order of the topology, so that a peering added at the end renumbers nothing.
"""

from __future__ import annotations

import hashlib

PEERING_PORT_BASE = 20000
_DPID_SHIFT = 20


def _digest(lab: str) -> int:
    return int.from_bytes(hashlib.blake2b(lab.encode(), digest_size=8).digest(), "big")


def lab_id(lab: str) -> str:
    """The short name that all kernel objects of a lab begin with: ``t`` and four hex digits of a hash of the lab's name."""
    return f"t{_digest(lab) & 0xFFFF:04x}"


def bridge_id(lab: str, number: int) -> str:
    """The name of a VNet's bridge."""
    return f"{lab_id(lab)}b{number}"


def node_id(lab: str, number: int) -> str:
    """The name of a node's namespace."""
    return f"{lab_id(lab)}n{number}"


def port_id(lab: str, number: int) -> str:
    """The name of a NIC's switch port; ``number`` counts NICs over the whole lab."""
    return f"{lab_id(lab)}p{number}"


def peering_port_id(lab: str, vnet: int, peer: int) -> str:
    """The name of a VNet's end of a peering, from the numbers of the two VNets."""
    return f"{lab_id(lab)}q{vnet}x{peer}"


def wire_id(lab: str, number: int) -> str:
    """The name of a wire outside the fabric, by its number in the lab."""
    return f"{lab_id(lab)}w{number}"


def peering_port(peer: int) -> int:
    """The OpenFlow number of a VNet's end of its peering with VNet number ``peer``; NICs count from 1, far below."""
    return PEERING_PORT_BASE + peer


def fabric_name(lab: str) -> str:
    """The name of the lab's fabric namespace."""
    return f"{lab_id(lab)}fab"


def dpid(lab: str, number: int) -> int:
    """The datapath id of a bridge: unique in the lab and, as far as a hash allows, on the machine. 63 bits."""
    return (_digest(lab) & 0x7FFFFFFFFFF) << _DPID_SHIFT | number


def mac(lab: str, number: int) -> str:
    """The MAC of a NIC: locally administered, unique in the lab by the NIC's number whatever its IP (VNets may overlap)."""
    value = 0x02 << 40 | (_digest(lab) & 0xFFFF) << 24 | number
    return ":".join(f"{value >> shift & 0xFF:02x}" for shift in range(40, -8, -8))


def wire_mac(lab: str, number: int, end: int) -> str:
    """The MAC of one end of a wire outside the fabric: above those of all NICs."""
    return mac(lab, 0x800000 | number << 1 | end)
