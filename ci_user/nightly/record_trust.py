"""Whether records may be trusted: only the role of this run can write them, as far as the bucket's policy says.

What cannot be decided is not trusted; then every environment is planned, which costs time and nothing else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from ci_user.nightly.record_location import BUCKET_ACTIONS, OBJECT_ACTIONS, Location
from ci_user.policy import evaluate, statement
from ci_user.policy.conditions import ABSENT, Context, Values
from ci_user.text import plain

if TYPE_CHECKING:
    from ci_user.credentials import AwsAccess, Caller

_PRINCIPAL: Final = "aws:principalarn"
_WILD: Final = re.compile(r"[*?]|\$\{")
_EVERYBODY: Final[tuple[Any, ...]] = ("*", {"AWS": "*"}, {"AWS": ["*"]})
_ROLE_SESSION: Final = re.compile(r"arn:(aws[a-z-]*):sts::([0-9]{12}):assumed-role/([^/]+)/.+")
_USER: Final = re.compile(r"arn:(aws[a-z-]*):iam::([0-9]{12}):user/(?:.+/)?([^/]+)")
_CURE: Final = "give the bucket the policy that docs/nightly.md shows"


def why_not(location: Location, access: AwsAccess, caller: Caller, state_buckets: Iterable[str]) -> str | None:
    """Return why records there are not to be trusted, and what to do; None when they are.

    Args:
        location: Where they are.
        access: The login of whoever runs this.
        caller: Whose it is.
        state_buckets: The state buckets of all environments.

    Raises:
        AwsError: AWS failed to show the bucket's policy.
    """
    if location.bucket in set(state_buckets):
        return f"{location.bucket} is a state bucket, and deployers write there: keep records in a bucket of their own"
    if _ROLE_SESSION.fullmatch(caller.arn) is None and _USER.fullmatch(caller.arn) is None:
        return f"{plain(caller.arn)} is neither a role's session nor a user, so nobody else can be told from it"
    policy = _policy(location, access, caller)
    if policy is None:
        return f"{location.bucket} has no policy, so more than this role can write there: {_CURE}"
    return judge(policy, location, caller.arn)


def owner_of(caller: Caller) -> str:
    """Return the account that must own the bucket: the caller's own, 12 digits."""
    return caller.account_id


def judge(policy: str, location: Location, caller_arn: str) -> str | None:
    """Return what in a bucket's policy lets somebody else than the caller write records, or None.

    Only statements count that deny everybody, and whose exceptions are whole ARNs in ``aws:PrincipalArn``: those that the
    policy names, and one of each other kind, are then all the callers that it can tell apart. The account's root user is
    denied like everybody else; that S3 lets it change the policy all the same cannot be helped.

    Args:
        policy: The bucket's policy, as JSON.
        location: Where the records are.
        caller_arn: As ``sts:GetCallerIdentity`` gives it. A role is told by its name and account, since its path is not in
            there; no two roles of an account share a name.
    """
    denies = tuple(_denies(policy))
    own = _own(caller_arn)
    partition = caller_arn.split(":")[1]
    bucket = f"arn:{partition}:s3:::{location.bucket}"
    asked = [(action, f"{bucket}/{location.key}") for action in OBJECT_ACTIONS]
    asked += [(action, bucket) for action in BUCKET_ACTIONS]
    named = {value for one in denies for test in one.tests if test.key == _PRINCIPAL for value in test.values}
    for principal in (*_strangers(caller_arn), *sorted(named)):
        if principal is not None and own.fullmatch(principal):
            continue
        for action, resource in asked:
            if not _denied(denies, action, resource, principal):
                who = "a caller without an ARN" if principal is None else plain(principal, 200)
                return f"the policy of {location.bucket} does not for certain deny {action} to {who}: {_CURE}"
    return None


def _policy(location: Location, access: AwsAccess, caller: Caller) -> str | None:
    """Return the bucket's policy; None when it has none.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketPolicy.html
    """
    from botocore.exceptions import ClientError

    from ci_user.bucket_settings import code_of
    from ci_user.credentials import calling

    with calling(f"reading the policy of {location.bucket}", do="let this role call s3:GetBucketPolicy on it"):
        try:
            answer = access.client("s3").get_bucket_policy(Bucket=location.bucket, ExpectedBucketOwner=owner_of(caller))
        except ClientError as error:
            if code_of(error) == "NoSuchBucketPolicy":
                return None
            raise
    return str(answer["Policy"])


def _denies(policy: str) -> Iterator[statement.Statement]:
    """Yield the statements that deny everybody, without those that cannot be judged: others cannot take a deny back."""
    try:
        document = json.loads(policy, object_pairs_hook=_once)
        entries = list(statement.entries(document, "policy")) if isinstance(document, dict) else []
    except (ValueError, RecursionError):
        return
    for where, entry in entries:
        rest = _without_principal(entry)
        if rest is None:
            continue
        try:
            found = statement.statements({"Statement": rest}, where)[0]
        except statement.UnreadableStatementError:
            continue
        if not found.allows and not any(
            test.key == _PRINCIPAL and any(map(_WILD.search, test.values)) for test in found.tests
        ):
            yield replace(found, where=where)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object whose names differ: of others nobody knows which value AWS goes by."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _without_principal(entry: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a statement that speaks of everybody as one of an identity's policy; None when it speaks of some."""
    principals = [value for key, value in entry.items() if key.lower() == "principal"]
    if len(principals) != 1 or principals[0] not in _EVERYBODY:
        return None
    return {key: value for key, value in entry.items() if key.lower() != "principal"}


def _denied(denies: Sequence[statement.Statement], action: str, resource: str, principal: str | None) -> bool:
    values: dict[str, Values | None] = {_PRINCIPAL: ABSENT if principal is None else (principal,)}
    # Of every other condition key nothing is known, so a deny that hangs on one is not certain.
    request = evaluate.Request(action, resource, Context(values, rest=None))
    return any(evaluate.applies(one, request) is True for one in denies)


def _own(caller_arn: str) -> re.Pattern[str]:
    """Return what ``aws:PrincipalArn`` may be for the caller: on AWS its role, on the embedded AWS a session of that.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html#condition-keys-principalarn
    """
    role = _ROLE_SESSION.fullmatch(caller_arn)
    if role is None:
        return re.compile(re.escape(caller_arn))
    partition, account, name = map(re.escape, role.groups())
    return re.compile(
        rf"arn:{partition}:(?:iam::{account}:role/(?:.+/)?{name}|sts::{account}:assumed-role/{name}/.+)", re.DOTALL
    )


def _strangers(caller_arn: str) -> Iterator[str | None]:
    """Yield callers that are somebody else, one of each kind that a policy could take for the caller or leave out."""
    found = _ROLE_SESSION.fullmatch(caller_arn) or _USER.fullmatch(caller_arn)
    assert found is not None  # noqa: S101 - why_not has looked
    partition, account, name = found.groups()
    kind = "role" if ":assumed-role/" in caller_arn else "user"
    other_kind = "user" if kind == "role" else "role"
    other_account = "000000000001" if account != "000000000001" else "000000000002"
    mine, theirs = f"arn:{partition}:iam::{account}", f"arn:{partition}:iam::{other_account}"
    yield from (f"{mine}:root", f"{theirs}:root")
    yield from (f"{mine}:{kind}/{name}-2", f"{mine}:{kind}/x{name}", f"{mine}:{kind}/{name}/other")
    yield from (f"{mine}:{kind}/something-else", f"{mine}:{other_kind}/{name}", f"{mine}:{other_kind}/something-else")
    if name != name.swapcase():
        yield f"{mine}:{kind}/{name.swapcase()}"
    yield from (f"{theirs}:{kind}/{name}", f"{theirs}:{kind}/something-else")
    yield from (
        f"arn:{partition}:sts::{account}:federated-user/{name}",
        f"arn:{partition}:sts::{account}:assumed-role/x/y",
    )
    # Nobody's: https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-management.html (anonymous requests), and services.
    yield None
