"""IAM's decision: united policies, intersected with the boundary, an explicit deny above all."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ci_user.policy.conditions import Context
from ci_user.policy.evaluate import Decision, Request, evaluate
from ci_user.policy.statement import Statement, parse

BUCKET = "arn:aws:s3:::shop"


def policy(*statements: dict[str, Any]) -> tuple[Statement, ...]:
    return parse(json.dumps({"Version": "2012-10-17", "Statement": list(statements)}), "p")


def one(effect: str = "Allow", **elements: Any) -> dict[str, Any]:
    action = {} if "NotAction" in elements else {"Action": "s3:GetObject"}
    resource = {} if "NotResource" in elements else {"Resource": "*"}
    return {"Effect": effect, **action, **resource, **elements}


def decide(
    identity: tuple[Statement, ...],
    boundary: tuple[Statement, ...] | None = None,
    action: str = "s3:GetObject",
    **keys: Any,
) -> Decision:
    values = {name.replace("_", ":"): value for name, value in keys.items()}
    return evaluate(identity, boundary, Request(action, f"{BUCKET}/key", Context(values)))


@pytest.mark.parametrize(
    ("statement", "answer"),
    [
        (one(), True),
        (one(Action="S3:getobject"), True),
        (one(Action="s3:Get*"), True),
        (one(Action="s3:PutObject"), False),
        (one(Resource=f"{BUCKET}/*"), True),
        (one(Resource=f"{BUCKET}/KEY"), False),
        (one(NotAction="s3:Put*"), True),
        (one(NotAction="s3:*"), False),
        (one(NotResource=f"{BUCKET}/*"), False),
        (one(NotResource="arn:aws:s3:::other/*"), True),
        (one(Resource="arn:aws:s3:::${aws:username}/*"), False),
        (one(Condition={"StringEquals": {"aws:x": "y"}}), False),
        (one(Condition={"StringEqualsIfExists": {"aws:x": "y"}, "Null": {"aws:x": "true"}}), True),
    ],
)
def test_one_allow(statement: dict[str, Any], answer: bool) -> None:
    assert decide(policy(statement)).allowed is answer


def test_nothing_is_allowed_by_default() -> None:
    assert decide(()).allowed is False
    assert decide(policy(one()), ()).allowed is False


def test_policies_are_united_and_the_boundary_is_intersected() -> None:
    split = policy(one(Action="s3:PutObject")) + policy(one(Action="s3:GetObject"))
    assert decide(split).allowed is True
    assert decide(split, policy(one(Action="s3:Get*"))).allowed is True
    assert decide(split, policy(one(Action="s3:Get*")), "s3:PutObject").allowed is False
    assert decide(policy(one(Action="s3:Put*")), policy(one(Action="s3:*"))).allowed is False


@pytest.mark.parametrize("in_boundary", [False, True])
def test_a_deny_anywhere_wins(in_boundary: bool) -> None:
    denying = policy(one("Deny", Resource=f"{BUCKET}/k*"))
    everything = policy(one(Action="*"))
    decision = decide(everything, everything + denying) if in_boundary else decide(everything + denying, everything)
    assert decision.allowed is False
    assert [statement.allows for statement in decision.denying] == [False]


def test_what_is_not_known_of_a_request_leaves_the_decision_open() -> None:
    conditional = policy(one(Condition={"StringEquals": {"aws:sourcevpc": "vpc-1"}}))
    assert decide(conditional, aws_sourcevpc=None).allowed is None
    assert decide(conditional + policy(one()), aws_sourcevpc=None).allowed is True
    assert decide(conditional, aws_sourcevpc=("vpc-2",)).allowed is False
    denied = policy(one(), one("Deny", Condition={"StringNotEquals": {"aws:sourcevpc": "vpc-1"}}))
    assert decide(denied, aws_sourcevpc=None).allowed is None
    assert decide(denied).allowed is False


def test_an_action_without_resource_needs_a_star() -> None:
    request = Request("s3:ListAllMyBuckets", "*")
    assert evaluate(policy(one(Action="s3:*")), None, request).allowed is True
    assert evaluate(policy(one(Action="s3:*", Resource="arn:aws:s3:::*")), None, request).allowed is False
