"""The few Linux calls that Python 3.11 lacks: namespaces, mounts, and turning checksum offload off."""

from __future__ import annotations

import array
import ctypes
import fcntl
import os
import socket
import struct

CLONE_NEWNET = 0x40000000
MS_BIND, MS_REC, MS_SHARED = 0x1000, 0x4000, 0x100000
MNT_DETACH = 2
PR_SET_CHILD_SUBREAPER = 36
_SIOCETHTOOL = 0x8946
_ETHTOOL_STXCSUM = 0x17
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def new_network_namespace() -> None:
    """Move the calling thread into a fresh network namespace."""
    _checked(_libc.unshare(CLONE_NEWNET), "unshare")


def enter_network_namespace(descriptor: int) -> None:
    """Move the calling thread into the network namespace that ``descriptor`` is open on."""
    _checked(_libc.setns(descriptor, CLONE_NEWNET), "setns")


def mount(source: str, target: str, flags: int) -> None:
    """mount(2) without a file system type or data."""
    _checked(_libc.mount(source.encode(), target.encode(), b"none", ctypes.c_ulong(flags), None), f"mount {target}")


def unmount(target: str) -> None:
    """umount2(2), lazily. Raises OSError (EINVAL) when nothing is mounted there."""
    _checked(_libc.umount2(target.encode(), MNT_DETACH), f"umount {target}")


def become_subreaper() -> None:
    """Orphaned descendants become children of this process, so that their end is noticed."""
    _checked(_libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl")


def transmit_checksums_in_software(interface: str) -> None:
    """``ethtool -K INTERFACE tx off`` in the current namespace: or what forwards in userspace forwards unfinished sums."""
    value = array.array("B", struct.pack("=II", _ETHTOOL_STXCSUM, 0))
    request = struct.pack("16sP16x", interface.encode(), value.buffer_info()[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCETHTOOL, request)


def is_up(interface: str) -> bool:
    """Whether an interface of the current namespace is up, as far as this end goes."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        return bool(_flags(control, interface) & _IFF_UP)


def set_link(interface: str, *, up: bool) -> None:
    """``ip link set INTERFACE up|down`` in the current namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        flags = _flags(control, interface)
        flags = flags | _IFF_UP if up else flags & ~_IFF_UP
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH14x", interface.encode(), flags))


def _flags(control: socket.socket, interface: str) -> int:
    answer = fcntl.ioctl(control, _SIOCGIFFLAGS, struct.pack("16sH14x", interface.encode(), 0))
    return int(struct.unpack("16sH14x", answer)[1])
