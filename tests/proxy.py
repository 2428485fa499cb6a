"""A reverse proxy on loopback between the tool and its embedded AWS: it records each request and breaks some on demand.

The Host header and the raw path stay as they are, since both are signed.
"""

from __future__ import annotations

import http.client
import sys
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_READING = ("Get", "List", "Describe", "Head", "AssumeRole", "BatchGet")


@dataclass(frozen=True)
class Request:
    """One request as it came by. ``action`` is the API's name for it, or the HTTP method and path for S3."""

    method: str
    path: str
    action: str
    headers: dict[str, str]
    body: bytes

    @property
    def changing(self) -> bool:
        """Tell whether it would change something."""
        if " " in self.action:
            return self.method not in ("GET", "HEAD")
        return not self.action.startswith(_READING)


@dataclass(frozen=True)
class Answer:
    """An answer that the proxy gives itself; ``drop`` closes the connection instead."""

    status: int = 500
    body: bytes = b""
    drop: bool = False
    headers: tuple[tuple[str, str], ...] = ()


Interfere = Callable[[Request], Answer | None]
Observe = Callable[[Request, int, bytes], None]


class Proxy:
    """Records what passes; ``before`` may answer instead of the server, ``after`` may replace its answer.

    ``observe`` is told each answer of the server, status and body, also one that ``after`` then replaces; ``clear``
    leaves it in place. ``passed`` is told that an answer has left.
    """

    def __init__(self, upstream: str) -> None:
        parts = urllib.parse.urlsplit(upstream)
        assert parts.hostname is not None
        assert parts.port is not None
        self.upstream = (parts.hostname, parts.port)
        self.requests: list[Request] = []
        # What CreateAccessKey answered, whether or not the answer was passed on.
        self.minted: list[bytes] = []
        self.before: Interfere = lambda _: None
        self.after: Interfere = lambda _: None
        self.observe: Observe = lambda _request, _status, _body: None
        self.passed: Callable[[Request], None] = lambda _: None
        handler = type("Handler", (_Handler,), {"proxy": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def changing(self) -> list[Request]:
        """Return the recorded requests that would change something."""
        return [request for request in self.requests if request.changing]

    def clear(self) -> None:
        """Forget what was recorded, and interfere no more."""
        self.requests.clear()
        self.before = self.after = lambda _: None
        self.passed = lambda _: None

    @contextmanager
    def running(self) -> Iterator[Proxy]:
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that were killed: their connections break."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    proxy: Proxy
    protocol_version = "HTTP/1.1"
    # Head and body of an answer are two writes: Nagle's algorithm would hold the second back for 40 ms.
    disable_nagle_algorithm = True

    def log_message(self, *_: Any) -> None:
        return

    def _relay(self) -> None:
        body = self._body()
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, _action(self.command, self.path, headers, body), headers, body)
        self.proxy.requests.append(request)
        own = self.proxy.before(request)
        if own is None:
            status, answered, payload = self._forward(body)
            if request.action == "CreateAccessKey":
                self.proxy.minted.append(payload)
            self.proxy.observe(request, status, payload)
            own = self.proxy.after(request)
        if own is not None:
            if own.drop:
                self.close_connection = True
                self.connection.close()
                return
            status, answered, payload = own.status, list(own.headers), own.body
        self.send_response_only(status)
        for name, value in answered:
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(name, value)
        length = next((v for n, v in answered if n.lower() == "content-length"), None)
        self.send_header("Content-Length", length if self.command == "HEAD" and length else str(len(payload)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(payload)
        self.proxy.passed(request)

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(*self.proxy.upstream, timeout=60)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in ("transfer-encoding", "content-length", "connection", "expect"):
                    connection.putheader(name, value)
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            response = connection.getresponse()
            return response.status, response.getheaders(), response.read()
        finally:
            connection.close()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _relay  # noqa: N815 - http.server's names


def _action(method: str, path: str, headers: dict[str, str], body: bytes) -> str:
    target = headers.get("x-amz-target")
    if target:
        return target.rsplit(".", 1)[-1]
    if headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        actions = urllib.parse.parse_qs(body.decode("utf-8", "replace")).get("Action")
        if actions:
            return actions[0]
    return f"{method} {path}"
