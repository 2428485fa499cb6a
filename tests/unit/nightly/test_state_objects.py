"""State objects are listed once per bucket, no further than needed, and what a listing does not tell is asked for."""

from __future__ import annotations

import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ci_user.errors import AwsError
from ci_user.nightly.state_objects import StateObjects

NOW = dt.datetime(2026, 11, 24, tzinfo=dt.UTC)
OWNER = "000000000000"


class Bucket:
    """S3 as far as it is used here, with pages of two objects."""

    login = "login"
    region = "eu-west-1"
    endpoint_url = None

    def __init__(self, *keys: str) -> None:
        self.objects: dict[str, dict[str, Any]] = {
            key: {"Key": key, "ETag": '"1"', "Size": 1, "LastModified": NOW} for key in keys
        }
        self.asked: list[dict[str, Any]] = []

    def client(self, service: str) -> Bucket:
        assert service == "s3"
        return self

    def list_objects_v2(self, **asked: Any) -> Any:
        if asked["ExpectedBucketOwner"] != OWNER:
            raise ClientError({"Error": {"Code": "AccessDenied"}}, "ListObjectsV2")
        prefix, most, mark = asked["Prefix"], asked["MaxKeys"], asked.get("ContinuationToken", "0")
        self.asked.append({"prefix": prefix, "most": most, "from": mark})
        found = [self.objects[key] for key in sorted(self.objects) if key.startswith(prefix)]
        start, size = int(mark), min(most, 2)
        more = start + size < len(found)
        return {
            "Contents": found[start : start + size],
            "IsTruncated": more,
            **({"NextContinuationToken": str(start + size)} if more else {}),
        }


def listing(bucket: Bucket, *keys: str) -> Any:
    access: Any = bucket
    return StateObjects({"states": keys}).of(access, "states", OWNER)


def test_one_listing_answers_for_all_threads_and_keys() -> None:
    keys = [f"shop/e{number}/terraform.tfstate" for number in range(2)]
    bucket = Bucket(*keys)
    found = listing(bucket, *keys)
    with ThreadPoolExecutor(8) as pool:
        versions = set(pool.map(found.version, keys * 8))
    assert versions == {'"1" 1 2026-11-24T00:00:00+00:00'}
    assert bucket.asked == [{"prefix": "shop/e", "most": 1000, "from": "0"}]


def test_a_new_body_or_another_time_is_another_version_and_fresh_sees_it() -> None:
    bucket = Bucket("a")
    found = listing(bucket, "a")
    before = found.version("a")
    for change in ({"ETag": '"2"'}, {"Size": 2}, {"LastModified": NOW + dt.timedelta(seconds=1)}):
        bucket.objects["a"] = {**Bucket("a").objects["a"], **change}
        assert found.fresh("a") != before
    assert found.version("a") == before


def test_what_is_not_there_has_no_version_even_beside_a_longer_key() -> None:
    bucket = Bucket("a.lock")
    found = listing(bucket, "a", "b")
    assert (found.version("a"), found.version("b"), found.fresh("a")) == (None, None, None)


def test_the_listing_ends_behind_the_last_key_and_what_it_did_not_find_is_asked_for() -> None:
    bucket = Bucket("a/1", "a/2", "a/3", "a/4", *(f"a/9{number}" for number in range(50)))
    found = listing(bucket, "a/1", "a/3", "a/2x")
    assert found.version("a/3") is not None
    assert found.version("a/2x") is None
    assert [one["from"] for one in bucket.asked] == ["0", "2", "0"]
    assert bucket.asked[-1] == {"prefix": "a/2x", "most": 1, "from": "0"}


def test_a_bucket_full_of_other_things_is_not_read_to_its_end() -> None:
    bucket = Bucket("a", "z", *(f"m{number:04}" for number in range(500)))
    found = listing(bucket, "a", "z")
    assert found.version("z") is not None
    assert len(bucket.asked) < 30


def test_a_key_that_was_not_announced_is_asked_for_once() -> None:
    bucket = Bucket("a")
    found = listing(bucket)
    assert found.version("a") == found.version("a") != None  # noqa: E711 - both at once
    assert len(bucket.asked) == 1


def test_a_bucket_of_somebody_else_is_an_error_and_asked_once() -> None:
    access: Any = Bucket("a")
    found = StateObjects({"states": ["a"]}).of(access, "states", "111111111111")
    for _ in range(2):
        with pytest.raises(AwsError, match="AccessDenied"):
            found.version("a")


def test_each_bucket_and_login_has_a_listing_of_its_own() -> None:
    one: Any = Bucket("a")
    other: Any = Bucket("a")
    other.login = "other"
    objects = StateObjects()
    assert objects.of(one, "states", OWNER) is objects.of(one, "states", OWNER)
    assert objects.of(one, "states", OWNER) is not objects.of(other, "states", OWNER)
    assert objects.of(one, "states", OWNER) is not objects.of(one, "more", OWNER)
