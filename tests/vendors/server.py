"""A vendor's API on loopback: what each vendor's own double builds on.

Every request is first judged by the vendor's published description; so is every answer that a double gives. What does
not fit is kept in ``violations`` and fails the test that leaves the server's context.
"""

from __future__ import annotations

import json
import socket
import ssl
import sys
import threading
import traceback
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, ClassVar, Self

from tests.vendors.checking import Body, answer_faults, media_type, read_body, request_faults
from tests.vendors.description import Match, described


@dataclass(frozen=True)
class Call:
    """One request that fits the description.

    ``path`` holds the decoded parts below ``base``, ``raw_path`` the same as it came; ``headers`` have lower-case
    names; ``body`` is the parsed JSON, the fields of a form, the bytes, or None; ``operation`` is the method and the
    path template, as in "GET /user"; ``parameters`` are the decoded values in the template's places.
    """

    method: str
    path: tuple[str, ...]
    raw_path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: Any
    operation: str
    parameters: Mapping[str, str]

    def asked(self, name: str, default: str = "") -> str:
        """Return a query parameter's (first) value."""
        return self.query.get(name, [default])[0]


@dataclass(frozen=True)
class Reply:
    """An answer: a JSON ``document``, or a raw ``body`` that nobody judges.

    ``drop`` closes the connection instead of answering; ``cut`` closes it after that many bytes of the body. ``delay``
    (seconds) comes before the answer, ``trickle`` (seconds) before each byte of the body; both end when the server does.
    """

    status: int = 200
    document: Any = None
    headers: tuple[tuple[str, str], ...] = ()
    drop: bool = False
    body: bytes | None = None
    cut: int | None = None
    delay: float = 0.0
    trickle: float = 0.0

    def payload(self) -> bytes:
        """Return the bytes of the body."""
        if self.body is not None:
            return self.body
        return b"" if self.document is None else json.dumps(self.document).encode()

    def content_type(self) -> str:
        """Return the type given, else JSON's."""
        given = (value for name, value in self.headers if name.lower() == "content-type")
        return next(given, "application/json; charset=utf-8")


class VendorServer:
    """One vendor on a free port of 127.0.0.1; subclasses keep its state and override ``answer``.

    ``before`` may answer in place of the double (a fault that the vendor never saw take effect), ``after`` may replace
    an answer that has taken effect; what they answer is not judged. ``base`` stands before every path of the
    description, as "/api/v3" does at GitHub Enterprise. ``answer`` sees one call at a time.
    """

    vendor: ClassVar[str]
    # What the vendor takes although its description says otherwise: a "query:NAME" or a "body:NAME" that it doesn't name,
    # and "lacks:NAME", a member of the body that may be missing. Say why where it is set.
    undocumented: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, *, base: str = "", tls: ssl.SSLContext | None = None) -> None:
        self.description = described(self.vendor)
        self.base = base
        self.calls: list[Call] = []
        self.violations: list[str] = []
        self.before: Callable[[Call], Reply | None] = lambda _: None
        self.after: Callable[[Call, Reply], Reply | None] = lambda _call, _reply: None
        self.closing = threading.Event()
        self.lock = threading.RLock()
        self._server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"vendor": self}))
        self._server.vendor = self
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        scheme = "https" if tls else "http"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_address[1]}{base}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def answer(self, call: Call) -> Reply:
        """Do what the vendor would do."""
        raise NotImplementedError

    @property
    def changing(self) -> list[Call]:
        """Return the recorded calls that would change something."""
        return [call for call in self.calls if call.method not in ("GET", "HEAD")]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if not self.violations:
            return
        text = f"{self.vendor} was not used as its description says:\n" + "\n".join(self.violations)
        if error is None:
            raise AssertionError(text)
        error.add_note(text)

    def close(self) -> None:
        """End at once: what is under way is cut off."""
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._server.cut_off()
        self._thread.join()

    def handle(self, method: str, target: str, headers: Mapping[str, str], raw: bytes) -> Reply:
        """Judge one request and answer it."""
        parts = urllib.parse.urlsplit(target)
        path = parts.path.removeprefix(self.base) if parts.path.startswith(f"{self.base}/") else None
        match = self.description.match(method, path) if path is not None else None
        if path is None or match is None:
            known = path is not None and self.description.knows_path(path)
            # A path may hold names that a test wants nobody to repeat, but never a secret; the query may.
            return self._refuse(f"{method} {parts.path}", ["no such method" if known else "no such path"])
        query = urllib.parse.parse_qs(parts.query, keep_blank_values=True)
        body = read_body(raw, headers.get("content-type", ""))
        faults = self._request_faults(match, query, headers, body)
        if faults:
            return self._refuse(match.operation.name, faults)
        decoded = tuple(urllib.parse.unquote(part) for part in path.split("/")[1:])
        call = Call(method, decoded, path, query, headers, body.value, match.operation.name, dict(match.parameters))
        with self.lock:
            self.calls.append(call)
        reply = self.before(call)
        if reply is not None:
            return reply
        with self.lock:
            reply = self.answer(call)
        self._judge(match, reply)
        return self.after(call, reply) or reply

    def _request_faults(
        self, match: Match, query: Mapping[str, list[str]], headers: Mapping[str, str], body: Body
    ) -> list[str]:
        return request_faults(
            self.description, match.operation, match.parameters, query, headers, body, self.undocumented
        )

    def _refuse(self, what: str, faults: list[str]) -> Reply:
        with self.lock:
            self.violations += [f"{what}: {fault}" for fault in faults]
        return Reply(400, {"message": "; ".join(faults)})

    def _judge(self, match: Match, reply: Reply) -> None:
        if reply.drop or reply.body is not None:
            return
        kind = media_type(reply.content_type())
        faults = answer_faults(self.description, match.operation, reply.status, reply.document, kind)
        if faults:
            self._refuse(f"{match.operation.name} (the double)", faults)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
    vendor: VendorServer

    def __init__(self, address: tuple[str, int], handler: type[_Handler]) -> None:
        super().__init__(address, handler)
        self._open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def cut_off(self) -> None:
        """Break the connections that clients keep in their pools."""
        for connection in list(self._open):
            _break(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep what a double raised; clients that went away, or were cut off, are no fault."""
        error = sys.exc_info()[1]
        if error is None or isinstance(error, OSError):
            return
        last = traceback.extract_tb(error.__traceback__)[-1]
        # Without the message: it may repeat a value.
        place = f"{last.filename.rpartition('/')[2]}, line {last.lineno}"
        self.vendor.violations.append(f"the double raised {type(error).__name__} in {last.name} ({place})")


class _Handler(BaseHTTPRequestHandler):
    vendor: VendorServer
    protocol_version = "HTTP/1.1"
    # Head and body of an answer are two writes: Nagle's algorithm would hold the second back for 40 ms.
    disable_nagle_algorithm = True

    def log_message(self, *_: Any) -> None:
        return

    def _serve(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        if "transfer-encoding" in headers:
            self.close_connection = True
            self.vendor.violations.append(f"{self.command}: the body has no Content-Length")
            self._send(Reply(411, {"message": "send a Content-Length"}))
            return
        self._send(self.vendor.handle(self.command, self.path, headers, raw))

    def _send(self, reply: Reply) -> None:
        closing = self.vendor.closing
        self.close_connection |= reply.drop or reply.cut is not None
        if reply.delay and closing.wait(reply.delay):
            self.close_connection = True
            return
        if reply.drop:
            _break(self.connection)
            return
        payload = reply.payload()
        self.send_response_only(reply.status)
        for name, value in reply.headers:
            if name.lower() != "content-type":
                self.send_header(name, value)
        if payload:
            self.send_header("Content-Type", reply.content_type())
        if reply.status != 204:
            self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if reply.trickle:
            self.close_connection = True
            for index in range(len(payload)):
                if closing.wait(reply.trickle):
                    return
                self.wfile.write(payload[index : index + 1])
            return
        self.wfile.write(payload[: reply.cut])
        if reply.cut is not None:
            _break(self.connection)

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = do_LIST = _serve  # noqa: N815 - http.server's names


def _break(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # the client was faster
