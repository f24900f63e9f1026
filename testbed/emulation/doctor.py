"""What this machine can emulate: programs, privilege, kernel features, resources; each miss with its remedy."""

from __future__ import annotations

import os
import resource
import shutil
import socket
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen

from msgspec import Struct

from testbed.emulation import netns, syscalls
from testbed.errors import MachineError
from testbed.plan.sessions import BGP_PASSWORD
from testbed.plan.types import Capabilities, Choice, Plan

FRR_DIR = "/usr/lib/frr"
IPSEC_PLUGIN = Path("/usr/lib/ipsec/plugins/libstrongswan-kernel-libipsec.so")
MEMORY_NEEDED = 500 * 2**20
"""Bytes: what the dual-region design takes, with some room."""
FILES_NEEDED = 1024
_NOT_TRIED = "not tried: needs root"
_TCP_MD5SIG = 14
_GCM_KEY = "0x" + "01" * 36


class Finding(Struct, frozen=True):
    """One thing looked at. ``needed``: without it nothing can be built; otherwise something is left out or done another way."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""
    needed: bool = False
    tried: bool = True


class Program(Struct, frozen=True):
    """A program the testbed runs: the Debian package that brings it, and what for."""

    name: str
    package: str
    purpose: str
    needed: bool = True
    folder: str = ""


PROGRAMS = (
    Program("ip", "iproute2", "namespaces, links, addresses"),
    Program("tc", "iproute2", "rate and delay of links"),
    Program("ovs-vswitchd", "openvswitch-switch", "VNets as switches"),
    Program("ovsdb-server", "openvswitch-switch", "VNets as switches"),
    Program("ovsdb-tool", "openvswitch-common", "VNets as switches"),
    Program("mnexec", "mininet", "commands in Mininet's prompt"),
    Program("zebra", "frr", "NVAs and routers", folder=FRR_DIR),
    Program("bgpd", "frr", "NVAs, routers and Route Server instances", folder=FRR_DIR),
    Program("bfdd", "frr", "failure detection between NVAs", folder=FRR_DIR),
    Program("vtysh", "frr", "checking FRR configurations, looking into daemons"),
    Program("nft", "nftables", "translation and packet filters in nodes", needed=False),
    Program("ethtool", "ethtool", "looking at interfaces", needed=False),
    Program("tcpdump", "tcpdump", "captures by hand", needed=False),
    Program("ping", "iputils-ping", "probes by hand", needed=False),
    Program("iperf3", "iperf3", "throughput", needed=False),
    Program("charon-systemd", "charon-systemd", "IPsec tunnels", needed=False),
    Program("swanctl", "strongswan-swanctl", "IPsec tunnels", needed=False),
    Program("dot", "graphviz", "`testbed graph`", needed=False),
    Program("faketime", "faketime", "time-lapse: BGP timers at a multiple of their speed", needed=False),
)

_PROBES: tuple[tuple[str, tuple[str, ...], str, bool], ...] = (
    ("veth", ("ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1"), "a kernel with CONFIG_VETH", True),
    (
        "vxlan",
        ("ip", "link", "add", "vx0", "type", "vxlan", "id", "1", "local", "192.0.2.1", "remote", "192.0.2.2", "dstport", "4789"),
        "a kernel with CONFIG_VXLAN: no overlay between NVAs without it",
        True,
    ),
    ("tbf", ("tc", "qdisc", "add", "dev", "lo", "root", "tbf", "rate", "1mbit", "burst", "10kb", "latency", "50ms"), "", False),
    ("htb", ("tc", "qdisc", "add", "dev", "v8", "root", "htb"), "", False),
    ("netem", ("tc", "qdisc", "add", "dev", "v9", "root", "netem", "delay", "1ms"), "", False),
    (
        "esp",
        (
            "ip", "xfrm", "state", "add", "src", "192.0.2.1", "dst", "192.0.2.2", "proto", "esp", "spi", "0x100", "reqid", "1",
            "mode", "tunnel", "aead", "rfc4106(gcm(aes))", _GCM_KEY, "128",
        ),
        "",
        False,
    ),
)  # fmt: skip


def examine() -> tuple[Finding, ...]:
    """Look at this machine: kernel features are tried in a network namespace that ends with the attempt, their modules stay loaded."""
    versions = _package_versions()
    return (
        *(_program(program, versions.get(program.package, "")) for program in PROGRAMS),
        _privilege(),
        *_kernel(),
        _tun(),
        _userspace_ipsec(),
        _kernel_datapath(),
        _tcp_signatures(),
        _memory(),
        _open_files(),
    )


def capabilities(findings: Iterable[Finding], choice: Choice | None = None) -> Capabilities:
    """What the plan depends on, as far as ``choice`` leaves it open. Raises MachineError when a choice is not there.

    What was not tried counts as absent, but for the rate of links, which every kernel shapes.
    """
    choice = choice or Choice()
    by_name = {finding.name: finding for finding in findings}
    able = {name for name, finding in by_name.items() if finding.ok}
    ipsec = "kernel" if "esp" in able else "libipsec" if {"tun", "libipsec"} <= able or not by_name["esp"].tried else "none"
    _check_choice(choice, by_name)
    return Capabilities(
        datapath=_chosen(choice.datapath, "system" if "openvswitch" in able else "netdev"),
        ipsec=_chosen(choice.ipsec, ipsec),
        netem=_chosen(choice.delay, "netem" if "netem" in able else "line") == "netem",
        rate="tbf" in able or not by_name["tbf"].tried,
    )


def _chosen(choice: str, best: str) -> str:
    return best if choice == "auto" else choice


_NEEDS = {
    "datapath system": ("openvswitch",),
    "ipsec-backend kernel": ("esp",),
    "ipsec-backend libipsec": ("tun", "libipsec"),
    "delay netem": ("netem",),
}


def _check_choice(choice: Choice, findings: Mapping[str, Finding]) -> None:
    for wanted in (f"datapath {choice.datapath}", f"ipsec-backend {choice.ipsec}", f"delay {choice.delay}"):
        for name in _NEEDS.get(wanted, ()):
            if not findings[name].ok:
                raise MachineError(f"--{wanted}: {findings[name].detail}", findings[name].remedy or "leave the option out")


def require(plan: Plan) -> None:
    """Raise MachineError unless we are root and every program that the plan needs is there; all that is missing at once."""
    if os.geteuid() != 0:
        raise MachineError("building a lab needs root", "run it with sudo")
    wanted = {program.name for program in PROGRAMS if program.needed}
    if any(node.nftables.strip() for node in plan.nodes):
        wanted.add("nft")
    if any(tunnel.type == "ipsec" for tunnel in plan.tunnels):
        wanted |= {"charon-systemd", "swanctl"}
    if plan.time_lapse != 1.0:
        wanted.add("faketime")
    missing = [finding for program in PROGRAMS if program.name in wanted and not (finding := _program(program, "")).ok]
    if any(BGP_PASSWORD in text for node in plan.nodes for text in node.files.values()) and not (signing := _tcp_signatures()).ok:
        missing.append(signing)
    if missing:
        remedies = dict.fromkeys(finding.remedy for finding in missing)
        raise MachineError("\n".join(f"{finding.name} is {finding.detail}" for finding in missing), "; ".join(remedies))


def _program(program: Program, version: str) -> Finding:
    path = shutil.which(program.name, path=program.folder or f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if path is None:
        return Finding(program.name, False, f"not found ({program.purpose})", f"apt-get install {program.package}", program.needed)
    return Finding(program.name, True, f"{path} {version}".strip(), needed=program.needed)


def _package_versions() -> dict[str, str]:
    """The versions of the installed Debian packages, in one call; empty on a distribution without dpkg."""
    packages = sorted({program.package for program in PROGRAMS})
    try:
        query = Popen(["dpkg-query", "-W", "-f", "${Package} ${Version}\n", *packages], stdout=PIPE, stderr=DEVNULL, text=True)
    except OSError:
        return {}
    lines = query.communicate()[0].splitlines()
    return {fields[0]: fields[1] for line in lines if len(fields := line.split()) == 2}


def _privilege() -> Finding:
    ok = os.geteuid() == 0
    return Finding(
        "root", ok, "running as root" if ok else "not root", "" if ok else "sudo, or ./testbed.sh which asks for it", needed=True
    )


def _kernel() -> list[Finding]:
    """Try kernel features, all at once, in a network namespace of a thread of its own."""
    if os.geteuid() != 0:
        return [Finding(name, False, _NOT_TRIED, needed=needed, tried=False) for name, needed in [("netns", True), *_named()]]

    def attempts() -> list[tuple[str, tuple[str, ...], Popen[str]]]:
        syscalls.new_network_namespace()
        _run(("ip", "link", "add", "v9", "type", "veth", "peer", "name", "v8"))
        return [(name, argv, _open(argv)) for name, argv, _, _ in _PROBES]

    try:
        running = netns.in_thread(attempts)
    except OSError as error:
        return [Finding("netns", False, str(error), "a kernel with CONFIG_NET_NS, outside of a restricted container", needed=True)]
    findings = [Finding("netns", True, "network namespaces", needed=True)]
    for (name, argv, process), (_, _, remedy, needed) in zip(running, _PROBES, strict=True):
        words = process.communicate()[1].strip().splitlines() or ["failed"]
        ok = process.returncode == 0
        detail = f"tried: {' '.join(argv[:4])} …" if ok else words[-1]
        findings.append(Finding(name, ok, detail, "" if ok else remedy or _LOSSES[name], needed))
    return findings


_LOSSES = {
    "tbf": "the rate of links is not limited (a kernel with CONFIG_NET_SCH_TBF does)",
    "htb": "classes of traffic cannot be told apart (a kernel with CONFIG_NET_SCH_HTB does)",
    "netem": "a process delays and drops packets instead, within a millisecond up to some 10,000 packets/s (CONFIG_NET_SCH_NETEM is exact)",
    "esp": "IPsec runs in userspace, at some 300 Mb/s (a kernel with CONFIG_INET_ESP and AES-GCM is faster)",
}


def _named() -> list[tuple[str, bool]]:
    return [(name, needed) for name, _, _, needed in _PROBES]


def _open(argv: tuple[str, ...]) -> Popen[str]:
    return Popen(argv, stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE, text=True)


def _run(argv: tuple[str, ...]) -> None:
    _open(argv).communicate()


def _tun() -> Finding:
    ok = Path("/dev/net/tun").is_char_device()
    return Finding(
        "tun", ok, "/dev/net/tun" if ok else "no /dev/net/tun", "" if ok else "modprobe tun; userspace switches and IPsec need it", True
    )


def _userspace_ipsec() -> Finding:
    ok = IPSEC_PLUGIN.exists()
    return Finding("libipsec", ok, str(IPSEC_PLUGIN) if ok else "not found", "" if ok else "apt-get install libcharon-extra-plugins")


def _kernel_datapath() -> Finding:
    """The kernel's own switch: there, or a module; root loads it, as the kernel itself does with those that are tried."""
    if Path("/sys/module/openvswitch").exists():
        return Finding("openvswitch", True, "the kernel's datapath is loaded")
    dry = () if os.geteuid() == 0 else ("--dry-run",)
    if shutil.which("modprobe", path="/sbin:/usr/sbin") and _succeeds(("modprobe", "--quiet", *dry, "openvswitch")):
        return Finding("openvswitch", True, "the kernel's datapath can be loaded" if dry else "the kernel's datapath has been loaded")
    return Finding("openvswitch", False, "no kernel datapath", "the userspace datapath is used: slower, otherwise the same")


def _tcp_signatures() -> Finding:
    """Try to sign segments (RFC 2385) of a socket that is closed at once."""
    address = struct.pack("=HH4s120x", socket.AF_INET, 0, socket.inet_aton("127.0.0.1"))
    key = b"a key"
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tried:
            tried.setsockopt(socket.IPPROTO_TCP, _TCP_MD5SIG, address + struct.pack("=BBHi80s", 0, 0, len(key), 0, key))
    except OSError as error:
        text = "no BGP passwords (`bgp_password`) without a kernel with CONFIG_TCP_MD5SIG"
        return Finding("tcp-md5", False, f"not able to sign TCP segments ({error.strerror})", text)
    return Finding("tcp-md5", True, "TCP segments can be signed")


def _succeeds(argv: tuple[str, ...]) -> bool:
    try:
        process = _open(argv)
    except OSError:
        return False
    process.communicate()
    return process.returncode == 0


def _memory() -> Finding:
    lines = Path("/proc/meminfo").read_text().splitlines()
    free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    remedy = "" if free >= MEMORY_NEEDED else f"free some: the dual-region design takes about {MEMORY_NEEDED >> 20} MB"
    return Finding("memory", not remedy, f"{free >> 20} MB available", remedy)


def _open_files() -> Finding:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    ok = limit == resource.RLIM_INFINITY or limit >= FILES_NEEDED
    return Finding("open files", ok, f"at most {limit} a process", "" if ok else f"ulimit -n {FILES_NEEDED}")
