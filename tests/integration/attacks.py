"""What a CI user must not do, as calls; each works for an administrator, and most for the recipe's bare sample."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from tests.integration.serverless_world import Client, World
from tests.integration.things import EVERYTHING, Thing, Things, trust

ADMINISTRATOR: Final = "arn:aws:iam::aws:policy/AdministratorAccess"
ALL: Final = json.dumps(EVERYTHING)

Make = Callable[[Things], Thing]
Call = Callable[[World, Client, Thing], Any]


@dataclass(frozen=True)
class Attack:
    """One call.

    Args:
        action: What IAM is asked about.
        aim: Makes what the call is about, a new one for each call.
        call: The call.
        own: Makes the same of the user's own environment, about which the same call works; None when nobody with the
            policy may do this at all.
        sample: Whether it works with the sample's rights and without a boundary.
        stopped: Whether the boundary alone stops it, whatever the policy.
        unjudged: The key of `judged.UNJUDGED` that tells why the embedded AWS refuses the same call about one's own, unless
            the documents are reduced to what it can judge; empty when it does not refuse it.
    """

    action: str
    aim: Make
    call: Call
    own: Make | None
    sample: bool = True
    stopped: bool = False
    unjudged: str = ""


def identity(action: str, make: Make, call: Call, *, sample: bool = False) -> Attack:
    """Return an attack on identities: the boundary stops it, and there is nothing of the user's own to do it to."""
    return Attack(action, make, call, None, sample=sample, stopped=True)


def of_other(
    action: str, make: Make, call: Call, *, sample: bool = True, stopped: bool = False, unjudged: str = ""
) -> Attack:
    """Return an attack on another environment."""
    return Attack(action, lambda things: make(things.of_other), call, make, sample, stopped, unjudged)


IDENTITIES: Final[dict[str, Attack]] = {
    "an access key": identity(
        "iam:CreateAccessKey", Things.ci_user, lambda w, c, t: c("iam").create_access_key(UserName=t.name)
    ),
    "a password": identity(
        "iam:CreateLoginProfile",
        Things.ci_user,
        lambda w, c, t: c("iam").create_login_profile(UserName=t.name, Password="not-a-Real-1"),
    ),
    "an administrator's policy for a user": identity(
        "iam:AttachUserPolicy",
        Things.ci_user,
        lambda w, c, t: c("iam").attach_user_policy(UserName=t.name, PolicyArn=ADMINISTRATOR),
    ),
    "an administrator's policy for a group": identity(
        "iam:AttachGroupPolicy",
        Things.ci_user,
        lambda w, c, t: c("iam").attach_group_policy(GroupName=t.name, PolicyArn=ADMINISTRATOR),
    ),
    "an inline policy for a user": identity(
        "iam:PutUserPolicy",
        Things.ci_user,
        lambda w, c, t: c("iam").put_user_policy(UserName=t.name, PolicyName="x", PolicyDocument=ALL),
    ),
    "an inline policy for a group": identity(
        "iam:PutGroupPolicy",
        Things.ci_user,
        lambda w, c, t: c("iam").put_group_policy(GroupName=t.name, PolicyName="x", PolicyDocument=ALL),
    ),
    "a group that loses its policy": identity(
        "iam:DetachGroupPolicy",
        Things.ci_user,
        lambda w, c, t: c("iam").detach_group_policy(GroupName=t.name, PolicyArn=t.arn),
    ),
    "another member of a group": identity(
        "iam:AddUserToGroup",
        Things.ci_user,
        lambda w, c, t: c("iam").add_user_to_group(GroupName=t.name, UserName=t.name),
    ),
    "a new user": identity("iam:CreateUser", Things.name, lambda w, c, t: c("iam").create_user(UserName=t.name)),
    "a user without its boundary": identity(
        "iam:DeleteUserPermissionsBoundary",
        Things.ci_user,
        lambda w, c, t: c("iam").delete_user_permissions_boundary(UserName=t.name),
    ),
    "a user with a looser boundary": identity(
        "iam:PutUserPermissionsBoundary",
        Things.ci_user,
        lambda w, c, t: c("iam").put_user_permissions_boundary(UserName=t.name, PermissionsBoundary=ADMINISTRATOR),
    ),
    "the journal's tags": identity(
        "iam:TagUser",
        Things.ci_user,
        lambda w, c, t: c("iam").tag_user(UserName=t.name, Tags=[{"Key": "ci-user:journal", "Value": "x"}]),
    ),
    "another content of a policy or boundary": identity(
        "iam:CreatePolicyVersion",
        Things.ci_user,
        lambda w, c, t: c("iam").create_policy_version(PolicyArn=t.arn, PolicyDocument=ALL, SetAsDefault=True),
    ),
    "a policy's tags": identity(
        "iam:TagPolicy",
        Things.ci_user,
        lambda w, c, t: c("iam").tag_policy(PolicyArn=t.arn, Tags=[{"Key": "a", "Value": "b"}]),
        sample=True,
    ),
    "a role's trust": identity(
        "iam:UpdateAssumeRolePolicy",
        Things.role,
        lambda w, c, t: c("iam").update_assume_role_policy(
            RoleName=t.name, PolicyDocument=trust("Service", "lambda.amazonaws.com")
        ),
    ),
    "a role without its boundary": identity(
        "iam:DeleteRolePermissionsBoundary",
        Things.role,
        lambda w, c, t: c("iam").delete_role_permissions_boundary(RoleName=t.name),
    ),
    "the rights of a role that trusts the account": identity(
        "sts:AssumeRole",
        Things.trusting_role,
        lambda w, c, t: c("sts").assume_role(RoleArn=w.role_arn(t.name), RoleSessionName="test"),
    ),
    "the policies of the whole account": identity(
        "iam:GetAccountAuthorizationDetails",
        Things.name,
        lambda w, c, t: c("iam").get_account_authorization_details(MaxItems=1),
    ),
}

_BOUNDARY: Final = "`iam:PermissionsBoundary`"

ROLES: Final[dict[str, Attack]] = {
    "a role": of_other(
        "iam:CreateRole",
        Things.name,
        lambda w, c, t: c("iam").create_role(
            RoleName=t.name,
            AssumeRolePolicyDocument=trust("Service", "lambda.amazonaws.com"),
            PermissionsBoundary=w.policy_arn("role-boundary"),
        ),
        stopped=True,
        unjudged=_BOUNDARY,
    ),
    "an administrator out of a role": of_other(
        "iam:PutRolePolicy",
        Things.role,
        lambda w, c, t: c("iam").put_role_policy(RoleName=t.name, PolicyName="x", PolicyDocument=ALL),
        stopped=True,
        unjudged=_BOUNDARY,
    ),
    "an administrator's policy for a role": of_other(
        "iam:AttachRolePolicy",
        Things.role,
        lambda w, c, t: c("iam").attach_role_policy(RoleName=t.name, PolicyArn=ADMINISTRATOR),
        sample=False,
        stopped=True,
        unjudged=_BOUNDARY,
    ),
    "a role's policy gone": of_other(
        "iam:DeleteRolePolicy",
        Things.role,
        lambda w, c, t: c("iam").delete_role_policy(RoleName=t.name, PolicyName="own"),
        stopped=True,
        unjudged=_BOUNDARY,
    ),
    "a role gone": of_other(
        "iam:DeleteRole",
        Things.empty_role,
        lambda w, c, t: c("iam").delete_role(RoleName=t.name),
        stopped=True,
    ),
    "a role's tags": of_other(
        "iam:TagRole",
        Things.role,
        lambda w, c, t: c("iam").tag_role(RoleName=t.name, Tags=[{"Key": "a", "Value": "b"}]),
        stopped=True,
    ),
    "a role's rights, to read": of_other(
        "iam:GetRolePolicy",
        Things.role,
        lambda w, c, t: c("iam").get_role_policy(RoleName=t.name, PolicyName="own"),
    ),
}

_ENCRYPTION: Final = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}


def _opening(world: World, bucket: str) -> str:
    """Return a bucket policy that opens a bucket to the account."""
    principal = {"AWS": f"arn:aws:iam::{world.aws.account_id}:root"}
    opening = {"Effect": "Allow", "Principal": principal, "Action": "s3:*", "Resource": f"arn:aws:s3:::{bucket}/*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [opening]})


_S3: Final[dict[str, tuple[str, Make, Call]]] = {
    "an object, to read": ("s3:GetObject", Things.stored, lambda w, c, t: c("s3").get_object(Bucket=t.name, Key="key")),
    "an object, to write": (
        "s3:PutObject",
        Things.stored,
        lambda w, c, t: c("s3").put_object(Bucket=t.name, Key="key", Body=b"x"),
    ),
    "an object gone": (
        "s3:DeleteObject",
        Things.stored,
        lambda w, c, t: c("s3").delete_object(Bucket=t.name, Key="key"),
    ),
    "the names of objects": ("s3:ListBucket", Things.stored, lambda w, c, t: c("s3").list_objects_v2(Bucket=t.name)),
    "a bucket that is open": (
        "s3:PutBucketPolicy",
        Things.bucket,
        lambda w, c, t: c("s3").put_bucket_policy(Bucket=t.name, Policy=_opening(w, t.name)),
    ),
    "a bucket's encryption": (
        "s3:PutEncryptionConfiguration",
        Things.bucket,
        lambda w, c, t: c("s3").put_bucket_encryption(Bucket=t.name, ServerSideEncryptionConfiguration=_ENCRYPTION),
    ),
    "a bucket gone": ("s3:DeleteBucket", Things.bucket, lambda w, c, t: c("s3").delete_bucket(Bucket=t.name)),
}


BUCKETS: Final[dict[str, Attack]] = {
    **{f"another environment's: {title}": of_other(*parts) for title, parts in _S3.items()},
    **{
        f"the state's: {title}": Attack(
            action, Things.empty_state if make is Things.bucket else Things.state, call, make, stopped=True
        )
        for title, (action, make, call) in _S3.items()
    },
}
