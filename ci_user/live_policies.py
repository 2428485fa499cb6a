"""The documents that give the CI user rights now: read from IAM, told apart by whether a deploy takes them away."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ci_user.credentials import calling
from ci_user.errors import PolicyError
from ci_user.revocation import POLICY_NAME, parse
from ci_user.text import plain

if TYPE_CHECKING:
    from ci_user.credentials import AwsAccess
    from ci_user.environment import Environment
    from ci_user.iam_user import LiveUser


@dataclass(frozen=True)
class LiveDocument:
    """One policy document that counts now.

    Args:
        name: What to call it: an ARN, or the name of an inline policy with whose it is.
        text: The document as JSON.
        stays: A deploy leaves it in place: it hangs on a foreign group, AWS put it there because a key leaked, or it is a
            revocation's deny.
    """

    name: str
    text: str
    stays: bool


def live_documents(
    access: AwsAccess, environment: Environment, live: LiveUser, known: Collection[str]
) -> tuple[LiveDocument, ...]:
    """Return the documents on the user and its groups that no plan of this environment holds.

    Args:
        access: The way into the account.
        environment: The environment.
        live: Its user.
        known: The ARNs of the policies that the plan makes or attaches.

    Raises:
        AwsError: AWS refused a call.
    """
    with calling(f"reading the policies of {environment.user_name}"):
        return tuple(_found(access.client("iam"), environment, live, known))


def managed_document(access: AwsAccess, arn: str) -> str:
    """Return the document of an existing managed policy as JSON.

    Raises:
        PolicyError: There is no such policy.
        AwsError: AWS refused a call.
    """
    iam = access.client("iam")
    with calling(f"reading the policy {plain(arn)}"):
        try:
            return _managed(iam, arn)
        except iam.exceptions.NoSuchEntityException:
            raise PolicyError(
                f"there is no policy {plain(arn)}",
                where="policies",
                expected="the ARN of a managed policy that exists",
                do="correct `policies` in the environment file, or make the policy first",
            ) from None


def _found(iam: Any, environment: Environment, live: LiveUser, known: Collection[str]) -> Iterator[LiveDocument]:
    user = environment.user_name
    for arn in live.attached:
        yield LiveDocument(arn, _managed(iam, arn), stays=arn in live.quarantined_by)
    for name in live.inline:
        document = iam.get_user_policy(UserName=user, PolicyName=name)["PolicyDocument"]
        deny = name == POLICY_NAME and parse(document) is not None
        yield LiveDocument(f"inline policy {plain(name)} of the user", _text(document), stays=deny)
    for group in live.groups:
        stays = group != environment.group_name
        for page in iam.get_paginator("list_attached_group_policies").paginate(GroupName=group):
            for policy in page["AttachedPolicies"]:
                if stays or policy["PolicyArn"] not in known:
                    yield LiveDocument(policy["PolicyArn"], _managed(iam, policy["PolicyArn"]), stays)
        for page in iam.get_paginator("list_group_policies").paginate(GroupName=group):
            for name in page["PolicyNames"]:
                document = iam.get_group_policy(GroupName=group, PolicyName=name)["PolicyDocument"]
                yield LiveDocument(f"inline policy {plain(name)} of group {plain(group)}", _text(document), stays)


def _managed(iam: Any, arn: str) -> str:
    version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    return _text(iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"])


def _text(document: Any) -> str:
    return document if isinstance(document, str) else json.dumps(document)
