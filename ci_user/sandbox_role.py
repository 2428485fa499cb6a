"""Who deploys into the sandbox: an assumed role, since the emulator checks nothing of what its root does."""

from __future__ import annotations

import contextlib
import json
from typing import Final

from ci_user.credentials import AwsAccess, SessionCredentials, calling
from ci_user.secret import Secret

DEPLOYER_ROLE: Final = "ci-user-sandbox-deployer"
_SECONDS: Final = 3600
_ALLOW_ALL: Final = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
}


def deployer_credentials(endpoint_url: str, *, account_id: str, region: str) -> SessionCredentials:
    """Return an hour as the deployer role, which is made when it is missing. Nothing is written to disk.

    https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html

    Raises:
        AwsError: The emulator refused or did not answer.
    """
    import botocore.session

    root = AwsAccess(
        botocore.session.Session(),
        account_id=account_id,
        region=region,
        partition="aws",
        endpoint_url=endpoint_url,
        loopback=True,
    ).with_key(account_id, Secret("test"))
    with calling("becoming the sandbox's deployer role", do="run `invoke sandbox.reset`"):
        _ensure_role(root)
        made = root.client("sts").assume_role(
            RoleArn=f"arn:aws:iam::{account_id}:role/{DEPLOYER_ROLE}",
            RoleSessionName="ci-user",
            DurationSeconds=_SECONDS,
        )["Credentials"]
    return SessionCredentials(
        access_key_id=made["AccessKeyId"],
        secret_access_key=Secret(made["SecretAccessKey"]),
        session_token=Secret(made["SessionToken"]),
        expires=made["Expiration"],
    )


def _ensure_role(root: AwsAccess) -> None:
    iam = root.client("iam")

    def allow() -> None:
        iam.put_role_policy(RoleName=DEPLOYER_ROLE, PolicyName="all", PolicyDocument=json.dumps(_ALLOW_ALL))

    # The policy first: it is missing from a role whose making was interrupted.
    try:
        allow()
    except iam.exceptions.NoSuchEntityException:
        principal = {"AWS": f"arn:aws:iam::{root.account_id}:root"}
        statement = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
        trust = {"Version": "2012-10-17", "Statement": [statement]}
        # Two commands may get here at once.
        with contextlib.suppress(iam.exceptions.EntityAlreadyExistsException):
            iam.create_role(RoleName=DEPLOYER_ROLE, AssumeRolePolicyDocument=json.dumps(trust))
        allow()
