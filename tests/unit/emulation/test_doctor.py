"""What findings mean for a plan; and that looking at this machine is quick and gives a remedy for every miss."""

from __future__ import annotations

import errno
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from testbed.emulation import doctor
from testbed.emulation.doctor import Finding, capabilities
from testbed.errors import MachineError
from testbed.model.loader import load_topology
from testbed.plan.compile import compile_plan
from testbed.plan.templates import load_templates
from testbed.plan.types import Capabilities, Choice

DESIGN = Path(__file__).parents[3] / "topologies" / "dual-region.yaml"

NAMES = ("esp", "tun", "libipsec", "openvswitch", "netem", "tbf")


def findings(*able: str, tried: bool = True) -> list[Finding]:
    return [Finding(name, name in able, "", tried=tried) for name in NAMES]


@pytest.mark.parametrize(
    ("able", "expected"),
    [
        ((), Capabilities("netdev", "none", netem=False, rate=False)),
        (("tun", "libipsec", "tbf"), Capabilities("netdev", "libipsec", netem=False, rate=True)),
        (("tun", "libipsec", "esp", "tbf", "netem", "openvswitch"), Capabilities("system", "kernel", netem=True, rate=True)),
        (("tun", "tbf"), Capabilities("netdev", "none", netem=False, rate=True)),
    ],
)
def test_capabilities_follow_the_findings(able: tuple[str, ...], expected: Capabilities) -> None:
    assert capabilities(findings(*able)) == expected


ABLE = ("tun", "libipsec", "esp", "tbf", "netem", "openvswitch")


def test_a_choice_overrides_the_best_there_is() -> None:
    assert capabilities(findings(*ABLE), Choice("netdev", "libipsec")) == Capabilities("netdev", "libipsec", netem=True, rate=True)
    assert capabilities(findings(*ABLE), Choice(delay="line")) == Capabilities("system", "kernel", netem=False, rate=True)
    assert capabilities(findings(*ABLE), Choice("system", "kernel", "netem")) == Capabilities("system", "kernel", netem=True, rate=True)


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        (Choice("system"), "--datapath system: not here"),
        (Choice("netdev", "kernel"), "--ipsec-backend kernel: not here"),
        (Choice(delay="netem"), "--delay netem: not here"),
    ],
)
def test_a_choice_that_is_not_there_is_refused_with_the_reason(choice: Choice, words: str) -> None:
    with pytest.raises(MachineError, match=words):
        capabilities([Finding(name, False, "not here") for name in NAMES], choice)


def test_what_was_not_tried_is_taken_as_on_a_plain_machine() -> None:
    assert capabilities(findings(tried=False)) == Capabilities()


def test_examining_is_quick_and_every_miss_has_a_remedy() -> None:
    start = time.monotonic()
    found = doctor.examine()
    assert time.monotonic() - start < 2.0  # it takes some 40 ms; the machine may be busy
    assert len({finding.name for finding in found}) == len(found)
    assert [finding for finding in found if finding.tried and not finding.ok and not finding.remedy] == []


def test_a_missing_program_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PROGRAMS", (doctor.Program("no-such-program", "some-package", "testing"),))
    first = doctor.examine()[0]
    assert (first.ok, first.needed, first.remedy) == (False, True, "apt-get install some-package")


def test_without_root_the_kernel_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    found = {finding.name: finding for finding in doctor.examine()}
    assert not found["root"].ok
    assert found["netem"].detail == "not tried: needs root"
    assert not found["netem"].tried


def test_a_kernel_that_cannot_sign_tcp_segments_is_told_to_who_wants_bgp_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unable(socket.socket):
        def setsockopt(self, *arguments: Any) -> None:
            raise OSError(errno.ENOPROTOOPT, "Protocol not available")

    monkeypatch.setattr("os.geteuid", lambda: 0)
    plain = load_topology(DESIGN).topology
    tunnel = plain.tunnels[0].model_copy(update={"bgp_password": True})
    plans = [compile_plan(each, templates=load_templates()) for each in (plain, plain.model_copy(update={"tunnels": (tunnel,)}))]
    assert next(finding for finding in doctor.examine() if finding.name == "tcp-md5").ok, "or the tests of passwords would fail here"
    doctor.require(plans[1])
    monkeypatch.setattr(socket, "socket", Unable)
    doctor.require(plans[0])
    with pytest.raises(MachineError, match="tcp-md5 is not able to sign TCP segments"):
        doctor.require(plans[1])
