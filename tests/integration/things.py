"""Things in an account, made with an administrator's rights: what attacks aim at, and the same of one's own."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

EVERYTHING: Final = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
ELSEWHERE: Final = "us-east-1"
"""Another region than the environment's."""


class Aws(Protocol):
    """What these tests use of the embedded AWS."""

    account_id: str
    region: str
    endpoint_url: str

    def client(self, service: str, region: str | None = None) -> Any: ...


@dataclass(frozen=True)
class Thing:
    """Something in the account: its name or id, the region it is in, and an ARN that a call may need besides."""

    name: str
    region: str
    arn: str = ""


@dataclass(frozen=True)
class Things:
    """Makes new things with names that begin with one environment's prefix.

    Args:
        prefix: Whose things.
        other: The prefix of another environment of the account.
        bucket_of_state: Terraform's state bucket.
        region: Where.
    """

    aws: Aws
    prefix: str
    other: str
    bucket_of_state: str
    region: str
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def of_other(self) -> Things:
        """The same of the other environment."""
        return dataclasses.replace(self, prefix=self.other)

    @property
    def elsewhere(self) -> Things:
        """The same in another region."""
        return dataclasses.replace(self, region=ELSEWHERE)

    def name(self, start: str = "", end: str = "") -> Thing:
        """Return a name that is free."""
        return Thing(f"{start}{self.prefix}-{next(self.numbers)}{end}", self.region)

    def group_name(self) -> Thing:
        """Return a log group's name that is free."""
        return self.name("/aws/lambda/")

    def ci_user(self) -> Thing:
        """Make a user as the tool makes them, with boundary and group of one; the ARN is that of its policy."""
        iam = self.aws.client("iam")
        name = f"{self.prefix}.ci-{next(self.numbers)}"
        policy = iam.create_policy(PolicyName=name, PolicyDocument=json.dumps(EVERYTHING))["Policy"]["Arn"]
        iam.create_user(UserName=name, PermissionsBoundary=policy)
        iam.create_group(GroupName=name)
        iam.attach_group_policy(GroupName=name, PolicyArn=policy)
        return Thing(name, self.region, policy)

    def role(self, principal: str = "lambda.amazonaws.com") -> Thing:
        """Make a role for functions, with an inline policy and the environment's boundary."""
        thing = self.empty_role(principal)
        self.aws.client("iam").put_role_policy(
            RoleName=thing.name, PolicyName="own", PolicyDocument=json.dumps(EVERYTHING)
        )
        return thing

    def empty_role(self, principal: str = "lambda.amazonaws.com") -> Thing:
        """Make a role without policies."""
        thing = self.name()
        kind = "AWS" if principal.startswith("arn:") else "Service"
        role = self.aws.client("iam").create_role(
            RoleName=thing.name,
            AssumeRolePolicyDocument=trust(kind, principal),
            PermissionsBoundary=f"arn:aws:iam::{self.aws.account_id}:policy/{self.prefix}.role-boundary",
        )
        return dataclasses.replace(thing, arn=role["Role"]["Arn"])

    def trusting_role(self) -> Thing:
        """Make a role that everybody in the account may assume who has the right to."""
        return self.empty_role(f"arn:aws:iam::{self.aws.account_id}:root")

    def function(self) -> Thing:
        """Make a function that is called ``...runMigrations``."""
        thing = self.name(end="-runMigrations")
        self.aws.client("lambda", self.region).create_function(
            FunctionName=thing.name,
            Runtime="python3.11",
            Handler="index.handler",
            Role=f"arn:aws:iam::{self.aws.account_id}:role/{self.prefix}-functions",
            Code={"ZipFile": package()},
        )
        return thing

    def bucket(self) -> Thing:
        """Make an empty bucket."""
        return self._bucket(self.name().name)

    def stored(self) -> Thing:
        """Make a bucket with the object ``key``."""
        thing = self.bucket()
        self.aws.client("s3").put_object(Bucket=thing.name, Key="key", Body=b"data")
        return thing

    def state(self) -> Thing:
        """Make the state bucket, again if need be, with the object ``key``."""
        with contextlib.suppress(self.aws.client("s3").exceptions.BucketAlreadyOwnedByYou):
            self._bucket(self.bucket_of_state)
        self.aws.client("s3").put_object(Bucket=self.bucket_of_state, Key="key", Body=b"{}")
        return Thing(self.bucket_of_state, self.region)

    def empty_state(self) -> Thing:
        """Make the state bucket, again if need be, without objects."""
        thing = self.state()
        self.aws.client("s3").delete_object(Bucket=thing.name, Key="key")
        return thing

    def secret(self) -> Thing:
        """Make a secret."""
        return self._secret(self.name().name)

    def key_secret(self) -> Thing:
        """Make a secret with the keys of a CI user, as the tool's backend names them."""
        return self._secret(f"ci-user/{self.name().name}")

    def key_parameter(self) -> Thing:
        """Make a parameter with the keys of a CI user, as the tool's backend names them."""
        name = f"/ci-user/{self.name().name}"
        self.aws.client("ssm", self.region).put_parameter(Name=name, Value="{}", Type="SecureString")
        return Thing(name, self.region)

    def log_group(self) -> Thing:
        """Make a function's log group."""
        thing = self.group_name()
        self.aws.client("logs", self.region).create_log_group(logGroupName=thing.name)
        return thing

    def stack(self) -> Thing:
        """Make a stack of one log group."""
        thing = self.name()
        self.aws.client("cloudformation", self.region).create_stack(
            StackName=thing.name, TemplateBody=template(f"/aws/lambda/{thing.name}")
        )
        return thing

    def cluster(self) -> Thing:
        """Make a database cluster."""
        thing = self.name()
        self.aws.client("rds", self.region).create_db_cluster(
            DBClusterIdentifier=thing.name, Engine="aurora-mysql", MasterUsername="root", MasterUserPassword="a-Secret1"
        )
        return thing

    def api(self) -> Thing:
        """Make an HTTP API; its name is its id."""
        api = self.aws.client("apigatewayv2", self.region).create_api(Name=self.prefix, ProtocolType="HTTP")
        return Thing(api["ApiId"], self.region)

    def _bucket(self, name: str) -> Thing:
        where = {"LocationConstraint": self.region}
        self.aws.client("s3").create_bucket(Bucket=name, CreateBucketConfiguration=where)
        return Thing(name, self.region)

    def _secret(self, name: str) -> Thing:
        self.aws.client("secretsmanager", self.region).create_secret(Name=name, SecretString="{}")
        return Thing(name, self.region)


def trust(kind: str, principal: str) -> str:
    """Return a trust policy for one principal; `kind` is ``Service`` or ``AWS``."""
    statement = {"Effect": "Allow", "Principal": {kind: principal}, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def package() -> bytes:
    """Return a function's code that answers with ``{"migrated": true}``."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("index.py", 'def handler(event, context):\n    return {"migrated": True}\n')
    return archive.getvalue()


def template(group: str) -> str:
    """Return a stack's template that makes one log group."""
    properties = {"LogGroupName": group}
    return json.dumps({"Resources": {"Logs": {"Type": "AWS::Logs::LogGroup", "Properties": properties}}})
