"""What is read once of an account, by whichever environment asks first: its principals and policies, functions and stacks."""

from __future__ import annotations

import datetime as dt
import json
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ci_user import naming
from ci_user.credentials import calling
from ci_user.errors import AwsError
from ci_user.live_prefix import lies_under
from ci_user.nightly.facts_model import LentRole, Unread
from ci_user.nightly.raw import canonical, settled
from ci_user.once import OncePerKey
from ci_user.text import plain

if TYPE_CHECKING:
    from collections.abc import Hashable

    from botocore.exceptions import ClientError

    from ci_user.credentials import AwsAccess

T = TypeVar("T")

AT_ONCE: Final = 8
"""How many environments of one account are read at once. IAM's limits are per account and not published; an environment asks one
thing after the other, so this is also how many requests are under way. A thousand environments in fifty accounts still keep
four hundred requests going, which is more than one process can send."""

CI_USER: Final = naming.user_name("")
"""How the names of this tool's users and of their groups end."""

_PAGE: Final = 1_000
_FILTER: Final = ("User", "Role", "Group", "LocalManagedPolicy", "AWSManagedPolicy")
# What AWS answers when it is busy, or does not know the login any more: then nothing was learned, and nothing was refused.
_NO_ANSWERS: Final = frozenset(
    {
        *("Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequestsException", "RequestThrottled"),
        *("ExpiredToken", "ExpiredTokenException", "RequestExpired", "InvalidClientTokenId", "SignatureDoesNotMatch"),
        *("UnrecognizedClientException", "RequestTimeout", "PriorRequestNotComplete"),
    }
)


def shown(doing: str, things: str, needed: str, look: Callable[[], T]) -> T | Unread:
    """Return what ``look`` reads, or that AWS refused to show it.

    Args:
        doing: What is done, for the error.
        things: What is looked at, in the plural.
        needed: The right that is needed.
        look: Calls AWS.

    Raises:
        AwsError: AWS did not answer, was too busy, or no longer knows the login.
    """
    from botocore.exceptions import ClientError

    with calling(doing):
        try:
            return look()
        except ClientError as error:
            if not _refused(error):
                raise
            told = error.response.get("Error", {})
            return Unread(things, needed, f"{plain(told.get('Code', ''), 100)}: {plain(told.get('Message', ''), 500)}")


def _refused(error: ClientError) -> bool:
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return 400 <= status < 500 and error.response.get("Error", {}).get("Code") not in _NO_ANSWERS


def clock(answer: Mapping[str, Any]) -> dt.datetime:
    """Return AWS's time when it gave this answer, rounded down to the second.

    Raises:
        AwsError: The answer carries no date.
    """
    try:
        return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"]).astimezone(dt.UTC)
    except (KeyError, ValueError, TypeError):
        raise AwsError("AWS's answer carries no date", runbook="aws-refused-a-call") from None


@dataclass(frozen=True)
class Details:
    """The account's principals and policies as settled answers in canonical JSON: see ``raw``.

    Args:
        users: This tool's users by name, of whatever environment.
        groups: Their groups by name.
        roles: The roles under the prefixes, by name.
        policies: By ARN: what is attached to those users and groups, their boundaries, and this tool's own policies.
        own: The ARNs of this tool's own policies, by the prefix that their names begin with.
        members: Who is in each of this tool's groups, whoever it is.
        now: AWS's clock when it began to tell.
    """

    users: Mapping[str, str]
    groups: Mapping[str, str]
    roles: Mapping[str, str]
    policies: Mapping[str, str]
    own: Mapping[str, tuple[str, ...]]
    members: Mapping[str, tuple[str, ...]]
    now: dt.datetime


class AccountReading:
    """What is read once of an account with one login; threads may ask at once. Nothing is read before it is asked for.

    Args:
        access: The way into the account.
        prefixes: The prefixes of the environments that will ask: roles, functions and stacks of others are not kept. None
            keeps all.
    """

    def __init__(self, access: AwsAccess, prefixes: Collection[str] | None = None) -> None:
        self.access = access
        self.turn = threading.BoundedSemaphore(AT_ONCE)
        self._starts = None if prefixes is None else tuple(f"{prefix}-" for prefix in prefixes)
        self._details: OncePerKey[None, Details] = OncePerKey()
        self._policies: OncePerKey[str, str | Unread | None] = OncePerKey()
        self._lent: OncePerKey[str, tuple[tuple[LentRole, ...], tuple[Unread, ...]]] = OncePerKey()

    @property
    def details(self) -> Details:
        """Return the account's principals and policies, from ``GetAccountAuthorizationDetails``.

        https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetAccountAuthorizationDetails.html

        Raises:
            AwsError: AWS refused or failed the call.
        """
        return self._details.get(None, self._read_details)

    def policy(self, arn: str) -> str | Unread | None:
        """Return a managed policy as ``Details`` has it, from there or asked for by itself; None when there is none.

        AWS's own policies are not always among the details, and never those that are a boundary only.

        Raises:
            AwsError: AWS failed a call.
        """
        held = self.details.policies.get(arn)
        return held if held is not None else self._policies.get(arn, lambda: self._ask_policy(arn))

    def lent(self, access: AwsAccess) -> tuple[tuple[LentRole, ...], tuple[Unread, ...]]:
        """Return the functions and stacks in the region of ``access``, and what AWS refused to show.

        Args:
            access: The way into the account of the environment that asks: another region may need another session.

        Raises:
            AwsError: AWS failed a call.
        """
        return self._lent.get(access.region, lambda: self._read_lent(access))

    def _read_details(self) -> Details:
        collected = _Collected(self._starts)
        with calling(f"reading the principals and policies of account {self.access.account_id}"):
            pages = (
                self.access.client("iam")
                .get_paginator("get_account_authorization_details")
                .paginate(Filter=list(_FILTER), PaginationConfig={"PageSize": _PAGE})
            )
            for page in pages:
                collected.add(page)
        return collected.details()

    def _ask_policy(self, arn: str) -> str | Unread | None:
        iam = self.access.client("iam")

        def ask() -> str | None:
            try:
                policy = iam.get_policy(PolicyArn=arn)["Policy"]
                default = policy["DefaultVersionId"]
                version = iam.get_policy_version(PolicyArn=arn, VersionId=default)["PolicyVersion"]
            except iam.exceptions.NoSuchEntityException:
                return None
            return canonical(settled("policy", {**policy, "PolicyVersionList": [version]}))

        doing, needed = f"reading the policy {plain(arn)}", "iam:GetPolicy and iam:GetPolicyVersion"
        return shown(doing, f"the policy {plain(arn)}", needed, ask)

    def _read_lent(self, access: AwsAccess) -> tuple[tuple[LentRole, ...], tuple[Unread, ...]]:
        looks = (
            ("functions", "lambda:ListFunctions", self._functions),
            ("stacks", "cloudformation:DescribeStacks", self._stacks),
        )
        found: list[LentRole] = []
        unread: list[Unread] = []
        for things, needed, look in looks:
            doing = f"listing the {things} of account {access.account_id} in {access.region}"
            answer = shown(doing, things, needed, partial(_all, look, access))
            if isinstance(answer, Unread):
                unread.append(answer)
            else:
                found += answer
        return tuple(found), tuple(unread)

    def _functions(self, access: AwsAccess) -> Iterator[LentRole]:
        for page in access.client("lambda").get_paginator("list_functions").paginate():
            for one in page["Functions"]:
                if self._asked("function", one["FunctionName"]):
                    yield LentRole("function", one["FunctionName"], one.get("Role"))

    def _stacks(self, access: AwsAccess) -> Iterator[LentRole]:
        for page in access.client("cloudformation").get_paginator("describe_stacks").paginate():
            for one in page["Stacks"]:
                if self._asked("stack", one["StackName"]):
                    yield LentRole("stack", one["StackName"], one.get("RoleARN"))

    def _asked(self, kind: str, name: str) -> bool:
        return self._starts is None or lies_under(self._starts, kind, name)


class _Collected:
    """Takes the details page by page and keeps text: the SDK's values take ten times the room."""

    def __init__(self, starts: tuple[str, ...] | None) -> None:
        self._starts = starts
        self._users: dict[str, str] = {}
        self._groups: dict[str, str] = {}
        self._roles: dict[str, str] = {}
        self._policies: dict[str, str] = {}
        self._own: dict[str, list[str]] = {}
        self._members: dict[str, list[str]] = {}
        self._now: dt.datetime | None = None

    def add(self, page: Mapping[str, Any]) -> None:
        self._now = self._now or clock(page)
        for user in page.get("UserDetailList", ()):
            if user["UserName"].endswith(CI_USER):
                self._users[user["UserName"]] = canonical(settled("user", user))
            for name in user.get("GroupList", ()):
                if name.endswith(CI_USER):
                    self._members.setdefault(name, []).append(user["UserName"])
        for group in page.get("GroupDetailList", ()):
            # A page may bring a group before the users that are in it.
            self._groups[group["GroupName"]] = canonical(settled("group", group))
        for role in page.get("RoleDetailList", ()):
            if self._starts is None or naming.role_under(self._starts, role["RoleName"], role.get("Path", "/")):
                self._roles[role["RoleName"]] = canonical(settled("role", role))
        for policy in page.get("Policies", ()):
            name, arn = policy["PolicyName"], policy["Arn"]
            own = naming.is_own_policy(name)
            if own:
                self._own.setdefault(name.partition(".")[0], []).append(arn)
            self._policies[arn] = canonical(settled("own policy" if own else "policy", policy))

    def details(self) -> Details:
        """Return what environments can ask for; the rest of the account's groups and policies goes."""
        assert self._now is not None  # noqa: S101 - there is always a first page
        users = {name: json.loads(text) for name, text in self._users.items()}
        groups_of_users = {group for user in users.values() for group in user.get("GroupList", ())}
        groups = {
            name: text for name, text in self._groups.items() if name in groups_of_users or name.endswith(CI_USER)
        }
        kept = {arn for arns in self._own.values() for arn in arns}
        for holder in (*users.values(), *(json.loads(text) for text in groups.values())):
            kept |= set(attached(holder))
            kept |= {boundary for boundary in (boundary_of(holder),) if boundary}
        return Details(
            users=self._users,
            groups=groups,
            roles=self._roles,
            policies={arn: text for arn, text in self._policies.items() if arn in kept},
            own={prefix: tuple(sorted(arns)) for prefix, arns in self._own.items()},
            members={name: tuple(sorted(users)) for name, users in self._members.items()},
            now=self._now,
        )


def _all(look: Callable[[AwsAccess], Iterator[LentRole]], access: AwsAccess) -> tuple[LentRole, ...]:
    return tuple(look(access))


def attached(holder: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the ARNs of the policies attached to a principal, as the details have it."""
    return tuple(sorted(one["PolicyArn"] for one in holder.get("AttachedManagedPolicies", ())))


def boundary_of(principal: Mapping[str, Any]) -> str | None:
    """Return the ARN of a principal's boundary; None also where the answer leaves boundaries out."""
    found = principal.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn")
    return None if found is None else str(found)


class Readings:
    """The readings of a run: one per account and login.

    Args:
        prefixes: The prefixes of all environments that will ask, of whatever account; None when that is not known.
    """

    def __init__(self, prefixes: Collection[str] | None = None) -> None:
        self._prefixes = prefixes
        self._readings: OncePerKey[Hashable, AccountReading] = OncePerKey()

    def of(self, access: AwsAccess) -> AccountReading:
        """Return the reading of an access's account; nothing is read yet."""
        key = (access.account_id, access.login, access.endpoint_url)
        return self._readings.get(key, lambda: AccountReading(access, self._prefixes))
