"""HTTP with JSON over a unix socket that only its owner may open: how labd, the controller and the CLI talk.

A server is a table of routes: ``{("GET", "/status"): handler}``; a handler takes the request's parameters (query string and JSON
body merged, all by keyword in one dict) and returns what is sent back as JSON. A TestbedError becomes a reply that `call` raises again.
"""

from __future__ import annotations

import http.client
import io
import json
import os
import socket
import socketserver
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from testbed import errors

Handler = Callable[[dict[str, Any]], Any]
Routes = Mapping[tuple[str, str], Handler]
MAX_BODY = 16 * 1024 * 1024
LARGE_BODY = 1024 * 1024
"""Bytes. Parsed, a body takes up to thirty times its size: of the large ones one is read at a time."""
MAX_CLIENTS = 32
PATIENCE = 10.0
"""Seconds a client has to say what it wants, all of it, and again to take the answer."""


class Server(socketserver.ThreadingUnixStreamServer):
    """An HTTP server on a unix socket with mode 0600; a stale socket file of that name is replaced.

    Bounded in every direction: clients at once, time, size. A client beyond that is hung up on; nothing it says ends the server.
    """

    daemon_threads = True
    request_queue_size = MAX_CLIENTS

    def __init__(self, path: Path, routes: Routes) -> None:
        self.routes = routes
        self.large_body = threading.Lock()
        self._places = threading.BoundedSemaphore(MAX_CLIENTS)
        path.unlink(missing_ok=True)
        mask = os.umask(0o177)
        try:
            super().__init__(str(path), _Request)
        finally:
            os.umask(mask)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread of its own, or hang up when all places are taken."""
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread could be started
            self._places.release()
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """As the base class does; the place is free again afterwards."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""
        if not isinstance(sys.exception(), OSError):
            traceback.print_exc()

    def serve_in_background(self) -> None:
        """Serve from a daemon thread and return at once."""
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True, name="rpc").start()


class _Hurried(io.RawIOBase):
    """What a client sends, within a time that is counted from its connection on, however it is spread."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__()
        self._connection = connection
        self._end = time.monotonic() + PATIENCE

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        remaining = self._end - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("the client took too long")
        self._connection.settimeout(remaining)
        return self._connection.recv_into(buffer)


class _Request(BaseHTTPRequestHandler):
    """One request and its answer; then the connection ends."""

    protocol_version = "HTTP/1.1"
    server: Server

    def setup(self) -> None:
        super().setup()
        self.rfile = io.BufferedReader(_Hurried(self.connection))

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def _answer(self, method: str) -> None:
        self.close_connection = True
        url = urlsplit(self.path)
        try:
            parameters = self._parameters(url.query)
        except errors.InputError as error:
            reply, status = _described(error), 400
        else:
            reply, status = self._call(method, url.path, parameters)
        self._reply(reply, status)

    def _call(self, method: str, path: str, parameters: dict[str, Any]) -> tuple[Any, int]:
        """The handler's reply, or what went wrong there, with HTTP's status."""
        handler = self.server.routes.get((method, path))
        if handler is None:
            return {"error": "TestbedError", "message": f"no such call: {method} {path[:200]}"}, 404
        try:
            return handler(parameters), 200
        except KeyError as error:
            return {"error": "TestbedError", "message": f"missing {error}"}, 404
        except errors.TestbedError as error:
            return _described(error), 409
        except Exception as error:
            traceback.print_exc()
            return {"error": "TestbedError", "message": f"{type(error).__name__}: {error}"}, 500

    def _reply(self, reply: Any, status: int) -> None:
        body = json.dumps(reply).encode()
        self.connection.settimeout(PATIENCE)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def _parameters(self, query: str) -> dict[str, Any]:
        parameters: dict[str, Any] = dict(parse_qsl(query))
        length = self._length()
        if length > LARGE_BODY:
            with self.server.large_body:
                return parameters | self._body(length)
        return parameters | self._body(length) if length else parameters

    def _length(self) -> int:
        text = self.headers.get("Content-Length") or "0"
        if not (text.isascii() and text.isdigit() and len(text) < 20):
            raise errors.InputError(f"{text[:60]!r} is no length of a request")
        if int(text) > MAX_BODY:
            raise errors.InputError(f"request of {text} bytes is larger than {MAX_BODY}")
        return int(text)

    def _body(self, length: int) -> dict[str, Any]:
        text = self.rfile.read(length)
        if len(text) < length:
            raise ConnectionError("the client left in the middle of its request")
        try:
            body = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise errors.InputError(f"the request is not JSON: {error}") from None
        if not isinstance(body, dict):
            raise errors.InputError(f"the request is not a JSON object but a {type(body).__name__}")
        return body

    def address_string(self) -> str:
        return "unix"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        """Requests are not logged."""


def _described(error: errors.TestbedError) -> dict[str, str]:
    return {"error": type(error).__name__, "message": error.message, "hint": error.hint}


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def call(path: Path, method: str, target: str, parameters: Mapping[str, Any] | None = None, timeout: float = 30.0) -> Any:
    """Call ``target`` on the server at socket ``path`` and give back its JSON reply.

    Raises the TestbedError that the server raised (same class where it is one of `errors`), OSError when nobody listens.
    """
    connection = _Connection(path, timeout)
    try:
        if method == "GET":
            connection.request("GET", target + ("?" + urlencode(parameters) if parameters else ""))
        else:
            connection.request(method, target, json.dumps(parameters or {}), {"Content-Type": "application/json"})
        response = connection.getresponse()
        reply = json.loads(response.read())
    finally:
        connection.close()
    if response.status == 200:
        return reply
    kind = getattr(errors, reply.get("error", ""), errors.TestbedError)
    raise kind(reply.get("message", f"HTTP {response.status}"), reply.get("hint", ""))
