"""Goodput by iperf3 between two namespaces: TCP, or UDP at a given rate."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed.errors import LabError, MachineError
from testbed.measure.cpu import CpuUse, cpu_use, read_cpu, with_descendants
from testbed.netns import run_in
from testbed.wait import wait_until

PORT = 5201
_LISTEN = "0A"
_SPARE = 10.0  # seconds beyond the test's own length, for connecting and for the report


@dataclass(frozen=True)
class Goodput:
    """What arrived as payload: bit/s over ``seconds`` as the receiver counts; TCP retransmissions; UDP datagrams sent and lost, else 0."""

    bits_per_second: float
    seconds: float
    retransmits: int
    packets: int
    lost: int
    cpu: CpuUse

    @property
    def packets_per_second(self) -> float:
        """UDP datagrams that arrived, per second."""
        return (self.packets - self.lost) / self.seconds


def goodput(
    client: str,
    server: str,
    address: str,
    *,
    seconds: float = 5.0,
    port: int = PORT,
    udp_rate: float = 0.0,
    length: int = 0,
    streams: int = 1,
    reverse: bool = False,
    own: Sequence[int] = (),
) -> Goodput:
    """Run iperf3 from namespace ``client`` to ``address`` in namespace ``server`` for ``seconds``; both ends are gone afterwards.

    ``udp_rate`` in bit/s selects UDP; ``length`` is the payload of a write or datagram in bytes (0: iperf3's own choice). ``own``: pids of
    the lab. Raises MachineError without iperf3, LabError with iperf3's words when it fails.
    """
    argv = ["iperf3", "--client", address, "--port", str(port), "--time", f"{seconds:g}", "--parallel", str(streams), "--json"]
    argv += ["--udp", "--bitrate", f"{udp_rate:.0f}"] if udp_rate else []
    argv += ["--length", str(length)] if length else []
    argv += ["--reverse"] if reverse else []
    with _running(server, ["iperf3", "--server", "--one-off", "--port", str(port)]) as listener:
        wait_until(lambda: _not_listening(listener.pid, port), what="iperf3 server", budget=5.0)
        before = read_cpu()
        with _running(client, argv) as sender:
            try:
                output = sender.communicate(timeout=seconds + _SPARE)[0]
            except subprocess.TimeoutExpired as error:
                raise LabError(f"iperf3 to {address} did not end in {seconds + _SPARE:g} s") from error
            cpu = cpu_use(before, read_cpu(), with_descendants(own) | {os.getpid(), listener.pid, sender.pid})
    return read_report(output, cpu)


@contextmanager
def _running(namespace: str, argv: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)

    try:
        process = run_in(namespace, start)
    except FileNotFoundError as error:
        raise MachineError("iperf3 is not installed", "install the package iperf3") from error
    with process:
        try:
            yield process
        finally:
            process.kill()


def _not_listening(pid: int, port: int) -> str | None:
    """Whether nobody listens on that TCP port in the namespace of that process."""
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                return None
    return f"nobody listens on port {port}"


def read_report(output: bytes, cpu: CpuUse) -> Goodput:
    """iperf3's JSON as a Goodput. Raises LabError with what iperf3 says went wrong."""
    try:
        report: dict[str, Any] = json.loads(output)
    except ValueError as error:
        raise LabError(f"iperf3 said: {output[:200].decode(errors='replace')!r}") from error
    if problem := report.get("error"):
        raise LabError(f"iperf3: {problem}")
    end, test = report["end"], report["start"]["test_start"]
    received = end["sum_received"]
    if test["protocol"] == "UDP":
        packets, lost = end["sum"]["packets"], end["sum"]["lost_packets"]
        bits = (packets - lost) * test["blksize"] * 8 / received["seconds"]
        return Goodput(bits, received["seconds"], 0, packets, lost, cpu)
    return Goodput(received["bits_per_second"], received["seconds"], end["sum_sent"].get("retransmits", 0), 0, 0, cpu)
