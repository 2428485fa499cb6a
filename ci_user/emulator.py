"""One process of the embedded AWS (ministack): how it is started, recognised and ended."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ci_user.errors import SandboxError
from ci_user.process_identity import identity
from ci_user.text import plain

HOST: Final = "127.0.0.1"
START_SECONDS: Final = 30.0
STOP_SECONDS: Final = 20.0
_ANSWER_SECONDS: Final = 2.0
_POLL_SECONDS: Final = 0.02
_TAIL_LINES: Final = 12


@dataclass(frozen=True)
class Emulator:
    """A process that was started here once; ``alive`` tells whether it still is that process.

    Attributes:
        identity: As ``process_identity.identity`` gave it at the start.
        instance: A random name that its health answers repeat.
        after_crash: Whether the one before it was not stopped in an orderly way.
    """

    pid: int
    port: int
    identity: str
    instance: str
    after_crash: bool

    @property
    def endpoint_url(self) -> str:
        """Return where clients reach it."""
        return f"http://{HOST}:{self.port}"

    @property
    def alive(self) -> bool:
        """Return whether the process is there and is the one that was started."""
        return identity(self.pid) == self.identity

    @property
    def healthy(self) -> bool:
        """Return whether it is alive and answers on its port."""
        return self.alive and instance_at(self.port) == self.instance

    def await_health(self, seconds: float) -> bool:
        """Wait until it is healthy; False when it ended or time ran out."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.healthy:
                return True
            if not self.alive:
                return False
            time.sleep(_POLL_SECONDS)
        return False

    def await_end(self, seconds: float) -> bool:
        """Wait until it is gone; False when time ran out."""
        deadline = time.monotonic() + seconds
        while self.alive:
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_SECONDS)
        return True

    def terminate(self) -> None:
        """Ask it to save its state and end."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """End it and its children at once, without saving, and wait until they are gone."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        self.await_end(STOP_SECONDS)


def interpreter(root: Path) -> Path:
    """Return the Python of the virtual environment that the emulator has to itself.

    Raises:
        SandboxError: It is not installed.
    """
    places = [root / ".venv" / "sandbox" / "bin", Path(sys.prefix) / "sandbox" / "bin"]
    for place in places:
        if (place / "ministack").is_file():
            return place / "python"
    raise SandboxError(
        "the embedded AWS is not installed",
        where=str(places[0] / "ministack"),
        do="run `make sandbox`, which installs it",
        runbook="sandbox",
    )


def launch(
    python: Path,
    *,
    port: int,
    region: str,
    data: Path,
    log: Path,
    after_crash: bool,
    record: Callable[[Emulator], None],
) -> Emulator | None:
    """Start one and wait until it is healthy; None when somebody else took the port meanwhile.

    It gets a session of its own, so that it outlives this process and no Ctrl-C reaches it. When this fails
    or is interrupted, the process is gone.

    Args:
        python: As ``interpreter`` gives it.
        port: Where to listen, on 127.0.0.1.
        region: Its default region.
        data: An existing directory for its state.
        log: The file for what it prints; the one before is kept beside it.
        after_crash: Kept in the result.
        record: Called as soon as the process is there.

    Raises:
        SandboxError: It cannot be started, ends at once, or is not healthy in time.
        OSError: The log cannot be written.
    """
    instance = f"ci-user-{uuid.uuid4().hex}"
    if log.exists():
        log.replace(log.with_name(f"{log.name}.1"))
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        process = subprocess.Popen(
            # -m, because a script whose path has a space in it is run through a shell.
            [str(python), "-P", "-m", "ministack"],
            cwd=data,
            env=_environment(port=port, region=region, data=data, instance=instance),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            umask=0o077,
        )
    except OSError as error:
        raise SandboxError(
            f"the embedded AWS cannot be started: {error.strerror}",
            where=str(python),
            do="remove .venv and run `make sandbox`, which installs it again",
            runbook="sandbox",
        ) from None
    finally:
        os.close(output)
    started = Emulator(process.pid, port, identity(process.pid) or "gone", instance, after_crash)
    try:
        record(started)
        healthy = started.await_health(START_SECONDS)
        ended = process.poll()
    except BaseException:
        _abandon(process)
        raise
    if healthy:
        # It is meant to go on without us, which Popen would warn about.
        process.returncode = 0
        return started
    _abandon(process)
    tail = _tail(log)
    if ended is not None and any("already in use" in line.lower() for line in tail):
        return None
    why = (
        f"it ended at once with exit code {ended}"
        if ended is not None
        else f"it did not answer within {START_SECONDS:.0f} s"
    )
    raise SandboxError(
        f"the embedded AWS does not start: {why}" + "".join(f"\n    {line}" for line in tail),
        where=str(log),
        do="look at the lines above; if it trips over its state, `invoke sandbox.reset` throws that away",
        runbook="sandbox",
    )


def instance_at(port: int) -> str | None:
    """Return the name of the instance that answers on this port, if any; http.client knows no proxies."""
    connection = http.client.HTTPConnection(HOST, port, timeout=_ANSWER_SECONDS)
    try:
        connection.request("GET", "/_ministack/health")
        answer = json.loads(connection.getresponse().read(1_000_000))
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
    edition = answer.get("edition") if isinstance(answer, dict) else None
    return edition if isinstance(edition, str) else None


def free_port(port: int) -> int | None:
    """Return the port, or any free one for 0; None when somebody listens there."""
    if port:
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1):
            return None
    with socket.socket() as probe:
        # As the server does: a connection that still lingers from before the stop is no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return None
        found: int = probe.getsockname()[1]
        return found


def _environment(*, port: int, region: str, data: Path, instance: str) -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(data),
        "TMPDIR": str(data / "tmp"),
        "PYTHONUTF8": "1",
        "AUTH": "true",
        "BIND_HOST": HOST,
        "GATEWAY_PORT": str(port),
        "MINISTACK_REGION": region,
        # Health answers repeat it, so that another emulator on this port is not taken for ours.
        "MINISTACK_EDITION": instance,
        "PERSIST_STATE": "1",
        "STATE_DIR": str(data / "state"),
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(data / "s3"),
        # At INFO it writes a line per request.
        "LOG_LEVEL": "WARNING",
        # Fixed ports that two emulators would fight over.
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        # It would remove the containers of other emulators.
        "DOCKER_HOST": f"unix://{data}/none",
    }


def _abandon(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    process.wait(STOP_SECONDS)


def _tail(log: Path) -> list[str]:
    try:
        text = log.read_text(errors="replace")
    except OSError:
        return []
    return [plain(line) for line in text.splitlines()[-_TAIL_LINES:]]
