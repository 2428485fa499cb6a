"""What is true of one environment in AWS, as read: plain values, which the audit judges and the digest is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ci_user.iam_user import LastUse, LiveKey, LiveUser


@dataclass(frozen=True)
class PolicyFact:
    """A managed policy: its default version's document as canonical JSON, and its tags where they were read."""

    arn: str
    name: str
    document: str
    default_version: str
    tags: Mapping[str, str] | None = None


@dataclass(frozen=True)
class GroupFact:
    """A group that the user is in, or the environment's own: what is attached to it, and its inline policies by name."""

    name: str
    attached: tuple[str, ...]
    inline: Mapping[str, str]


@dataclass(frozen=True)
class RoleFact:
    """A role under the prefix.

    ``name`` has the path where that is what begins with the prefix; ``trust`` is the trust policy as AWS gives it.
    """

    name: str
    boundary_arn: str | None
    trust: Any


@dataclass(frozen=True)
class LentRole:
    """A function or a stack under the prefix, and the role that it works with."""

    kind: str
    name: str
    role_arn: str | None


@dataclass(frozen=True)
class WayIn:
    """A way to sign in as the user besides access keys: what it is, and which one."""

    things: str
    kind: str
    told: str
    fix: str


@dataclass(frozen=True)
class Unread:
    """What AWS refused to show: which things, the right that is needed, and what AWS said."""

    things: str
    needed: str
    why: str


@dataclass(frozen=True)
class Facts:
    """Everything that was read of one environment's identity.

    Args:
        user: The CI user, or None when there is none.
        user_inline: Its inline policies by name, as JSON text.
        groups: The groups that it is in and its own group where it exists, by name.
        policies: By ARN: what is attached to the user or to those groups, the boundaries, and the environment's own policies.
        roles: The roles under the prefix.
        lent: The functions and stacks under the prefix.
        keys: The access keys, oldest first.
        uses: The last use of each key.
        ways_in: Other ways to sign in.
        unread: What AWS refused to show.
        other_ci_users: Users of this tool in the account, this one left out: for nested prefixes.
        others_in_group: Who else is in its group, and so has its policies without its boundary.
        now: AWS's clock, at least.
        digest: SHA-256 of everything that Terraform's refresh or the judgement of policies looks at; without what changes by
            itself (last uses, counts of attachments), and without keys and ways in, which are judged every night.
    """

    user: LiveUser | None
    user_inline: Mapping[str, str]
    groups: Mapping[str, GroupFact]
    policies: Mapping[str, PolicyFact]
    roles: tuple[RoleFact, ...]
    lent: tuple[LentRole, ...]
    keys: tuple[LiveKey, ...]
    uses: Mapping[str, LastUse]
    ways_in: tuple[WayIn, ...]
    unread: tuple[Unread, ...]
    other_ci_users: tuple[str, ...]
    now: datetime
    digest: str
    others_in_group: tuple[str, ...] = ()
