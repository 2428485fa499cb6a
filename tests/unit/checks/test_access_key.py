"""CIUSER_2: nothing that makes or reads a secret passes through Terraform."""

from __future__ import annotations

import pytest

from ci_user.checks.access_key import NoSecretInThePlan
from tests.unit.plans import CONTEXT, plan_of, resource

CHECK = NoSecretInThePlan()


@pytest.mark.parametrize("mode", ["managed", "data"])
@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("aws_iam_access_key", {"user": "u"}),
        ("aws_iam_service_specific_credential", {}),
        ("aws_secretsmanager_secret_version", {"secret_string": "(sensitive)"}),
        ("aws_secretsmanager_secret_versions", {}),
        ("aws_secretsmanager_random_password", {}),
        ("aws_ssm_parameter", {"type": "SecureString"}),
        ("aws_ssm_parameter", {"type": "securestring"}),
        ("aws_ssm_parameter", {"type": None}),
        ("aws_ssm_parameter", {}),
        ("aws_ssm_parameters_by_path", {}),
    ],
)
def test_a_secret_fails(kind: str, values: dict[str, object], mode: str) -> None:
    one = resource(kind, "this", mode, **values)

    assert kind in CHECK.resource_types
    assert CHECK.evaluate(one, plan_of(one), CONTEXT) is not None


@pytest.mark.parametrize("kind", ["String", "StringList"])
def test_an_open_parameter_passes(kind: str) -> None:
    one = resource("aws_ssm_parameter", type=kind, value="v")

    assert CHECK.evaluate(one, plan_of(one), CONTEXT) is None
