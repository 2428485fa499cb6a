from __future__ import annotations

import json
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from ci_user.backends import http
from ci_user.backends.http import Client, Origin, Remote, retry_after, session
from ci_user.backends.refusals import NoAnswerError
from ci_user.backends.tokens import Token
from ci_user.errors import BackendError
from ci_user.secret import Secret

Answer = tuple[int, dict[str, str], bytes]


@dataclass
class World:
    """A server whose answers are given one after the other; the last one stays.

    The status 0 is a lost connection, -1 a byte each millisecond.
    """

    url: str
    answers: list[Answer] = field(default_factory=lambda: [(200, {}, b"{}")])
    seen: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)

    def client(self, **more: Any) -> Client:
        token = Token(Secret("t0ken"), Origin.of(self.url).address, "X_TOKEN")
        remote = Remote("Vendor", "x:place", "X_TOKEN", "the right to write", "the place")
        return Client(
            f"{self.url}/api",
            token=token,
            remote=remote,
            authorization=lambda value: {"Authorization": f"Bearer {value}"},
            pause=self.waits.append,
            **more,
        )


@contextmanager
def running(tls: ssl.SSLContext | None = None) -> Iterator[World]:
    world = World("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *_: Any) -> None:
            return

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            world.seen.append((self.command, self.path, dict(self.headers.items()), body))
            status, headers, content = world.answers.pop(0) if len(world.answers) > 1 else world.answers[0]
            if status == 0:
                self.close_connection = True
                self.connection.shutdown(2)
                return
            self.send_response_only(max(status, 200))
            for name, value in headers.items():
                self.send_header(name, value)
            if "Transfer-Encoding" in headers:
                self.end_headers()
                for start in range(0, len(content), 50_000):
                    part = content[start : start + 50_000]
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
                self.wfile.write(b"0\r\n\r\n")
                return
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if status == -1:
                self._trickle(content)
                return
            self.wfile.write(content)

        def _trickle(self, content: bytes) -> None:
            # Byte by byte until the client has enough of it.
            try:
                for at in range(len(content)):
                    self.wfile.write(content[at : at + 1])
                    threading.Event().wait(0.001)
            except OSError:
                self.close_connection = True

        do_GET = do_PUT = do_POST = do_DELETE = do_PATCH = _serve  # noqa: N815

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    world.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield world
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def shared() -> Iterator[World]:
    with running() as world:
        yield world


@pytest.fixture
def world(shared: World) -> World:
    shared.answers[:] = [(200, {}, b"{}")]
    shared.seen.clear()
    shared.waits.clear()
    return shared


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://gitlab.com/group", "gitlab.com"),
        ("https://GitLab.com:443", "gitlab.com"),
        ("https://ghe.example.com:8443/api", "ghe.example.com:8443"),
        ("http://127.0.0.1:8080", "127.0.0.1:8080"),
        ("http://localhost", "localhost"),
        ("http://[::1]:8080/x", "[::1]:8080"),
    ],
)
def test_an_origin_is_scheme_host_and_port(url: str, address: str) -> None:
    assert Origin.of(url).address == address


@pytest.mark.parametrize(
    "url", ["http://ci.example.com", "http://127.0.0.1.example.com", "ftp://x", "https://", "https://u:p@x", "x"]
)
def test_an_address_that_no_token_may_go_to_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"no https|plain http"):
        Origin.of(url)


def test_parts_of_a_path_are_quoted_and_cannot_lead_elsewhere(world: World) -> None:
    world.client().call("GET", ("a/b", "ü #?%", "c"), "looking", query={"q": "x&y=1"})
    assert world.seen[0][1] == "/api/a%2Fb/%C3%BC%20%23%3F%25/c?q=x%26y%3D1"
    for part in ("", ".", ".."):
        with pytest.raises(BackendError, match="cannot be part of an address"):
            world.client().call("GET", ("a", part), "looking")
    assert len(world.seen) == 1


def test_a_secret_is_revealed_on_the_way_out_only(world: World) -> None:
    world.client().call("PUT", ("x",), "writing", body={"value": Secret("hush"), "more": [1, None]})
    assert json.loads(world.seen[0][3]) == {"value": "hush", "more": [1, None]}
    with pytest.raises(TypeError, match="set is no JSON"):
        world.client().call("PUT", ("x",), "writing", body={"value": set()})


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_what_is_safe_to_repeat_is_repeated_after_a_fault_of_a_moment(world: World, method: str, status: int) -> None:
    world.answers[:] = [(status, {}, b""), (0, {}, b""), (200, {}, b'{"a": 1}')]
    assert world.client().call(method, ("x",), "trying").document == {"a": 1}
    assert len(world.seen) == 3
    assert len(world.waits) == 2


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_what_is_not_safe_to_repeat_is_repeated_only_after_429(world: World, method: str) -> None:
    world.answers[:] = [(429, {"Retry-After": "3"}, b""), (200, {}, b"{}")]
    world.client().call(method, ("x",), "trying")
    assert world.waits == [3.0]
    for answer in ((503, {"Retry-After": "1"}, b""), (0, {}, b"")):
        world.seen.clear()
        world.answers[:] = [answer, (200, {}, b"{}")]
        with pytest.raises(BackendError):
            world.client().call(method, ("x",), "trying")
        assert len(world.seen) == 1


def test_a_fault_that_stays_is_told_after_four_tries(world: World) -> None:
    world.answers[:] = [(503, {}, b'{"message": "down"}')]
    with pytest.raises(BackendError, match="trying: Vendor answered 503: down") as caught:
        world.client().call("GET", ("x",), "trying")
    assert caught.value.details == {"status": 503}
    assert len(world.seen) == 4
    world.answers[:] = [(0, {}, b"")]
    with pytest.raises(NoAnswerError, match="no answer from Vendor"):
        world.client().call("GET", ("x",), "trying")
    assert len(world.seen) == 8


def test_retry_after_is_seconds_or_a_date_and_is_capped(world: World) -> None:
    assert retry_after("12") == 12
    assert retry_after(None) is None
    assert retry_after("soon") is None
    assert retry_after("-1") is None
    later = retry_after(format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True))
    assert later is not None
    assert 25 < later <= 30
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    for impossible in ("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", f"Mon, 01 Jan 2026 00:00:00 +{'9' * 20}"):
        assert retry_after(impossible) is None
    world.answers[:] = [(429, {"Retry-After": "61"}, b""), (200, {}, b"{}")]
    with pytest.raises(BackendError, match="429"):
        world.client().call("GET", ("x",), "trying")
    assert world.waits == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed_not_even_to_the_same_host(world: World, status: int) -> None:
    for location in (f"{world.url}/api/y", "https://elsewhere.example.com/", "/api/y"):
        world.seen.clear()
        world.answers[:] = [(status, {"Location": location}, b"")]
        with pytest.raises(BackendError, match="redirect, which is not followed"):
            world.client().call("PUT", ("x",), "writing", body={"value": Secret("hush")})
        assert len(world.seen) == 1


def test_a_session_reaches_one_origin_only(world: World) -> None:
    with running() as other:
        made = session(world.url)
        made.get(f"{world.url}/x")
        for url in (f"{other.url}/x", world.url.replace("127.0.0.1", "localhost")):
            with pytest.raises((http.RedirectError, requests.RequestException)):
                made.get(url)
        with pytest.raises(requests.RequestException):
            made.get(world.url.replace("http://", "https://"))
        assert other.seen == []


def test_an_answer_without_an_end_is_cut_off(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_MOST_BYTES", 100)
    world.answers[:] = [(200, {}, b'"' + b"x" * 98 + b'"')]
    assert world.client().call("GET", ("x",), "reading").document == "x" * 98
    world.answers[:] = [(200, {}, b'"' + b"x" * 99 + b'"')]
    with pytest.raises(BackendError, match="reading: no answer"):
        world.client().call("GET", ("x",), "reading")


def test_an_answer_that_trickles_in_is_given_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    # A part each millisecond never runs into the timeout for one part.
    monkeypatch.setattr(http, "_WHOLE_SECONDS", 0.05)
    world.answers[:] = [(-1, {}, b" " * 100_000)]
    client = world.client()
    with pytest.raises(NoAnswerError, match="TooSlowError"):
        client.call("GET", ("x",), "reading")
    assert len(world.seen) == 1
    world.answers[:] = [(200, {}, b"{}")]
    assert client.call("GET", ("x",), "reading").document == {}


def test_what_was_cut_off_is_not_taken_for_the_next_answer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_MOST_BYTES", 10)
    client = world.client()
    world.answers[:] = [(200, {}, b"x" * 300_000), (200, {}, b'{"a": 1}')]
    with pytest.raises(NoAnswerError, match="TooLongError"):
        client.call("PUT", ("x",), "writing")
    assert client.call("GET", ("x",), "reading").document == {"a": 1}
    assert len(world.seen) == 2


@pytest.mark.parametrize("encoding", ["chunked", "gzip"])
def test_an_answer_in_chunks_or_compressed_is_read_whole(world: World, encoding: str) -> None:
    import gzip

    text = json.dumps({"a": "x" * 200_000}).encode()
    content = gzip.compress(text) if encoding == "gzip" else text
    header = {"Content-Encoding": "gzip"} if encoding == "gzip" else {"Transfer-Encoding": "chunked"}
    world.answers[:] = [(200, header, content)]
    assert world.client().call("GET", ("x",), "reading").document == json.loads(text)


def test_a_list_without_an_end_is_given_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_MOST_PAGES", 5)
    with pytest.raises(BackendError, match="page 5"):
        list(world.client().pages(("x",), "listing", after=lambda _, number: {"page": number + 1}))
    assert len(world.seen) == 5
    pages = list(world.client().pages(("x",), "listing", after=lambda _, n: {"page": n + 1} if n < 3 else None))
    assert len(pages) == 3
    assert world.seen[-1][1] == "/api/x?page=3"


def test_neither_netrc_nor_proxies_nor_cookies_touch_a_request_to_loopback(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login evil password stolen\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    world.client().call("GET", ("x",), "reading")
    assert world.seen[0][2]["Authorization"] == "Bearer t0ken"
    assert world.seen[0][2]["User-Agent"].startswith("ci-user/")


def test_a_proxy_of_the_environment_is_used_beyond_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:3128")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert session("https://ci.example.com").proxies["https"] == "http://127.0.0.1:3128"
    monkeypatch.setenv("no_proxy", "example.com")
    assert not session("https://ci.example.com").proxies


def test_each_request_is_checked_just_before_it_is_sent(world: World) -> None:
    world.answers[:] = [(503, {}, b""), (200, {}, b"{}")]
    checked: list[str] = []
    check: Callable[[Any], None] = lambda request: checked.append(request.method)  # noqa: E731
    world.client(check=check).call("GET", ("x",), "reading")
    assert checked == ["GET", "GET"]


@pytest.mark.parametrize("token", ["a\nb", "tökén", "a\u2028b", "a\x00b", "\u202ea"])
def test_a_token_that_no_header_can_carry_is_told_without_being_shown(world: World, token: str) -> None:
    with pytest.raises(BackendError, match="no request can carry") as caught:
        Client(
            world.url,
            token=Token(Secret(token), Origin.of(world.url).address, "X_TOKEN"),
            remote=Remote("Vendor", "x:place", "X_TOKEN", "the right to write", "the place"),
            authorization=lambda value: {"Authorization": f"Bearer {value}"},
        )
    assert token not in str(caught.value)
    assert caught.value.__context__ is None
    assert world.seen == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 418, 422, 429, 500])
def test_each_refusal_says_what_to_do(status: int) -> None:
    remote = Remote("Vendor", "x:place", "X_TOKEN", "the right to write", "the place")
    error = remote.refused("writing", status, "words\x1b[2J")
    assert error.do
    assert "\x1b" not in error.what
    assert error.where == "x:place"
    if status in (401, 403, 404):
        assert "X_TOKEN" in error.do + (error.expected or "")
        assert "the right to write" in error.do


def certificate(directory: Path) -> tuple[ssl.SSLContext, Path]:
    from ipaddress import ip_address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "loopback")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    own, public = directory / "key.pem", directory / "ca.pem"
    pem = serialization.Encoding.PEM
    own.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()) + made.public_bytes(pem)
    )
    public.write_bytes(made.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own)
    return context, public


def test_tls_is_verified_and_a_ca_of_ones_own_can_be_named(tmp_path: Path) -> None:
    context, ca_file = certificate(tmp_path)
    with running(context) as world:
        with pytest.raises(NoAnswerError, match="SSLError") as caught:
            world.client().call("GET", ("x",), "reading")
        assert "ca_file" in str(caught.value.do)
        assert world.seen == []
        assert world.client(ca_file=ca_file).call("GET", ("x",), "reading").status == 200


def test_certificates_that_are_not_there_are_told(tmp_path: Path) -> None:
    with running(certificate(tmp_path)[0]) as other, pytest.raises(NoAnswerError, match="SSLError") as caught:
        other.client(ca_file=tmp_path / "gone.pem").call("GET", ("x",), "reading")
    assert "ca_file" in str(caught.value.do)
    assert str(tmp_path) not in str(caught.value)


def test_importing_it_imports_no_client() -> None:
    code = (
        "import sys, ci_user.backends.http, ci_user.backends.circleci\n"
        "print('requests' in sys.modules, 'boto3' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert out.stdout.strip() == "False False"
