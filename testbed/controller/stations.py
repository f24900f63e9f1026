"""BMP stations: for each speaker a listening socket inside its namespace, and a thread that turns what comes into reports."""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec import Struct

from testbed.azure.types import Address, Session, SessionDown, Speaker
from testbed.controller.bgpd_log import LogWatch
from testbed.controller.bgpd_vty import why_down
from testbed.controller.bmp import ENDED_HERE, BmpError, Decoder, Report
from testbed.errors import NotReady, TestbedError
from testbed.netns import run_in
from testbed.wait import wait_until

LOG = logging.getLogger("stations")

PORT = 1790
NAMESPACE_BUDGET = 60.0
"""Seconds until the absence of a speaker's namespace is worth a line in the log; the wait goes on."""
PATIENCE = 5.0
"""Seconds within which a message that has begun must be complete, the first of all counted from the connection on: bgpd sends it at once.
Whoever else connects must not keep bgpd out by saying nothing."""
_CHUNK = 1 << 18


class Reported(Struct, frozen=True, tag=True):
    """Reports of one speaker, read at ``at`` (monotonic); ``synced`` once its first full report is complete."""

    speaker: Speaker
    reports: tuple[Report, ...]
    synced: bool
    at: float


class Connected(Struct, frozen=True, tag=True):
    """A speaker's bgpd has connected; a full report follows."""

    speaker: Speaker
    at: float


class Disconnected(Struct, frozen=True, tag=True):
    """A speaker's bgpd is gone, or sent something that is not BMP: all its sessions are down."""

    speaker: Speaker
    sessions: tuple[Session, ...]
    reason: str
    at: float


class Explained(Struct, frozen=True, tag=True):
    """The true reason of a session's end, asked of bgpd afterwards."""

    session: Session
    reason: str


Notice = Reported | Connected | Disconnected | Explained


class _Patience:
    """Ends the wait for a message that does not come to an end, however its bytes are spread."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._messages = 0
        self._end: float | None = time.monotonic() + PATIENCE
        connection.settimeout(PATIENCE)

    def after(self, decoder: Decoder) -> None:
        """How long the next bytes may take. Raises TimeoutError when the message under way has had its time."""
        now = time.monotonic()
        if not decoder.incomplete:
            self._end = None
        elif self._end is None or decoder.messages > self._messages:
            self._end = now + PATIENCE
        elif now >= self._end:
            raise TimeoutError
        self._messages = decoder.messages
        self._connection.settimeout(None if self._end is None else self._end - now)


class Station:
    """The BMP station of one speaker, whose ``peers`` are named by address. Its notices go to ``deliver``, from its own thread.

    ``namespace`` may not exist yet. ``vty`` is the command socket of the speaker's bgpd.
    """

    def __init__(
        self, speaker: Speaker, namespace: str, peers: Mapping[Address, str], vty: Path, deliver: Callable[[Notice], None], port: int = PORT
    ) -> None:
        self.speaker = speaker
        self.peers = dict(peers)
        self._namespace = namespace
        self._vty = vty
        self._deliver = deliver
        self._port = port
        self._stopped = threading.Event()
        self._sockets: list[socket.socket] = []
        self._name = f"bmp-{speaker.server}-{speaker.instance}"

    def start(self) -> None:
        """Listen and read in the background, for as long as the process lives or until `stop`."""
        threading.Thread(target=self._serve, name=self._name, daemon=True).start()

    def stop(self) -> None:
        """Close the sockets; the thread ends and delivers nothing more."""
        self._stopped.set()
        for each in list(self._sockets):
            with contextlib.suppress(OSError):  # not connected, or closed already
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _serve(self) -> None:
        listener = self._listen()
        while listener and not self._stopped.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self._sockets.append(connection)
            with connection:
                if self._stopped.is_set():  # between the two: bgpd must find the station that comes after this one
                    return
                self._read(connection)
            self._sockets.remove(connection)

    def _listen(self) -> socket.socket | None:
        """The listening socket, as soon as the namespace is there; None when stopped before."""
        opened: list[socket.socket] = []

        def check() -> str | None:
            try:
                opened.append(run_in(self._namespace, self._bind))
            except (TestbedError, OSError) as error:
                return None if self._stopped.is_set() else str(error)
            return None

        while not opened and not self._stopped.is_set():
            try:
                wait_until(check, what=f"BMP station of {self._name}", budget=NAMESPACE_BUDGET, interval=0.02)
            except NotReady as error:
                LOG.warning("%s", error)
        self._sockets.extend(opened)
        return opened[0] if opened else None

    def _bind(self) -> socket.socket:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", self._port))
            listener.listen(4)
        except OSError:
            listener.close()
            raise
        return listener

    def _read(self, connection: socket.socket) -> None:
        decoder = Decoder(self.speaker, self.peers)
        log = self._log()
        self._send(Connected(self.speaker, time.monotonic()))
        reason = "bgpd closed the BMP connection"
        try:
            patience = _Patience(connection)
            while True:
                self._await(connection, log, decoder)
                if not (data := connection.recv(_CHUNK)):
                    break
                at = time.monotonic()
                reports = decoder.feed(data)
                self._send(Reported(self.speaker, tuple(reports), decoder.synced, at))
                self._explain(reports)
                patience.after(decoder)
        except BmpError as error:
            reason = str(error)
            LOG.error("%s: %s", self._name, reason)
        except TimeoutError:
            reason = f"BMP message not complete after {PATIENCE:g} s"
        except OSError as error:
            reason = f"BMP connection: {error.strerror or error}"
        finally:
            if log is not None:
                log.close()
        self._send(Disconnected(self.speaker, tuple(sorted(decoder.up)), reason, time.monotonic()))

    def _log(self) -> LogWatch | None:
        try:
            return LogWatch(self._vty.with_name("bgpd.log"))
        except OSError:
            return None  # then BMP alone says it

    def _await(self, connection: socket.socket, log: LogWatch | None, decoder: Decoder) -> None:
        """Wait for the next bytes; meanwhile tell of sessions whose end is in bgpd's log. Raises TimeoutError after the socket's time."""
        patience = connection.gettimeout()
        end = None if patience is None else time.monotonic() + patience
        while log is not None:
            watched: list[socket.socket | LogWatch] = [connection, log]
            ready = select.select(watched, [], [], None if end is None else max(0.0, end - time.monotonic()))[0]
            if not ready:
                raise TimeoutError
            if log in ready:
                self._foretell(log, decoder)
            if connection in ready:
                return

    def _foretell(self, log: LogWatch, decoder: Decoder) -> None:
        at = time.monotonic()
        names = {address: Session(self.speaker.server, self.speaker.instance, peer) for address, peer in self.peers.items()}
        ended = {names[address]: reason for address, reason in log.ended().items() if address in names}
        reports = tuple(SessionDown(session, reason) for session, reason in ended.items() if session in decoder.up)
        if reports:
            self._send(Reported(self.speaker, reports, decoder.synced, at))

    def _send(self, notice: Notice) -> None:
        if not self._stopped.is_set():
            self._deliver(notice)

    def _explain(self, reports: list[Report]) -> None:
        """Ask bgpd why it ended sessions, apart, so that the news itself is not delayed."""
        for report in reports:
            if isinstance(report, SessionDown) and report.reason == ENDED_HERE:
                threading.Thread(target=self._ask, args=(report.session,), name=f"{self._name}-why", daemon=True).start()

    def _ask(self, session: Session) -> None:
        address = next(address for address, peer in self.peers.items() if peer == session.peer)
        self._send(Explained(session, why_down(self._vty, address)))
