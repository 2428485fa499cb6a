"""Which policies a plan attaches, and by which attribute of which resource type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ci_user.checks.protocol import CheckContext
from ci_user.plan_model import Plan, Resource

ARN_ATTRIBUTES: Final[Mapping[str, str]] = {
    "aws_iam_group_policy_attachment": "policy_arn",
    "aws_iam_group_policy_attachments_exclusive": "policy_arns",
    "aws_iam_policy_attachment": "policy_arn",
    "aws_iam_role": "managed_policy_arns",
    "aws_iam_role_policy_attachment": "policy_arn",
    "aws_iam_role_policy_attachments_exclusive": "policy_arns",
    "aws_iam_user_policy_attachment": "policy_arn",
    "aws_iam_user_policy_attachments_exclusive": "policy_arns",
}
"""Every resource type of the provider that attaches managed policies, and the attribute with their ARNs."""

DOCUMENT_TYPES: Final = frozenset(
    {"aws_iam_policy", "aws_iam_group_policy", "aws_iam_role_policy", "aws_iam_user_policy"}
)
"""Every resource type that holds an identity policy in its attribute ``policy``."""


def attached_arns(resource: Resource) -> tuple[str, ...] | None:
    """Return the ARNs that a resource attaches; None when they, or one of them, are not known or no strings."""
    attribute = ARN_ATTRIBUTES[resource.type]
    value = resource.values.get(attribute)
    if attribute == "policy_arn":
        value = [value]
    if not isinstance(value, list) or not all(_is_arn(item) for item in value):
        return None
    return tuple(value)


def policy_arn(policy: Resource, context: CheckContext) -> str | None:
    """Return the ARN that a managed policy of the plan has or will have; None when its name is not known."""
    name, path = policy.values.get("name"), policy.values.get("path") or "/"
    if not isinstance(name, str) or not name or not isinstance(path, str):
        return None
    return f"arn:{context.partition}:iam::{context.account_id}:policy{path}{name}"


def is_boundary(policy: Resource, context: CheckContext) -> bool:
    """Tell whether a managed policy is one of the two boundaries, by its name."""
    return policy.type == "aws_iam_policy" and policy.values.get("name") in (
        context.boundary_name,
        context.role_boundary_name,
    )


def is_attached(policy: Resource, plan: Plan, context: CheckContext) -> bool:
    """Tell whether any resource of the plan attaches a managed policy, so that it grants something."""
    arn = policy_arn(policy, context)
    return any(arn in (attached_arns(resource) or ()) for resource in plan.managed if resource.type in ARN_ATTRIBUTES)


def _is_arn(value: object) -> bool:
    return isinstance(value, str) and value.startswith("arn:")
