"""Records in a bucket of the embedded AWS: its conditional writes, and its policy in force."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.session import Session

from ci_user.credentials import AwsAccess
from ci_user.nightly.record_location import Location, bucket_policy
from ci_user.nightly.record_store import keep, read
from ci_user.nightly.records import Records
from tests.conftest import EmbeddedAws
from tests.unit.nightly.test_records import record


@pytest.fixture(scope="module")
def roles(aws: EmbeddedAws) -> dict[str, AwsAccess]:
    """Two roles that may do all with S3: the nightly one, and another."""
    iam, found = aws.client("iam"), {}
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{aws.account_id}:root"}, "Action": "sts:AssumeRole"}
        ],
    }
    rights = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
    for kind in ("nightly", "deployer"):
        name = f"{kind}-{uuid.uuid4().hex[:8]}"
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]
        iam.put_role_policy(RoleName=name, PolicyName="s3", PolicyDocument=json.dumps(rights))
        held = aws.client("sts").assume_role(RoleArn=role["Arn"], RoleSessionName="run")["Credentials"]
        session = Session()
        session.set_credentials(held["AccessKeyId"], held["SecretAccessKey"], held["SessionToken"])
        found[kind] = AwsAccess(
            session,
            account_id=aws.account_id,
            region=aws.region,
            partition=aws.partition,
            endpoint_url=aws.endpoint_url,
            loopback=True,
        )
    return found


@pytest.fixture
def location(aws: EmbeddedAws) -> Location:
    """An empty bucket without a policy, and a prefix in it."""
    s3, name = aws.client("s3"), f"records-{uuid.uuid4().hex[:8]}"
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": aws.region})
    return Location(name, "records")


def put_policy(aws: EmbeddedAws, location: Location, writer: AwsAccess) -> None:
    session = writer.caller().arn
    role = f"arn:aws:iam::{aws.account_id}:role/{session.split('/')[1]}"
    policy = json.dumps(bucket_policy(location, role, session))
    aws.client("s3").put_bucket_policy(Bucket=location.bucket, Policy=policy)


def written(directory: Path, *names: str) -> Path:
    directory.mkdir()
    (directory / "records.json").write_bytes(Records.of(map(record, names)).render())
    return directory


def test_shards_keep_their_records_side_by_side_and_the_next_night_reads_them(
    aws: EmbeddedAws, roles: dict[str, AwsAccess], location: Location, tmp_path: Path
) -> None:
    nightly = roles["nightly"]
    assert "has no policy" in (read(location, nightly, []).why_not or "")
    put_policy(aws, location, nightly)
    assert "not there yet" in (read(location, nightly, []).why_not or "")
    for shard in ("a", "b"):
        keep(written(tmp_path / shard, shard), location, nightly, existing={"a", "b"}, state_buckets=[])
    book = read(location, nightly, [])
    assert (book.records, book.why_not) == ({"a": record("a"), "b": record("b")}, None)
    keep(written(tmp_path / "c", "b"), location, nightly, existing={"b"}, state_buckets=[])
    assert set(read(location, nightly, []).records) == {"b"}


def test_another_role_that_may_do_all_with_s3_cannot_write_there(
    aws: EmbeddedAws, roles: dict[str, AwsAccess], location: Location
) -> None:
    put_policy(aws, location, roles["nightly"])
    assert "does not for certain deny" in (read(location, roles["deployer"], []).why_not or "")
    calls: list[tuple[str, dict[str, Any]]] = [
        ("put_object", {"Key": location.key, "Body": b"{}"}),
        ("delete_object", {"Key": location.key}),
        ("put_bucket_policy", {"Policy": "{}"}),
        ("delete_bucket_policy", {}),
        ("delete_bucket", {}),
    ]
    for operation, more in calls:
        with pytest.raises(ClientError) as caught:
            getattr(roles["deployer"].client("s3"), operation)(Bucket=location.bucket, **more)
        assert caught.value.response["Error"]["Code"] == "AccessDenied", operation
    roles["nightly"].client("s3").put_object(Bucket=location.bucket, Key=location.key, Body=b"{}")
