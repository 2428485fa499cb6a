"""Objects in the state bucket as values, and what can go wrong with a conditional write."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ci_user.errors import AwsError, StateBucketError


class StaleWriteError(StateBucketError):
    """The object is not the one that was read. After a lost answer that may be the doing of this very write."""


class UnclearWriteError(AwsError):
    """No answer tells whether the write took place."""


@dataclass(frozen=True)
class StoredObject:
    """An object as it was read.

    Args:
        body: Its content.
        etag: What a conditional write gives back, quotes included.
        server_time: S3's clock when it answered: the ``Date`` header, rounded down to the second.
        version_id: Its version, or None in a bucket that keeps none.
        stored_at: When S3 stored this version.
    """

    body: bytes
    etag: str
    server_time: datetime
    version_id: str | None
    stored_at: datetime


@dataclass(frozen=True)
class Written:
    """What S3 answered to a write; see ``StoredObject``."""

    etag: str
    server_time: datetime
    version_id: str | None


@dataclass(frozen=True)
class Version:
    """One version in an object's history."""

    version_id: str
    etag: str
    stored_at: datetime
