"""What the state bucket makes of S3's answers, those included that the embedded AWS never gives."""

from __future__ import annotations

import datetime as dt
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from ci_user.bucket_settings import TLS_SID
from ci_user.errors import AwsError, CiUserError, StateBucketError
from ci_user.state_bucket import StateBucket
from ci_user.stored_object import StaleWriteError, UnclearWriteError

ACCOUNT = "123456789012"
DATE = "Tue, 24 Nov 2026 04:02:07 GMT"
KEY = "shop/production/lease.json"
KMS_KEY = f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/0a0a0a0a-1111-2222-3333-444444444444"


def refused(code: str, status: int) -> ClientError:
    answer = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "Operation")  # type: ignore[arg-type]


def answered(**values: Any) -> dict[str, Any]:
    return {**values, "ResponseMetadata": {"HTTPStatusCode": 200, "HTTPHeaders": {"date": DATE}}}


class ScriptedS3:
    """An S3 client that gives the answers it was told to and remembers what it was asked."""

    def __init__(self, endpoint_url: str = "https://s3.eu-west-1.amazonaws.com") -> None:
        self.endpoint_url = endpoint_url
        self.meta = self
        self.answers: dict[str, list[Any]] = {}
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def gives(self, operation: str, *answers: Any) -> ScriptedS3:
        self.answers[operation] = list(answers)
        return self

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        def call(**parameters: Any) -> Any:
            self.asked.append((operation, parameters))
            answers = self.answers[operation]
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call

    def parameters(self, operation: str) -> list[dict[str, Any]]:
        return [parameters for name, parameters in self.asked if name == operation]


class Access:
    account_id = ACCOUNT
    region = "eu-west-1"
    partition = "aws"

    def __init__(self, client: ScriptedS3) -> None:
        self._client = client

    def client(self, service: str, region: str | None = None, *, attempts: int = 4) -> Any:
        assert service == "s3"
        return self._client


def bucket(
    s3: ScriptedS3,
    *,
    region: str = "eu-west-1",
    kms_key: str | None = None,
    partition: str = "aws",
    pauses: list[float] | None = None,
) -> StateBucket:
    pause = pauses.append if pauses is not None else (lambda _: None)
    return StateBucket(Access(s3), "shop-state", ACCOUNT, region, partition, kms_key, pause=pause)


PUT = answered(ETag='"1"', VersionId="v1")


def test_the_first_write_asks_that_nothing_is_there_and_a_later_one_for_what_was_read() -> None:
    s3 = ScriptedS3().gives("put_object", PUT)
    bucket(s3).write(KEY, b"{}", None)
    bucket(s3).write(KEY, b"{}", '"0"')
    first, second = s3.parameters("put_object")
    assert (first["IfNoneMatch"], first.get("IfMatch")) == ("*", None)
    assert (second["IfMatch"], second.get("IfNoneMatch")) == ('"0"', None)
    assert {first["ExpectedBucketOwner"], second["ExpectedBucketOwner"]} == {ACCOUNT}


def test_the_time_of_an_answer_is_its_date_header() -> None:
    written = bucket(ScriptedS3().gives("put_object", PUT)).write(KEY, b"{}", None)
    assert written.server_time == dt.datetime(2026, 11, 24, 4, 2, 7, tzinfo=dt.UTC)


@pytest.mark.parametrize("headers", [{}, {"date": "soon"}, {"date": ""}])
def test_an_answer_without_a_date_is_no_base_for_a_lease(headers: dict[str, str]) -> None:
    answer = {"ETag": '"1"', "ResponseMetadata": {"HTTPStatusCode": 200, "HTTPHeaders": headers}}
    with pytest.raises(AwsError, match="no usable Date"):
        bucket(ScriptedS3().gives("put_object", answer)).write(KEY, b"{}", None)


@pytest.mark.parametrize("code", ["ConditionalRequestConflict", "OperationAborted"])
def test_a_write_that_met_another_one_is_tried_again(code: str) -> None:
    pauses: list[float] = []
    s3 = ScriptedS3().gives("put_object", refused(code, 409), refused(code, 409), PUT)
    assert bucket(s3, pauses=pauses).write(KEY, b"{}", None).etag == '"1"'
    assert len(pauses) == 2
    assert pauses[1] > pauses[0] / 3


def test_a_write_that_meets_others_again_and_again_ends_unclear() -> None:
    s3 = ScriptedS3().gives("put_object", refused("ConditionalRequestConflict", 409))
    with pytest.raises(UnclearWriteError, match="another write"):
        bucket(s3).write(KEY, b"{}", None)
    assert len(s3.asked) == 5


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (refused("PreconditionFailed", 412), StaleWriteError),
        (refused("NoSuchKey", 404), StaleWriteError),
        (refused("InternalError", 500), UnclearWriteError),
        (refused("SlowDown", 503), UnclearWriteError),
        (ReadTimeoutError(endpoint_url="https://s3"), UnclearWriteError),
        (EndpointConnectionError(endpoint_url="https://s3"), UnclearWriteError),
    ],
)
def test_a_write_tells_refused_from_unclear(answer: Exception, expected: type[CiUserError]) -> None:
    with pytest.raises(expected):
        bucket(ScriptedS3().gives("put_object", answer)).write(KEY, b"{}", '"0"')


def test_a_write_without_the_right_is_neither_stale_nor_unclear() -> None:
    with pytest.raises(AwsError, match="AccessDenied") as caught:
        bucket(ScriptedS3().gives("put_object", refused("AccessDenied", 403))).write(KEY, b"{}", '"0"')
    assert type(caught.value) is AwsError


@pytest.mark.parametrize("act", ["read", "write", "delete", "server_time"])
def test_a_missing_bucket_is_named_with_the_command_that_makes_it(act: str) -> None:
    s3 = ScriptedS3()
    for operation in ("get_object", "put_object", "delete_object"):
        s3.gives(operation, refused("NoSuchBucket", 404))
    s3.gives("head_bucket", refused("404", 404))
    state = bucket(s3)
    acts: dict[str, Callable[[], object]] = {
        "read": lambda: state.read(KEY),
        "write": lambda: state.write(KEY, b"", None),
        "delete": lambda: state.delete(KEY, '"1"'),
    }
    with pytest.raises(StateBucketError, match="shop-state does not exist") as caught:
        acts.get(act, state.server_time)()
    assert "invoke bootstrap --env NAME" in str(caught.value)


def test_deleting_what_is_gone_is_no_error_and_what_changed_is_one() -> None:
    bucket(ScriptedS3().gives("delete_object", refused("NoSuchKey", 404))).delete(KEY, '"1"')
    with pytest.raises(StaleWriteError):
        bucket(ScriptedS3().gives("delete_object", refused("PreconditionFailed", 412))).delete(KEY, '"1"')


def test_the_history_of_a_key_leaves_out_keys_that_only_begin_like_it() -> None:
    when = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)

    def entry(key: str, version: str) -> dict[str, Any]:
        return {"Key": key, "VersionId": version, "ETag": '"e"', "LastModified": when}

    first = answered(
        Versions=[entry(KEY, "3"), entry(KEY, "2")], IsTruncated=True, NextKeyMarker=KEY, NextVersionIdMarker="2"
    )
    second = answered(Versions=[entry(KEY, "1"), entry(f"{KEY}.bak", "9")], IsTruncated=False)
    s3 = ScriptedS3().gives("list_object_versions", first, second)
    assert [version.version_id for version in bucket(s3).versions(KEY)] == ["3", "2", "1"]
    assert s3.asked[1][1]["VersionIdMarker"] == "2"


def state_object(body: bytes) -> ScriptedS3:
    found = answered(Body=io.BytesIO(body), ETag='"1"', LastModified=dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
    return ScriptedS3().gives("get_object", found)


def test_lineage_and_serial_come_from_the_state() -> None:
    assert bucket(state_object(b'{"lineage": "abc", "serial": 7}')).state_serial("t") == ("abc", 7)


def test_no_state_has_no_serial() -> None:
    assert bucket(ScriptedS3().gives("get_object", refused("NoSuchKey", 404))).state_serial("t") is None


@pytest.mark.parametrize("body", [b"", b"[]", b'{"serial": 1}', b'{"lineage": "x", "serial": "1"}'])
def test_what_is_no_state_is_refused(body: bytes) -> None:
    with pytest.raises(StateBucketError, match="no Terraform state"):
        bucket(state_object(body)).state_serial("t")


ARN = "arn:aws:s3:::shop-state"


def tls_only(**changes: object) -> dict[str, Any]:
    return {
        "Sid": TLS_SID,
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [ARN, f"{ARN}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        **changes,
    }


def safe(policy: object = None, *, encryption: dict[str, str] | None = None) -> ScriptedS3:
    """Answer as a bucket that is as it must be, but for what is given."""
    s3 = ScriptedS3()
    head = answered()
    head["ResponseMetadata"]["HTTPHeaders"]["x-amz-bucket-region"] = "eu-west-1"
    s3.gives("head_bucket", head)
    blocks = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
    s3.gives("get_public_access_block", answered(PublicAccessBlockConfiguration=dict.fromkeys(blocks, True)))
    owner = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    s3.gives("get_bucket_ownership_controls", answered(OwnershipControls=owner))
    s3.gives("get_bucket_versioning", answered(Status="Enabled"))
    rule = {"ApplyServerSideEncryptionByDefault": encryption or {"SSEAlgorithm": "AES256"}}
    s3.gives("get_bucket_encryption", answered(ServerSideEncryptionConfiguration={"Rules": [rule]}))
    document = policy or {"Version": "2012-10-17", "Statement": [tls_only()]}
    s3.gives("get_bucket_policy", answered(Policy=json.dumps(document)))
    for operation in ("put_bucket_policy", "put_bucket_encryption"):
        s3.gives(operation, answered())
    return s3


def test_a_safe_bucket_passes() -> None:
    s3 = safe()
    bucket(s3).verify()
    assert bucket(s3).plan_bootstrap() == bucket(s3).bootstrap() == ()


@pytest.mark.parametrize(
    "statement",
    [
        tls_only(Sid="SomebodyElses"),
        tls_only(Principal={"AWS": "*"}),
        tls_only(Action=["s3:*"]),
        tls_only(Action="*"),
        tls_only(Condition={"Bool": {"aws:SecureTransport": False}}),
        tls_only(Condition={"Bool": {"aws:SecureTransport": ["false"]}}),
        tls_only(Resource=[f"{ARN}/*", ARN, "arn:aws:s3:::other"]),
    ],
)
def test_a_policy_that_refuses_plain_http_in_other_words_is_left_alone(statement: dict[str, Any]) -> None:
    # One statement alone may stand without a list.
    s3 = safe({"Version": "2012-10-17", "Statement": statement})
    bucket(s3).verify()
    assert bucket(s3).bootstrap() == ()


@pytest.mark.parametrize(
    "statement",
    [
        tls_only(Effect="Allow"),
        tls_only(Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:root"}),
        tls_only(Action="s3:GetObject"),
        tls_only(Resource=ARN),
        tls_only(Resource=[f"{ARN}/*"]),
        tls_only(Condition={"Bool": {"aws:SecureTransport": "true"}}),
        tls_only(Condition={}),
        tls_only(Condition={"Bool": {"aws:SecureTransport": "false", "aws:ViaAWSService": "false"}}),
        tls_only(
            Condition={
                "Bool": {"aws:SecureTransport": "false"},
                "NotIpAddress": {"aws:SourceIp": ["127.0.0.0/8", "::1/128"]},
            }
        ),
        {"Sid": "Other", "Effect": "Deny"},
    ],
)
def test_a_policy_that_refuses_too_little_is_a_defect_and_is_mended(statement: dict[str, Any]) -> None:
    s3 = safe({"Version": "2012-10-17", "Id": "kept", "Statement": [statement, {"Sid": "Kept", "Effect": "Deny"}]})
    with pytest.raises(StateBucketError, match="policy: plain HTTP is not refused"):
        bucket(s3).verify()
    bucket(s3).bootstrap()
    (put,) = s3.parameters("put_bucket_policy")
    merged = json.loads(put["Policy"])
    kept = [entry for entry in (statement, {"Sid": "Kept", "Effect": "Deny"}) if entry.get("Sid") != TLS_SID]
    assert merged == {"Version": "2012-10-17", "Id": "kept", "Statement": [*kept, tls_only()]}


@pytest.mark.parametrize("operation", ["get_bucket_policy", "get_bucket_encryption", "get_bucket_versioning"])
def test_what_may_not_be_read_is_a_defect_and_never_overwritten(operation: str) -> None:
    s3 = safe().gives(operation, refused("AccessDenied", 403))
    with pytest.raises(StateBucketError, match="cannot be read"):
        bucket(s3).verify()
    with pytest.raises(StateBucketError, match="cannot be read"):
        bucket(s3).bootstrap()
    assert not [name for name, _ in s3.asked if name.startswith("put_")]


def test_a_kms_key_nobody_asked_for_stays() -> None:
    s3 = safe(encryption={"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": KMS_KEY})
    bucket(s3).verify()
    assert bucket(s3).bootstrap() == ()


@pytest.mark.parametrize("algorithm", ["aws:kms", "aws:kms:dsse"])
@pytest.mark.parametrize("key", [KMS_KEY, KMS_KEY.split("/")[1]])
def test_the_right_kms_key_is_known_by_arn_and_by_id(key: str, algorithm: str) -> None:
    bucket(safe(encryption={"SSEAlgorithm": algorithm, "KMSMasterKeyID": key}), kms_key=KMS_KEY).verify()


@pytest.mark.parametrize(
    "encryption",
    [
        {"SSEAlgorithm": "AES256"},
        {"SSEAlgorithm": "aws:kms"},
        {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": KMS_KEY[:-1] + "5"},
    ],
)
def test_another_encryption_than_the_key_asked_for_is_replaced(encryption: dict[str, str]) -> None:
    s3 = safe(encryption=encryption)
    with pytest.raises(StateBucketError, match="encryption: not with arn:aws:kms"):
        bucket(s3, kms_key=KMS_KEY).verify()
    bucket(s3, kms_key=KMS_KEY).bootstrap()
    (put,) = s3.parameters("put_bucket_encryption")
    (rule,) = put["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": KMS_KEY}
    assert rule["BucketKeyEnabled"] is True


def test_a_bucket_of_another_partition_has_that_partitions_arn() -> None:
    s3 = safe({"Statement": []})
    bucket(s3, partition="aws-us-gov").bootstrap()
    (put,) = s3.parameters("put_bucket_policy")
    assert json.loads(put["Policy"])["Statement"][0]["Resource"][0] == "arn:aws-us-gov:s3:::shop-state"


def test_a_bucket_elsewhere_is_a_defect_and_cannot_be_mended() -> None:
    s3 = safe()
    with pytest.raises(StateBucketError, match="region: it is in eu-west-1"):
        bucket(s3, region="us-east-1").verify()
    for act in (bucket(s3, region="us-east-1").plan_bootstrap, bucket(s3, region="us-east-1").bootstrap):
        with pytest.raises(StateBucketError, match="shop-state is in eu-west-1"):
            act()


@pytest.mark.parametrize(("location", "region"), [(None, "us-east-1"), ("EU", "eu-west-1"), ("eu-west-1", "eu-west-1")])
def test_without_the_region_header_the_location_tells(location: str | None, region: str) -> None:
    s3 = safe().gives("head_bucket", answered()).gives("get_bucket_location", answered(LocationConstraint=location))
    bucket(s3, region=region).verify()


def test_somebody_elses_bucket_is_called_that_and_not_touched() -> None:
    s3 = ScriptedS3().gives("head_bucket", refused("403", 403))
    state = bucket(s3)
    for act in (state.exists, state.verify, state.plan_bootstrap, state.bootstrap):
        with pytest.raises(StateBucketError, match="belongs to somebody else") as caught:
            act()
        assert ACCOUNT in str(caught.value)
    assert {name for name, _ in s3.asked} == {"head_bucket"}


def test_a_name_that_somebody_else_took_is_called_that() -> None:
    s3 = ScriptedS3().gives("head_bucket", refused("404", 404))
    s3.gives("create_bucket", refused("BucketAlreadyExists", 409))
    with pytest.raises(StateBucketError, match="belongs to somebody else"):
        bucket(s3).bootstrap()


@pytest.mark.parametrize(
    ("region", "place"),
    [("us-east-1", None), ("eu-west-1", {"LocationConstraint": "eu-west-1"})],
)
def test_a_bucket_is_made_in_its_region(region: str, place: dict[str, str] | None) -> None:
    there = safe().answers["head_bucket"][0]
    there["ResponseMetadata"]["HTTPHeaders"]["x-amz-bucket-region"] = region
    s3 = safe().gives("head_bucket", refused("404", 404), there).gives("create_bucket", answered())
    assert bucket(s3, region=region).bootstrap() == (f"created the bucket shop-state in {region}, account {ACCOUNT}",)
    (create,) = s3.parameters("create_bucket")
    assert create.get("CreateBucketConfiguration") == place
    assert "ExpectedBucketOwner" not in create


def test_two_who_make_it_at_once_both_succeed() -> None:
    there = safe().answers["head_bucket"][0]
    s3 = safe().gives("head_bucket", refused("404", 404), there)
    s3.gives("create_bucket", refused("BucketAlreadyOwnedByYou", 409))
    bucket(s3).bootstrap()


def test_a_failing_call_is_no_verdict_on_the_bucket() -> None:
    s3 = safe().gives("get_bucket_versioning", refused("InternalError", 500))
    with pytest.raises(AwsError, match="InternalError"):
        bucket(s3).verify()
