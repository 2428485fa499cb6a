"""CIUSER_10 and CIUSER_11: neither states and keys nor another environment are within reach."""

from __future__ import annotations

import dataclasses
from typing import Any

from ci_user.checks.reach import NothingGuarded, OnlyOwnEnvironment
from ci_user.scan import NEVER_ACCEPTABLE
from tests.unit.plans import CONTEXT, allow, plan_of, policy, resource

USER = resource("aws_iam_user", name="scan-fixture.ci")
FUNCTION = "arn:aws:lambda:*:000000000000:function:"
OPEN = dataclasses.replace(
    CONTEXT,
    boundary_document=policy(allow("*")),
    guarded=(
        ("Terraform's state", ("arn:aws:s3:::states", "arn:aws:s3:::states/*")),
        ("the CI keys", ("arn:aws:secretsmanager:eu-west-1:000000000000:secret:ci-user/x-??????",)),
        ("nothing", ()),
    ),
    neighbours=(("production", "shop-production"),),
)


def judged(*statements: dict[str, Any], context: Any = OPEN) -> tuple[str | None, str | None]:
    own = resource("aws_iam_policy", "own", name="scan-fixture.policy-x", path="/", policy=policy(*statements))
    plan = plan_of(USER, own)
    return NothingGuarded().evaluate(USER, plan, context), OnlyOwnEnvironment().evaluate(USER, plan, context)


def test_what_stays_in_its_prefix_passes() -> None:
    assert judged(
        allow("s3:*", "arn:aws:s3:::scan-fixture-*"), allow("lambda:*Function", f"{FUNCTION}scan-fixture-*")
    ) == (
        None,
        None,
    )


def test_the_state_and_the_keys_are_out_of_bounds_certainly_and_perhaps() -> None:
    guarded, other = judged(allow("s3:GetObject"), allow("secretsmanager:GetSecretValue", "*"))
    assert "touches Terraform's state: s3:{GetObject}" in str(guarded)
    assert "touches the CI keys: secretsmanager:{GetSecretValue}" in str(guarded)
    assert "the environment production" in str(other)
    from_there = allow("s3:GetObject", Condition={"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}})
    assert "depending on aws:sourceip" in str(judged(from_there)[0])
    assert judged(from_there)[1] is None


def test_another_environment_is_out_of_bounds() -> None:
    guarded, other = judged(allow(["lambda:InvokeFunction", "lambda:GetFunctionConfiguration"], f"{FUNCTION}shop-*"))
    assert guarded is None
    assert "lambda:{InvokeFunction}" in str(other)
    assert judged(allow("lambda:GetFunctionConfiguration", f"{FUNCTION}shop-*")) == (None, None)


def test_the_tools_own_boundary_keeps_states_and_keys_out_of_reach() -> None:
    context = dataclasses.replace(
        OPEN,
        boundary_document=CONTEXT.boundary_document,
        guarded=(("the CI keys", ("arn:aws:secretsmanager:eu-west-1:000000000000:secret:ci-user/x-??????",)),),
    )
    assert judged(allow(["secretsmanager:*", "s3:*", "ssm:*"]), context=context)[0] is None


def test_who_becomes_more_is_told_once() -> None:
    assert judged(allow("*")) == (None, None)


def test_nobody_may_accept_that_the_state_is_reached() -> None:
    assert NothingGuarded.id in NEVER_ACCEPTABLE
    assert OnlyOwnEnvironment.id not in NEVER_ACCEPTABLE
