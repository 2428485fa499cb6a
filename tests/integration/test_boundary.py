"""The recipe's sample policy is safe in its holder's hands: the acceptance test of the CI user's boundary.

The embedded AWS judges these calls, with its authorization on, and each refusal has a twin: an identical call
of an administrator succeeds, and so does the CI user's own work. Each runs with the bare sample, and with a
policy that allows everything, so that it is the boundary that refuses.

What the embedded AWS cannot judge is not asserted: ``iam:PermissionsBoundary`` (it is never filled in),
PassRole, service-linked roles, ``cloudformation:RoleArn``, ``lambda:Principal``, IAM paths, and the path that
GetParametersByPath is called with.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

import pytest

from ci_user.policy import guard
from ci_user.policy.choice import choose

ROOT = Path(__file__).resolve().parents[2]
EVERYTHING = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}'
ADMINISTRATOR = "arn:aws:iam::aws:policy/AdministratorAccess"

Client = Callable[[str], Any]


class Aws(Protocol):
    """What these tests use of the embedded AWS."""

    account_id: str
    region: str
    endpoint_url: str

    def client(self, service: str) -> Any: ...


@dataclass(frozen=True)
class World:
    """One CI user with its boundary, and what it must not reach."""

    prefix: str
    account: str
    region: str
    admin: Client
    ci: Client
    kms_key: str

    @property
    def user(self) -> str:
        return f"{self.prefix}.ci"

    def policy_arn(self, name: str) -> str:
        return f"arn:aws:iam::{self.account}:policy/{name}"


@pytest.fixture(params=["sample", "everything"])
def world(request: pytest.FixtureRequest, aws: Aws) -> World:
    prefix = f"b{uuid.uuid4().hex[:8]}-test"
    account, region = aws.account_id, aws.region
    key = aws.client("kms").create_key()["KeyMetadata"]["Arn"]
    environment = SimpleNamespace(
        name="test",
        application=prefix.removesuffix("-test"),
        account_id=account,
        partition="aws",
        region=region,
        prefix=prefix,
        policies=["sample"],
    )
    guarded = SimpleNamespace(
        state_buckets=(f"arn:aws:s3:::{prefix}-state",),
        secret_names=(f"arn:aws:secretsmanager:{region}:{account}:secret:{prefix}-key-??????",),
        parameter_arns=(f"arn:aws:ssm:{region}:{account}:parameter/{prefix}/ci/key",),
        kms_keys=(key,),
    )
    # The guarded things carry the prefix, so that only their own deny can be what refuses them.
    policy = choose(environment, ROOT).packs["sample"]
    iam = aws.client("iam")
    iam.create_policy(PolicyName=f"{prefix}.boundary", PolicyDocument=guard.boundary(environment, guarded))
    iam.create_policy(
        PolicyName=f"{prefix}.policy-sample",
        PolicyDocument=policy if request.param == "sample" else EVERYTHING,
    )
    arn = f"arn:aws:iam::{account}:policy/{prefix}"
    iam.create_user(UserName=f"{prefix}.ci", PermissionsBoundary=f"{arn}.boundary")
    iam.create_group(GroupName=f"{prefix}.ci")
    iam.attach_group_policy(GroupName=f"{prefix}.ci", PolicyArn=f"{arn}.policy-sample")
    iam.add_user_to_group(GroupName=f"{prefix}.ci", UserName=f"{prefix}.ci")
    pair = iam.create_access_key(UserName=f"{prefix}.ci")["AccessKey"]
    iam.create_user(UserName=f"{prefix}-person")
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole"}
    trusted = [f"arn:aws:iam::{account}:user/{prefix}.ci", f"arn:aws:iam::{account}:root"]
    iam.create_role(
        RoleName=f"{prefix}-admin",
        AssumeRolePolicyDocument=json.dumps(
            {"Version": "2012-10-17", "Statement": [{**trust, "Principal": {"AWS": trusted}}]}
        ),
        PermissionsBoundary=f"{arn}.boundary",
    )
    s3 = aws.client("s3")
    s3.create_bucket(Bucket=f"{prefix}-state", CreateBucketConfiguration={"LocationConstraint": region})
    s3.put_object(Bucket=f"{prefix}-state", Key="shop/test/terraform.tfstate", Body=b"{}")
    aws.client("secretsmanager").create_secret(Name=f"{prefix}-key", SecretString="{}")
    aws.client("ssm").put_parameter(Name=f"/{prefix}/ci/key", Value="{}", Type="SecureString")

    def ci(service: str) -> Any:
        import boto3

        make: Any = boto3.client
        return make(
            service,
            endpoint_url=aws.endpoint_url,
            region_name=region,
            aws_access_key_id=pair["AccessKeyId"],
            aws_secret_access_key=pair["SecretAccessKey"],
        )

    return World(prefix, account, region, aws.client, ci, key)


Call = Callable[[World, Client], Any]

REFUSED: dict[str, Call] = {
    "an access key for itself": lambda w, c: c("iam").create_access_key(UserName=w.user),
    "an access key for somebody else": lambda w, c: c("iam").create_access_key(UserName=f"{w.prefix}-person"),
    "listing access keys": lambda w, c: c("iam").list_access_keys(UserName=w.user),
    "a login profile": lambda w, c: c("iam").create_login_profile(UserName=w.user, Password="not-a-Real-1"),
    "an administrator's policy for itself": lambda w, c: c("iam").attach_user_policy(
        UserName=w.user, PolicyArn=ADMINISTRATOR
    ),
    "an administrator's policy for its group": lambda w, c: c("iam").attach_group_policy(
        GroupName=w.user, PolicyArn=ADMINISTRATOR
    ),
    "an inline policy for itself": lambda w, c: c("iam").put_user_policy(
        UserName=w.user, PolicyName="x", PolicyDocument=EVERYTHING
    ),
    "leaving its boundary": lambda w, c: c("iam").delete_user_permissions_boundary(UserName=w.user),
    "another boundary": lambda w, c: c("iam").put_user_permissions_boundary(
        UserName=w.user, PermissionsBoundary=ADMINISTRATOR
    ),
    "another group": lambda w, c: c("iam").add_user_to_group(GroupName=w.user, UserName=f"{w.prefix}-person"),
    "the journal's tags": lambda w, c: c("iam").tag_user(
        UserName=w.user, Tags=[{"Key": "ci-user:journal", "Value": "x"}]
    ),
    "a new user": lambda w, c: c("iam").create_user(UserName=f"{w.prefix}-new-{uuid.uuid4().hex[:6]}"),
    "a new version of its boundary": lambda w, c: c("iam").create_policy_version(
        PolicyArn=w.policy_arn(f"{w.prefix}.boundary"), PolicyDocument=EVERYTHING, SetAsDefault=True
    ),
    "a new version of its policy": lambda w, c: c("iam").create_policy_version(
        PolicyArn=w.policy_arn(f"{w.prefix}.policy-sample"), PolicyDocument=EVERYTHING, SetAsDefault=True
    ),
    "a role's trust": lambda w, c: c("iam").update_assume_role_policy(
        RoleName=f"{w.prefix}-admin",
        PolicyDocument='{"Version":"2012-10-17","Statement":[{"Effect":"Allow",'
        '"Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}',
    ),
    "a role's boundary": lambda w, c: c("iam").delete_role_permissions_boundary(RoleName=f"{w.prefix}-admin"),
    "assuming a role that trusts it": lambda w, c: c("sts").assume_role(
        RoleArn=f"arn:aws:iam::{w.account}:role/{w.prefix}-admin", RoleSessionName="test"
    ),
    "reading the state": lambda w, c: c("s3").get_object(Bucket=f"{w.prefix}-state", Key="shop/test/terraform.tfstate"),
    "writing the lease": lambda w, c: c("s3").put_object(
        Bucket=f"{w.prefix}-state", Key="shop/test/lease.json", Body=b"{}"
    ),
    "opening the state bucket": lambda w, c: c("s3").put_bucket_policy(
        Bucket=f"{w.prefix}-state",
        Policy=json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Effect": "Allow",
                        "Principal": {"AWS": f"arn:aws:iam::{w.account}:user/{w.user}"},
                        "Action": "s3:*",
                        "Resource": f"arn:aws:s3:::{w.prefix}-state/*",
                    }
                ],
            }
        ),
    ),
    "reading the staged key": lambda w, c: c("secretsmanager").get_secret_value(SecretId=f"{w.prefix}-key"),
    "reading the staged parameter": lambda w, c: c("ssm").get_parameter(
        Name=f"/{w.prefix}/ci/key", WithDecryption=True
    ),
    "using the guarded KMS key": lambda w, c: c("kms").encrypt(KeyId=w.kms_key, Plaintext=b"x"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_boundary_refuses_what_an_administrator_may(world: World, name: str) -> None:
    from botocore.exceptions import ClientError

    with pytest.raises(ClientError) as refusal:
        REFUSED[name](world, world.ci)
    assert refusal.value.response["Error"]["Code"] in {"AccessDenied", "AccessDeniedException"}
    REFUSED[name](world, world.admin)


def test_a_bucket_policy_that_names_the_user_does_not_open_the_state(world: World) -> None:
    from botocore.exceptions import ClientError

    REFUSED["opening the state bucket"](world, world.admin)
    with pytest.raises(ClientError) as refusal:
        REFUSED["reading the state"](world, world.ci)
    assert refusal.value.response["Error"]["Code"] == "AccessDenied"


def test_the_pipeline_can_do_its_own_work(world: World) -> None:
    bucket = f"{world.prefix}-site"
    s3 = world.ci("s3")
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": world.region})
    s3.put_object(Bucket=bucket, Key="index.html", Body=b"<p>")
    assert s3.get_object(Bucket=bucket, Key="index.html")["Body"].read() == b"<p>"
    world.ci("logs").create_log_group(logGroupName=f"/aws/lambda/{world.prefix}-api")
    secrets = world.ci("secretsmanager")
    secrets.create_secret(Name=f"{world.prefix}-database", SecretString="x")
    assert secrets.get_secret_value(SecretId=f"{world.prefix}-database")["SecretString"] == "x"
    assert world.ci("iam").get_role(RoleName=f"{world.prefix}-admin")["Role"]["RoleName"]
    assert world.ci("sts").get_caller_identity()["Arn"].endswith(f":user/{world.user}")
