"""What somebody can change in AWS behind Terraform's back: each change with the attributes of resources that it reaches.

``NO_COUNTERPART`` has the attributes that nothing in AWS could change. Together they are every attribute of every resource
type in ``terraform/``: a test compares them with the provider's own schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tests import mutation_steps as steps
from tests.mutation_steps import Clients, Names, Steps


@dataclass(frozen=True)
class Mutation:
    """One change, in an environment that is deployed.

    Args:
        name: What was done, in words.
        covers: The attributes that it reaches, ``aws_iam_user.tags``; none where only the judgement of what is live looks.
        steps: What makes the change, and what puts everything back.
        lasting: Ids are others afterwards, and the access keys are gone where it was the user that was made again.
    """

    name: str
    covers: tuple[str, ...]
    steps: Steps
    lasting: bool = False

    def apply(self, clients: Clients, environment: Names) -> Any:
        """Make the change; returns what ``undo`` needs."""
        return self.steps[0](clients, environment)

    def undo(self, clients: Clients, environment: Names, before: Any) -> None:
        """Put everything back, but for what ``lasting`` says."""
        self.steps[1](clients, environment, before)


NO_COUNTERPART: Final[Mapping[str, str]] = {
    "aws_iam_user.force_destroy": "how Terraform would delete the user; AWS knows nothing of it",
    "aws_iam_policy.name_prefix": "how Terraform would choose a name; AWS knows the name only",
    "aws_iam_group_policy_attachment.id": "made up by Terraform; an attachment has no id",
    "aws_iam_user_group_membership.id": "made up by Terraform; a membership has no id",
}
"""Attributes that nothing in AWS could change, and why."""


def _user(names: Names) -> dict[str, Any]:
    return {"UserName": names.user_name}


def _group(names: Names) -> dict[str, Any]:
    return {"GroupName": names.group_name}


_INLINE: Final = {"PolicyName": "more", "PolicyDocument": steps.READ}
_NO_INLINE: Final = {"PolicyName": "more"}

MUTATIONS: Final[tuple[Mutation, ...]] = (
    Mutation(
        "the user's tags are changed",
        ("aws_iam_user.tags", "aws_iam_user.tags_all"),
        steps.call(
            "tag_user",
            "untag_user",
            _user,
            {"Tags": [{"Key": "Changed", "Value": "by hand"}]},
            {"TagKeys": ["Changed"]},
        ),
    ),
    Mutation("the user's boundary is removed", ("aws_iam_user.permissions_boundary",), steps.boundary(None)),
    Mutation(
        "the user's boundary is swapped",
        ("aws_iam_user.permissions_boundary",),
        steps.boundary(lambda names: names.role_boundary_arn),
    ),
    Mutation(
        "the boundary allows something else",
        ("aws_iam_policy.policy",),
        steps.document(lambda _, names: names.boundary_arn),
    ),
    Mutation(
        "an inline policy is put on the user",
        ("aws_iam_user_policies_exclusive.policy_names",),
        steps.call("put_user_policy", "delete_user_policy", _user, _INLINE, _NO_INLINE),
    ),
    Mutation(
        "a policy is attached to the user",
        ("aws_iam_user_policy_attachments_exclusive.policy_arns",),
        steps.foreign_policy("user_policy", _user),
    ),
    Mutation("the user joins a foreign group", (), steps.foreign_group()),
    Mutation(
        "the user leaves its group",
        ("aws_iam_user_group_membership.groups",),
        steps.call(
            "remove_user_from_group", "add_user_to_group", lambda names: {**_user(names), **_group(names)}, {}, {}
        ),
    ),
    Mutation(
        "an inline policy is put on the group",
        ("aws_iam_group_policies_exclusive.policy_names",),
        steps.call("put_group_policy", "delete_group_policy", _group, _INLINE, _NO_INLINE),
    ),
    Mutation(
        "a policy is attached to the group",
        ("aws_iam_group_policy_attachments_exclusive.policy_arns",),
        steps.foreign_policy("group_policy", _group),
    ),
    Mutation(
        "a policy is detached from the group",
        ("aws_iam_group_policy_attachment.policy_arn", "aws_iam_group_policy_attachments_exclusive.policy_arns"),
        steps.detached(),
    ),
    Mutation("a policy's document is changed", ("aws_iam_policy.policy",), steps.document(steps.own_policy)),
    Mutation("a policy gets another version, which is not the default", (), steps.version()),
    Mutation("a policy's tags are changed", ("aws_iam_policy.tags", "aws_iam_policy.tags_all"), steps.tags_of_policy()),
    Mutation("a policy is attached to somebody else", ("aws_iam_policy.attachment_count",), steps.used_elsewhere()),
    Mutation("a role is made under the prefix", (), steps.thing("iam")),
    Mutation("a function is made under the prefix", (), steps.thing("lambda")),
    Mutation("a stack is made under the prefix", (), steps.thing("cloudformation")),
    Mutation(
        "a policy is made again with another description",
        ("aws_iam_policy.description", "aws_iam_policy.policy_id"),
        steps.again(steps.remove_policy, steps.make_policy, description="another"),
        lasting=True,
    ),
    Mutation(
        "a policy is made again elsewhere",
        ("aws_iam_policy.path", "aws_iam_policy.arn", "aws_iam_policy.id"),
        steps.again(steps.remove_policy, steps.make_policy, path="/elsewhere/"),
        lasting=True,
    ),
    Mutation("a policy is removed", ("aws_iam_policy.name",), (steps.remove_policy, steps.make_policy), lasting=True),
    Mutation(
        "the group is made again",
        ("aws_iam_group.unique_id",),
        steps.again(steps.remove_group, steps.make_group),
        lasting=True,
    ),
    Mutation(
        "the group is made again elsewhere",
        ("aws_iam_group.path", "aws_iam_group.arn"),
        steps.again(steps.remove_group, steps.make_group, path="/elsewhere/"),
        lasting=True,
    ),
    Mutation(
        "the group is removed",
        (
            "aws_iam_group.name",
            "aws_iam_group.id",
            "aws_iam_group_policy_attachment.group",
            "aws_iam_group_policy_attachments_exclusive.group_name",
            "aws_iam_group_policies_exclusive.group_name",
        ),
        (steps.remove_group, steps.make_group),
        lasting=True,
    ),
    Mutation(
        "the user is made again",
        ("aws_iam_user.unique_id",),
        steps.again(steps.remove_user, steps.make_user),
        lasting=True,
    ),
    Mutation(
        "the user is made again elsewhere",
        ("aws_iam_user.path", "aws_iam_user.arn"),
        steps.again(steps.remove_user, steps.make_user, path="/elsewhere/"),
        lasting=True,
    ),
    Mutation(
        "the user is removed",
        (
            "aws_iam_user.name",
            "aws_iam_user.id",
            "aws_iam_user_group_membership.user",
            "aws_iam_user_policies_exclusive.user_name",
            "aws_iam_user_policy_attachments_exclusive.user_name",
        ),
        (steps.remove_user, steps.make_user),
        lasting=True,
    ),
)
