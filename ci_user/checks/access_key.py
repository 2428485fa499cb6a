"""CIUSER_2: no access key and no secret in the plan, because it would stand in the state in clear text."""

from __future__ import annotations

from typing import Final

from ci_user.checks.protocol import CheckContext
from ci_user.plan_model import Plan, Resource

_ALWAYS: Final = frozenset(
    {
        "aws_iam_access_key",
        "aws_iam_service_specific_credential",
        "aws_secretsmanager_secret_version",
        "aws_secretsmanager_secret_versions",
        "aws_secretsmanager_random_password",
    }
)


class NoSecretInThePlan:
    """Keys are made by the tool itself, and never pass through Terraform."""

    id = "CIUSER_2"
    name = "No access key and no secret is in the plan"
    resource_types = _ALWAYS | {"aws_ssm_parameter", "aws_ssm_parameters_by_path"}
    never_acceptable = True
    fix = "take it out of the modules: the access key is made and delivered outside Terraform"

    def evaluate(self, resource: Resource, plan: Plan, context: CheckContext) -> str | None:  # noqa: ARG002
        """Refuse what makes or reads a secret; a parameter of SSM only when it is not plainly an open text."""
        if resource.type in _ALWAYS:
            verb = "is read" if resource.mode == "data" else "is managed"
            return f"a secret {verb} by Terraform, which keeps it in the state in clear text"
        if resource.type == "aws_ssm_parameters_by_path":
            return "it reads parameters by path, secrets among them"
        kind = resource.values.get("type")
        if kind in ("String", "StringList"):
            return None
        return "it is a SecureString, or may be one, whose value Terraform keeps in the state in clear text"
