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


@dataclass
class Wire:
    """A way to a scheduler that keeps every byte, each connection's and direction's for itself."""

    address: str
    _sent: list[bytearray] = field(default_factory=list)
    _came: list[bytearray] = field(default_factory=list)

    @property
    def sent(self) -> bytes:
        """Everything that went to the scheduler."""
        return b"\n".join(self._sent)

    @property
    def came(self) -> bytes:
        """Everything that the scheduler answered."""
        return b"\n".join(self._came)


@dataclass(frozen=True)
class Cluster:
    """A scheduler and its workers, what they tell each other, and what they log."""

    address: str
    scheduler: subprocess.Popen[str]
    workers: tuple[subprocess.Popen[str], ...]
    wire: Wire
    log: list[str]


@contextmanager
def running(
    shells: Sequence[Mapping[str, str]],
    directory: Path,
    *,
    root: Path = _ROOT,
    flags: Sequence[str] = (),
    settings: Mapping[str, str] = {},
) -> Iterator[Cluster]:
    """Start a scheduler, and a worker with one thread in each of the shells.

    Args:
        shells: The variables of each worker.
        directory: For what Dask writes.
        root: The checkout.
        flags: Of Dask's commands.
        settings: Dask's variables.
    """
    dask = {"PYTHONPATH": str(root), "DASK_CONFIG": str(directory), **settings}
    protocol = "tls" if flags else "tcp"
    log: list[str] = []
    with ExitStack() as stack:

        def start(shell: Mapping[str, str], module: str, *arguments: str) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.{module}", *arguments, *_COMMON, *flags],
                cwd=root, env={**shell, **dask}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                start_new_session=True,
            )  # fmt: skip
            stack.callback(_end, process)
            return process

        scheduler = start(os.environ, "dask_scheduler", "--port", "0", "--protocol", protocol)
        address = _announced(scheduler, rf"Scheduler at:\s+({protocol}://\S+)", log)
        wire = stack.enter_context(relay(address))
        workers = [
            start(
                shell, "dask_worker", wire.address, "--no-nanny", "--nthreads", "1", "--memory-limit", "0",
                "--local-directory", str(directory / f"worker-{number}"),
            )
            for number, shell in enumerate(shells)
        ]  # fmt: skip
        for worker in workers:
            _announced(worker, r"Registered to:\s+(\S+)", log)
        yield Cluster(address, scheduler, tuple(workers), wire, log)


def _announced(process: subprocess.Popen[str], pattern: str, log: list[str]) -> str:
    """Return what a process says of itself in its log, which is read on so that it never waits for a reader."""
    assert process.stderr is not None
    for line in process.stderr:
        log.append(line)
        if found := re.search(pattern, line):
            threading.Thread(target=log.extend, args=(process.stderr,), daemon=True).start()
            return found[1]
    raise AssertionError("".join(log))


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    # A Terraform whose reader is gone ends by itself, its provider does not.
    for pid in (int(path.name) for path in Path("/proc").glob("[0-9]*")):
        with suppress(ProcessLookupError, PermissionError):
            if os.getsid(pid) == process.pid:
                os.kill(pid, signal.SIGKILL)


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
def relay(address: str) -> Iterator[Wire]:
    """Stand between a scheduler and those who connect to it."""
    scheme, host, port = address.replace("//", "").split(":")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        wire = Wire(f"{scheme}://127.0.0.1:{listener.getsockname()[1]}")

        def pump(source: socket.socket, target: socket.socket, kept: list[bytearray]) -> None:
            bytes_of_one = bytearray()
            kept.append(bytes_of_one)
            try:
                while data := source.recv(1 << 16):
                    bytes_of_one.extend(data)
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
                try:
                    server = socket.create_connection((host, int(port)))
                except OSError:
                    client.close()
                    continue
                threading.Thread(target=pump, args=(client, server, wire._sent), daemon=True).start()
                threading.Thread(target=pump, args=(server, client, wire._came), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield wire
        finally:
            listener.shutdown(socket.SHUT_RDWR)
