"""The S3 bucket that holds Terraform's state and the lease: its objects, and whether it is safe enough for them."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

from ci_user.bucket_settings import BucketSettings, Setting, UnreadableSettingError, code_of
from ci_user.credentials import calling
from ci_user.errors import AwsError, StateBucketError
from ci_user.stored_object import StaleWriteError, StoredObject, UnclearWriteError, Version, Written
from ci_user.text import plain

if TYPE_CHECKING:
    from ci_user.backends.protocol import AwsAccess

# How often a write is tried that S3 refused because another one was under way.
_CONFLICT_ATTEMPTS: Final = 5
_CONFLICT_SECONDS: Final = 0.05
_CONFLICTS: Final = frozenset({"ConditionalRequestConflict", "OperationAborted"})


class StateBucket:
    """One environment's state bucket. Every request but CreateBucket, which cannot, names the owner it expects.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-owner-condition.html

    Args:
        access: The way to it.
        name: The bucket.
        account_id: The account that must own it, 12 digits.
        region: Where it must be.
        partition: ``aws``, ``aws-us-gov`` or ``aws-cn``.
        kms_key: The ARN of the key that must encrypt it by default; None leaves that to S3's own.
        pause: Sleeps for so many seconds.
    """

    def __init__(
        self,
        access: AwsAccess,
        name: str,
        account_id: str,
        region: str,
        partition: str,
        kms_key: str | None,
        *,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.name = name
        self.account_id = account_id
        self.region = region
        self._access = access
        self._pause = pause
        self._settings = BucketSettings(
            self._request,
            arn=f"arn:{partition}:s3:::{name}",
            kms_key=kms_key,
            plain_http=lambda: str(self._client.meta.endpoint_url).startswith("http://"),
        )

    def __repr__(self) -> str:
        return f"StateBucket({self.name!r}, account_id={self.account_id!r}, region={self.region!r})"

    def exists(self) -> bool:
        """Return whether the bucket is there.

        Raises:
            StateBucketError: A bucket of that name belongs to somebody else.
            AwsError: AWS refused or failed the call.
        """
        return self._found_region() is not None

    def verify(self) -> None:
        """See that the bucket is there, ours, and as safe as it must be.

        Raises:
            StateBucketError: It is not; names every defect at once.
            AwsError: AWS failed a call.
        """
        region = self._found_region()
        if region is None:
            raise self._missing()
        defects = [] if region == self.region else [f"region: it is in {region}"]
        with calling(f"reading the settings of {self.name}"):
            defects += [defect for setting in self._settings if (defect := _defect(setting))]
        if defects:
            raise StateBucketError(
                f"the state bucket {self.name} is not as safe as it must be:"
                + "".join(f"\n    {defect}" for defect in defects),
                expected=f"a bucket in {self.region} that is versioned, encrypted, private and refuses plain HTTP",
                do="run `invoke bootstrap --env NAME`, which says what it would change",
                runbook="bucket",
            )

    def plan_bootstrap(self) -> tuple[str, ...]:
        """Return in words what ``bootstrap`` would do, in order; nothing when the bucket is as it must be.

        Raises:
            StateBucketError: The bucket belongs to somebody else or is in another region.
            AwsError: AWS failed a call.
        """
        region = self._found_region()
        if region is None:
            steps = [setting.step for setting in self._settings]
            return (f"create the bucket {self.name} in {self.region}, account {self.account_id}", *steps)
        self._must_be_here(region)
        with calling(f"reading the settings of {self.name}"):
            return tuple(setting.step for setting in self._settings if setting.defect())

    def bootstrap(self) -> tuple[str, ...]:
        """Make the bucket and its settings what they must be; return in words what was done.

        What is there already and stricter stays: other statements of the policy, a KMS key where none is asked for.

        Raises:
            StateBucketError: The bucket belongs to somebody else or is in another region; nothing was changed.
            AwsError: AWS refused or failed a call; the next run goes on from there.
        """
        done: list[str] = []
        region = self._found_region()
        if region is None:
            self._create()
            done.append(f"created the bucket {self.name} in {self.region}, account {self.account_id}")
            # CreateBucket cannot name an expected owner, so whose it is shows only now.
            region = self._found_region()
            if region is None:
                raise self._missing()
        self._must_be_here(region)
        for setting in self._settings:
            with calling(f"{self.name}: {setting.step}"):
                if setting.defect():
                    setting.apply()
                    done.append(setting.step)
        return tuple(done)

    def server_time(self) -> datetime:
        """Return S3's clock, rounded down to the second.

        Raises:
            StateBucketError: The bucket is not there, or belongs to somebody else.
            AwsError: The call failed.
        """
        answer = self._head()
        if answer is None:
            raise self._missing()
        return _date(answer)

    def read(self, key: str, version_id: str | None = None) -> StoredObject | None:
        """Return an object, or one version of it; None when it is not there.

        Raises:
            StateBucketError: The bucket is not there.
            AwsError: AWS refused or failed the call.
        """
        from botocore.exceptions import ClientError

        which = {} if version_id is None else {"VersionId": version_id}
        with calling(f"reading {key} in {self.name}"):
            try:
                answer = self._request("get_object", Key=key, **which)
            except ClientError as error:
                if code_of(error) in ("NoSuchKey", "NoSuchVersion"):
                    return None
                if code_of(error) == "NoSuchBucket":
                    raise self._missing() from None
                raise
            body = answer["Body"].read()
        return StoredObject(
            body=body,
            etag=answer["ETag"],
            server_time=_date(answer),
            version_id=answer.get("VersionId"),
            stored_at=answer["LastModified"].astimezone(UTC),
        )

    def write(self, key: str, body: bytes, if_match: str | None) -> Written:
        """Write an object if it is still the one that was read, or, without ``if_match``, if there is none.

        https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html

        Raises:
            StaleWriteError: Another one is there; after a lost answer it may be this write's own.
            UnclearWriteError: No answer tells whether it was written; read it to find out.
            StateBucketError: The bucket is not there.
            AwsError: AWS refused the call.
        """
        condition = {"IfNoneMatch": "*"} if if_match is None else {"IfMatch": if_match}

        def put() -> Any:
            return self._request("put_object", Key=key, Body=body, ContentType="application/json", **condition)

        answer = self._conditionally(f"writing {key} in {self.name}", put)
        return Written(etag=answer["ETag"], server_time=_date(answer), version_id=answer.get("VersionId"))

    def delete(self, key: str, if_match: str) -> None:
        """Delete an object if it is still the one that was read; its versions stay. One that is gone is no error.

        Raises:
            StaleWriteError, UnclearWriteError, StateBucketError, AwsError: As for ``write``.
        """
        self._conditionally(
            f"deleting {key} in {self.name}",
            lambda: self._request("delete_object", Key=key, IfMatch=if_match),
            gone={"ETag": None},
        )

    def versions(self, key: str) -> Iterator[Version]:
        """Yield an object's versions, the newest first; deletions are no versions.

        https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectVersions.html

        Raises:
            AwsError: AWS refused or failed a call.
        """
        mark: dict[str, str] = {}
        while True:
            with calling(f"reading the history of {key} in {self.name}"):
                page = self._request("list_object_versions", Prefix=key, **mark)
            for entry in page.get("Versions", []):
                if entry["Key"] == key:
                    yield Version(entry["VersionId"], entry["ETag"], entry["LastModified"].astimezone(UTC))
            if not page.get("IsTruncated"):
                return
            mark = {"KeyMarker": page["NextKeyMarker"]}
            if page.get("NextVersionIdMarker"):
                mark["VersionIdMarker"] = page["NextVersionIdMarker"]

    def state_serial(self, key: str) -> tuple[str, int] | None:
        """Return lineage and serial of the Terraform state, or None when there is none yet.

        Raises:
            StateBucketError: The object is no Terraform state, or the bucket is not there.
            AwsError: AWS refused or failed the call.
        """
        found = self.read(key)
        if found is None:
            return None
        try:
            state = json.loads(found.body)
        except ValueError:
            state = None
        lineage, serial = (state.get("lineage"), state.get("serial")) if isinstance(state, dict) else (None, None)
        if not isinstance(lineage, str) or not isinstance(serial, int):
            raise StateBucketError(
                "the state object is no Terraform state",
                where=f"s3://{self.name}/{key}",
                expected="JSON with lineage and serial",
                do="restore an earlier version of the object; nothing was changed",
                runbook="bucket",
            )
        return lineage, serial

    @property
    def _client(self) -> Any:
        return self._access.client("s3", self.region)

    def _request(self, operation: str, **parameters: Any) -> Any:
        call = getattr(self._client, operation)
        return call(Bucket=self.name, ExpectedBucketOwner=self.account_id, **parameters)

    def _conditionally(self, doing: str, request: Callable[[], Any], gone: dict[str, Any] | None = None) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError

        for attempt in range(_CONFLICT_ATTEMPTS):
            if attempt:
                self._pause(_CONFLICT_SECONDS * 2**attempt * (0.5 + random.random()))  # noqa: S311 - jitter
            with calling(doing):
                try:
                    return request()
                except BotoCoreError as error:
                    raise UnclearWriteError(
                        f"{doing}: no answer from S3 ({type(error).__name__})",
                        do="check the network, then run the same command again",
                        runbook="aws-refused-a-call",
                    ) from None
                except ClientError as error:
                    code, status = code_of(error), error.response["ResponseMetadata"]["HTTPStatusCode"]
                    if code == "NoSuchBucket":
                        raise self._missing() from None
                    if status == 404 and gone is not None:
                        return gone
                    # With If-Match, S3 answers 404 once the object is gone.
                    if status in (404, 412):
                        raise StaleWriteError(f"{doing}: it was changed meanwhile", runbook="locked") from None
                    if status >= 500:
                        raise UnclearWriteError(
                            f"{doing}: S3 answered {plain(code)}",
                            do="run the same command again in a minute",
                            runbook="aws-refused-a-call",
                        ) from None
                    if code not in _CONFLICTS:
                        raise
        raise UnclearWriteError(
            f"{doing}: S3 saw another write under way, {_CONFLICT_ATTEMPTS} times in a row",
            do="run the same command again",
            runbook="aws-refused-a-call",
        )

    def _head(self) -> Any:
        """Return the answer to HeadBucket, or None when there is no bucket."""
        from botocore.exceptions import ClientError

        with calling(f"looking for the bucket {self.name}"):
            try:
                return self._request("head_bucket")
            except ClientError as error:
                status = error.response["ResponseMetadata"]["HTTPStatusCode"]
                if status == 404:
                    return None
                if status == 403:
                    raise self._foreign() from None
                raise

    def _found_region(self) -> str | None:
        """Return where the bucket is, or None when there is none."""
        answer = self._head()
        if answer is None:
            return None
        region = answer["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region")
        if region:
            return str(region)
        # https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketLocation.html
        with calling(f"looking for the bucket {self.name}"):
            location = self._request("get_bucket_location").get("LocationConstraint")
        return {None: "us-east-1", "": "us-east-1", "EU": "eu-west-1"}.get(location, str(location))

    def _create(self) -> None:
        from botocore.exceptions import ClientError

        # us-east-1 is the one region that must not be named.
        # https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateBucket.html
        place: dict[str, Any] = {}
        if self.region != "us-east-1":
            place["CreateBucketConfiguration"] = {"LocationConstraint": self.region}
        with calling(f"creating the bucket {self.name}"):
            try:
                self._client.create_bucket(Bucket=self.name, **place)
            except ClientError as error:
                if code_of(error) == "BucketAlreadyExists":
                    raise self._foreign() from None
                if code_of(error) != "BucketAlreadyOwnedByYou":
                    raise

    def _must_be_here(self, region: str) -> None:
        if region != self.region:
            raise StateBucketError(
                f"the state bucket {self.name} is in {region}",
                expected=f"a bucket in {self.region}",
                do="name another bucket or the right region in the environment file; a bucket cannot be moved",
                runbook="bucket",
            )

    def _missing(self) -> StateBucketError:
        return StateBucketError(
            f"the state bucket {self.name} does not exist",
            expected=f"a bucket in {self.region} that belongs to account {self.account_id}",
            do="run `invoke bootstrap --env NAME`, which says what it would make",
            runbook="bucket",
        )

    def _foreign(self) -> StateBucketError:
        return StateBucketError(
            f"the bucket {self.name} belongs to somebody else, or these credentials may not look at it",
            expected=f"a bucket that belongs to account {self.account_id}, and s3:ListBucket on it",
            do="bucket names are global: name another one in the environment file, or grant the rights",
            runbook="bucket",
        )


def _defect(setting: Setting) -> str | None:
    try:
        return setting.defect()
    except UnreadableSettingError as error:
        return error.what


def _date(answer: Any) -> datetime:
    """Return S3's clock from the answer's ``Date``.

    Raises:
        AwsError: The answer carries none; something between here and S3 changed it.
    """
    try:
        date = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
    except (KeyError, ValueError, TypeError):
        date = None
    if date is None or date.tzinfo is None:
        raise AwsError(
            "S3's answer carries no usable Date, which the lease goes by",
            do="look at the proxies between here and S3",
            runbook="aws-refused-a-call",
        )
    return date.astimezone(UTC)
