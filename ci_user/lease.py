"""One run at a time per environment, across machines: a lease in the state bucket, which holds the journal of the keys too.

Every write is conditional on the object that was read before (``If-Match``), so two runs never both hold it:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html

Time is the bucket's, never a local wall clock. A holder measures its own lease from before its requests were sent, everybody
else from after the answer, so the holder always stops first.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Protocol

from ci_user.errors import AwsError, KeyStateError, LeaseLostError, LockHeldError
from ci_user.journal import Intent, Journal, check_schema
from ci_user.machine import Machine, ThisMachine, owner
from ci_user.server_clock import ServerTime, boot_clock
from ci_user.stored_object import StaleWriteError as ConflictError
from ci_user.text import plain

if TYPE_CHECKING:
    from ci_user.stored_object import StoredObject, Written

SCHEMA: Final = 1
SIGNATURE_MAX_AGE: Final = timedelta(minutes=15)
"""S3 refuses older signatures, so a request that a paused holder signed cannot arrive later:
https://docs.aws.amazon.com/AmazonS3/latest/API/RESTAuthentication.html"""

_LARGEST_MARGIN: Final = timedelta(seconds=5)
_POLL: Final = 1.0
_CONFLICTS_AT_MOST: Final = 5
_HISTORY_AT_MOST: Final = 500
_log = logging.getLogger(__name__)


class Bucket(Protocol):
    """The part of ``StateBucket`` that a lease needs."""

    def read(self, key: str, version_id: str | None = None) -> StoredObject | None:
        """Return an object, or None."""

    def write(self, key: str, body: bytes, if_match: str | None) -> Written:
        """Write conditionally; raises ConflictError."""

    def versions(self, key: str) -> Any:
        """Yield an object's versions, newest first."""


class JournalView(Protocol):
    """What key work needs: the journal and, for a run that may change things, the lease around it."""

    run: str

    @property
    def journal(self) -> Journal:
        """Return the journal."""

    def record(self, journal: Journal) -> None:
        """Write the journal."""

    def check(self) -> None:
        """Raise LeaseLostError when nothing may be changed."""

    def now(self) -> datetime:
        """Return the time by the bucket's clock."""

    def confirm_intent(self, intent_id: str) -> Intent | None:
        """Return the intent as the object's history has it."""


@dataclass(frozen=True)
class Holder:
    """Who holds a lease. ``owner`` is for people; ``machine``, ``pid`` and ``pid_started`` recognise a dead process."""

    run: str
    owner: str
    machine: str
    pid: int
    pid_started: str | None
    command: str
    acquired_at: datetime
    expires_at: datetime

    def __str__(self) -> str:
        since = self.acquired_at.isoformat(timespec="seconds")
        until = self.expires_at.isoformat(timespec="seconds")
        return plain(f"{self.owner} running `{self.command}` (process {self.pid}) since {since}, until {until}")

    def to_document(self) -> dict[str, Any]:
        """Return it as JSON values."""
        times = {name: getattr(self, name).isoformat() for name in ("acquired_at", "expires_at")}
        return {**self.__dict__, **times}

    @classmethod
    def from_document(cls, document: Any) -> Holder:
        """Read it back.

        Raises:
            KeyStateError: It is not what ``to_document`` writes.
        """
        try:
            times = {name: datetime.fromisoformat(document[name]) for name in ("acquired_at", "expires_at")}
            if any(moment.tzinfo is None for moment in times.values()):
                raise ValueError
            return cls(**{**document, **times})
        except (TypeError, KeyError, ValueError):
            raise _unreadable() from None


@dataclass(frozen=True)
class LeaseState:
    """The lease object as it was read, by somebody who holds nothing; serves as a ``JournalView`` that changes nothing."""

    holder: Holder | None
    journal: Journal
    etag: str | None
    time: ServerTime
    bucket: Bucket
    key: str
    run: str = "reader"

    def check(self) -> None:
        """Do nothing: a reader sends only what changes nothing."""

    def record(self, journal: Journal) -> None:
        """Refuse: only the holder of the lease writes."""
        raise LeaseLostError(
            "the journal is written by the holder of the lease only",
            where=self.key,
            do="report this as a fault of the tool",
        )

    def now(self) -> datetime:
        """Return the time by the bucket's clock, at the least."""
        return self.time.earliest(boot_clock())

    def confirm_intent(self, intent_id: str) -> Intent | None:
        """Return the intent as the object's history has it."""
        return confirm_intent(self.bucket, self.key, intent_id)


def peek(bucket: Bucket, key: str) -> LeaseState:
    """Read the lease object and nothing else: no lock, no write.

    Raises:
        KeyStateError: It was written by a newer version, or changed by somebody else.
        AwsError: It could not be read.
    """
    from datetime import UTC

    found = bucket.read(key)
    if found is None:
        moment = boot_clock()
        # Nothing was ever written here, so no decision rests on this clock.
        return LeaseState(None, Journal(), None, ServerTime(datetime.now(tz=UTC), moment, moment), bucket, key)
    document = _document(found)
    holder = Holder.from_document(document["holder"]) if document["holder"] is not None else None
    return LeaseState(
        holder, Journal.from_document(document["journal"]), found.etag, ServerTime(found.server_time, boot_clock() - 0.5, boot_clock()), bucket, key
    )


def break_lease(seen: LeaseState) -> None:
    """Take a lease away from the holder that a person was shown; the journal stays.

    Raises:
        LockHeldError: The object changed since: the holder lives, or there is another one.
    """
    if seen.etag is None:
        return
    try:
        seen.bucket.write(seen.key, _body(None, seen.journal, secrets.token_hex(16)), seen.etag)
    except ConflictError:
        raise LockHeldError(
            "the lease changed since it was shown, so its holder is alive; nothing was changed",
            where=seen.key,
            do="wait for the holder",
            runbook="locked",
        ) from None


def confirm_intent(bucket: Bucket, key: str, intent_id: str) -> Intent | None:
    """Return an intent as the object's history first has it, when S3 stored that version at the intent's own time.

    None when no version holds it: then nothing proves that it was ever journalled.
    """
    first: tuple[datetime, Intent] | None = None
    for number, version in enumerate(bucket.versions(key)):
        if number >= _HISTORY_AT_MOST:
            break
        try:
            old = bucket.read(key, version.version_id)
            intent = Journal.from_document(_document(old)["journal"]).intent
        except KeyStateError:
            continue
        if intent is not None and intent.id == intent_id:
            first = (version.stored_at, intent)
    if first is None:
        return None
    stored, intent = first
    return intent if abs(stored - intent.at) <= timedelta(minutes=1) else None


class Lease:
    """The lease of one environment, held; a context manager that gives it back and keeps the journal."""

    def __init__(
        self, bucket: Bucket, key: str, holder: Holder, journal: Journal, written: Written, ttl: timedelta,
        clock: Callable[[], float],
    ) -> None:
        self.run = holder.run
        self._bucket = bucket
        self._key = key
        self._holder = holder
        self._journal = journal
        self._etag = written.etag
        self._time = ServerTime(written.server_time, boot_clock() - 0.5, boot_clock())
        self._ttl = ttl
        self._clock = clock
        self._margin = min(_LARGEST_MARGIN, ttl / 4)
        self._lost: str | None = None
        self._mine: set[str] = set()
        self._writing = threading.Lock()
        self._ending = threading.Event()
        self._renewer = threading.Thread(target=self._renew_until_ended, name="lease", daemon=True)

    @classmethod
    def acquire(
        cls,
        bucket: Bucket,
        key: str,
        *,
        ttl: timedelta,
        command: str,
        wait: timedelta = timedelta(0),
        clock: Callable[[], float] = boot_clock,
        machine: Machine | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> Lease:
        """Take the lease, or wait for it.

        Args:
            bucket: The state bucket.
            key: The lease object.
            ttl: How long it lasts when it is not renewed; it is renewed every third of that.
            command: What this run does, for people.
            wait: How long to wait for somebody else.
            clock: Seconds since boot, suspended time included.
            machine: Where this run takes place.
            pause: Sleeps.

        Raises:
            LockHeldError: Somebody else holds it, and did for longer than ``wait``.
            KeyStateError: The object cannot be read.
        """
        machine = machine or ThisMachine()
        run, until = secrets.token_hex(8), clock() + wait.total_seconds()
        while True:
            state = peek(bucket, key)
            if state.holder is None or _over(state.holder, state.time.earliest(clock()), machine):
                now = state.time.earliest(clock()) if state.etag else state.now()
                holder = Holder(
                    run=run,
                    owner=owner(),
                    machine=machine.id,
                    pid=machine.pid,
                    pid_started=machine.started(machine.pid),
                    command=command,
                    acquired_at=now,
                    expires_at=now + ttl,
                )
                lease = cls._take(bucket, key, holder, state, ttl, clock)
                if lease is not None:
                    return lease
                continue
            if clock() >= until:
                raise _held(state.holder)
            pause(min(_POLL, max(until - clock(), 0.01)))

    @classmethod
    def _take(
        cls, bucket: Bucket, key: str, holder: Holder, state: LeaseState, ttl: timedelta, clock: Callable[[], float]
    ) -> Lease | None:
        nonce = secrets.token_hex(16)
        try:
            written = _settled_write(bucket, key, _body(holder, state.journal, nonce), nonce, state.etag)
        except ConflictError:
            return None
        lease = cls(bucket, key, holder, state.journal, written, ttl, clock)
        if state.etag is None:
            # The first object of all: only its answer told the bucket's time.
            lease._extend()
        return lease

    @property
    def journal(self) -> Journal:
        """Return the journal as last written."""
        return self._journal

    def now(self) -> datetime:
        """Return the time by the bucket's clock, at the least."""
        return self._time.earliest(self._clock())

    def check(self) -> None:
        """Return when this run still holds the lease for certain; looks at the clock only.

        Raises:
            LeaseLostError: It does not, or might not.
        """
        if self._lost is None and self._time.latest(self._clock()) >= self._holder.expires_at - self._margin:
            self._lost = "it was not renewed in time"
        if self._lost is not None:
            raise LeaseLostError(
                f"this run no longer holds the environment: {self._lost}; it changed nothing since",
                where=self._key,
                do="run the same command again: it continues from what is there",
                runbook="lease-lost",
            )

    def record(self, journal: Journal) -> None:
        """Write the journal.

        Raises:
            LeaseLostError: Somebody else wrote the object, or the lease ran out.
            AwsError: S3 failed; whether the journal was written shows in the next run.
        """
        with self._writing:
            self._write(journal)

    def confirm_intent(self, intent_id: str) -> Intent | None:
        """Return an intent as the object's history has it; see ``confirm_intent``."""
        return confirm_intent(self._bucket, self._key, intent_id)

    def release(self) -> None:
        """Give the lease back; failing only warns, since it runs out by itself."""
        self._ending.set()
        if self._renewer.is_alive():
            self._renewer.join()
        if self._lost is not None:
            return
        nonce = secrets.token_hex(16)
        try:
            _settled_write(self._bucket, self._key, _body(None, self._journal, nonce), nonce, self._etag, self._mine)
        except AwsError as error:
            _log.warning("the lease could not be given back and runs out by itself: %s", error.what)

    def __enter__(self) -> Lease:
        self._renewer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _renew_until_ended(self) -> None:
        while not self._ending.wait(self._ttl.total_seconds() / 3):
            try:
                self._extend()
            except LeaseLostError:
                return
            except AwsError as error:
                # Tried again at the next turn; check() stops the run when that is too late.
                _log.warning("the lease could not be renewed: %s", error.what)

    def _extend(self) -> None:
        with self._writing:
            self._write(self._journal)

    def _write(self, journal: Journal) -> None:
        self.check()
        holder = replace(self._holder, expires_at=self._time.earliest(self._clock()) + self._ttl)
        nonce = secrets.token_hex(16)
        self._mine.add(nonce)
        try:
            written = _settled_write(
                self._bucket, self._key, _body(holder, journal, nonce), nonce, self._etag, self._mine
            )
        except ConflictError:
            self._lost = "somebody else has taken it"
            self.check()
            raise
        self._mine = {nonce}
        self._holder, self._journal = holder, journal
        self._etag, self._time = written.etag, ServerTime(written.server_time, boot_clock() - 0.5, boot_clock())


def _settled_write(
    bucket: Bucket, key: str, body: bytes, nonce: str, etag: str | None, mine: set[str] | None = None
) -> Written:
    """Write, and settle by the nonce what an ambiguous answer left open: a lost one, or a retry that met its own first try.

    Args:
        bucket: Where.
        key: Which object.
        body: What, with its nonce in it.
        nonce: The body's nonce.
        etag: What it replaces; None where nothing is.
        mine: Nonces of this lease's earlier writes whose answers may have been lost: what they left may be replaced.

    Raises:
        ConflictError: Somebody else wrote.
        AwsError: S3 failed, and nothing was written.
    """
    failure: AwsError | None = None
    for _ in range(_CONFLICTS_AT_MOST):
        try:
            return bucket.write(key, body, etag)
        except AwsError as error:
            failure = error
        found = bucket.read(key)
        there = _document(found)["nonce"] if found is not None else None
        if found is not None and there == nonce:
            from ci_user.stored_object import Written as Result

            return Result(found.etag, found.server_time, None)
        if found is not None and mine and there in mine:
            etag = found.etag
            continue
        unchanged = (found.etag if found else None) == etag
        # 409 ConditionalRequestConflict: two conditional writes met, and neither need have won.
        if not (unchanged and isinstance(failure, ConflictError)):
            break
    assert failure is not None  # noqa: S101 - the loop ends with a return or a failure
    raise failure


def _over(holder: Holder, now: datetime, machine: Machine) -> bool:
    """Tell whether a holder can change nothing any more."""
    if holder.machine == machine.id and machine.gone(holder.pid, holder.pid_started):
        return True
    return now >= holder.expires_at + SIGNATURE_MAX_AGE


def _held(holder: Holder) -> LockHeldError:
    return LockHeldError(
        f"somebody else works on this environment: {holder}",
        expected="one run at a time",
        do="wait (--lock-timeout 5m); when that run is dead for certain, `invoke unlock --env NAME`",
        runbook="locked",
    )


def _body(holder: Holder | None, journal: Journal, nonce: str) -> bytes:
    document = {
        "schema": SCHEMA,
        # Without it the same content would have the same ETag, and a write could match what it should not.
        "nonce": nonce,
        "holder": holder.to_document() if holder else None,
        "journal": journal.to_document(),
    }
    return json.dumps(document, indent=1).encode()


def _document(found: StoredObject) -> dict[str, Any]:
    try:
        document = json.loads(found.body)
    except ValueError:
        raise _unreadable() from None
    check_schema(document, SCHEMA, "lease")
    if set(document) != {"schema", "nonce", "holder", "journal"}:
        raise _unreadable()
    loaded: dict[str, Any] = document
    return loaded


def _unreadable() -> KeyStateError:
    return KeyStateError(
        "the lease object cannot be read",
        expected="what this tool writes",
        do="somebody else changed the object: restore an earlier version of it; nothing was changed",
        runbook="journal-unreadable",
    )
