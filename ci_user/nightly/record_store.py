"""The object that records live in: read where it can be trusted, and written beside what other runs write."""

from __future__ import annotations

import datetime as dt
import random
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ci_user.errors import AwsError, CiUserError, UsageError
from ci_user.nightly.record_location import Location
from ci_user.nightly.record_trust import owner_of, why_not
from ci_user.nightly.records import (
    BYTES_AT_MOST,
    FILE,
    LONGEST,
    RecordBook,
    Records,
    UnusableRecordsError,
    load,
    parsed,
)

if TYPE_CHECKING:
    from ci_user.credentials import AwsAccess

_ATTEMPTS: Final = 6
_WAIT_SECONDS: Final = 0.2
_RUNBOOK: Final = "nightly-records"


@dataclass(frozen=True)
class Kept:
    """What ``keep`` did: how many records are there now, how many of them are new, and how many went."""

    records: int
    new: int
    gone: int


def read(location: Location, access: AwsAccess, state_buckets: Iterable[str]) -> RecordBook:
    """Return the records of a location, if they can be trusted. Never raises: without records everything is planned.

    Args:
        location: Where they are.
        access: The login of whoever runs this; it alone may be able to write there.
        state_buckets: The state buckets of all environments.
    """
    from botocore.parsers import ResponseParserError

    try:
        caller = access.caller()
        reason = why_not(location, access, caller, state_buckets)
        if reason is not None:
            return RecordBook(why_not=reason)
        found = _stored(location, access, owner_of(caller))
        if found is None:
            return RecordBook(why_not=f"{location.address} is not there yet")
        return RecordBook(parsed(found.body).environments)
    except UnusableRecordsError as error:
        return RecordBook(why_not=f"{location.address}: {error}")
    except CiUserError as error:
        return RecordBook(why_not=f"{error.what}; {error.do}" if error.do else error.what)
    except (ResponseParserError, KeyError) as error:
        # botocore trips like this over a web page, such as a network's login, in place of AWS's answer.
        return RecordBook(why_not=f"{location.address}: what answered is not S3 ({type(error).__name__})")


def keep(
    result: Path,
    location: Location,
    access: AwsAccess,
    *,
    existing: Collection[str],
    state_buckets: Iterable[str],
    pause: Callable[[float], None] = time.sleep,
) -> Kept:
    """Write the records of a night to where the next one reads them, beside those of other shards and nights.

    Of each environment the newest record stays. Another run that writes at the same time loses nothing: a write is
    conditional on what was read, and is made anew over what is there instead.

    Args:
        result: The directory that ``invoke check --out`` wrote.
        location: Where they go.
        access: The login of whoever runs this; it alone may be able to write there.
        existing: The environments that there are; records of others go.
        state_buckets: The state buckets of all environments.
        pause: Sleeps for so many seconds.

    Raises:
        UsageError: There are no records in the directory, or nobody could trust what is written there.
        CredentialsError: No usable login.
        AwsError: AWS refused or failed a call, or others wrote again and again.
    """
    from ci_user.state_bucket import StateBucket
    from ci_user.stored_object import StaleWriteError, UnclearWriteError

    new = load(result / FILE)
    # One that claims to last for longer was not made by a check: a plan is made again every month, whatever happens.
    last = dt.datetime.now(tz=dt.UTC).date() + LONGEST
    caller = access.caller()
    reason = why_not(location, access, caller, state_buckets)
    if reason is not None:
        # What an untrusted place holds must not be written again by the one who is trusted.
        raise UsageError(
            f"records there would not be trusted: {reason}",
            where=location.address,
            expected="a place that only the role of this run can write",
            do="give the bucket the policy that docs/nightly.md shows, with this role's ARN",
            runbook=_RUNBOOK,
        )
    bucket = StateBucket(access, location.bucket, owner_of(caller), access.region, access.partition, None, pause=pause)
    failure: CiUserError | None = None
    for attempt in range(_ATTEMPTS):
        if attempt:
            pause(_WAIT_SECONDS * 2**attempt * (0.5 + random.random()))  # noqa: S311 - jitter
        stored = _stored(location, access, bucket.account_id)
        old = _usable(stored)
        joined = Records.of(
            record
            for document in (old, new)
            for record in document.environments.values()
            if record.environment in existing and record.valid_until <= last
        )
        kept = Kept(
            records=len(joined.environments),
            new=sum(old.environments.get(name) != record for name, record in joined.environments.items()),
            gone=len(old.environments.keys() - joined.environments.keys()),
        )
        body = joined.render()
        if stored is not None and stored.body == body:
            return kept
        if len(body) > BYTES_AT_MOST:
            raise UsageError(
                f"the records take {len(body):,} bytes",
                expected=f"at most {BYTES_AT_MOST:,}, beyond which they are not read",
                do="keep them per group of environments, each under a prefix of its own",
                runbook=_RUNBOOK,
            )
        try:
            bucket.write(location.key, body, None if stored is None else stored.etag)
        except (StaleWriteError, UnclearWriteError) as error:
            # After a lost answer the next look shows whether the records are there.
            failure = error
        else:
            return kept
    raise AwsError(
        f"{location.address} could not be written: {failure.what if failure else ''}",
        do="run the same command again; no record is lost that another run wrote",
        runbook=_RUNBOOK,
    )


@dataclass(frozen=True)
class _Stored:
    body: bytes
    etag: str


def _stored(location: Location, access: AwsAccess, account_id: str) -> _Stored | None:
    """Return the object, its body cut beyond what may be read; None when there is none.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html

    Raises:
        AwsError: AWS refused or failed the call. Without s3:ListBucket an object that is not there is refused, too.
    """
    from botocore.exceptions import ClientError

    from ci_user.bucket_settings import code_of
    from ci_user.credentials import calling

    with calling(f"reading {location.address}", do="let this role call s3:GetObject there, and s3:ListBucket"):
        try:
            answer = access.client("s3").get_object(
                Bucket=location.bucket, Key=location.key, ExpectedBucketOwner=account_id
            )
        except ClientError as error:
            if code_of(error) == "NoSuchKey":
                return None
            raise
        return _Stored(answer["Body"].read(BYTES_AT_MOST + 1), str(answer["ETag"]))


def _usable(stored: _Stored | None) -> Records:
    """Return what is stored, or nothing when it cannot be used: then it is written over."""
    try:
        return Records() if stored is None else parsed(stored.body)
    except UnusableRecordsError:
        return Records()
