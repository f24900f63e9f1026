"""IPsec on the real machine: where the keys are, that the guard is needed, and what is said when two ends do not agree."""

from __future__ import annotations

import json
import pwd
import signal
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from testbed.emulation import client, enter, lab, lock, processes, readiness
from testbed.emulation.charon import security_associations
from testbed.emulation.client import LabClient
from testbed.emulation.evidence import collect
from testbed.errors import NotReady
from testbed.model.loader import parse_topology
from testbed.model.topology import Topology
from testbed.plan.compile import compile_plan
from testbed.plan.mismatch import mismatched
from testbed.plan.templates import load_templates
from testbed.plan.types import Plan
from testbed.scenario.live import LiveLab
from testbed.wait import poll, wait_until

pytestmark = pytest.mark.root

TWO_ENDS = """
name: keys
regions:
  region1: {vnets: {hub1: {address_space: [10.1.0.0/16], subnets: {nva: 10.1.0.0/24, work: 10.1.1.0/24}}}}
  region2: {vnets: {hub2: {address_space: [10.2.0.0/16], subnets: {nva: 10.2.0.0/24}}}}
peerings: [{from: hub1, to: hub2}, {from: hub2, to: hub1}]
nvas:
  nva1: {subnet: hub1/nva, asn: 65001}
  nva2: {subnet: hub2/nva, asn: 65002, loopbacks: [192.0.2.1/32], advertise: [192.0.2.1/32]}
tunnels:
  - {type: ipsec, between: [nva1, nva2], bgp_password: true}
vms:
  vm1: {subnet: hub1/work}
"""


@pytest.fixture
def topology() -> Topology:
    return parse_topology(TWO_ENDS).topology


@pytest.fixture
def plan(topology: Topology, lab_name: str) -> Plan:
    return compile_plan(topology, lab=lab_name, templates=load_templates())


@pytest.fixture
def up(plan: Plan, down: Callable[[str], float]) -> Iterator[LabClient]:
    yield client.up(plan, lambda stage, seconds: None)
    down(plan.lab)


def carries(lab: LabClient) -> None:
    def there() -> str | None:
        return next((f"{tunnel.name} is silent" for tunnel, answered in readiness.tunnel_answers(lab.plan, 0.3) if not answered), None)

    wait_until(there, what="the tunnel", budget=10.0)


def keys_of(lab: LabClient) -> dict[str, str]:
    return msgspec.json.decode(lab.paths.keys.read_bytes(), type=dict[str, str])


def test_keys_are_where_they_are_used_and_nowhere_else(up: LabClient, topology: Topology, tmp_path: Path) -> None:
    keys = keys_of(up)
    assert sorted(keys) == ["bgp-nva1-nva2", "nva1-nva2"]
    files = [file for file in up.paths.dir.rglob("*") if file.is_file()]
    for name, reader, user in (("nva1-nva2", "swanctl.conf", "root"), ("bgp-nva1-nva2", "bgpd.conf", "frr")):
        holders = [file for file in files if keys[name].encode() in file.read_bytes()]
        assert sorted(file.name for file in holders) == sorted(["keys.json", reader, reader])
        for file in holders:
            found = file.stat()
            owner = pwd.getpwnam("root" if file.name == "keys.json" else user)
            assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (owner.pw_uid, 0o600), file
    assert any(file.name == "charon.log" for file in files)

    for process in Path("/proc").glob("[0-9]*"):
        try:
            said = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue  # gone meanwhile
        assert not any(key.encode() in said for key in keys.values()), process

    collect(up.plan, up.paths, tmp_path / "bundle")
    bundled = [file for file in (tmp_path / "bundle").rglob("*") if file.is_file()]
    assert {"nva1.swanctl.conf", "nva1.charon.log", "nva1.sas.json"} <= {file.name for file in bundled}
    assert [file for file in bundled if any(key.encode() in file.read_bytes() for key in keys.values())] == []
    told = json.dumps([up.status(), up.controller("GET", "/status")]) + security_associations(up.plan, up.paths, "nva1")
    assert not any(key in told for key in keys.values())


def test_keys_are_in_no_record_and_no_report(lab_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole run of a scenario with IPsec and BGP passwords that fails, so that it leaves a bundle, too."""
    from testbed.cli import conduct
    from testbed.model.scenario_file import load_scenario
    from testbed.scenario.runner import CheckResult, StepResult

    secrets: list[bytes] = []

    def take(scenario: object, live: LiveLab, tell: object) -> list[StepResult]:
        secrets.extend(key.encode() for key in keys_of(live.client).values())
        return [StepResult("made to fail", checks=[CheckResult("nothing", False, "made to fail", 0.0)])]

    monkeypatch.setattr(conduct, "take", take)
    loaded = load_scenario(Path(__file__).parents[2] / "scenarios" / "internet-overlay.yaml")
    conduct.conduct(loaded, tmp_path, lab_name=lab_name, keep=False, prompt_on_failure=False, quiet=True)
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert {"record.json", "report.html", "nva1.charon.log", "nva1.swanctl.conf"} <= {file.name for file in files}
    assert len(secrets) >= 2
    assert [file for file in files if any(secret in file.read_bytes() for secret in secrets)] == []


def test_keys_outlive_labd_and_charon(up: LabClient) -> None:
    before = keys_of(up)
    who = lock.holder(up.paths)
    assert who is not None
    processes.end([who])
    up.stop_daemon("nva1", "charon", signal.SIGKILL)  # a new labd adopts the lab to do that
    assert [answered for _, answered in readiness.tunnel_answers(up.plan, 0.3)] == [False]
    up.start_daemon("nva1", "charon")
    carries(up)
    assert keys_of(up) == before


def test_a_peer_that_falls_silent_is_found_dead_and_taken_again(up: LabClient) -> None:
    """Dead-peer detection: nothing of the peer is left of the association, no death of a process told anybody."""

    def state() -> str:
        return security_associations(up.plan, up.paths, "nva1")

    assert "ESTABLISHED" in state()
    up.set_link(up=False, nic=up.plan.node("nva2").nics[0].label)
    wait_until(lambda: "nva1 still has it" if "ESTABLISHED" in state() else None, what="dead-peer detection", budget=15.0)
    log = (up.paths.node(up.plan.node("nva1")) / "charon.log").read_text()
    assert "sending DPD request" in log
    assert "giving up after 5 retransmits" in log
    up.set_link(up=True, nic=up.plan.node("nva2").nics[0].label)
    carries(up)


def test_without_the_guard_packets_would_be_seen_in_clear(up: LabClient, topology: Topology) -> None:
    """What looks for them can find them: with charon dead and its guard gone, BGP and BFD of the tunnel are on the wire as they are."""
    live = LiveLab(up, topology, lambda *_: up.plan)

    def seen() -> tuple[int, int]:
        return live.readable_on_link(("nva1", "hub1"), (), lambda: poll(lambda: "go on", budget=2.0, interval=0.1))

    readable, frames = seen()
    assert readable == 0 < frames
    up.stop_daemon("nva1", "charon", signal.SIGKILL)
    assert seen()[0] == 0
    assert enter.run(up.plan, up.paths, "nva1", ("nft", "flush", "table", "inet", "ipsec_guard")).returncode == 0
    assert seen()[0] > 0


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("key", r"tunnel nva1-nva2 does not carry packets; charon: .*(AUTHENTICATION_FAILED|MAC mismatched)"),
        ("proposals", r"tunnel nva1-nva2 does not carry packets; charon: .*(NO_PROPOSAL_CHOSEN|proposals unacceptable)"),
        ("password", r"1 of 1 BGP sessions are not up, e.g. nva1 - nva2"),
    ],
)
def test_two_ends_that_never_agreed_say_why_and_leave_evidence(
    plan: Plan, what: str, words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for stage in ("tunnels", "sessions"):
        monkeypatch.setitem(lab.BUDGETS, stage, 2.0)
    with pytest.raises(NotReady, match=words):
        client.up(mismatched(plan, "nva1-nva2", what), lambda stage, seconds: None, evidence=tmp_path)
    assert client.labs() == ()
    left = {file.name for file in tmp_path.rglob("*")}
    assert {"nva1.bgpd.conf", "nva1.bgp.json", "nva2.charon.log", "nva2.sas.json", "labd-status.json"} <= left


def test_two_labs_have_different_keys(up: LabClient, topology: Topology, down: Callable[[str], float]) -> None:
    second = f"{up.lab}-b"
    other = client.up(compile_plan(topology, lab=second, templates=load_templates()), lambda stage, seconds: None)
    try:
        assert set(keys_of(up).values()).isdisjoint(keys_of(other).values())
    finally:
        down(second)
