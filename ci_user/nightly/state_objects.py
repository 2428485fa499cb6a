"""The versions of Terraform's state objects: one listing for each bucket and login, for however many environments."""

from __future__ import annotations

import os.path
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Final

from ci_user.credentials import calling
from ci_user.once import OncePerKey

if TYPE_CHECKING:
    from collections.abc import Hashable

    from ci_user.credentials import AwsAccess

_PAGE: Final = 1_000
_LONGEST: Final = 20
"""A listing ends after so many pages, and one more for each key that is wanted: what else is in the bucket is not ours, and the
keys that it did not come to are asked for one by one."""


class StateObjects:
    """The listings of a run: one per bucket and login; threads may ask at once.

    Args:
        keys: The keys that will be asked for, by bucket. Others are asked for one by one.
    """

    def __init__(self, keys: Mapping[str, Collection[str]] | None = None) -> None:
        self._keys = dict(keys or {})
        self._listings: OncePerKey[Hashable, BucketListing] = OncePerKey()

    def of(self, access: AwsAccess, bucket: str, account_id: str) -> BucketListing:
        """Return the listing of a bucket; nothing is read yet.

        Args:
            access: The way to it.
            bucket: Its name.
            account_id: The account that must own it.
        """
        key = (access.login, access.region, access.endpoint_url, bucket, account_id)
        wanted = frozenset(self._keys.get(bucket, ()))
        return self._listings.get(key, lambda: BucketListing(access, bucket, account_id, wanted))


class BucketListing:
    """The objects of one bucket, read once. Every request names the account that must own the bucket.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
    """

    def __init__(self, access: AwsAccess, bucket: str, account_id: str, wanted: Collection[str]) -> None:
        self._access = access
        self._bucket = bucket
        self._account_id = account_id
        self._wanted = frozenset(wanted)
        self._listed: OncePerKey[None, tuple[dict[str, str], frozenset[str]]] = OncePerKey()
        self._single: OncePerKey[str, str | None] = OncePerKey()

    def version(self, key: str) -> str | None:
        """Return what tells an object's content from another: ETag, size and time of its storing; None when there is none.

        Raises:
            AwsError: AWS refused or failed the call, or the bucket is another account's.
        """
        if key in self._wanted:
            versions, missed = self._listed.get(None, self._list)
            if key not in missed:
                return versions.get(key)
        return self._single.get(key, lambda: self.fresh(key))

    def fresh(self, key: str) -> str | None:
        """Return the same as it is now, whatever was listed before.

        Raises:
            AwsError: AWS refused or failed the call, or the bucket is another account's.
        """
        # The first key that begins with a key is that key.
        for one in self._page(Prefix=key, MaxKeys=1).get("Contents", ()):
            if one["Key"] == key:
                return _version(one)
        return None

    def _list(self) -> tuple[dict[str, str], frozenset[str]]:
        """Return the versions by key, and the keys about which the listing does not tell."""
        found: dict[str, str] = {}
        # What begins all keys, which may be nothing.
        narrowed: dict[str, Any] = {"Prefix": os.path.commonprefix(sorted(self._wanted))}  # noqa: RUF071 - S3 goes by characters
        last = max(self._wanted, key=_in_order)
        for _ in range(_LONGEST + len(self._wanted)):
            page = self._page(MaxKeys=_PAGE, **narrowed)
            contents = page.get("Contents", ())
            found |= {one["Key"]: _version(one) for one in contents if one["Key"] in self._wanted}
            if not page.get("IsTruncated"):
                return found, frozenset()
            if contents and _in_order(contents[-1]["Key"]) >= _in_order(last):
                break
            narrowed["ContinuationToken"] = page["NextContinuationToken"]
        # That something is not there is believed of a listing only that came to its end.
        return found, self._wanted - found.keys()

    def _page(self, **how: Any) -> Any:
        with calling(f"listing the objects of {self._bucket}"):
            return self._access.client("s3").list_objects_v2(
                Bucket=self._bucket, ExpectedBucketOwner=self._account_id, **how
            )


def _in_order(key: str) -> bytes:
    """Return what S3 sorts by: the key's bytes."""
    return key.encode()


def _version(one: Mapping[str, Any]) -> str:
    return f"{one['ETag']} {one['Size']} {one['LastModified'].isoformat()}"
