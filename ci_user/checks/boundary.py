"""CIUSER_4: the permissions boundary is there, by ARN and by content."""

from __future__ import annotations

from ci_user.checks.attachments import policy_arn
from ci_user.checks.documents import UnreadableDocumentError, same
from ci_user.checks.protocol import CheckContext
from ci_user.plan_model import Plan, Resource


class BoundaryPresent:
    """Whatever policies are chosen, the boundary keeps the user from becoming more than it is."""

    id = "CIUSER_4"
    name = "The user has the fixed permissions boundary, unchanged"
    resource_types = frozenset({"aws_iam_user", "aws_iam_policy"})
    never_acceptable = True
    fix = "leave the boundary to the tool: it renders the document and the modules attach it"

    def evaluate(self, resource: Resource, plan: Plan, context: CheckContext) -> str | None:
        """Judge every user's boundary, and the content of both boundaries."""
        if resource.mode == "data":
            return None
        if resource.type == "aws_iam_user":
            return _of_user(resource, plan, context)
        name = resource.values.get("name")
        if name == context.boundary_name:
            return _content(resource, context.boundary_document)
        if name == context.role_boundary_name:
            return _content(resource, context.role_boundary_document)
        return None


def _of_user(user: Resource, plan: Plan, context: CheckContext) -> str | None:
    found = user.values.get("permissions_boundary")
    if not isinstance(found, str) or not found:
        return "the user has no permissions boundary, or one that is not known until apply"
    if found != context.boundary_arn:
        return f"the user's boundary is {found}, not {context.boundary_arn}"
    holders = [
        policy for policy in plan.managed if policy.type == "aws_iam_policy" and policy_arn(policy, context) == found
    ]
    if len(holders) != 1:
        return f"{len(holders)} policies of the plan make {found}, where one must"
    return _content(holders[0], context.boundary_document)


def _content(policy: Resource, expected: str) -> str | None:
    document = policy.values.get("policy")
    if not isinstance(document, str):
        return f"the content of {policy.address} is not known until apply"
    try:
        equal = same(document, expected)
    except UnreadableDocumentError as error:
        return f"the content of {policy.address} cannot be compared: {error}"
    return None if equal else f"the content of {policy.address} is not the boundary's"
