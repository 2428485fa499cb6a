"""The live IAM user: its keys, its tags, and everything that hangs on it, through boto3."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from ci_user.credentials import AwsAccess, calling
from ci_user.errors import AwsError, KeyStateError
from ci_user.secret import AccessKey, Secret
from ci_user.text import plain

if TYPE_CHECKING:
    from ci_user.revocation import Revocation

QUARANTINE = "AWSCompromisedKeyQuarantine"
KEYS_PER_USER = 2  # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
TAG_PREFIX = "ci-user:"
_TAG_VALUE_LENGTH = 256
_TAGS_PER_USER = 50


@dataclass(frozen=True)
class LiveKey:
    """An access key as IAM lists it. ``created`` is an aware datetime."""

    id: str
    active: bool
    created: dt.datetime


@dataclass(frozen=True)
class LastUse:
    """When and where a key was last used; ``at`` is None when it never was.

    https://docs.aws.amazon.com/IAM/latest/APIReference/API_AccessKeyLastUsed.html
    """

    at: dt.datetime | None
    service: str
    region: str


@dataclass(frozen=True)
class LiveUser:
    """What is true of the user in IAM now."""

    arn: str
    created: dt.datetime
    boundary_arn: str | None
    groups: tuple[str, ...]
    attached: tuple[str, ...]
    inline: tuple[str, ...]
    tags: Mapping[str, str]

    @property
    def quarantined_by(self) -> tuple[str, ...]:
        """Return the policies that AWS attached because a key leaked; never to be detached, always to be reported."""
        return quarantines(self.attached)


class IamUser:
    """One IAM user, which may or may not exist."""

    def __init__(self, access: AwsAccess, name: str) -> None:
        self.name = name
        self._access = access
        self._iam = access.client("iam")

    def describe(self) -> LiveUser | None:
        """Return what is true of the user, or None when there is none.

        Raises:
            AwsError: AWS refused a call.
        """
        with calling(f"reading the IAM user {self.name}"):
            try:
                user = self._iam.get_user(UserName=self.name)["User"]
            except self._iam.exceptions.NoSuchEntityException:
                return None
            groups = _all(self._iam, "list_groups_for_user", "Groups", UserName=self.name)
            attached = _all(self._iam, "list_attached_user_policies", "AttachedPolicies", UserName=self.name)
            inline = _all(self._iam, "list_user_policies", "PolicyNames", UserName=self.name)
        return LiveUser(
            arn=user["Arn"],
            created=user["CreateDate"],
            boundary_arn=user.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn"),
            groups=tuple(sorted(group["GroupName"] for group in groups)),
            attached=tuple(sorted(policy["PolicyArn"] for policy in attached)),
            inline=tuple(sorted(inline)),
            tags={tag["Key"]: tag["Value"] for tag in user.get("Tags", [])},
        )

    def attached(self) -> tuple[str, ...] | None:
        """Return the ARNs of the policies attached to the user itself, or None when there is no such user.

        Raises:
            AwsError: AWS refused the call.
        """
        with calling(f"reading the policies of {self.name}"):
            try:
                attached = _all(self._iam, "list_attached_user_policies", "AttachedPolicies", UserName=self.name)
            except self._iam.exceptions.NoSuchEntityException:
                return None
        return tuple(sorted(policy["PolicyArn"] for policy in attached))

    def access_keys(self) -> tuple[LiveKey, ...]:
        """Return the user's access keys, oldest first; none when there is no such user."""
        with calling(f"listing the access keys of {self.name}"):
            try:
                listed = _all(self._iam, "list_access_keys", "AccessKeyMetadata", UserName=self.name)
            except self._iam.exceptions.NoSuchEntityException:
                return ()
        keys = [LiveKey(k["AccessKeyId"], k["Status"] == "Active", k["CreateDate"]) for k in listed]
        return tuple(sorted(keys, key=lambda key: (key.created, key.id)))

    def last_use(self, key_id: str) -> LastUse:
        """Return when the key was last used; AWS answers some minutes late."""
        with calling(f"reading the last use of {key_id}"):
            answer = self._iam.get_access_key_last_used(AccessKeyId=key_id)["AccessKeyLastUsed"]
        return LastUse(
            at=answer.get("LastUsedDate"),
            service=plain(answer.get("ServiceName", "N/A")),
            region=plain(answer.get("Region", "N/A")),
        )

    def create_key(self, intent_id: str) -> AccessKey:
        """Make a key. Never retried: ``CreateAccessKey`` has no idempotency token.

        The intent's id travels in the user agent, so that CloudTrail can tie the key to the journal.

        Raises:
            KeyStateError: The user has as many keys as IAM allows.
            AwsError: AWS refused, or its answer was lost; then the journal's intent lets the next run clean up.
        """
        client = self._access.client("iam", attempts=1, user_agent=f"ci-user-intent/{intent_id}")
        with calling(
            f"making an access key for {self.name}",
            do="run the same command again: the journalled intent tells what became of this one",
        ):
            try:
                made = client.create_access_key(UserName=self.name)["AccessKey"]
            except client.exceptions.LimitExceededException:
                raise KeyStateError(
                    f"IAM allows no further access key for {self.name}",
                    expected=f"fewer than {KEYS_PER_USER} keys, the inactive ones included",
                    do="run `invoke status` and delete the key that nobody uses",
                    runbook="two-keys",
                ) from None
        return AccessKey(made["AccessKeyId"], Secret(made["SecretAccessKey"]))

    def deactivate_key(self, key_id: str) -> None:
        """Make the key inactive; a key that is gone is as good as inactive."""
        with calling(f"deactivating the access key {key_id}"):
            try:
                self._iam.update_access_key(UserName=self.name, AccessKeyId=key_id, Status="Inactive")
            except self._iam.exceptions.NoSuchEntityException:
                return

    def activate_key(self, key_id: str) -> None:
        """Make the key active again.

        Raises:
            KeyStateError: There is no such key any more.
            AwsError: AWS refused the call.
        """
        with calling(f"activating the access key {key_id}"):
            try:
                self._iam.update_access_key(UserName=self.name, AccessKeyId=key_id, Status="Active")
            except self._iam.exceptions.NoSuchEntityException:
                raise KeyStateError(
                    f"{self.name} has no access key {plain(key_id)}",
                    do="run `invoke status`, which lists the keys that there are",
                    runbook="no-key",
                ) from None

    def revocation(self) -> Revocation | None:
        """Return what a revocation's deny on the user says; None when there is none of this tool's."""
        from ci_user import revocation

        return revocation.live(self._access, self.name)

    def deny(self, deny: Revocation) -> None:
        """Put a revocation's deny on the user, over the one that is there."""
        from ci_user import revocation

        revocation.put(self._access, self.name, deny)

    def lift_deny(self) -> None:
        """Take a revocation's deny off; one that is gone already is no error."""
        from ci_user import revocation

        revocation.take_away(self._access, self.name)

    def aws_time(self) -> dt.datetime:
        """Return the time by IAM's clock, rounded down to the second.

        Raises:
            AwsError: AWS refused the call, or its answer carries no date.
        """
        with calling(f"asking for the time, with the keys of {self.name}"):
            answer = self._iam.list_access_keys(UserName=self.name)
        try:
            return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"]).astimezone(dt.UTC)
        except (KeyError, ValueError, TypeError):
            raise AwsError("IAM's answer carries no date", runbook="aws-refused-a-call") from None

    def delete_key(self, key_id: str) -> None:
        """Delete the key; one that is gone already is no error."""
        with calling(f"deleting the access key {key_id}"):
            try:
                self._iam.delete_access_key(UserName=self.name, AccessKeyId=key_id)
            except self._iam.exceptions.NoSuchEntityException:
                return

    def mirror(self, facts: Mapping[str, str]) -> None:
        """Write the project's own tags, for people to read; an empty value removes the tag. No decision reads them.

        Raises:
            AwsError: AWS refused, or the user would have more than 50 tags.
        """
        tags = {f"{TAG_PREFIX}{name}": tag_value(value) for name, value in facts.items()}
        with calling(f"tagging the IAM user {self.name}"):
            present = {t["Key"]: t["Value"] for t in self._iam.list_user_tags(UserName=self.name).get("Tags", [])}
            wanted = {key: value for key, value in tags.items() if value and present.get(key) != value}
            stale = [key for key, value in tags.items() if not value and key in present]
            if len(set(present) - set(stale) | set(wanted)) > _TAGS_PER_USER:
                raise AwsError(
                    f"{self.name} would have more than {_TAGS_PER_USER} tags",
                    do="take some tags out of the environment file",
                )
            if wanted:
                self._iam.tag_user(
                    UserName=self.name, Tags=[{"Key": key, "Value": value} for key, value in wanted.items()]
                )
            if stale:
                self._iam.untag_user(UserName=self.name, TagKeys=stale)


def quarantines(arns: Iterable[str]) -> tuple[str, ...]:
    """Return those of the policies that AWS attaches because a key leaked."""
    return tuple(arn for arn in arns if arn.rsplit("/", 1)[-1].startswith(QUARANTINE))


def other_ci_users(access: AwsAccess, suffix: str) -> tuple[str, ...]:
    """Return the names of the account's users that end in ``suffix``: this tool's, of whatever environment."""
    with calling("listing the account's users"):
        users = _all(access.client("iam"), "list_users", "Users")
    return tuple(sorted(user["UserName"] for user in users if user["UserName"].endswith(suffix)))


def tag_value(text: str) -> str:
    """Return text as IAM takes it in a tag: its characters, at most 256 (the embedded AWS accepts more).

    https://docs.aws.amazon.com/IAM/latest/UserGuide/id_tags.html
    """
    kept = "".join(c if c.isalnum() or c in " _.:/=+-@" else "_" for c in text)
    return kept[:_TAG_VALUE_LENGTH]


def _all(client: Any, operation: str, result: str, **arguments: str) -> list[Any]:
    pages = client.get_paginator(operation).paginate(**arguments)
    return [item for page in pages for item in page.get(result, [])]
