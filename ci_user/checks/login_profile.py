"""CIUSER_3: no console password."""

from __future__ import annotations

from ci_user.checks.protocol import CheckContext
from ci_user.plan_model import Plan, Resource


class NoLoginProfile:
    """A pipeline has no use for the console."""

    id = "CIUSER_3"
    name = "No login profile is in the plan"
    resource_types = frozenset({"aws_iam_user_login_profile"})
    never_acceptable = True
    fix = "take it out of the modules: a pipeline does not sign in to the console"

    def evaluate(self, resource: Resource, plan: Plan, context: CheckContext) -> str | None:  # noqa: ARG002
        """Refuse it, whoever it is for."""
        return "it gives a user a console password"
