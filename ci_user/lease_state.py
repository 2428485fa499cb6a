"""The lease object as anybody may read it, and what may be concluded from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, NoReturn, Protocol

from ci_user.errors import LeaseLostError, LockHeldError
from ci_user.journal import Intent, Journal
from ci_user.lease_document import Holder, LeaseDocument
from ci_user.machine import Machine
from ci_user.server_clock import ServerTime, boot_clock
from ci_user.stored_object import StaleWriteError, StoredObject, UnclearWriteError, Version, Written

# AWS refuses a request whose time stamp is older than this, so nothing that a holder signed can take effect later.
# S3: "valid within 15 minutes of the timestamp", https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html
# Most others: five minutes, https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html
SIGNATURE_MAX_AGE: Final = timedelta(minutes=15)

# Each renewal is a version; an intent that is older than so many of them is not looked for any further.
_VERSIONS_AT_MOST: Final = 1000


class LeaseBucket(Protocol):
    """What the lease needs of a bucket; ``StateBucket`` has it, and says what is raised."""

    @property
    def name(self) -> str: ...  # noqa: D102

    def read(self, key: str, version_id: str | None = None) -> StoredObject | None: ...  # noqa: D102

    def write(self, key: str, body: bytes, if_match: str | None) -> Written: ...  # noqa: D102

    def versions(self, key: str) -> Iterator[Version]: ...  # noqa: D102

    def server_time(self) -> datetime: ...  # noqa: D102


@dataclass(frozen=True)
class LeaseState:
    """What the lease object says, and when it said so. Reading it takes no lease.

    It can stand in for a lease where nothing is changed (``JournalView``): ``check`` passes, ``record`` refuses.

    Args:
        nonce: Tells this content from every other; None when there is no object.
        holder: Who holds the environment, or None.
        journal: The journal; empty when there is no object.
        etag: What a conditional write gives back; None when there is no object.
        time: The bucket's clock when it was read.
    """

    nonce: str | None
    holder: Holder | None
    journal: Journal
    etag: str | None
    time: ServerTime
    _bucket: LeaseBucket = field(repr=False, compare=False)
    _key: str = field(repr=False, compare=False)
    _clock: Callable[[], float] = field(repr=False, compare=False)

    @property
    def run(self) -> str:
        """Return the id of no run."""
        return "read-only"

    @property
    def holder_text(self) -> str | None:
        """Return the holder in one line for people, or None when nobody holds it."""
        return self.holder.text if self.holder else None

    def now(self) -> datetime:
        """Return the time that the bucket's clock shows at least."""
        return self.time.earliest(self._clock())

    def free(self, machine: Machine, after: timedelta = SIGNATURE_MAX_AGE) -> bool:
        """Return whether nobody holds the lease any more, so that it may be taken.

        An expired lease is free once nothing that its holder signed can take effect; at once, expired or not, when the
        holder's process ran on this machine and is gone.
        """
        holder = self.holder
        if holder is None:
            return True
        if holder.machine == machine.id and machine.gone(holder.pid, holder.pid_started):
            return True
        return self.now() >= holder.expires_at + after

    def check(self) -> None:
        """Pass: what only reads needs no lease."""

    def record(self, journal: Journal) -> NoReturn:  # noqa: ARG002 - JournalView's name
        """Refuse to write the journal.

        Raises:
            LeaseLostError: Always: nobody writes it without the lease.
        """
        raise LeaseLostError(
            "the journal was only read, and no lease is held", do="report this as a mistake in the tool"
        )

    def confirm_intent(self, intent_id: str) -> Intent | None:
        """Return what the lease object's history says about an intent; see the function of that name."""
        return confirm_intent(self._bucket, self._key, intent_id)


class JournalView(Protocol):
    """What the work on keys needs: a held ``Lease``, or a ``LeaseState`` where nothing is changed."""

    @property
    def run(self) -> str: ...  # noqa: D102

    @property
    def journal(self) -> Journal: ...  # noqa: D102

    def now(self) -> datetime: ...  # noqa: D102

    def check(self) -> None: ...  # noqa: D102

    def record(self, journal: Journal) -> None: ...  # noqa: D102

    def confirm_intent(self, intent_id: str) -> Intent | None: ...  # noqa: D102


def peek(bucket: LeaseBucket, key: str, *, clock: Callable[[], float] = boot_clock) -> LeaseState:
    """Read the lease object without taking the lease.

    A deleted object counts with the last version it had, so that a deletion loses no journal.

    Raises:
        KeyStateError: It is not what this tool writes, or a newer version wrote it.
        StateBucketError, AwsError: The bucket is not there, or the call failed.
    """
    sent = clock()
    found = bucket.read(key)
    last = found or _last_version(bucket, key)
    if last is None:
        sent = clock()
        empty = ServerTime(bucket.server_time(), sent, clock())
        return LeaseState(None, None, Journal(), None, empty, bucket, key, clock)
    document = LeaseDocument.parse(last.body)
    return LeaseState(
        nonce=document.nonce,
        holder=document.holder,
        journal=document.journal,
        etag=found.etag if found else None,
        time=ServerTime(last.server_time, sent, clock()),
        _bucket=bucket,
        _key=key,
        _clock=clock,
    )


def confirm_intent(bucket: LeaseBucket, key: str, intent_id: str) -> Intent | None:
    """Return an intent as the lease object's history first recorded it, with the time at which S3 stored that.

    Raises:
        KeyStateError: A version is not what this tool writes.
        StateBucketError, AwsError: The bucket is not there, or a call failed.
    """
    confirmed: Intent | None = None
    for number, version in enumerate(bucket.versions(key)):
        stored = bucket.read(key, version.version_id) if number < _VERSIONS_AT_MOST else None
        if stored is None:
            return confirmed
        intent = LeaseDocument.parse(stored.body).journal.intent
        if intent is not None and intent.id == intent_id:
            confirmed = replace(intent, at=version.stored_at)
        elif confirmed is not None:
            return confirmed
    return confirmed


def break_lease(
    bucket: LeaseBucket,
    key: str,
    seen_nonce: str,
    *,
    clock: Callable[[], float] = boot_clock,
) -> None:
    """Take the lease away from its holder, for ``invoke unlock``; the journal stays.

    Only what a person has seen is broken: a holder that lives renews, and each renewal has another nonce. Somebody who
    is only paused still passes ``Lease.check`` until the lease expires, so the person must know that the run is over.

    Args:
        bucket: The state bucket.
        key: The lease object's key.
        seen_nonce: The ``nonce`` of the state that the person was shown.
        clock: Seconds since boot.

    Raises:
        LockHeldError: It was renewed or taken meanwhile; nothing was changed.
        KeyStateError, StateBucketError, AwsError: The object could not be read or written.
    """
    state = peek(bucket, key, clock=clock)
    if state.nonce != seen_nonce:
        raise _renewed(state)
    if state.holder is None:
        return
    broken = LeaseDocument.new(None, state.journal)
    try:
        bucket.write(key, broken.render(), state.etag)
    except (StaleWriteError, UnclearWriteError) as error:
        after = peek(bucket, key, clock=clock)
        if after.nonce == broken.nonce:
            return
        if isinstance(error, UnclearWriteError) and after.nonce == seen_nonce:
            raise
        raise _renewed(after) from None


def _last_version(bucket: LeaseBucket, key: str) -> StoredObject | None:
    for version in bucket.versions(key):
        return bucket.read(key, version.version_id)
    return None


def _renewed(state: LeaseState) -> LockHeldError:
    return LockHeldError(
        f"the lease was renewed or taken meanwhile, so its run is alive: {state.holder_text or 'nobody holds it now'}",
        do="look again with `invoke status --env NAME`; nothing was changed",
        runbook="locked",
    )


def held_error(state: LeaseState) -> LockHeldError:
    """Return the error that names the holder and says what to do."""
    holder = state.holder
    free_from = (holder.expires_at + SIGNATURE_MAX_AGE).isoformat(timespec="seconds") if holder else "now"
    return LockHeldError(
        f"somebody else works on this environment: {state.holder_text}",
        where=f"s3://{state._bucket.name}/{state._key}",
        do=(
            "wait for it (`--lock-timeout 10m`), or, when you know that this run is over, `invoke unlock --env NAME`;"
            f" if it is not renewed, the next run takes it from {free_from} on"
        ),
        runbook="locked",
    )
