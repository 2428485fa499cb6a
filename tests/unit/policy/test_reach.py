"""Reach: what of somebody else's a holder may touch, and what it only sees."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ci_user.policy.holder import Holder
from ci_user.policy.reach import Belonging, Touch, reach, summary
from ci_user.policy.statement import Statement, parse

STATE = Belonging("Terraform's state", ("arn:aws:s3:::shop-state", "arn:aws:s3:::shop-state/*"))
KEYS = Belonging("the CI keys", ("arn:aws:secretsmanager:eu-west-1:123456789012:secret:ci-user/shop/prod-??????",))
PRODUCTION = Belonging("production", prefix="shop-prod")


def policy(*entries: dict[str, Any]) -> tuple[Statement, ...]:
    return parse(json.dumps({"Version": "2012-10-17", "Statement": list(entries)}), "p")


def allow(action: str | list[str], resource: str | list[str] = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def touched(*entries: dict[str, Any], of: Belonging) -> dict[str, Touch]:
    holder = Holder(policy(*entries), arn="arn:aws:iam::123456789012:user/shop-test.ci")
    return {touch.action: touch for touch in reach(holder, [of])}


def test_the_state_is_reached_by_its_bucket_and_by_its_objects() -> None:
    found = touched(allow(["s3:GetObject", "s3:ListBucket", "s3:ListAllMyBuckets"]), of=STATE)
    assert found["s3:GetObject"].resource.startswith("arn:aws:s3:::shop-state/")
    assert found["s3:GetObject"].harmful
    assert found["s3:ListBucket"].resource == "arn:aws:s3:::shop-state"
    assert not found["s3:ListBucket"].harmful
    assert "s3:ListAllMyBuckets" not in found


@pytest.mark.parametrize(
    "entries",
    [
        (allow("s3:*", "arn:aws:s3:::shop-test-*"),),
        (allow("s3:*"), allow("s3:*", "arn:aws:s3:::shop-state*", Effect="Deny")),
        (allow("s3:*", Condition={"StringEquals": {"aws:ResourceAccount": "999999999999"}}),),
        (allow("dynamodb:*"),),
    ],
)
def test_what_is_scoped_or_denied_does_not_reach_it(entries: tuple[dict[str, Any], ...]) -> None:
    assert not touched(*entries, allow("logs:CreateLogGroup", "arn:aws:logs:*:123456789012:*"), of=STATE)


def test_a_key_is_reached_by_its_secret() -> None:
    found = touched(allow("secretsmanager:Get*"), of=KEYS)
    assert found["secretsmanager:GetSecretValue"].harmful
    assert found["secretsmanager:GetSecretValue"].statements == ("p, statement 1",)
    assert not touched(allow("secretsmanager:*", "arn:aws:secretsmanager:*:*:secret:shop-test-*"), of=KEYS)


@pytest.mark.parametrize(
    ("entry", "reached"),
    [
        (allow("lambda:UpdateFunctionCode", "arn:aws:lambda:*:123456789012:function:shop-*"), True),
        (allow("lambda:UpdateFunctionCode", "arn:aws:lambda:*:123456789012:function:shop-test-*"), False),
        (allow("logs:DeleteLogGroup", "arn:aws:logs:eu-west-1:123456789012:log-group:/aws/lambda/shop-test-*"), False),
        (allow("s3:GetObject", "arn:aws:s3:::shop-p*/*"), True),
        (allow("s3:GetObject", "arn:aws:s3:::shop-test-*/*"), False),
        ({"Effect": "Allow", "NotAction": "s3:*", "Resource": "arn:aws:dynamodb:*:123456789012:table/*"}, True),
    ],
)
def test_another_environment_is_reached_by_the_names_of_its_things(entry: dict[str, Any], reached: bool) -> None:
    assert bool(touched(entry, of=PRODUCTION)) is reached


def test_what_hangs_on_a_tag_says_so() -> None:
    tagged = allow("cloudfront:DeleteDistribution", Condition={"StringEquals": {"aws:ResourceTag/owner": "shop-test"}})
    found = touched(tagged, of=PRODUCTION)["cloudfront:DeleteDistribution"]
    assert found.depends == ("aws:resourcetag/owner",)


def test_the_boundary_counts() -> None:
    everything = allow("*")
    limited = Holder(policy(everything), policy(allow("s3:*", "arn:aws:s3:::shop-test-*")))
    assert not reach(limited, [STATE, PRODUCTION])


def test_the_summary_joins_what_belongs_together() -> None:
    found = reach(Holder(policy(allow(["s3:Get*", "s3:Put*", "s3:List*"]))), [STATE])
    lines = summary(found)
    assert len(found) > 10
    assert len(lines) == 2
    assert any(line.startswith("touches Terraform's state: s3:{") and "more" in line for line in lines)
    assert any(line.startswith("sees Terraform's state") for line in lines)
    assert all("by p, statement 1" in line for line in lines)
