"""What is live and no plan shows: foreign groups, and other environments of this tool in the same account."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ci_user import naming
from ci_user.credentials import calling
from ci_user.errors import EnvironmentFileError
from ci_user.findings import Finding
from ci_user.iam_user import LiveUser, other_ci_users
from ci_user.text import plain

if TYPE_CHECKING:
    from ci_user.credentials import AwsAccess
    from ci_user.environment import Environment

USER_ADDRESS = "module.ci_user.aws_iam_user.this"
FOREIGN_GROUP = "CIUSER_LIVE_1"
"""Nobody may accept it: what a foreign group brings can change at any time, unseen by any plan."""


def live_findings(access: AwsAccess, environment: Environment, live: LiveUser | None) -> tuple[Finding, ...]:
    """Return a finding for each group that the user is in and that is not its own.

    No exclusive resource of the provider covers the groups a user is in, so a plan never shows them.

    Raises:
        AwsError: AWS refused to list a group's policies.
    """
    if live is None:
        return ()
    brought = {}
    for group in live.groups:
        if group == environment.group_name:
            continue
        client = access.client("iam")
        with calling(f"reading the group {group}"):
            attached = client.list_attached_group_policies(GroupName=group)["AttachedPolicies"]
            inline = client.list_group_policies(GroupName=group)["PolicyNames"]
        brought[group] = [*(policy["PolicyName"] for policy in attached), *inline]
    return tuple(judge_groups(environment, brought))


def judge_groups(environment: Environment, brought: Mapping[str, Sequence[str]]) -> Iterator[Finding]:
    """Yield a finding for each foreign group that the user is in.

    Args:
        environment: The environment.
        brought: The names of the policies that each such group brings.
    """
    for group, policies in brought.items():
        names = ", ".join(plain(name) for name in policies)
        yield Finding(
            check=FOREIGN_GROUP,
            name="The CI user is in its own group only",
            resource=USER_ADDRESS,
            message=f"it is in the group {plain(group)}, which brings {names or 'no policy now'}",
            fix=f"take {environment.user_name} out of the group {plain(group)} in IAM",
        )


def nested_prefixes(environment: Environment, users: Iterable[str]) -> tuple[str, ...]:
    """Return the prefixes, of users of this tool, that are equal to the environment's or nested with it at a hyphen.

    Args:
        environment: The environment.
        users: The names of the CI users in its account; its own may be among them.
    """
    own = naming.user_name(environment.prefix)
    suffix = own.removeprefix(environment.prefix)
    prefixes = (user.removesuffix(suffix) for user in users if user != own and user.endswith(suffix))
    return tuple(prefix for prefix in prefixes if naming.nested(prefix, environment.prefix))


def refuse_nested_prefixes(access: AwsAccess, environment: Environment) -> None:
    """See that no other environment in the account could reach this one's resources by its name pattern, or be reached.

    Raises:
        EnvironmentFileError: A user of this tool lives there whose prefix is equal, or nested at a hyphen.
    """
    suffix = naming.user_name(environment.prefix).removeprefix(environment.prefix)
    for prefix in nested_prefixes(environment, other_ci_users(access, suffix)):
        raise EnvironmentFileError(
            f"the prefix {environment.prefix!r} is nested with {plain(prefix)!r}, whose user lives in the account",
            where=f"environments/{environment.name}.yaml: application",
            expected="prefixes of which none is another one up to a hyphen: each could reach the other's resources",
            do="choose another application or environment name",
            runbook="nested-prefixes",
        )
