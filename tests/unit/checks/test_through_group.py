"""CIUSER_5: policies reach the user through its own group only."""

from __future__ import annotations

from typing import Any

import pytest

from ci_user.checks.through_group import ThroughGroupOnly
from tests.unit.plans import CONTEXT, plan_of, resource

CHECK = ThroughGroupOnly()
OWN = "scan-fixture.ci"


def judged(kind: str, **values: Any) -> str | None:
    one = resource(kind, **values)
    assert kind in CHECK.resource_types
    return CHECK.evaluate(one, plan_of(one), CONTEXT)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("aws_iam_user_policy", {"user": OWN, "policy": "{}"}),
        ("aws_iam_group_policy", {"group": OWN, "policy": "{}"}),
        ("aws_iam_user_policy_attachment", {"user": OWN, "policy_arn": "arn:aws:iam::aws:policy/x"}),
        ("aws_iam_policy_attachment", {"users": [OWN], "policy_arn": "arn:aws:iam::aws:policy/x"}),
        ("aws_iam_policy_attachment", {"groups": [OWN], "policy_arn": "arn:aws:iam::aws:policy/x"}),
        ("aws_iam_user_policies_exclusive", {"user_name": OWN, "policy_names": ["x"]}),
        ("aws_iam_user_policies_exclusive", {"user_name": OWN, "policy_names": ["ci-user-revocation", "x"]}),
        ("aws_iam_user_policies_exclusive", {"user_name": OWN, "policy_names": ["ci-user-revocation "]}),
        ("aws_iam_group_policies_exclusive", {"policy_names": ["ci-user-revocation"]}),
        ("aws_iam_user_policy_attachments_exclusive", {"user_name": OWN, "policy_arns": ["ci-user-revocation"]}),
        ("aws_iam_user_policies_exclusive", {"user_name": OWN}),
        ("aws_iam_user_policy_attachments_exclusive", {"policy_arns": [None]}),
        ("aws_iam_user_policy_attachments_exclusive", {"policy_arns": "(sensitive)"}),
        ("aws_iam_group_policies_exclusive", {"policy_names": ["x"]}),
        ("aws_iam_user_group_membership", {"user": OWN, "groups": [OWN, "admins"]}),
        ("aws_iam_user_group_membership", {"user": OWN, "groups": ["admins"]}),
        ("aws_iam_user_group_membership", {"user": OWN, "groups": [None]}),
        ("aws_iam_user_group_membership", {"user": OWN}),
        ("aws_iam_group_membership", {"group": OWN, "users": [OWN, "somebody"]}),
        ("aws_iam_group_membership", {"group": "admins", "users": [OWN]}),
    ],
)
def test_a_way_around_the_group_fails(kind: str, values: dict[str, Any]) -> None:
    assert judged(kind, **values) is not None


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("aws_iam_user_policies_exclusive", {"policy_names": []}),
        ("aws_iam_user_policies_exclusive", {"policy_names": ["ci-user-revocation"]}),
        ("aws_iam_user_policy_attachments_exclusive", {"policy_arns": []}),
        ("aws_iam_group_policies_exclusive", {"policy_names": []}),
        ("aws_iam_user_group_membership", {"groups": [OWN]}),
        ("aws_iam_group_membership", {"group": OWN, "users": [OWN]}),
    ],
)
def test_the_way_through_the_group_passes(kind: str, values: dict[str, Any]) -> None:
    assert judged(kind, **values) is None
