"""The audit trail: every act on a key as one JSON line, in a file and, where the environment file says so, next to the state.

It tells who did what to which keys and places, when and with what result, and never a secret. What comes from outside is
escaped by JSON itself: a line stays one line, whatever a name or a message holds.
"""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ci_user.errors import CiUserError
from ci_user.files import cannot_write
from ci_user.stored_object import StaleWriteError, StoredObject, Written

_LONGEST = 2000


class AuditBucket(Protocol):
    """What the trail needs of the state bucket."""

    def read(self, key: str, version_id: str | None = None) -> StoredObject | None: ...  # noqa: D102

    def write(self, key: str, body: bytes, if_match: str | None) -> Written: ...  # noqa: D102


class Recorder(Protocol):
    """Whom the work on keys tells its acts; ``Trail`` is one."""

    def record(  # noqa: D102
        self, act: str, *, key_ids: Sequence[str] = (), targets: Sequence[str] = (), result: str = "done"
    ) -> None: ...


@dataclass(frozen=True)
class Actor:
    """Who acts.

    Args:
        caller: The ARN that AWS knows the credentials as.
        owner: Who and where, for people: ``user@host``.
        command: The task: ``rotate``.
        environment: The environment's name.
        account_id: Its account.
        run: The run's id, which the lease names too.
    """

    caller: str
    owner: str
    command: str
    environment: str
    account_id: str
    run: str


class Silent:
    """Records nothing: for looks that change nothing, and for tests."""

    def record(
        self, act: str, *, key_ids: Sequence[str] = (), targets: Sequence[str] = (), result: str = "done"
    ) -> None:
        """Do nothing."""


class Trail:
    """Writes the acts of one run.

    A line that cannot be written is told and stops nothing: the act has happened, and the next one may be the cure.

    Args:
        actor: Who acts.
        file: Where the lines are added; made with mode 0600.
        warn: Told, once for each place, that lines are missing there.
        now: The time; tests pass their own.
    """

    def __init__(
        self,
        actor: Actor,
        file: Path,
        warn: Callable[[str], None],
        *,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(tz=dt.UTC),
    ) -> None:
        self._actor = actor
        self._file = file
        self._warn = warn
        self._now = now
        self._lines: list[bytes] = []
        self._bucket: AuditBucket | None = None
        self._key = ""
        self._etag: str | None = None
        self._warned: set[str] = set()

    def keep_in(self, bucket: AuditBucket, folder: str) -> None:
        """Also keep the lines of this run as one object ``FOLDER/audit/DATE-RUN.jsonl``, from now on."""
        self._bucket = bucket
        self._key = f"{folder}/audit/{self._now():%Y-%m-%d}-{self._actor.run}.jsonl"
        if self._lines:
            self._store()

    def record(
        self, act: str, *, key_ids: Sequence[str] = (), targets: Sequence[str] = (), result: str = "done"
    ) -> None:
        """Write one line.

        Args:
            act: What was done, one of the names in ``key_actions.py`` or of a command's own steps.
            key_ids: The keys it was done to.
            targets: The places it was done to.
            result: ``done``, or what went wrong; never a secret.
        """
        line = {
            "time": self._now().isoformat(timespec="milliseconds"),
            **vars(self._actor),
            "act": act,
            "key_ids": list(key_ids),
            "targets": list(targets),
            "result": result[:_LONGEST],
        }
        self._lines.append(json.dumps(line, ensure_ascii=True).encode() + b"\n")
        self._append(self._lines[-1])
        if self._bucket is not None:
            self._store()

    def _append(self, line: bytes) -> None:
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(self._file, flags, 0o600)
            try:
                # One write for a whole line, so that the lines of runs side by side stay whole.
                os.write(descriptor, line)
            finally:
                os.close(descriptor)
        except OSError as error:
            self._missing("file", cannot_write(self._file, error))

    def _store(self) -> None:
        assert self._bucket is not None  # noqa: S101 - the callers asked
        body = b"".join(self._lines)
        try:
            try:
                self._etag = self._bucket.write(self._key, body, self._etag).etag
            except StaleWriteError:
                # An answer was lost before: what stands there is this run's own.
                found = self._bucket.read(self._key)
                self._etag = self._bucket.write(self._key, body, found.etag if found else None).etag
        except CiUserError as error:
            self._missing("bucket", error)

    def _missing(self, place: str, error: CiUserError) -> None:
        if place not in self._warned:
            self._warned.add(place)
            self._warn(f"! the audit trail is incomplete: {error.what}")
