"""CIUSER_7: only policies of this plan are attached, and existing ones that the environment lists."""

from __future__ import annotations

from ci_user.checks.attachments import ARN_ATTRIBUTES, attached_arns, is_boundary, policy_arn
from ci_user.checks.protocol import CheckContext
from ci_user.plan_model import Plan, Resource


class OwnPoliciesOnly:
    """A policy from elsewhere can be changed by others, and its document is not in the plan."""

    id = "CIUSER_7"
    name = "Only policies of this plan, or listed by the environment, are attached"
    resource_types = frozenset(ARN_ATTRIBUTES)
    never_acceptable = False
    fix = "bring the document as a policy of the environment, or list the ARN under its policies"

    def evaluate(self, resource: Resource, plan: Plan, context: CheckContext) -> str | None:
        """Refuse each known ARN that neither a policy of the plan has nor the environment lists; a boundary is no policy."""
        if resource.mode == "data":
            return None
        own = {
            policy_arn(policy, context)
            for policy in plan.managed
            if policy.type == "aws_iam_policy" and not is_boundary(policy, context)
        }
        foreign = [arn for arn in attached_arns(resource) or () if arn not in own and arn not in context.attached_arns]
        return f"it attaches {', '.join(foreign)}" if foreign else None
