"""The process: os-ken's OpenFlow server, the BMP stations and the socket all report to one queue; one loop owns everything else."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NoReturn

import msgspec
from os_ken import cfg
from os_ken.base import app_manager
from os_ken.controller import controller, ofp_event
from os_ken.controller.handler import DEAD_DISPATCHER, MAIN_DISPATCHER, set_ev_cls
from os_ken.ofproto import ofproto_parser, ofproto_v1_3, ofproto_v1_3_parser

from testbed.controller import api
from testbed.controller.engine import Acknowledged, Engine, GroupsListed, Refused, SwitchDown, SwitchNotice, SwitchUp
from testbed.controller.health import Health, Watch, watched
from testbed.controller.journal import Journal
from testbed.controller.speakers import node_name, peers_of, reporting_speakers
from testbed.controller.stations import Notice, Station
from testbed.controller.switches import Epochs
from testbed.errors import ExitCode, InputError, MachineError, TestbedError
from testbed.plan.types import Plan
from testbed.rpc import Server

LOG = logging.getLogger("controller")

ADDRESS, PORT = "127.0.0.1", 6653
ASK_TIMEOUT = 20.0
_SEND_TIMEOUT = 30.0
_THREAD_SWITCH = 0.001  # seconds; Python's 5 ms would delay os-ken's threads while prefixes are worked through


class Ask(msgspec.Struct):
    """A question to the owner of the state, and where its answer goes."""

    function: Callable[[], Any]
    answer: Future[Any]


class Quit(msgspec.Struct):
    """End the process."""


Inbox = queue.SimpleQueue[Notice | SwitchNotice | Health | Ask | Quit]


class OpenFlowShim(app_manager.OSKenApp):  # type: ignore[misc]
    """What os-ken tells, put into the queue, stamped; nothing is decided here."""

    OFP_VERSIONS = [ofproto_v1_3.OFP_VERSION]  # noqa: RUF012 - os-ken's own way to declare it

    def __init__(self, *args: Any, inbox: Inbox, dpids: Callable[[], frozenset[int]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._inbox = inbox
        self._dpids = dpids
        ofproto_parser.register_msg_parser(ofproto_v1_3.OFP_VERSION)(self.parse)

    def parse(self, datapath: Any, version: int, kind: int, length: int, xid: int, data: bytes) -> Any:
        """Put what switches answer to a batch into the queue where it is read: os-ken's own way leads through one more thread.

        A barrier's reply and the errors before it stay in order; nobody else needs the reply (None: os-ken does nothing more).
        """
        if kind == ofproto_v1_3.OFPT_BARRIER_REPLY:
            self._put(datapath, Acknowledged(datapath.id, xid, time.monotonic()))
            return None
        message = ofproto_v1_3_parser.msg_parser(datapath, version, kind, length, xid, data)
        if kind == ofproto_v1_3.OFPT_ERROR:
            text = f"OpenFlow error type {message.type} code {message.code}, batch {xid}: {bytes(message.data)[:64].hex()}"
            LOG.error("switch %s: %s", datapath.id, text)
            self._put(datapath, Refused(datapath.id, text, time.monotonic()))
        return message

    @set_ev_cls(ofp_event.EventOFPStateChange, [MAIN_DISPATCHER, DEAD_DISPATCHER])  # type: ignore[untyped-decorator]
    def switch_changed(self, event: Any) -> None:
        """A switch has finished its handshake, or is gone."""
        datapath = event.datapath
        if datapath.id not in self._dpids():
            if event.state == MAIN_DISPATCHER:
                LOG.error("switch %s is not in the plan; refused", datapath.id)
                datapath.close()
            return
        if event.state == MAIN_DISPATCHER:
            self._inbox.put(SwitchUp(datapath.id, datapath.send, time.monotonic(), lambda data: _write(datapath.socket, data)))
        else:
            self._inbox.put(SwitchDown(datapath.id, datapath.send, time.monotonic()))

    @set_ev_cls(ofp_event.EventOFPGroupDescStatsReply, MAIN_DISPATCHER)  # type: ignore[untyped-decorator]
    def groups_listed(self, event: Any) -> None:
        """The groups that the switch has; a long list comes in several messages, each good on its own."""
        numbers = tuple(group.group_id for group in event.msg.body)
        self._put(event.msg.datapath, GroupsListed(event.msg.datapath.id, numbers, time.monotonic()))

    def _put(self, datapath: Any, notice: SwitchNotice) -> None:
        if datapath.id in self._dpids():
            self._inbox.put(notice)


def _write(connection: socket.socket, data: bytes) -> None:
    """Past os-ken's queue and thread, which cost a tenth of a millisecond a switch; whoever reads there notices a dead connection."""
    with contextlib.suppress(OSError):
        connection.sendall(data)


class Process:
    """The controller of the lab whose run folder is ``lab_dir``: reads ``plan.json``, serves ``controller.sock``."""

    def __init__(self, lab_dir: Path) -> None:
        self._lab_dir = lab_dir
        self._inbox: Inbox = queue.SimpleQueue()
        self._engine = Engine(self._plan(), Journal(lab_dir / "log" / "journal.jsonl"), Epochs(lab_dir / "epoch"), time.monotonic())
        self._stations: dict[Any, Station] = {}
        self._watches: dict[str, Watch] = {}
        self._socket = lab_dir / "controller.sock"
        self._server: Server | None = None

    def run(self) -> NoReturn:
        """Run until told to quit. Anything unexpected ends the process: better no controller than one that does nothing."""
        status = ExitCode.INTERNAL
        try:
            self._start()
            self._loop()
            status = ExitCode.OK
        except TestbedError as error:
            LOG.error("%s", error)
            status = error.exit_code
        except BaseException:
            traceback.print_exc()
        finally:
            self._engine.journal.write("controller-stop", status=int(status))
            if self._server:
                self._socket.unlink(missing_ok=True)
            sys.stderr.flush()
            os._exit(status)  # os-ken's threads wait for connections for ever

    def _start(self) -> None:
        sys.setswitchinterval(_THREAD_SWITCH)
        _require_port()
        self._engine.journal.write("controller-start", pid=os.getpid())
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._inbox.put(Quit()))
        self._listen()
        self._open_stations()
        self._watch_backends()
        self._server = Server(self._socket, api.routes(self._engine, self.ask, self._reload, lambda: self._inbox.put(Quit())))
        self._server.serve_in_background()

    def _listen(self) -> None:
        """Start os-ken: its OpenFlow server and our shim."""
        cfg.CONF(args=[], project="os_ken")
        cfg.CONF.set_override("ofp_listen_host", ADDRESS)
        cfg.CONF.set_override("ofp_tcp_listen_port", PORT)
        cfg.CONF.set_override("socket_timeout", _SEND_TIMEOUT)
        manager = app_manager.AppManager.get_instance()
        manager.load_apps([__name__])
        manager.create_contexts()
        for service in manager.instantiate_apps(inbox=self._inbox, dpids=lambda: frozenset(self._engine.switches)):
            threading.Thread(target=self._watch, args=(service,), name="watch", daemon=True).start()

    def _watch(self, service: threading.Thread) -> None:
        """The OpenFlow server should never end."""
        service.join()
        LOG.error("the OpenFlow server on %s:%d ended", ADDRESS, PORT)
        os._exit(ExitCode.INTERNAL)

    def _open_stations(self) -> None:
        """One BMP station for each speaker of the plan; those of a changed speaker are opened anew."""
        plan = self._engine.plan
        for speaker, node in reporting_speakers(plan).items():
            peers = peers_of(plan, speaker)
            station = self._stations.get(node_name(speaker))
            if station and (station.speaker, station.peers) == (speaker, peers):
                continue
            if station:
                station.stop()
            vty = self._lab_dir / "nodes" / node.id / "bgpd.vty"
            self._stations[node_name(speaker)] = station = Station(speaker, node.id, peers, vty, self._inbox.put)
            station.start()

    def _watch_backends(self) -> None:
        """One watch for each load balancer that has a probe; those that changed begin anew."""
        wanted = watched(self._engine.plan)
        for name, watch in list(self._watches.items()):
            if name not in wanted or (watch.probe, watch.backends) != wanted[name][1:]:
                watch.stop()
                del self._watches[name]
        for name, (_, probe, backends) in wanted.items():
            if name not in self._watches:
                self._watches[name] = watch = Watch(name, probe, backends, self._inbox.put)
                watch.start()

    def _loop(self) -> None:
        more = False
        while True:
            notices: list[Any] = []
            asks: list[Ask] = []
            for item in self._drain(more):
                if isinstance(item, Quit):
                    return
                (asks if isinstance(item, Ask) else notices).append(item)
            self._engine.take(notices, time.monotonic())
            more = self._engine.work(time.monotonic())
            for each in asks:
                _answer(each)

    def _drain(self, busy: bool) -> list[Any]:
        """All that waits in the queue; sleeps until there is something, unless there is work to do or a deadline."""
        deadline = self._engine.deadline()
        timeout = None if deadline is None else max(0.0, deadline - time.monotonic())
        items: list[Any] = []
        try:
            items.append(self._inbox.get(block=not busy, timeout=None if busy else timeout))
            while True:
                items.append(self._inbox.get_nowait())
        except queue.Empty:
            return items

    def ask(self, function: Callable[[], Any]) -> Any:
        """Have the owner of the state call ``function``, and give back what it returns or raise what it raises."""
        answer: Future[Any] = Future()
        self._inbox.put(Ask(function, answer))
        return answer.result(ASK_TIMEOUT)

    def _plan(self) -> Plan:
        path = self._lab_dir / "plan.json"
        try:
            return msgspec.json.decode(path.read_bytes(), type=Plan)
        except (OSError, msgspec.MsgspecError) as error:
            raise InputError(f"{path}: {error}", "the controller is started by labd, which writes this file") from error

    def _reload(self) -> None:
        plan = self._plan()
        self._engine.reload(plan, time.monotonic())
        self._open_stations()
        self._watch_backends()


def _require_port() -> None:
    """Raises MachineError when somebody listens on our port already; os-ken would only log it."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ADDRESS, PORT))
            probe.listen(1)
        except OSError as error:
            raise MachineError(
                f"cannot listen on {ADDRESS}:{PORT}: {error.strerror}", "another controller runs in this namespace"
            ) from error


def _answer(ask: Ask) -> None:
    try:
        ask.answer.set_result(ask.function())
    except Exception as error:  # the asker's business, not ours
        ask.answer.set_exception(error)


def serve(lab_dir: Path) -> NoReturn:
    """Run the controller of one lab in this process, which must be inside the lab's fabric namespace."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    logging.getLogger("os_ken").setLevel(logging.WARNING)
    assert controller.CONF is cfg.CONF  # its options are registered by the import
    Process(lab_dir).run()
