"""CIUSER_6: a document or attachment that is unknown until apply fails."""

from __future__ import annotations

from typing import Any

import pytest

from ci_user.checks.known import KnownAtPlanTime
from tests.unit.plans import CONTEXT, allow, plan_of, policy, resource

CHECK = KnownAtPlanTime()
ARN = "arn:aws:iam::000000000000:policy/scan-fixture.policy-x"


def judged(kind: str, unknown: dict[str, Any] | None = None, **values: Any) -> str | None:
    one = resource(kind, **values)
    assert kind in CHECK.resource_types
    return CHECK.evaluate(one, plan_of(one, unknown={one.address: unknown or {}}), CONTEXT)


@pytest.mark.parametrize(
    "kind", ["aws_iam_policy", "aws_iam_user_policy", "aws_iam_group_policy", "aws_iam_role_policy"]
)
def test_a_document_that_is_known_and_whole_passes(kind: str) -> None:
    assert judged(kind, policy=policy(allow("s3:*"))) is None


@pytest.mark.parametrize(
    "values", [{}, {"policy": None}, {"policy": "(sensitive)"}, {"policy": {}}, {"policy": "{}"}, {"policy": policy()}]
)
def test_a_document_that_is_unknown_hidden_or_empty_fails(values: dict[str, Any]) -> None:
    assert judged("aws_iam_policy", **values) is not None


def test_a_document_marked_unknown_fails_even_when_a_value_stands_there() -> None:
    assert judged("aws_iam_policy", {"policy": True}, policy=policy(allow("s3:*"))) is not None


@pytest.mark.parametrize("value", [None, "(sensitive)", [None], [ARN, None], "", [ARN, "policy"], {}])
def test_attachments_that_are_unknown_or_hidden_fail(value: object) -> None:
    assert judged("aws_iam_group_policy_attachments_exclusive", policy_arns=value) is not None
    assert judged("aws_iam_group_policy_attachment", policy_arn=value) is not None


def test_attachments_marked_unknown_in_part_fail() -> None:
    assert judged("aws_iam_group_policy_attachments_exclusive", {"policy_arns": [True]}, policy_arns=[ARN]) is not None


def test_known_attachments_pass() -> None:
    assert judged("aws_iam_group_policy_attachments_exclusive", {"policy_arns": [False]}, policy_arns=[ARN]) is None
    assert judged("aws_iam_user_policy_attachments_exclusive", policy_arns=[]) is None
    assert judged("aws_iam_group_policy_attachment", {"id": True}, policy_arn=ARN) is None


def test_a_role_that_leaves_its_attachments_to_others_passes() -> None:
    assert judged("aws_iam_role", {"managed_policy_arns": True}) is None


def test_a_data_source_grants_nothing() -> None:
    one = resource("aws_iam_policy", "read", "data")

    assert CHECK.evaluate(one, plan_of(one), CONTEXT) is None
