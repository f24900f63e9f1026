"""HTTP with JSON over a unix socket that only its owner may open: how labd, the controller and the CLI talk.

A server is a table of routes: ``{("GET", "/status"): handler}``; a handler takes the request's parameters (query string and JSON
body merged, all by keyword in one dict) and returns what is sent back as JSON. A TestbedError becomes a reply that `call` raises again.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import socketserver
import threading
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


class Server(socketserver.ThreadingUnixStreamServer):
    """An HTTP server on a unix socket with mode 0600; a stale socket file of that name is replaced."""

    daemon_threads = True

    def __init__(self, path: Path, routes: Routes) -> None:
        self.routes = routes
        path.unlink(missing_ok=True)
        mask = os.umask(0o177)
        try:
            super().__init__(str(path), _Request)
        finally:
            os.umask(mask)

    def serve_in_background(self) -> None:
        """Serve from a daemon thread and return at once."""
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True, name="rpc").start()


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def _answer(self, method: str) -> None:
        url = urlsplit(self.path)
        try:
            handler = self.server.routes[method, url.path]
            reply, status = handler(self._parameters(url.query)), 200
        except KeyError as error:
            known = (method, url.path) in self.server.routes
            reply, status = {"error": "TestbedError", "message": f"{'missing ' if known else 'no such call: '}{error}"}, 404
        except errors.TestbedError as error:
            reply, status = {"error": type(error).__name__, "message": error.message, "hint": error.hint}, 409
        except Exception as error:
            traceback.print_exc()
            reply, status = {"error": "TestbedError", "message": f"{type(error).__name__}: {error}"}, 500
        body = json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _parameters(self, query: str) -> dict[str, Any]:
        parameters: dict[str, Any] = dict(parse_qsl(query))
        length = int(self.headers.get("Content-Length") or 0)
        if length > MAX_BODY:
            raise errors.InputError(f"request of {length} bytes is larger than {MAX_BODY}")
        if length:
            parameters.update(json.loads(self.rfile.read(length)))
        return parameters

    def address_string(self) -> str:
        return "unix"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        """Requests are not logged."""


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
