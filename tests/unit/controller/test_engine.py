"""The engine: when it programs, when it waits, what it sends again, what it answers."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from testbed.azure.types import Announced, Session, SessionDown, SessionUp, Speaker
from testbed.azure.types import Path as BgpPath
from testbed.controller import api, openflow
from testbed.controller.bmp import EndOfRib
from testbed.controller.engine import BREATHER, RESYNC_BUDGET, Acknowledged, Engine, GroupsListed, Refused, SwitchDown, SwitchUp
from testbed.controller.journal import Journal
from testbed.controller.stations import Connected, Disconnected, Explained, Reported
from testbed.controller.switches import Epochs
from testbed.errors import InputError
from testbed.plan.types import Plan

from .designs import plan, without_spoke12

PREFIX = "10.40.0.0/16"


class Wire:
    """What a switch was sent: each message's type (14 flow mod, 15 group mod, 18 multipart, 20 barrier) and transaction number."""

    def __init__(self) -> None:
        self.messages: list[tuple[int, int, bytes]] = []

    def send(self, data: bytes) -> None:
        while data:
            length = int.from_bytes(data[2:4], "big")
            self.messages.append((data[1], int.from_bytes(data[4:8], "big"), data[:length]))
            data = data[length:]

    def barriers(self) -> list[int]:
        return [xid for kind, xid, _ in self.messages if kind == 20]

    def flow_mods(self) -> list[Any]:
        mods = (data for kind, _, data in self.messages if kind == 14)
        return [openflow.parser.msg_parser(openflow.DATAPATH, 4, 14, len(data), 0, data) for data in mods]

    def sent(self, text: str) -> bool:
        """Whether a flow to this destination was added."""
        return any(mod.command == 0 and text in str(dict(mod.match.items()).get("ipv4_dst")) for mod in self.flow_mods())

    def swept(self) -> bool:
        return any(mod.command == 3 for mod in self.flow_mods())


class Bench:
    """An engine with its switches on the bench; time passes when told."""

    def __init__(self, folder: Path, a_plan: Plan | None = None) -> None:
        self.folder = folder
        self.engine = Engine(a_plan or plan(), Journal(folder / "log" / "journal.jsonl"), Epochs(folder / "epoch"), 100.0)
        self.now = 100.0
        self.wires: dict[int, Wire] = {}

    def take(self, *notices: Any) -> None:
        self.engine.take(notices, self.now)

    def work(self) -> None:
        while self.engine.work(self.now):
            pass

    def connect(self) -> None:
        for dpid in self.engine.switches:
            self.wires[dpid] = Wire()
            self.take(SwitchUp(dpid, self.wires[dpid].send, self.now))

    def acknowledge(self) -> None:
        for dpid, wire in self.wires.items():
            for xid in wire.barriers():
                self.take(Acknowledged(dpid, xid, self.now))

    def speakers(self) -> list[Speaker]:
        return list(self.engine.synced)

    def report(self, speaker: Speaker, *reports: Any, synced: bool = True) -> None:
        self.take(Reported(speaker, reports, synced, self.now))

    def settle(self) -> None:
        for speaker in self.speakers():
            self.report(speaker)

    def converged(self) -> None:
        """All connected, all sessions of rs1 up, one prefix from nva1 and nva2."""
        self.connect()
        self.settle()
        for speaker in self.speakers():
            if speaker.server == "rs1":
                for nva, address in (("nva1", "10.1.0.4"), ("nva2", "10.1.0.5")):
                    session = Session("rs1", speaker.instance, nva)
                    self.report(speaker, SessionUp(session, 3.0), Announced(session, BgpPath(PREFIX, (65001,), address)))
        self.work()
        self.acknowledge()
        for wire in self.wires.values():
            wire.messages.clear()

    def wire(self, vnet: str) -> Wire:
        return next(self.wires[switch.bridge.dpid] for switch in self.engine.switches.values() if switch.bridge.vnet == vnet)

    def journal(self, event: str) -> list[dict[str, Any]]:
        lines = (json.loads(line) for line in (self.folder / "log" / "journal.jsonl").read_text().splitlines())
        return [line for line in lines if line["event"] == event]

    def status(self) -> dict[str, Any]:
        return api.status(self.engine, self.now)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def first_report(bench: Bench, *, synced: bool) -> None:
    speaker = bench.speakers()[0]
    session = Session(speaker.server, speaker.instance, "nva1")
    bench.report(
        speaker, SessionUp(session, 3.0), Announced(session, BgpPath(PREFIX, (65001,), "10.1.0.4")), EndOfRib(session), synced=synced
    )


def test_nothing_is_programmed_or_swept_before_every_speaker_has_reported(bench: Bench) -> None:
    bench.connect()
    first_report(bench, synced=True)
    bench.work()
    assert not bench.wire("spoke11").sent("10.40.0.0")
    assert not bench.wire("spoke11").swept(), "the flows of an earlier life carry the traffic"
    assert bench.status()["reason"].startswith("waiting for the first full report")
    for speaker in bench.speakers()[1:]:
        bench.report(speaker)
    bench.work()
    assert bench.wire("spoke11").sent("10.40.0.0")
    assert bench.wire("spoke11").swept()
    assert bench.journal("settled") == [{**bench.journal("settled")[0], "missing": []}]


def test_a_speaker_that_never_reports_is_waited_for_within_a_budget(bench: Bench) -> None:
    bench.connect()
    first_report(bench, synced=True)
    assert bench.engine.deadline() == 100.0 + RESYNC_BUDGET
    bench.now += RESYNC_BUDGET
    bench.take()
    bench.work()
    assert bench.wire("spoke11").sent("10.40.0.0")
    assert bench.journal("settled")[0]["missing"] == ["rs1-1", "rs2-0", "rs2-1"]


def test_rewritten_groups_are_acknowledged_before_prefixes_move(bench: Bench) -> None:
    bench.converged()
    speaker = bench.speakers()[0]
    bench.report(speaker, SessionDown(Session("rs1", 0, "nva1"), "closed"))
    assert {kind for kind, _, _ in bench.wire("spoke11").messages} == {14, 15, 20}
    assert not bench.wire("spoke11").sent("10.40.0.0")
    assert bench.engine.work(bench.now) is False, "held back"
    deadline = bench.engine.deadline()
    assert deadline is not None
    assert deadline > bench.now
    bench.acknowledge()
    bench.work()
    assert bench.wire("spoke11").sent("10.40.0.0")
    sent = [line["what"] for line in bench.journal("sent") if line["what"] != "sweep"]
    assert sent.index("next-hops") < len(sent) - sent[::-1].index("next-hops") <= sent.index("routes", sent.index("next-hops"))


def test_the_groups_of_a_second_session_are_rewritten_before_the_first_ones_prefixes_are_looked_at(bench: Bench) -> None:
    """Both instances lose a dead NVA within moments; neither loss may wait for the other's thousand prefixes."""
    bench.converged()
    wire = bench.wire("spoke11")
    for number, speaker in enumerate(bench.speakers()[:2]):
        before = len(wire.barriers())
        bench.report(speaker, SessionDown(Session("rs1", number, "nva1"), "closed"))
        bench.work()
        assert len(wire.barriers()) > before or number, "the NICs of spoke11 are homed on the first instance"
    assert [(line["sessions"]) for line in bench.journal("decided") if "sessions" in line] == [1, 1]
    assert bench.status()["reason"].startswith("2 reports not decided about yet")
    bench.acknowledge()
    assert not [each for each in bench.status()["sessions"] if each["server"] == "rs1" and each["peer"] == "nva1" and each["up"]]


def test_a_session_that_ends_and_comes_back_before_anything_was_decided_is_used_again(bench: Bench) -> None:
    bench.converged()
    session, speaker = Session("rs1", 0, "nva1"), bench.speakers()[0]
    tables = {bridge: dict(table.groups) for bridge, table in bench.engine.programmer.tables.items()}
    bench.report(speaker, SessionDown(session, "closed"))
    assert {bridge: table.groups for bridge, table in bench.engine.programmer.tables.items()} != tables
    bench.report(speaker, SessionUp(session, 3.0), Announced(session, BgpPath(PREFIX, (65001,), "10.1.0.4")))
    bench.acknowledge()
    bench.work()
    assert {bridge: table.groups for bridge, table in bench.engine.programmer.tables.items()} == tables


def test_what_hurries_is_written_past_the_queue_when_nothing_is_on_its_way(bench: Bench) -> None:
    queued, direct = Wire(), Wire()
    dpid, speaker = next(iter(bench.engine.switches)), bench.speakers()[0]
    bench.settle()
    bench.take(SwitchUp(dpid, queued.send, bench.now, direct.send))
    assert queued.barriers()
    assert not direct.messages
    first_report(bench, synced=True)
    bench.work()
    assert not direct.messages, "what was sent before has not been acknowledged"
    for xid in queued.barriers():
        bench.take(Acknowledged(dpid, xid, bench.now))
    bench.report(speaker, SessionDown(Session("rs1", 0, "nva1"), "closed"))
    bench.work()
    assert direct.barriers() or not bench.engine.switches[dpid].pending


def test_a_switch_that_does_not_acknowledge_delays_prefixes_for_a_moment_only(bench: Bench) -> None:
    bench.converged()
    bench.report(bench.speakers()[0], SessionDown(Session("rs1", 0, "nva1"), "closed"))
    deadline = bench.engine.deadline()
    assert deadline is not None
    bench.now = deadline + BREATHER
    bench.take()
    bench.work()
    assert bench.wire("spoke11").sent("10.40.0.0")


def test_a_switch_that_comes_back_gets_everything_under_a_new_epoch_and_is_swept(bench: Bench) -> None:
    bench.converged()
    old = bench.wire("spoke11")
    dpid = next(dpid for dpid, wire in bench.wires.items() if wire is old)
    new = bench.wires[dpid] = Wire()
    bench.take(SwitchUp(dpid, new.send, bench.now), SwitchDown(dpid, old.send, bench.now))
    assert bench.engine.switches[dpid].connected, "the end of the old connection is not the end of the new one"
    assert new.sent("10.40.0.0")
    assert new.swept()
    epochs = {mod.cookie >> openflow.EPOCH_SHIFT for mod in new.flow_mods() if mod.command == 0}
    assert epochs == {len(bench.engine.switches) + 1}
    bench.take(SwitchDown(dpid, new.send, bench.now))
    assert f"{bench.engine.switches[dpid].bridge.id} (spoke11) is not connected" in bench.status()["reason"]


def test_epochs_go_on_where_the_last_process_stopped(tmp_path: Path) -> None:
    taken = [Epochs(tmp_path / "epoch").take() for _ in range(300)]
    assert taken[:3] == [1, 2, 3]
    assert all(one != other for one, other in pairwise(taken))
    assert max(taken) == 255
    (tmp_path / "epoch").write_text("garbage")
    assert Epochs(tmp_path / "epoch").take() == 1


def test_groups_that_should_not_be_there_are_deleted_and_no_other(bench: Bench) -> None:
    bench.converged()
    wire = bench.wire("spoke11")
    dpid = next(dpid for dpid, each in bench.wires.items() if each is wire)
    wanted = bench.engine.programmer.tables[bench.engine.switches[dpid].bridge.id].groups
    bench.take(GroupsListed(dpid, (*wanted, 4711), bench.now))
    deleted = [data for kind, _, data in wire.messages if kind == 15]
    assert [int.from_bytes(data[12:16], "big") for data in deleted] == [4711]


def test_a_refused_message_makes_the_controller_unhealthy(bench: Bench) -> None:
    bench.converged()
    assert bench.status()["ready"], bench.status()["reason"]
    bench.take(Refused(next(iter(bench.engine.switches)), "OpenFlow error type 4 code 3", bench.now))
    assert not bench.status()["ready"]
    assert "refused 1 messages: OpenFlow error type 4 code 3" in bench.status()["reason"]
    assert bench.status()["errors"] == 1


def test_a_lost_bgpd_ends_its_sessions(bench: Bench) -> None:
    bench.converged()
    speaker = bench.speakers()[0]
    sessions = (Session("rs1", 0, "nva1"), Session("rs1", 0, "nva2"))
    bench.take(Disconnected(speaker, sessions, "bgpd closed the BMP connection", bench.now))
    found = [each for each in bench.status()["sessions"] if (each["server"], each["instance"]) == ("rs1", 0) and each["reason"] == "lost"]
    assert len(found) == 2
    bench.take(Connected(speaker, bench.now))
    assert not bench.engine.synced[speaker]


def test_the_true_reason_of_an_end_may_come_later_but_not_after_the_next_beginning(bench: Bench) -> None:
    bench.converged()
    session, speaker = Session("rs1", 0, "nva1"), bench.speakers()[0]
    bench.report(speaker, SessionDown(session, "local"))
    bench.take(Explained(session, "hold-timer"))
    bench.acknowledge()
    assert bench.engine.sessions()[session].reason == "hold-timer"
    bench.report(speaker, SessionUp(session, 3.0))
    bench.take(Explained(session, "hold-timer"))
    assert bench.engine.sessions()[session].up


def test_another_plan_sends_the_difference_and_forgets_no_route(tmp_path: Path) -> None:
    bench = Bench(tmp_path, without_spoke12())
    bench.converged()
    assert not bench.wire("spoke12").sent("10.40.0.0")
    bench.engine.reload(plan(), bench.now)
    bench.work()
    assert bench.wire("spoke12").sent("10.40.0.0"), "a spoke peered while the lab runs has the hub's routes at once (RS14)"
    assert [mod.command for mod in bench.wire("hub2").flow_mods()] == []
    assert bench.status()["sessions"][0]["up"]


def test_a_peer_that_the_plan_has_no_more_takes_its_routes_along(bench: Bench) -> None:
    bench.converged()
    alone = tuple(each for each in plan().sessions if "nva2" not in each.nodes or "rs1" not in str(each.nodes))
    bench.engine.reload(msgspec.structs.replace(plan(), sessions=alone), bench.now)
    bench.work()
    assert api.injected(bench.engine, "hub1", "0") == {"0": {PREFIX: ("10.1.0.4",)}}


def test_questions(bench: Bench) -> None:
    bench.converged()
    assert api.injected(bench.engine, "hub1", "0") == {"0": {PREFIX: ("10.1.0.4", "10.1.0.5")}}
    row = next(row for row in api.effective(bench.engine, "vm11a")["rows"] if row.prefix == PREFIX)
    assert row.next_hops == ("10.1.0.4", "10.1.0.5")
    assert [each["peer"] for each in api.learned(bench.engine, "rs1", None)["1"]] == ["nva1", "nva2"]
    (bridge,) = api.flows(bench.engine, "spoke11")
    assert any("nw_dst=10.40.0.0/16 actions=group:" in line for line in api.flows(bench.engine, bridge)[bridge])
    assert len(api.groups(bench.engine, None)) == 4


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda engine: api.effective(engine, "vm99"), "no NIC vm99"),
        (lambda engine: api.injected(engine, "spoke11", None), "spoke11 has no Route Server"),
        (lambda engine: api.learned(engine, "rs1", "nva9"), "no session of rs1 with nva9"),
        (lambda engine: api.learned(engine, "rs9", None), "no session of rs9"),
        (lambda engine: api.flows(engine, "nowhere"), "no bridge nowhere"),
    ],
)
def test_wrong_questions_are_told_what_there_is(bench: Bench, ask: Any, words: str) -> None:
    with pytest.raises(InputError, match=words) as error:
        ask(bench.engine)
    assert error.value.hint
