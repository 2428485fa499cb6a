"""What is true of one environment in AWS: from what was read of its account, and what has to be asked for each user.

On AWS these are seven requests and one for each key and each managed policy of the environment.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from ci_user import naming
from ci_user.credentials import calling
from ci_user.errors import AwsError
from ci_user.iam_user import LastUse, LiveKey, LiveUser
from ci_user.live_prefix import lies_under
from ci_user.nightly.account import attached, boundary_of, clock, shown
from ci_user.nightly.facts_model import Facts, GroupFact, LentRole, PolicyFact, RoleFact, Unread, WayIn
from ci_user.nightly.raw import canonical, settled
from ci_user.policy import documents
from ci_user.text import plain
from ci_user.ways_in import LOOKS, Look

if TYPE_CHECKING:
    from ci_user.credentials import AwsAccess
    from ci_user.environment import Environment
    from ci_user.nightly.account import AccountReading

# In every digest: one that was made in another way equals none of these.
_FORMAT: Final = 1


def read(
    environment: Environment,
    reading: AccountReading,
    attached_arns: Iterable[str] = (),
    *,
    access: AwsAccess | None = None,
) -> Facts:
    """Return everything that is true of an environment's identity.

    Args:
        environment: The environment.
        reading: What is read once of its account.
        attached_arns: The existing policies that its file lists: they are read even where nobody has them.
        access: The environment's own way into the account; the reading's when left out.

    Raises:
        AwsError: AWS refused to list the account's principals, or did not answer.
    """
    with reading.turn:
        return _Reader(environment, reading, access or reading.access).facts(attached_arns)


class _Reader:
    """Reads one environment. ``raw`` is what the digest is made of: settled answers by what they are of."""

    def __init__(self, environment: Environment, reading: AccountReading, access: AwsAccess) -> None:
        self._environment = environment
        self._reading = reading
        self._details = reading.details
        self._access = access
        self._iam = access.client("iam")
        self._now = self._details.now
        self._unread: list[Unread] = []
        self._judged_unread = False
        self._raw: dict[str, Any] = {}

    def facts(self, attached_arns: Iterable[str]) -> Facts:
        user = self._user()
        groups = self._groups(user)
        own = self._own_policies()
        holders = [user or {}, *groups.values()]
        arns = {arn for holder in holders for arn in attached(holder)} | set(attached_arns)
        arns |= {arn for arn in (boundary_of(user or {}),) if arn}
        policies = own | {arn: fact for arn in sorted(arns - own.keys()) if (fact := self._policy(arn)) is not None}
        roles, lent = self._roles(), self._lent()
        keys = self._keys() if user is not None else ()
        uses = self._uses(keys)
        ways_in = self._ways_in() if user is not None else ()
        name = self._environment.user_name
        return Facts(
            user=None if user is None else _live(user),
            user_inline={} if user is None else _inline(user, "UserPolicyList"),
            groups={
                group: GroupFact(group, attached(detail), _inline(detail, "GroupPolicyList"))
                for group, detail in sorted(groups.items())
            },
            policies=policies,
            roles=roles,
            lent=lent,
            keys=keys,
            uses=uses,
            ways_in=ways_in,
            unread=tuple(self._unread),
            other_ci_users=tuple(sorted(one for one in self._details.users if one != name)),
            others_in_group=tuple(
                one for one in self._details.members.get(self._environment.group_name, ()) if one != name
            ),
            now=self._now,
            digest=self._digest(),
        )

    def _user(self) -> dict[str, Any] | None:
        name = self._environment.user_name
        text = self._details.users.get(name)
        held: dict[str, Any] | None = None if text is None else json.loads(text)
        if held is not None and boundary_of(held) is not None:
            self._raw["user"] = text
            return held
        # Neither a missing user nor a missing boundary is believed from a list alone: the embedded AWS leaves boundaries out.
        with calling(f"reading the IAM user {name}"):
            try:
                asked = self._iam.get_user(UserName=name)["User"]
            except self._iam.exceptions.NoSuchEntityException:
                return None
        if held is None:
            raise AwsError(
                f"the IAM user {name} was made while the account was read",
                do="run the check again",
                runbook="nightly-not-checked",
            )
        if "PermissionsBoundary" in asked:
            held["PermissionsBoundary"] = asked["PermissionsBoundary"]
        self._raw["user"] = canonical(held)
        return held

    def _groups(self, user: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
        """Return the groups that the user is in, and its own where it exists."""
        names = {self._environment.group_name, *(user or {}).get("GroupList", ())}
        texts = {name: self._details.groups[name] for name in names if name in self._details.groups}
        self._raw["groups"] = texts
        return {name: json.loads(text) for name, text in texts.items()}

    def _own_policies(self) -> dict[str, PolicyFact]:
        """Return the policies that Terraform made. Each is asked for: the account's details have no tags."""
        found: dict[str, PolicyFact] = {}
        raw: dict[str, str] = {}
        for arn in self._details.own.get(self._environment.prefix, ()):
            detail = json.loads(self._details.policies[arn])
            answer = shown(
                f"reading the policy {plain(arn)}",
                f"the policy {plain(arn)}",
                "iam:GetPolicy",
                partial(self._ask, arn),
            )
            if isinstance(answer, Unread):
                self._unread.append(answer)
                self._judged_unread = True
                found[arn] = _fact(arn, detail, None)
                continue
            if answer is None:
                continue
            detail |= settled("own policy", answer)
            if answer["DefaultVersionId"] != _default(detail).get("VersionId"):
                detail["PolicyVersionList"] = [self._version(arn, answer["DefaultVersionId"])]
            raw[arn] = canonical(detail)
            tags = {one["Key"]: one["Value"] for one in answer.get("Tags", ())}
            found[arn] = _fact(arn, detail, tags)
        self._raw["own policies"] = raw
        return found

    def _ask(self, arn: str) -> dict[str, Any] | None:
        try:
            policy: dict[str, Any] = self._iam.get_policy(PolicyArn=arn)["Policy"]
        except self._iam.exceptions.NoSuchEntityException:
            return None
        return policy

    def _version(self, arn: str, version: str) -> dict[str, Any]:
        """Return the version that has become the default since the account was read."""
        with calling(f"reading the policy {plain(arn)}"):
            found: dict[str, Any] = self._iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]
        return found

    def _policy(self, arn: str) -> PolicyFact | None:
        answer = self._reading.policy(arn)
        if answer is None:
            answer = Unread(
                f"the policy {plain(arn)}", "iam:GetPolicy and iam:GetPolicyVersion", "there is no such policy"
            )
        if isinstance(answer, Unread):
            self._unread.append(answer)
            self._judged_unread = True
            return None
        self._raw.setdefault("policies", {})[arn] = answer
        return _fact(arn, json.loads(answer), None)

    def _roles(self) -> tuple[RoleFact, ...]:
        found: list[RoleFact] = []
        raw: dict[str, str] = {}
        for name, text in sorted(self._details.roles.items()):
            role = json.loads(text)
            called = naming.role_under(f"{self._environment.prefix}-", name, role.get("Path", "/"))
            if called is None:
                continue
            if boundary_of(role) is None:
                answer = shown(f"reading the role {plain(name)}", "roles", "iam:GetRole", partial(self._ask_role, name))
                if isinstance(answer, Unread):
                    self._unread.append(replace(answer, why=f"{plain(name)}: {answer.why}"))
                    continue
                if answer is None:
                    continue
                role |= {key: answer[key] for key in ("PermissionsBoundary",) if key in answer}
            raw[name] = canonical(role)
            found.append(RoleFact(called, boundary_of(role), role["AssumeRolePolicyDocument"]))
        self._raw["roles"] = raw
        return tuple(found)

    def _ask_role(self, name: str) -> dict[str, Any] | None:
        try:
            role: dict[str, Any] = self._iam.get_role(RoleName=name)["Role"]
        except self._iam.exceptions.NoSuchEntityException:
            return None
        return role

    def _lent(self) -> tuple[LentRole, ...]:
        region = self._environment.region
        found, unread = self._reading.lent(self._access.at(region=region, account_id=self._access.account_id))
        own = tuple(
            sorted(
                (one for one in found if lies_under(f"{self._environment.prefix}-", one.kind, one.name)),
                key=lambda one: (one.kind, one.name),
            )
        )
        self._unread += unread
        self._raw["lent"] = [(one.kind, one.name, one.role_arn) for one in own]
        return own

    def _keys(self) -> tuple[LiveKey, ...]:
        user = self._environment.user_name

        def look() -> list[LiveKey]:
            listed = []
            try:
                for page in self._iam.get_paginator("list_access_keys").paginate(UserName=user):
                    self._now = max(self._now, clock(page))
                    listed += page["AccessKeyMetadata"]
            except self._iam.exceptions.NoSuchEntityException:
                return []
            return [LiveKey(one["AccessKeyId"], one["Status"] == "Active", one["CreateDate"]) for one in listed]

        answer = shown(f"listing the access keys of {user}", "access keys", "iam:ListAccessKeys", look)
        if isinstance(answer, Unread):
            self._unread.append(answer)
            return ()
        return tuple(sorted(answer, key=lambda key: (key.created, key.id)))

    def _uses(self, keys: Iterable[LiveKey]) -> dict[str, LastUse]:
        uses: dict[str, LastUse] = {}
        for key in keys:
            answer = shown(
                f"reading the last use of {plain(key.id)}",
                f"the last use of {plain(key.id)}",
                "iam:GetAccessKeyLastUsed",
                partial(self._ask_use, key.id),
            )
            if isinstance(answer, Unread):
                self._unread.append(answer)
                continue
            uses[key.id] = LastUse(
                at=answer.get("LastUsedDate"),
                service=plain(answer.get("ServiceName", "N/A")),
                region=plain(answer.get("Region", "N/A")),
            )
        return uses

    def _ask_use(self, key_id: str) -> dict[str, Any]:
        answer: dict[str, Any] = self._iam.get_access_key_last_used(AccessKeyId=key_id)["AccessKeyLastUsed"]
        return answer

    def _ways_in(self) -> tuple[WayIn, ...]:
        user = self._environment.user_name
        found: list[WayIn] = []
        for things, needed, fix, look in LOOKS:
            answer = shown(f"looking for {things} of {user}", things, needed, partial(_listed, look, self._iam, user))
            if isinstance(answer, Unread):
                self._unread.append(answer)
            else:
                found += [WayIn(things, kind, told, fix) for kind, told in answer]
        return tuple(found)

    def _digest(self) -> str:
        """Return the SHA-256 (hex) of what was read; one that equals no other where something of it could not be read."""
        parts = {"format": _FORMAT, **self._raw}
        if self._judged_unread:
            parts["unread"] = secrets.token_hex(16)
        return hashlib.sha256(canonical(parts).encode()).hexdigest()


def _listed(look: Look, iam: Any, user: str) -> list[tuple[str, str]]:
    return list(look(iam, user))


def _live(user: Mapping[str, Any]) -> LiveUser:
    return LiveUser(
        arn=user["Arn"],
        created=dt.datetime.fromisoformat(user["CreateDate"]),
        boundary_arn=boundary_of(user),
        groups=tuple(sorted(user.get("GroupList", ()))),
        attached=attached(user),
        inline=tuple(sorted(one["PolicyName"] for one in user.get("UserPolicyList", ()))),
        tags={one["Key"]: one["Value"] for one in user.get("Tags", ())},
    )


def _inline(holder: Mapping[str, Any], field: str) -> dict[str, str]:
    return {one["PolicyName"]: _text(one["PolicyDocument"]) for one in holder.get(field, ())}


def _fact(arn: str, detail: Mapping[str, Any], tags: Mapping[str, str] | None) -> PolicyFact:
    return PolicyFact(
        arn=arn,
        name=detail["PolicyName"],
        document=_text(_default(detail).get("Document", {})),
        default_version=detail["DefaultVersionId"],
        tags=tags,
    )


def _default(policy: Mapping[str, Any]) -> Mapping[str, Any]:
    return next((one for one in policy["PolicyVersionList"] if one.get("IsDefaultVersion")), {})


def _text(document: Any) -> str:
    return documents.canonical(document) if isinstance(document, Mapping) else str(document)
