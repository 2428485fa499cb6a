"""An account with two environments, and users with one environment's rights in several variants."""

from __future__ import annotations

import functools
import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

from ci_user.policy import documents, guard
from tests.integration.judged import judgeable
from tests.integration.things import EVERYTHING, Aws, Things, trust

ROOT: Final = Path(__file__).resolve().parents[2]

Client = Callable[..., Any]
"""``client(service)`` or ``client(service, region)``: a client with one user's key."""


@dataclass(frozen=True)
class World:
    """The account.

    Args:
        prefix: The users' environment; there is another one beside it.
        kms_key: The ARN of a key that the boundary guards.
        users: Clients of each user by its name; see `build`.
    """

    aws: Aws
    prefix: str
    kms_key: str
    users: Mapping[str, Client]
    things: Things

    def policy_arn(self, name: str) -> str:
        """Return the ARN of one of the tool's own policies."""
        return f"arn:aws:iam::{self.aws.account_id}:policy/{self.prefix}.{name}"

    def role_arn(self, name: str) -> str:
        """Return the ARN of a role."""
        return f"arn:aws:iam::{self.aws.account_id}:role/{name}"


def build(aws: Aws) -> World:
    """Make the account.

    The users, all of one environment but for ``admin``: ``serverless`` has the policy and the boundary as they are
    deployed, ``judged`` both as far as the embedded AWS can judge them, ``sample`` the recipe's sample and no boundary,
    ``bounded sample`` and ``bounded everything`` the boundary as far as it is judged, with the sample and with all rights.
    """
    application = f"w{uuid.uuid4().hex[:8]}"
    environment = SimpleNamespace(
        name="prod",
        application=application,
        account_id=aws.account_id,
        partition="aws",
        region=aws.region,
        prefix=f"{application}-prod",
    )
    state = f"ci-user-state-{application}"
    kms_key = aws.client("kms").create_key()["KeyMetadata"]["Arn"]
    guarded = SimpleNamespace(
        state_buckets=(f"arn:aws:s3:::{state}",), secret_names=(), parameter_arns=(), kms_keys=(kms_key,)
    )
    serverless, sample = (
        documents.render(documents.read_policy(name, ROOT), documents.parameters(environment))
        for name in ("serverless", "sample")
    )
    boundary = json.loads(guard.boundary(environment, guarded))
    kinds: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any] | None]] = {
        "serverless": (serverless, boundary),
        "judged": (judgeable(serverless), judgeable(boundary)),
        "sample": (sample, None),
        "bounded sample": (sample, judgeable(boundary)),
        "bounded everything": (EVERYTHING, judgeable(boundary)),
    }
    things = Things(aws, environment.prefix, f"{application}-test", state, aws.region)
    for one in (things, things.of_other):
        _prepare(one, guard.role_boundary(environment, guarded))
    users: dict[str, Client] = {name: _user(aws, environment.prefix, name, *kind) for name, kind in kinds.items()}
    return World(aws, environment.prefix, kms_key, {**users, "admin": aws.client}, things)


def _prepare(things: Things, role_boundary: str) -> None:
    """Make what functions and roles of an environment need."""
    iam = things.aws.client("iam")
    iam.create_policy(PolicyName=f"{things.prefix}.role-boundary", PolicyDocument=role_boundary)
    iam.create_role(
        RoleName=f"{things.prefix}-functions", AssumeRolePolicyDocument=trust("Service", "lambda.amazonaws.com")
    )


def _user(aws: Aws, prefix: str, kind: str, policy: Mapping[str, Any], boundary: Mapping[str, Any] | None) -> Client:
    iam = aws.client("iam")
    # The real one is called as it is deployed.
    name = f"{prefix}.ci" if kind == "serverless" else f"{prefix}.ci-{kind.replace(' ', '-')}"
    limits = {}
    if boundary is not None:
        called = name.replace(".ci", ".boundary")
        made = iam.create_policy(PolicyName=called, PolicyDocument=documents.canonical(boundary))
        limits = {"PermissionsBoundary": made["Policy"]["Arn"]}
    made = iam.create_policy(
        PolicyName=name.replace(".ci", ".policy-serverless"), PolicyDocument=documents.canonical(policy)
    )
    iam.create_user(UserName=name, **limits)
    iam.create_group(GroupName=name)
    iam.attach_group_policy(GroupName=name, PolicyArn=made["Policy"]["Arn"])
    iam.add_user_to_group(GroupName=name, UserName=name)
    return client_of(aws, iam.create_access_key(UserName=name)["AccessKey"])


def client_of(aws: Aws, key: Mapping[str, str]) -> Client:
    """Return the clients of an access key or session, as IAM and STS give it."""

    @functools.cache
    def client(service: str, region: str | None = None) -> Any:
        import boto3

        make: Any = boto3.client
        return make(
            service,
            endpoint_url=aws.endpoint_url,
            region_name=region or aws.region,
            aws_access_key_id=key["AccessKeyId"],
            aws_secret_access_key=key["SecretAccessKey"],
            aws_session_token=key.get("SessionToken"),
        )

    return client
