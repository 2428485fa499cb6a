"""Where records of clean checks are kept, and the bucket policy that makes them worth trusting."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ci_user.errors import UsageError
from ci_user.text import plain

OBJECT_ACTIONS: Final = (
    "s3:PutObject",
    "s3:PutObjectAcl",
    "s3:DeleteObject",
    "s3:DeleteObjectVersion",
    "s3:ReplicateObject",
    "s3:ReplicateDelete",
)
"""What changes an object.

``PutObject`` also covers copies, uploads in parts and forms. ``Delete*`` bring an earlier version back. ``Replicate*`` are
what the role of a replication needs here, and its source may hold anything. An ACL cannot overcome a deny, but shows the
object to others.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
https://docs.aws.amazon.com/AmazonS3/latest/userguide/setting-repl-config-perm-overview.html
"""
BUCKET_ACTIONS: Final = ("s3:PutBucketPolicy", "s3:DeleteBucketPolicy", "s3:DeleteBucket")
"""What takes the denies away: who may delete the bucket can make it anew, with other records and the same policy."""

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
# No character that means something in a policy (* ? $) or in a URL.
_PREFIX: Final = re.compile(r"[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)*")
_EXPECTED: Final = "s3://BUCKET/PREFIX, such as s3://shop-nightly/records"


@dataclass(frozen=True)
class Location:
    """A prefix in a bucket, without slashes around it; one object lies under it."""

    bucket: str
    prefix: str

    @property
    def key(self) -> str:
        """Return the object's key."""
        return f"{self.prefix}/records.json"

    @property
    def address(self) -> str:
        """Return where the object is, for people."""
        return f"s3://{self.bucket}/{self.key}"


def parse_location(text: str) -> Location:
    """Return the location that a flag names.

    >>> parse_location("s3://shop-nightly/records/")
    Location(bucket='shop-nightly', prefix='records')

    Raises:
        UsageError: It is no ``s3://bucket/prefix``.
    """
    if not text.startswith("s3://"):
        raise _wrong(f"{plain(text, 200)!r} does not begin with s3://")
    bucket, _, rest = text.removeprefix("s3://").partition("/")
    prefix = rest.removesuffix("/")
    if not _BUCKET.fullmatch(bucket) or ".." in bucket:
        raise _wrong(f"{plain(bucket, 100)!r} is no bucket's name")
    if not prefix:
        raise _wrong("it names no prefix: the records are kept apart from everything else in the bucket")
    if not _PREFIX.fullmatch(prefix) or len(prefix) > 200 or {".", ".."} & set(prefix.split("/")):
        raise _wrong(
            f"the prefix {plain(prefix, 100)!r} has other characters than letters, digits, dots, underscores and hyphens"
            " between single slashes, or more than 200"
        )
    return Location(bucket, prefix)


def bucket_policy(location: Location, role_arn: str, *sessions: str) -> Mapping[str, Any]:
    """Return the policy of the records' bucket, as JSON values: everybody but one role is denied to write there.

    After that only the account's root user can change it, whom S3 lets do so whatever a policy says.
    https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketPolicy.html

    Args:
        location: Where the records are.
        role_arn: The nightly role, with its path: ``arn:aws:iam::123456789012:role/nightly``.
        sessions: ARNs of sessions of that role, for the embedded AWS, which tells a session by its own ARN.
    """
    bucket = f"arn:{role_arn.split(':')[1]}:s3:::{location.bucket}"
    others = {"ArnNotEquals": {"aws:PrincipalArn": [role_arn, *sessions] if sessions else role_arn}}

    def denied(sid: str, actions: tuple[str, ...], resource: str) -> dict[str, Any]:
        return {
            "Sid": sid,
            "Effect": "Deny",
            "Principal": "*",
            "Action": list(actions),
            "Resource": resource,
            "Condition": others,
        }

    return {
        "Version": "2012-10-17",
        "Statement": [
            denied("OnlyTheNightlyRoleWritesRecords", OBJECT_ACTIONS, f"{bucket}/{location.prefix}/*"),
            denied("NobodyTakesTheseDeniesAway", BUCKET_ACTIONS, bucket),
        ],
    }


def _wrong(what: str) -> UsageError:
    return UsageError(
        f"--records: {what}", expected=_EXPECTED, do="name the bucket and a prefix in it", runbook="nightly-records"
    )
