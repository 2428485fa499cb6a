"""CIUSER_7: what is attached was judged, because this plan makes it."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from ci_user.checks.own_policies import OwnPoliciesOnly
from tests.unit.plans import CONTEXT, allow, plan_of, policy, resource

CHECK = OwnPoliciesOnly()
START = "arn:aws:iam::000000000000:policy/"
OWN = resource("aws_iam_policy", "own", name="scan-fixture.policy-x", path="/", policy=policy(allow("s3:*")))
BOUNDARY = resource("aws_iam_policy", "boundary", name="scan-fixture.boundary", path="/", policy=policy(allow("s3:*")))
READ = resource("aws_iam_policy", "read", "data", name="scan-fixture.policy-y", path="/", policy=policy(allow("s3:*")))


def judged(*arns: str) -> str | None:
    one = resource("aws_iam_group_policy_attachments_exclusive", policy_arns=list(arns))
    return CHECK.evaluate(one, plan_of(one, OWN, BOUNDARY, READ), CONTEXT)


def test_a_policy_of_the_plan_passes() -> None:
    assert judged(f"{START}scan-fixture.policy-x") is None
    assert judged() is None


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:iam::aws:policy/ReadOnlyAccess",
        "arn:aws:iam::111111111111:policy/scan-fixture.policy-x",
        f"{START}elsewhere/scan-fixture.policy-x",
        f"{START}scan-fixture.policy-y",
        f"{START}scan-fixture.boundary",
    ],
)
def test_a_policy_from_elsewhere_fails(arn: str) -> None:
    assert arn in str(judged(f"{START}scan-fixture.policy-x", arn))


def test_exactly_what_the_environment_lists_may_come_from_elsewhere() -> None:
    listed = ("arn:aws:iam::aws:policy/ReadOnlyAccess", f"{START}team/extra")
    context = dataclasses.replace(CONTEXT, attached_arns=listed)

    def judge(*arns: str) -> str | None:
        one = resource("aws_iam_group_policy_attachments_exclusive", policy_arns=list(arns))
        return CHECK.evaluate(one, plan_of(one, OWN), context)

    assert judge(*listed, f"{START}scan-fixture.policy-x") is None
    for arn in ("arn:aws:iam::aws:policy/ViewOnlyAccess", f"{START}extra", f"{START}team/extra2"):
        assert judge(*listed, arn) == f"it attaches {arn}"


@pytest.mark.parametrize(
    "kind", ["aws_iam_user_policy_attachment", "aws_iam_group_policy_attachment", "aws_iam_policy_attachment"]
)
def test_every_kind_of_attachment_is_looked_at(kind: str) -> None:
    one: Any = resource(kind, policy_arn="arn:aws:iam::aws:policy/ReadOnlyAccess")

    assert kind in CHECK.resource_types
    assert CHECK.evaluate(one, plan_of(one, OWN), CONTEXT) is not None
