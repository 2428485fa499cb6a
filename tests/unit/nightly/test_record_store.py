"""The object of records against a double of S3: what is trusted, read, joined and written again."""

from __future__ import annotations

import datetime as dt
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from botocore.parsers import ResponseParserError

from ci_user.credentials import Caller
from ci_user.errors import AwsError, CredentialsError, UsageError
from ci_user.nightly.record_location import Location, bucket_policy
from ci_user.nightly.record_store import Kept, keep, read
from ci_user.nightly.records import Record, Records, parsed
from tests.unit.nightly.nights import ACCOUNT
from tests.unit.nightly.test_records import record

LOCATION = Location("shop-nightly", "records")
POLICY = json.dumps(bucket_policy(LOCATION, f"arn:aws:iam::{ACCOUNT}:role/nightly"))
EXISTING = ("a", "b", "c")


def refused(code: str, status: int) -> ClientError:
    answer = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "Operation")  # type: ignore[arg-type]


class S3:
    """One object and one policy; ``before_put`` and ``after_put`` are what happens around a write."""

    def __init__(self, body: bytes | None = None, policy: str | Exception = POLICY) -> None:
        self.body = body
        self.policy = policy
        self.version = 0
        self.puts: list[dict[str, Any]] = []
        self.owners: set[str] = set()
        self.before_put: list[Callable[[], None]] = []
        self.after_put: list[Exception] = []
        self.get_fails: Exception | None = None

    def get_bucket_policy(self, *, Bucket: str, ExpectedBucketOwner: str) -> Any:  # noqa: N803
        self.owners.add(ExpectedBucketOwner)
        if isinstance(self.policy, Exception):
            raise self.policy
        return {"Policy": self.policy}

    def get_object(self, *, Bucket: str, Key: str, ExpectedBucketOwner: str) -> Any:  # noqa: N803
        self.owners.add(ExpectedBucketOwner)
        assert (Bucket, Key) == ("shop-nightly", "records/records.json")
        if self.get_fails is not None:
            raise self.get_fails
        if self.body is None:
            raise refused("NoSuchKey", 404)
        return {"Body": io.BytesIO(self.body), "ETag": f'"{self.version}"'}

    def put_object(self, **parameters: Any) -> Any:
        self.owners.add(parameters["ExpectedBucketOwner"])
        if self.before_put:
            self.before_put.pop(0)()
        self.puts.append(parameters)
        there = None if self.body is None else f'"{self.version}"'
        if parameters.get("IfMatch") != there or ("IfNoneMatch" in parameters) is not (there is None):
            raise refused("PreconditionFailed", 412)
        self.store(parameters["Body"])
        if self.after_put:
            raise self.after_put.pop(0)
        date = {"date": "Tue, 24 Nov 2026 04:02:07 GMT"}
        return {"ETag": f'"{self.version}"', "ResponseMetadata": {"HTTPStatusCode": 200, "HTTPHeaders": date}}

    def store(self, body: bytes) -> None:
        self.body = body
        self.version += 1


class Access:
    account_id = ""
    region = "eu-west-1"
    partition = "aws"

    def __init__(self, s3: S3, arn: str = f"arn:aws:sts::{ACCOUNT}:assumed-role/nightly/run") -> None:
        self._s3 = s3
        self._arn = arn

    def client(self, service: str, region: str | None = None, *, attempts: int = 4) -> Any:
        assert service == "s3"
        return self._s3

    def caller(self) -> Caller:
        if not self._arn:
            raise CredentialsError("no credentials", do="log in")
        return Caller(arn=self._arn, account_id=ACCOUNT)


def access(s3: S3, *arn: str) -> Any:
    return Access(s3, *arn)


def body(*found: Record) -> bytes:
    return Records.of(found).render()


def stored(s3: S3) -> dict[str, Record]:
    assert s3.body is not None
    return dict(parsed(s3.body).environments)


def night(directory: Path, *found: Record) -> Path:
    (directory / "records.json").write_bytes(body(*found))
    return directory


def kept(directory: Path, s3: S3, *arn: str, pauses: list[float] | None = None) -> Kept:
    pause = (lambda _: None) if pauses is None else pauses.append
    return keep(directory, LOCATION, access(s3, *arn), existing=EXISTING, state_buckets=["shop-state"], pause=pause)


def test_records_are_read_where_nobody_else_can_write() -> None:
    s3 = S3(body(record("a")))
    book = read(LOCATION, access(s3), ["shop-state"])
    assert (book.get("a"), book.get("b"), book.why_not) == (record("a"), None, None)
    assert s3.owners == {ACCOUNT}


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        (refused("NoSuchBucketPolicy", 404), "has no policy"),
        (refused("AccessDenied", 403), "s3:GetBucketPolicy"),
        (ReadTimeoutError(endpoint_url="https://s3"), "no answer"),
        (ResponseParserError("<html>"), "not S3"),
        ("{}", "does not for certain deny"),
        (POLICY.replace("role/nightly", "role/deployer"), "does not for certain deny s3:PutObject"),
    ],
)
def test_elsewhere_they_are_not_read_and_it_is_said_why(policy: str | Exception, told: str) -> None:
    book = read(LOCATION, access(S3(body(record("a")), policy)), ["shop-state"])
    assert not book.records
    assert told in (book.why_not or "")


@pytest.mark.parametrize(
    "arn",
    [
        f"arn:aws:iam::{ACCOUNT}:root",
        f"arn:aws:sts::{ACCOUNT}:federated-user/nightly",
        f"arn:aws:sts::{ACCOUNT}:assumed-role/deployer/run",
        f"arn:aws:iam::{ACCOUNT}:user/nightly",
        "nonsense",
        "",
    ],
)
def test_for_anybody_but_the_writer_they_are_not_trusted(arn: str) -> None:
    book = read(LOCATION, access(S3(body(record("a"))), arn), [])
    assert not book.records
    assert book.why_not


def test_in_a_state_bucket_they_are_not_trusted() -> None:
    book = read(LOCATION, access(S3(body(record("a")))), ["other", "shop-nightly"])
    assert not book.records
    assert "state bucket" in (book.why_not or "")


@pytest.mark.parametrize("content", [None, b"", b"{", b"\x1b[31m"])
def test_a_missing_or_broken_object_has_everything_planned(content: bytes | None) -> None:
    book = read(LOCATION, access(S3(content)), [])
    assert not book.records
    assert "s3://shop-nightly/records/records.json" in (book.why_not or "")


def test_a_refused_read_says_which_rights_are_needed() -> None:
    s3 = S3(body(record("a")))
    s3.get_fails = refused("AccessDenied", 403)
    assert "s3:ListBucket" in (read(LOCATION, access(s3), []).why_not or "")


def test_the_first_records_are_written_where_there_are_none(tmp_path: Path) -> None:
    s3 = S3()
    assert kept(night(tmp_path, record("a")), s3) == Kept(records=1, new=1, gone=0)
    assert stored(s3) == {"a": record("a")}
    assert s3.owners == {ACCOUNT}


def test_other_environments_stay_older_records_yield_and_those_of_no_environment_go(tmp_path: Path) -> None:
    s3 = S3(body(record("a", 1), record("b", 5), record("c", 1), record("gone", 1)))
    found = kept(night(tmp_path, record("a", 2), record("b", 4), record("unknown", 9)), s3)
    assert found == Kept(records=3, new=1, gone=1)
    assert stored(s3) == {"a": record("a", 2), "b": record("b", 5), "c": record("c", 1)}


def test_a_record_that_claims_to_last_is_neither_kept_nor_left(tmp_path: Path) -> None:
    forever: dict[str, Any] = {"valid_until": dt.date(9999, 1, 1)}
    s3 = S3(body(record("a", 5, **forever), record("b")))
    assert kept(night(tmp_path, record("a"), record("c", **forever)), s3) == Kept(records=2, new=1, gone=0)
    assert stored(s3) == {"a": record("a"), "b": record("b")}


def test_what_another_run_writes_meanwhile_is_joined(tmp_path: Path) -> None:
    s3, pauses = S3(body(record("a"))), list[float]()
    s3.before_put = [lambda: s3.store(body(record("a"), record("b", 3)))]
    assert kept(night(tmp_path, record("c")), s3, pauses=pauses).records == 3
    assert stored(s3) == {"a": record("a"), "b": record("b", 3), "c": record("c")}
    assert (len(s3.puts), len(pauses)) == (2, 1)


def test_a_lost_answer_is_found_out_by_reading(tmp_path: Path) -> None:
    s3 = S3()
    s3.after_put = [ReadTimeoutError(endpoint_url="https://s3")]
    assert kept(night(tmp_path, record("a")), s3).records == 1
    assert len(s3.puts) == 1


def test_others_that_always_come_first_end_in_an_error(tmp_path: Path) -> None:
    s3 = S3()
    s3.before_put = [lambda: s3.store(body(record("a", s3.version)))] * 6
    with pytest.raises(AwsError, match="could not be written"):
        kept(night(tmp_path, record("b")), s3)
    assert len(s3.puts) == 6


def test_what_cannot_be_read_there_is_written_over(tmp_path: Path) -> None:
    s3 = S3(b"{")
    kept(night(tmp_path, record("a")), s3)
    assert stored(s3) == {"a": record("a")}


def test_the_same_night_again_writes_nothing(tmp_path: Path) -> None:
    s3 = S3(body(record("a")))
    assert kept(night(tmp_path, record("a")), s3) == Kept(records=1, new=0, gone=0)
    assert not s3.puts


def test_nothing_is_written_where_it_would_not_be_trusted(tmp_path: Path) -> None:
    s3 = S3(body(record("a")), "{}")
    with pytest.raises(UsageError, match="would not be trusted"):
        kept(night(tmp_path, record("b")), s3)
    assert not s3.puts


def test_without_records_of_a_check_nothing_is_asked(tmp_path: Path) -> None:
    s3 = S3()
    with pytest.raises(UsageError):
        kept(tmp_path, s3)
    assert not s3.owners
