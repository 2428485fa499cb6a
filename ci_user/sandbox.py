"""Starts, stops and resets the embedded AWS of this project."""

from __future__ import annotations

import contextlib
import json
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ci_user import emulator
from ci_user.emulator import Emulator
from ci_user.errors import SandboxError, UsageError
from ci_user.files import private_directory, write_private
from ci_user.text import plain

if TYPE_CHECKING:
    from ci_user.credentials import SessionCredentials

USUAL_PORT: Final = 4566
_ANSWER_SECONDS: Final = 5.0
_STOP_SECONDS: Final = emulator.STOP_SECONDS
_LOCK_SECONDS: Final = emulator.START_SECONDS + _STOP_SECONDS
_NEEDED_BYTES: Final = 64 * 1024 * 1024
_AFTER_CRASH: Final = (
    "the embedded AWS was not stopped in an orderly way (a crash, a reboot): what changed since it was last "
    "started may be lost, except S3 objects; `invoke sandbox.reset` starts afresh"
)
_KILLED: Final = (
    f"it did not stop within {_STOP_SECONDS:.0f} s and was killed: what changed since it was started "
    "is lost, except S3 objects"
)


@dataclass(frozen=True)
class Up:
    """A running embedded AWS.

    Attributes:
        started: Whether this call started it.
        orderly: False when the run before this one ended by a crash or a reboot, so that state was lost.
        notes: What a person should read, one sentence each.
    """

    endpoint_url: str
    port: int
    pid: int
    started: bool
    orderly: bool = True
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Down:
    """What ``Sandbox.down`` did; ``orderly`` is False when state may have been lost."""

    stopped: bool
    orderly: bool = True
    notes: tuple[str, ...] = ()


class Sandbox:
    """The project's one embedded AWS, on 127.0.0.1, with what it keeps under ``<root>/.cache/sandbox/``.

    Args:
        root: The project's directory.
        account_id: 12 digits; also the key id of the emulator's root.
        region: Where clients are pointed.
        directory: Where to keep state instead.
        usual_port: The port to try first; 0 for any free one.
    """

    def __init__(
        self,
        root: Path,
        *,
        account_id: str,
        region: str,
        directory: Path | None = None,
        usual_port: int = USUAL_PORT,
    ) -> None:
        self.account_id = account_id
        self.region = region
        self._root = root
        self._directory = (directory or root / ".cache" / "sandbox").absolute()
        self._usual_port = usual_port
        self._data = self._directory / "data"
        self._log = self._directory / "log"
        # It is there from start to orderly stop, so one without its process tells of a crash.
        self._record = self._directory / "running.json"

    def up(self) -> Up:
        """Find the running one or start it; it outlives this process.

        Raises:
            SandboxError: It is not installed, finds no port, cannot write, or does not become healthy.
        """
        known = self._known()
        if known and known.healthy:
            return _found(known)
        with self._locked():
            known = self._known()
            if known and known.alive:
                if known.await_health(_ANSWER_SECONDS):
                    return _found(known)
                raise SandboxError(
                    f"the embedded AWS runs (process {known.pid}) but does not answer",
                    where=known.endpoint_url,
                    do=f"run `invoke sandbox.down`, then the same command again; its log is {self._log}",
                    runbook="sandbox",
                )
            return self._start([self._usual_port, *([known.port] if known else [])])

    def down(self) -> Down:
        """Stop it in an orderly way, and return once it has saved its state.

        Raises:
            SandboxError: Somebody else is starting or stopping it, or the directory cannot be written.
        """
        if not self._record.exists():
            return Down(stopped=False)
        with self._locked():
            known = self._known()
            if known is None or not known.alive:
                # The record stays, so that the next `up` tells of the crash.
                return Down(stopped=False, orderly=not self._record.exists())
            return self._stop(known)

    def reset(self) -> Up | None:
        """Throw all of its state away; started again on its port when it was running, otherwise None.

        Raises:
            SandboxError: As ``up``.
        """
        with self._locked():
            known = self._known()
            running = known if known and known.alive else None
            if running:
                running.kill()
            with self._writing():
                if self._data.exists():
                    # Renamed first: an interrupted reset leaves no half of a state behind.
                    self._data.rename(self._directory / f"discarded-{uuid.uuid4().hex}")
                for discarded in self._directory.glob("discarded-*"):
                    shutil.rmtree(discarded)
                self._record.unlink(missing_ok=True)
            return self._start([running.port]) if running else None

    def status(self) -> Up | None:
        """Return the running one, or None. Changes nothing."""
        known = self._known()
        return _found(known) if known and known.healthy else None

    def environment(self) -> dict[str, str]:
        """Return the variables that point any AWS client at the running one, as its root.

        Raises:
            SandboxError: It is not running.
        """
        return {
            "AWS_ENDPOINT_URL": self._endpoint_url(),
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ACCESS_KEY_ID": self.account_id,
            "AWS_SECRET_ACCESS_KEY": "test",
        }

    def deployer_credentials(self) -> SessionCredentials:
        """Return a fresh hour as the sandbox's deployer role, made when missing; see ``sandbox_role``.

        Raises:
            SandboxError: It is not running.
            AwsError: It refused a call.
        """
        from ci_user.sandbox_role import deployer_credentials

        return deployer_credentials(self._endpoint_url(), account_id=self.account_id, region=self.region)

    def _endpoint_url(self) -> str:
        found = self.status()
        if found is None:
            raise SandboxError("the embedded AWS is not running", do="run `invoke sandbox.up`", runbook="sandbox")
        return found.endpoint_url

    def _known(self) -> Emulator | None:
        try:
            found = json.loads(self._record.read_bytes())
            known = Emulator(**found)
        except (OSError, ValueError, TypeError):
            return None
        numbers = isinstance(known.pid, int) and isinstance(known.port, int)
        return known if numbers and 0 < known.port < 65536 else None

    def _remember(self, started: Emulator) -> None:
        write_private(self._record, json.dumps(asdict(started)).encode())

    def _start(self, ports: list[int]) -> Up:
        python = emulator.interpreter(self._root)
        crashed = self._record.exists()
        with self._writing():
            self._need_room()
            private_directory(self._data)
            private_directory(self._data / "tmp")
            try:
                started = self._launch(python, ports, crashed=crashed)
            except BaseException:
                if not crashed:
                    self._record.unlink(missing_ok=True)
                raise
        notes = [_AFTER_CRASH] if crashed else []
        if ports[0] not in {0, started.port}:
            notes.append(f"port {ports[0]} is taken, so the embedded AWS listens on {started.port}")
        return Up(
            started.endpoint_url,
            started.port,
            started.pid,
            started=True,
            orderly=not crashed,
            notes=tuple(notes),
        )

    def _launch(self, python: Path, ports: list[int], *, crashed: bool) -> Emulator:
        # Somebody may take a free port between the look and the start: hence several tries.
        for wanted in [*ports, 0, 0, 0]:
            port = emulator.free_port(wanted)
            started = port and emulator.launch(
                python,
                port=port,
                region=self.region,
                data=self._data,
                log=self._log,
                after_crash=crashed,
                record=self._remember,
            )
            if started:
                return started
        raise SandboxError(
            "no free port for the embedded AWS",
            where=emulator.HOST,
            expected=f"port {self._usual_port} or any other free one",
            do="close programs that listen on many ports, then run the same command again",
            runbook="sandbox",
        )

    def _stop(self, running: Emulator) -> Down:
        logged = self._log.stat().st_size if self._log.exists() else 0
        running.terminate()
        if not running.await_end(_STOP_SECONDS):
            running.kill()
            return Down(stopped=True, orderly=False, notes=(_KILLED,))
        with self._writing():
            unsaved = self._unsaved(logged)
            if unsaved:
                note = f"it could not save all of its state: {unsaved}"
                return Down(stopped=True, orderly=False, notes=(note,))
            self._record.unlink()
        return Down(stopped=True)

    def _unsaved(self, since: int) -> str | None:
        """Return the first line of the log after ``since`` bytes that tells of lost state."""
        if not self._log.exists():
            return None
        with self._log.open("rb") as log:
            log.seek(since)
            lines = log.read().decode(errors="replace").splitlines()
        return next((plain(line) for line in lines if "failed to save" in line), None)

    def _need_room(self) -> None:
        free = shutil.disk_usage(self._directory).free
        if free < _NEEDED_BYTES:
            raise SandboxError(
                f"the disk is full: {free // 1024**2} MiB are free",
                where=str(self._directory),
                expected=f"{_NEEDED_BYTES // 1024**2} MiB or more",
                do="make room, then run the same command again",
                runbook="disk",
            )

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        from filelock import FileLock, Timeout

        lock = FileLock(self._directory / "lock", timeout=_LOCK_SECONDS, mode=0o600)
        with self._writing():
            private_directory(self._directory)
            try:
                lock.acquire()
            except Timeout:
                raise SandboxError(
                    "another command has been starting or stopping the embedded AWS for too long",
                    where=str(self._directory / "lock"),
                    do="wait for it or end it, then run the same command again",
                    runbook="sandbox",
                ) from None
        try:
            yield
        finally:
            lock.release()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except (OSError, UsageError) as error:
            why = error.what if isinstance(error, UsageError) else f"{error.strerror}: {error.filename}"
            raise SandboxError(
                f"the cache of the embedded AWS cannot be written: {why}",
                where=str(self._directory),
                expected="a directory that you may write, with free space",
                do="check its owner, its permissions and the free space, then run the same command again",
                runbook="disk",
            ) from None


def _found(known: Emulator) -> Up:
    return Up(known.endpoint_url, known.port, known.pid, started=False, orderly=not known.after_crash)
