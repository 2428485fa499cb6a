"""One run per environment, across machines: a lease that is fenced by the clock of the bucket it lives in.

Every write is conditional on what was read last and carries a nonce, so exactly one of many wins, and an answer that
was lost is found out by reading. Time is S3's own, taken pessimistically on both sides: a holder counts from before its
request was sent, who waits to take over counts from after the answer arrived. Terraform and HTTP backends cannot be
fenced so; Terraform has its own lock.
"""

from __future__ import annotations

import datetime as dt
import logging
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Final, Self

from ci_user.errors import AwsError, CiUserError, LeaseLostError, StateBucketError
from ci_user.journal import Intent, Journal
from ci_user.lease_document import Holder, LeaseDocument
from ci_user.lease_state import (
    SIGNATURE_MAX_AGE,
    JournalView,
    LeaseBucket,
    LeaseState,
    break_lease,
    confirm_intent,
    held_error,
    peek,
)
from ci_user.machine import Machine, ThisMachine, owner_text
from ci_user.server_clock import ServerTime, boot_clock
from ci_user.stored_object import StaleWriteError, UnclearWriteError

__all__ = [
    "SIGNATURE_MAX_AGE",
    "JournalView",
    "Lease",
    "LeaseBucket",
    "LeaseState",
    "break_lease",
    "confirm_intent",
    "peek",
]

_log = logging.getLogger(__name__)

_WRITE_ATTEMPTS: Final = 4
_RETRY_SECONDS: Final = 0.1
_POLL_SECONDS: Final = 2.0
# The least that must remain of a lease for a changing request to begin.
_MARGIN_AT_MOST: Final = timedelta(seconds=10)
_AMZ_DATE: Final = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True)
class _Held:
    """What a run holds: replaced as a whole, so that ``check`` needs no lock."""

    holder: Holder
    time: ServerTime


class Lease:
    """A held lease: made by ``acquire``, given back at the end of its ``with`` block."""

    def __init__(
        self,
        bucket: LeaseBucket,
        key: str,
        *,
        ttl: timedelta,
        holder: Holder,
        clock: Callable[[], float],
        machine: Machine,
        pause: Callable[[float], None],
    ) -> None:
        self._bucket = bucket
        self._key = key
        self._ttl = ttl
        self._margin = min(ttl / 8, _MARGIN_AT_MOST)
        self._holder = holder
        self._clock = clock
        self._machine = machine
        self._pause = pause
        self._journal = Journal()
        self._etag: str | None = None
        self._time = ServerTime(holder.acquired_at, 0, 0)
        # The nonces of writes whose fate is not settled: they may still take effect, and are ours when they do.
        self._unsettled: set[str] = set()
        self._held: _Held | None = None
        self._lost: str | None = None
        self._trouble: str | None = None
        self._writing = threading.RLock()
        self._stop = threading.Event()

    @classmethod
    def acquire(
        cls,
        bucket: LeaseBucket,
        key: str,
        *,
        ttl: timedelta,
        command: str,
        wait: timedelta = timedelta(0),
        owner: str | None = None,
        run: str | None = None,
        clock: Callable[[], float] = boot_clock,
        machine: Machine | None = None,
        pause: Callable[[float], None] = time.sleep,
        takeover_after: timedelta = SIGNATURE_MAX_AGE,
        renewing: bool = True,
    ) -> Lease:
        """Take the lease, or wait for it.

        Args:
            bucket: The state bucket.
            key: The lease object's key.
            ttl: How long the lease lasts unless it is renewed, which happens every third of it.
            command: What the run does, for those who find the lease taken.
            wait: How long to wait for somebody else.
            owner: Who, for people; ``user@host`` by default.
            run: The run's id, lower-case letters, digits and hyphens; a new one by default.
            clock: Seconds since boot, suspended time included; tests pass their own.
            machine: Where this runs; tests pass their own.
            pause: Sleeps for so many seconds.
            takeover_after: How long after its expiry a lease may be taken; tests shorten it.
            renewing: Whether a thread renews it; tests call ``renew``.

        Raises:
            LockHeldError: Somebody else holds it, and did for longer than ``wait``.
            KeyStateError: The lease object is not what this tool writes.
            StateBucketError, AwsError: The bucket is not there, or a call failed.
        """
        machine = machine or ThisMachine()
        unset = datetime.fromtimestamp(0, tz=dt.UTC)
        holder = Holder(
            run=run or secrets.token_hex(8),
            owner=owner or owner_text(),
            machine=machine.id,
            pid=machine.pid,
            pid_started=machine.started(machine.pid),
            command=command,
            acquired_at=unset,
            expires_at=unset,
        )
        lease = cls(bucket, key, ttl=ttl, holder=holder, clock=clock, machine=machine, pause=pause)
        try:
            lease._wait(wait, takeover_after)
        except BaseException:
            # Ctrl-C as well: a write whose answer was not awaited must not keep the environment locked.
            lease.release()
            raise
        if renewing:
            threading.Thread(target=lease._keep_renewing, name="lease", daemon=True).start()
        return lease

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    @property
    def run(self) -> str:
        """Return this run's id."""
        return self._holder.run

    @property
    def journal(self) -> Journal:
        """Return the journal as this run last recorded it.

        After a ``record`` that failed without an answer this is what it was to record: the next write carries it.
        """
        return self._journal

    def now(self) -> datetime:
        """Return the time that the bucket's clock shows at least, within a second and a round trip."""
        return self._time.earliest(self._clock())

    def check(self) -> None:
        """See that the lease is held for long enough to begin another request. Costs nothing: no call is made.

        Raises:
            LeaseLostError: It was lost, given back, or could run out before the request is done.
        """
        self._checked()

    def fence(self, client: Any) -> None:
        """Have every request of a client checked after it was signed, just before it is sent, each retry included.

        https://docs.aws.amazon.com/boto3/latest/guide/events.html
        """
        client.meta.events.register("before-send", self.check_request)

    def check_request(self, request: Any, **_: object) -> None:
        """Check the lease for one signed request; takes what botocore's ``before-send`` gives.

        Besides ``check``: AWS accepts a request until 15 minutes after the time it was signed with, and that is this
        machine's wall clock. One that is signed with a time after the lease's end could take effect after a takeover.

        Raises:
            LeaseLostError: As for ``check``, or the machine's clock is ahead of AWS's by more than the lease lasts.
        """
        held = self._checked()
        stamp = request.headers.get("X-Amz-Date")
        if stamp is None:
            return
        stamp = stamp.decode() if isinstance(stamp, bytes) else stamp
        signed = datetime.strptime(stamp, _AMZ_DATE).replace(tzinfo=dt.UTC)
        if signed > held.holder.expires_at:
            ahead = signed - held.time.earliest(self._clock())
            raise LeaseLostError(
                f"this machine's clock is {ahead.total_seconds():.0f} seconds ahead of S3's, so that a delayed request"
                " could take effect after the lease has ended",
                do="set the clock (NTP), then run the same command again",
                runbook="lease-lost",
            )

    def record(self, journal: Journal) -> None:
        """Write the journal, and renew the lease with it.

        Raises:
            LeaseLostError: Somebody else wrote the lease object, or this run gave it back; nothing was recorded.
            UnclearWriteError: No answer tells whether it was recorded; the next write carries it.
            StateBucketError, AwsError: The write was refused.
        """
        with self._writing:
            self._refuse_when_lost()
            self._journal = journal
            self._write()

    def renew(self) -> None:
        """Prolong the lease by its time to live from now on.

        Raises:
            LeaseLostError, UnclearWriteError, StateBucketError, AwsError: As for ``record``.
        """
        with self._writing:
            self._refuse_when_lost()
            self._write()

    def confirm_intent(self, intent_id: str) -> Intent | None:
        """Return what the lease object's history says about an intent; see the function of that name."""
        return confirm_intent(self._bucket, self._key, intent_id)

    def release(self) -> None:
        """Give the lease back; the journal stays. A failure is only logged: the lease then ends by itself."""
        self._stop.set()
        with self._writing:
            held, self._held = self._held, None
            if self._lost is not None or (held is None and not self._unsettled):
                return
            self._lost = "this run gave the lease back"
            try:
                if not self._stored(LeaseDocument.new(None, self._journal)):
                    _log.warning("the lease of %s was no longer this run's when it was given back", self._key)
            except CiUserError as error:
                _log.warning("the lease of %s could not be given back: %s", self._key, error.what)

    def _wait(self, wait: timedelta, takeover_after: timedelta) -> None:
        """Take the lease as soon as it is free.

        Raises:
            LockHeldError: It was not free for longer than ``wait``.
        """
        deadline = self._clock() + wait.total_seconds()
        while True:
            state = peek(self._bucket, self._key, clock=self._clock)
            self._time = state.time
            if state.free(self._machine, takeover_after):
                if self._took(state):
                    return
                # Another one was quicker: it says next who that was.
                continue
            left = deadline - self._clock()
            if left <= 0:
                raise held_error(state)
            self._pause(min(_POLL_SECONDS, left))

    def _took(self, state: LeaseState) -> bool:
        with self._writing:
            self._etag = state.etag
            self._journal = state.journal
            self._holder = replace(self._holder, acquired_at=self.now())
            return self._stored(self._document())

    def _document(self) -> LeaseDocument:
        self._holder = replace(self._holder, expires_at=self.now() + self._ttl)
        return LeaseDocument.new(self._holder, self._journal)

    def _write(self) -> None:
        if not self._stored(self._document()):
            self._lost = "somebody else took the lease over, or broke it with `invoke unlock`"
            self._stop.set()
            self._refuse_when_lost()

    def _stored(self, document: LeaseDocument) -> bool:
        """Write a document over what was read last; return False when somebody else's stands there."""
        self._unsettled.add(document.nonce)
        body = document.render()
        failure: AwsError | StaleWriteError | None = None
        for attempt in range(_WRITE_ATTEMPTS):
            if attempt:
                self._pause(_RETRY_SECONDS * 2**attempt)
            sent = self._clock()
            try:
                # The same body each time: when a delayed attempt comes through late, it makes no difference.
                written = self._bucket.write(self._key, body, self._etag)
            except (StaleWriteError, UnclearWriteError) as error:
                failure = error
            except (AwsError, StateBucketError):
                if failure is None:
                    self._unsettled.discard(document.nonce)
                raise
            else:
                self._accept(document, written.etag, ServerTime(written.server_time, sent, self._clock()))
                return True
            try:
                state = peek(self._bucket, self._key, clock=self._clock)
            except AwsError as error:
                failure = error
                continue
            if state.nonce == document.nonce and state.etag is not None:
                self._accept(document, state.etag, state.time)
                return True
            if state.etag != self._etag and state.nonce not in self._unsettled:
                self._unsettled.clear()
                return False
            self._etag = state.etag
        raise failure or AssertionError

    def _accept(self, document: LeaseDocument, etag: str | None, when: ServerTime) -> None:
        self._etag = etag
        self._time = when
        self._trouble = None
        self._unsettled.clear()
        if document.holder is not None:
            self._holder = document.holder
            self._held = _Held(document.holder, when)

    def _checked(self) -> _Held:
        self._refuse_when_lost()
        held = self._held
        if held is None:
            raise self._stopped("this run gave the lease back")
        if held.time.latest(self._clock()) >= held.holder.expires_at - self._margin:
            why = f": {self._trouble}" if self._trouble else ", as after a pause of this process or this machine"
            raise self._stopped(f"the lease was not renewed in time{why}")
        return held

    def _refuse_when_lost(self) -> None:
        if self._lost is not None:
            raise self._stopped(self._lost)

    def _stopped(self, why: str) -> LeaseLostError:
        return LeaseLostError(
            f"this run no longer holds the environment and stopped before its next change: {why}",
            where=f"s3://{self._bucket.name}/{self._key}",
            do="run `invoke status --env NAME`, then the same command again: it goes on from what is there",
            runbook="lease-lost",
        )

    def _keep_renewing(self) -> None:
        every = self._ttl.total_seconds() / 3
        pause = every
        while not self._stop.wait(pause):
            try:
                self.renew()
                pause = every
            except LeaseLostError:
                return
            except CiUserError as error:
                self._trouble = error.what
                pause = every / 4
