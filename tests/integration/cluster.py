"""A real Dask cluster on loopback for a test: processes of this Python, on free ports, ended by their ids."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
_COMMON = ("--host", "127.0.0.1", "--no-dashboard", "--dashboard-address", "127.0.0.1:0")


@dataclass(frozen=True)
class Cluster:
    """A scheduler and its workers."""

    address: str
    scheduler: subprocess.Popen[str]
    workers: tuple[subprocess.Popen[str], ...]


@contextmanager
def running(
    workers: int, directory: Path, *, flags: Sequence[str] = (), settings: Mapping[str, str] = {}
) -> Iterator[Cluster]:
    """Start a scheduler and so many workers with one thread each; ``settings`` are Dask's variables."""
    environ = os.environ | {"PYTHONPATH": str(_ROOT), "DASK_CONFIG": str(directory), **settings}
    protocol = "tls" if flags else "tcp"
    with ExitStack() as stack:
        scheduler = _started(stack, environ, "dask_scheduler", *_COMMON, "--port", "0", "--protocol", protocol, *flags)
        address = _announced(scheduler, rf"Scheduler at:\s+({protocol}://\S+)")
        workers_started = [
            _started(
                stack, environ, "dask_worker", address, *_COMMON, *flags, "--no-nanny", "--nthreads", "1",
                "--memory-limit", "0", "--local-directory", str(directory / f"worker-{number}"),
            )
            for number in range(workers)
        ]  # fmt: skip
        for worker in workers_started:
            _announced(worker, r"Registered to:\s+(\S+)")
        yield Cluster(address, scheduler, tuple(workers_started))


def _started(stack: ExitStack, environ: Mapping[str, str], module: str, *arguments: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", f"distributed.cli.{module}", *arguments],
        env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    stack.callback(_end, process)
    return process


def _announced(process: subprocess.Popen[str], pattern: str) -> str:
    """Return what a process says of itself in its log, which is read on so that it never waits for a reader."""
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        seen.append(line)
        if found := re.search(pattern, line):
            threading.Thread(target=process.stderr.read, daemon=True).start()
            return found[1]
    raise AssertionError("".join(seen))


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()


@dataclass
class Meeting:
    """Where tasks of ``night_work`` come to, one after another. ``came`` has who did: the process and its names.

    Args:
        answer: Says what one does: ``go``, ``fail``, or ``die``, which kills its process.
    """

    answer: Callable[[int, tuple[str, ...]], str]
    came: list[tuple[int, tuple[str, ...]]] = field(default_factory=list)
    port: int = 0

    @contextmanager
    def open(self) -> Iterator[Meeting]:
        """Listen on a free port of loopback."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
            thread = threading.Thread(target=self._meet, args=(listener,), daemon=True)
            thread.start()
            try:
                yield self
            finally:
                listener.shutdown(socket.SHUT_RDWR)
                thread.join()

    def _meet(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, connection.makefile() as lines:
                said = json.loads(lines.readline())
                pid, names = said["pid"], tuple(said["names"])
                self.came.append((pid, names))
                word = self.answer(pid, names)
                if word == "die":
                    os.kill(pid, signal.SIGKILL)
                else:
                    connection.sendall(f"{word}\n".encode())


@contextmanager
def relay(address: str, seen: bytearray) -> Iterator[str]:
    """Stand between a client and a scheduler, and keep every byte that the client sends. Yields the address to use."""
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def pump(source: socket.socket, target: socket.socket, kept: bytearray | None) -> None:
            try:
                while data := source.recv(1 << 16):
                    if kept is not None:
                        kept.extend(data)
                    target.sendall(data)
            except OSError:
                pass
            for end in (source, target):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

        def accept() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                server = socket.create_connection((host, int(port)))
                threading.Thread(target=pump, args=(client, server, seen), daemon=True).start()
                threading.Thread(target=pump, args=(server, client, None), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
