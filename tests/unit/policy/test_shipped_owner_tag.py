"""What only knows random ids is limited by the owner tag, which nobody takes, gives away or removes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ci_user.policy.statement import parse
from tests.shipped_policies import (
    ACCOUNT,
    API,
    API_TAGS,
    ASKED,
    DISTRIBUTION,
    OTHER,
    OWNER,
    POOL,
    PREFIX,
    REGION,
    allowed,
    decided,
    shipped,
)

EXISTING = [
    ("cloudfront:UpdateDistribution", DISTRIBUTION, {}),
    ("cloudfront:DeleteDistribution", DISTRIBUTION, {}),
    ("cloudfront:CreateInvalidation", DISTRIBUTION, {}),
    ("cloudfront:TagResource", DISTRIBUTION, {"aws:TagKeys": "team", "aws:RequestTag/team": "x"}),
    ("cloudfront:TagResource", DISTRIBUTION, {"aws:TagKeys": "ci-owner", ASKED: PREFIX}),
    ("cloudfront:UntagResource", DISTRIBUTION, {"aws:TagKeys": "team"}),
    ("cognito-idp:UpdateUserPool", POOL, {}),
    ("cognito-idp:DeleteUserPool", POOL, {}),
    ("cognito-idp:CreateUserPoolClient", POOL, {}),
    ("cognito-idp:TagResource", POOL, {"aws:TagKeys": "ci-owner", ASKED: PREFIX}),
    ("cognito-idp:UntagResource", POOL, {"aws:TagKeys": "team"}),
    ("apigateway:PATCH", API, {}),
    ("apigateway:DELETE", API, {}),
    ("apigateway:PUT", API_TAGS, {"aws:TagKeys": "ci-owner", ASKED: PREFIX}),
    ("apigateway:DELETE", API_TAGS, {"aws:TagKeys": "team"}),
]


@pytest.mark.parametrize(("action", "resource", "keys"), EXISTING)
def test_what_exists_is_touched_by_its_owner_only(action: str, resource: str, keys: dict[str, str]) -> None:
    assert allowed("serverless", action, resource, {**keys, OWNER: PREFIX}) is True
    assert allowed("serverless", action, resource, {**keys, OWNER: OTHER}) is False
    assert allowed("serverless", action, resource, keys) is False, "nobody's"


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("cloudfront:CreateDistribution", f"arn:aws:cloudfront::{ACCOUNT}:distribution/*"),
        ("cloudfront:CreateDistribution", "*"),
        ("cloudfront:TagResource", f"arn:aws:cloudfront::{ACCOUNT}:distribution/*"),
        ("cognito-idp:CreateUserPool", "*"),
        ("cognito-idp:TagResource", f"arn:aws:cognito-idp:{REGION}:{ACCOUNT}:userpool/*"),
        ("apigateway:POST", f"arn:aws:apigateway:{REGION}::/apis"),
        ("apigateway:TagResource", f"arn:aws:apigateway:{REGION}::/apis"),
        ("apigateway:POST", f"arn:aws:apigateway:{REGION}::/domainnames"),
    ],
)
def test_something_new_carries_the_owner_tag(action: str, resource: str) -> None:
    right: dict[str, Any] = {"aws:TagKeys": ("ci-owner", "team"), ASKED: PREFIX}
    assert allowed("serverless", action, resource, right) is True
    assert allowed("serverless", action, resource, {**right, ASKED: OTHER}) is False
    assert allowed("serverless", action, resource) is False
    assert allowed("serverless", action, resource, {"aws:TagKeys": "CI-Owner", ASKED: OTHER}) is False


def test_tags_of_an_api_that_is_being_made_are_set() -> None:
    for kind in ("v2%2Fapis%2F*", "domainnames%2F*", "apis%2Fa1b2c3d4e5%2Fstages%2F%24default"):
        resource = f"arn:aws:apigateway:{REGION}::/tags/arn%3Aaws%3Aapigateway%3A{REGION}%3A%3A%2F{kind}"
        assert allowed("serverless", "apigateway:POST", resource, {ASKED: PREFIX}) is True


WIDE = tuple(
    parse(
        json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": {"Effect": "Allow", "Action": ["cloudfront:*", "cognito-idp:*"], "Resource": "*"},
            }
        ),
        "a team's own",
    )
)


@pytest.mark.parametrize(
    ("action", "resource", "keys"),
    [
        ("cloudfront:TagResource", DISTRIBUTION, {"aws:TagKeys": "ci-owner", ASKED: PREFIX, OWNER: OTHER}),
        ("cloudfront:TagResource", DISTRIBUTION, {"aws:TagKeys": "ci-owner", ASKED: PREFIX}),
        ("cloudfront:UntagResource", DISTRIBUTION, {"aws:TagKeys": "ci-owner", OWNER: PREFIX}),
        ("cloudfront:TagResource", DISTRIBUTION, {"aws:TagKeys": "ci-owner", ASKED: OTHER, OWNER: PREFIX}),
        ("cognito-idp:TagResource", POOL, {"aws:TagKeys": "ci-owner", ASKED: PREFIX}),
        ("cognito-idp:UntagResource", POOL, {"aws:TagKeys": "ci-owner", OWNER: PREFIX}),
        ("cognito-idp:UpdateUserPool", POOL, {"aws:TagKeys": "team", "aws:RequestTag/team": "x", OWNER: PREFIX}),
        ("cognito-idp:UpdateUserPool", POOL, {"aws:TagKeys": "ci-owner", ASKED: OTHER, OWNER: PREFIX}),
    ],
)
def test_no_other_policy_lets_the_owner_tag_be_taken_or_given_away(
    action: str, resource: str, keys: dict[str, str]
) -> None:
    assert decided((*WIDE, *shipped("serverless")), action, resource, keys) is False
    assert decided((*WIDE, *shipped("static-site"), *shipped("user-pool")), action, resource, keys) is False
    assert decided(WIDE, action, resource, keys) is True


def test_the_parts_of_an_api_are_left_alone_when_they_carry_another_owner() -> None:
    for action in ("apigateway:POST", "apigateway:PATCH", "apigateway:DELETE", "apigateway:TagResource"):
        assert allowed("serverless", action, f"{API}/routes/x") is True
        assert allowed("serverless", action, f"{API}/routes/x", {OWNER: PREFIX}) is True
        assert allowed("serverless", action, f"{API}/routes/x", {OWNER: OTHER}) is False
