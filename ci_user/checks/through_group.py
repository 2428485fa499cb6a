"""CIUSER_5: policies reach the user through its group only."""

from __future__ import annotations

from typing import Final

from ci_user.checks.protocol import CheckContext
from ci_user.plan_model import Plan, Resource
from ci_user.revocation import POLICY_NAME

_REFUSED: Final = {
    "aws_iam_user_policy": "it is an inline policy on a user",
    "aws_iam_user_policy_attachment": "it attaches a policy to a user",
    "aws_iam_policy_attachment": "it attaches a policy to users, groups and roles, and detaches it from all others",
    "aws_iam_group_policy": "it is an inline policy on a group",
}
_MUST_BE_EMPTY: Final = {
    "aws_iam_user_policies_exclusive": "policy_names",
    "aws_iam_user_policy_attachments_exclusive": "policy_arns",
    "aws_iam_group_policies_exclusive": "policy_names",
}


class ThroughGroupOnly:
    """The CIS benchmark, Security Hub and CKV_AWS_40 ask for it."""

    id = "CIUSER_5"
    name = "Policies reach the user through its own group only"
    resource_types = (
        frozenset(_REFUSED)
        | frozenset(_MUST_BE_EMPTY)
        | {
            "aws_iam_user_group_membership",
            "aws_iam_group_membership",
        }
    )
    never_acceptable = False
    fix = "attach managed policies to the user's own group, and nothing to the user"

    def evaluate(self, resource: Resource, plan: Plan, context: CheckContext) -> str | None:  # noqa: ARG002
        """Refuse what goes around the group; the exclusive lists must be known and empty, but for a revocation's deny."""
        if resource.mode == "data":
            return None
        if resource.type in _REFUSED:
            return _REFUSED[resource.type]
        if resource.type in _MUST_BE_EMPTY:
            attribute = _MUST_BE_EMPTY[resource.type]
            names = resource.values.get(attribute)
            if resource.type == "aws_iam_user_policies_exclusive" and names == [POLICY_NAME]:
                return None  # the deny of a revocation, which Terraform leaves alone
            return None if names == [] else f"{attribute} is not empty"
        if resource.type == "aws_iam_user_group_membership":
            alone = resource.values.get("groups") == [context.group_name]
            return None if alone else f"the groups are not just {context.group_name}"
        alone = resource.values.get("users") == [context.user_name]
        own = resource.values.get("group") == context.group_name
        return None if alone and own else f"it is not just {context.user_name} in {context.group_name}"
