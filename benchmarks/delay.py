"""A way to the embedded AWS on which every answer takes longer, as over a network: a process of its own, which costs little.

It passes bytes on as they come, so that requests keep the host that they are signed for, and connections stay open. It knows
just enough of a request to answer what the embedded AWS does not know: a user has no SSH keys, no credentials for other
services and no certificates.
"""

from __future__ import annotations

import asyncio
import json
import re
import resource
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Final, TextIO, cast

ROOT: Final = __file__.rpartition("/benchmarks/")[0]
_UNKNOWN: Final = {
    b"ListSSHPublicKeys": b"SSHPublicKeys",
    b"ListServiceSpecificCredentials": b"ServiceSpecificCredentials",
    b"ListSigningCertificates": b"Certificates",
}
_ASKED: Final = re.compile(rb"\r\n\r\nAction=(" + b"|".join(_UNKNOWN) + rb")&")
_FORM: Final = b"application/x-www-form-urlencoded"
_METHODS: Final = (b"GET ", b"PUT ", b"POST ", b"HEAD ", b"DELETE ")


@dataclass(frozen=True)
class Passed:
    """What went by since the last look: requests, and the processor's seconds that passing them on took."""

    requests: int
    seconds: float


class Delay:
    """The parent's side; ``seconds`` can be set at any time, for answers from then on."""

    def __init__(self, into: IO[str], out: IO[str]) -> None:
        self._into = into
        self._out = out
        self._seen = Passed(0, 0.0)
        self.url = f"http://127.0.0.1:{self._ask('port')}"

    def set(self, seconds: float) -> None:
        """Delay every answer by so many seconds."""
        self._ask(f"delay {seconds}")

    def passed(self) -> Passed:
        """Return what went by since this was asked last."""
        told = Passed(**json.loads(self._ask("passed")))
        since = Passed(told.requests - self._seen.requests, told.seconds - self._seen.seconds)
        self._seen = told
        return since

    def _ask(self, words: str) -> str:
        self._into.write(f"{words}\n")
        self._into.flush()
        return self._out.readline().strip()


@contextmanager
def running(upstream: str) -> Iterator[Delay]:
    """Yield a way to ``upstream``, an address such as ``http://127.0.0.1:4566``; without a delay as yet."""
    port = upstream.rpartition(":")[2]
    command = [sys.executable, "-m", "benchmarks.delay", port]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        if process.stdin is None or process.stdout is None:
            raise TypeError("both are pipes")
        try:
            yield Delay(process.stdin, process.stdout)
        finally:
            # It ends when nobody can talk to it any more.
            process.stdin.close()
            process.wait(10)


class _Settings:
    seconds = 0.0
    requests = 0


class _Upstream(asyncio.Protocol):
    """The connection to the embedded AWS: its bytes leave for the client in their order, each later by the delay."""

    def __init__(self, settings: _Settings, client: _Client) -> None:
        self._settings = settings
        self._client = client

    def data_received(self, data: bytes) -> None:
        self._client.answer(data)

    def connection_lost(self, _: Exception | None) -> None:
        self._client.end()


class _Client(asyncio.Protocol):
    """A client's connection."""

    def __init__(self, settings: _Settings, port: int) -> None:
        self._settings = settings
        self._port = port
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[bytes | None] = deque()
        self._early: list[bytes] = []
        self._head = b""
        self._up: asyncio.Transport | None = None
        self._connecting: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._down = cast("asyncio.Transport", transport)
        self._connecting = self._loop.create_task(self._connect())

    async def _connect(self) -> None:
        try:
            made, _ = await self._loop.create_connection(
                lambda: _Upstream(self._settings, self), "127.0.0.1", self._port
            )
        except OSError:
            self._down.close()
            return
        self._up = made
        for data in self._early:
            made.write(data)
        self._early.clear()
        if self._down.is_closing():
            made.close()

    def data_received(self, data: bytes) -> None:
        if data.startswith(_METHODS):
            self._settings.requests += 1
            if data.endswith(b"\r\n\r\n") and _FORM in data:
                # The body, which says what is asked, comes by itself.
                self._head = data
                return
        data, self._head = self._head + data, b""
        asked = _ASKED.search(data)
        if asked:
            self.answer(_nothing(asked[1]))
            return
        if self._up is None:
            self._early.append(data)
        else:
            self._up.write(data)

    def connection_lost(self, _: Exception | None) -> None:
        if self._up is not None:
            self._up.close()

    def answer(self, data: bytes | None) -> None:
        # An equal delay for all keeps their order.
        self._waiting.append(data)
        self._loop.call_later(self._settings.seconds, self._pass)

    def end(self) -> None:
        self.answer(None)

    def _pass(self) -> None:
        data = self._waiting.popleft()
        if data is None:
            self._down.close()
        elif not self._down.is_closing():
            self._down.write(data)


def _nothing(action: bytes) -> bytes:
    body = b"<%b><%b><IsTruncated>false</IsTruncated><%b/></%b></%b>" % (
        action + b"Response",
        action + b"Result",
        _UNKNOWN[action],
        action + b"Result",
        action + b"Response",
    )
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


async def _serve(upstream: int, asked: TextIO) -> None:
    settings = _Settings()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Client(settings, upstream), "127.0.0.1", 0, backlog=1024)
    port = server.sockets[0].getsockname()[1]
    async with server:
        while line := await loop.run_in_executor(None, asked.readline):
            word, _, rest = line.strip().partition(" ")
            answer = str(port)
            if word == "delay":
                settings.seconds = float(rest)
            elif word == "passed":
                used = resource.getrusage(resource.RUSAGE_SELF)
                answer = json.dumps({"requests": settings.requests, "seconds": used.ru_utime + used.ru_stime})
            sys.stdout.write(f"{answer}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), sys.stdin))
