"""CIUSER_4: the boundary is there by ARN and by content."""

from __future__ import annotations

import json

import pytest

from ci_user.checks.boundary import BoundaryPresent
from ci_user.checks.documents import UnreadableDocumentError, same
from ci_user.plan import Resource
from tests.unit.plans import CONTEXT, allow, plan_of, policy, resource

CHECK = BoundaryPresent()


def user(boundary: object = CONTEXT.boundary_arn) -> Resource:
    return resource("aws_iam_user", name="scan-fixture.ci", permissions_boundary=boundary)


def holder(
    document: object = CONTEXT.boundary_document, name: str = "scan-fixture.boundary", path: str = "/"
) -> Resource:
    return resource("aws_iam_policy", "boundary", name=name, path=path, policy=document)


def test_the_right_boundary_passes() -> None:
    assert CHECK.evaluate(user(), plan_of(user(), holder()), CONTEXT) is None
    assert CHECK.evaluate(holder(), plan_of(user(), holder()), CONTEXT) is None


@pytest.mark.parametrize(
    "boundary",
    [
        None,
        "",
        "(sensitive)",
        ["arn:aws:iam::000000000000:policy/scan-fixture.boundary"],
        "arn:aws:iam::000000000000:policy/scan-fixture.role-boundary",
        "arn:aws:iam::111111111111:policy/scan-fixture.boundary",
        "arn:aws-cn:iam::000000000000:policy/scan-fixture.boundary",
        "arn:aws:iam::000000000000:policy/SCAN-fixture.boundary",
        "arn:aws:iam::aws:policy/AdministratorAccess",
    ],
)
def test_no_boundary_or_another_one_fails(boundary: object) -> None:
    assert CHECK.evaluate(user(boundary), plan_of(user(boundary), holder()), CONTEXT) is not None


@pytest.mark.parametrize(
    "policies", [(), (holder(path="/elsewhere/"),), (holder(), holder()), (holder(name="scan-fixture.role-boundary"),)]
)
def test_the_plan_must_make_the_boundary_itself_and_once(policies: tuple[Resource, ...]) -> None:
    assert CHECK.evaluate(user(), plan_of(user(), *policies), CONTEXT) is not None


CHANGED = json.loads(CONTEXT.boundary_document)


@pytest.mark.parametrize(
    "document",
    [
        None,
        "(sensitive)",
        "no json",
        "{}",
        policy(allow("*")),
        json.dumps({**CHANGED, "Statement": CHANGED["Statement"][1:]}),
        json.dumps({**CHANGED, "Statement": [*CHANGED["Statement"], allow("iam:*")]}),
        json.dumps({**CHANGED, "Version": "2008-10-17"}),
        CONTEXT.boundary_document.replace('"Deny"', '"Allow"', 1),
        CONTEXT.role_boundary_document,
    ],
)
def test_another_content_fails_on_the_user_and_on_the_policy(document: object) -> None:
    assert CHECK.evaluate(user(), plan_of(user(), holder(document)), CONTEXT) is not None
    assert CHECK.evaluate(holder(document), plan_of(user(), holder(document)), CONTEXT) is not None


def test_the_boundary_for_roles_must_hold_its_content_too() -> None:
    right = holder(CONTEXT.role_boundary_document, "scan-fixture.role-boundary")
    wrong = holder(CONTEXT.boundary_document, "scan-fixture.role-boundary")

    assert CHECK.evaluate(right, plan_of(right), CONTEXT) is None
    assert CHECK.evaluate(wrong, plan_of(wrong), CONTEXT) is not None


def test_another_policy_is_none_of_its_business() -> None:
    other = holder(policy(allow("s3:*")), "scan-fixture.policy-x")

    assert CHECK.evaluate(other, plan_of(other), CONTEXT) is None


def test_the_same_document_in_another_spelling_is_the_same() -> None:
    one = policy(allow(["s3:GetObject", "s3:PutObject"], "*"), {"Effect": "Deny", "Action": "iam:*", "Resource": ["*"]})
    other = json.dumps(
        json.loads(
            policy(
                {"Resource": "*", "Action": ["iam:*"], "Effect": "Deny"}, allow(["s3:PutObject", "s3:GetObject"], ["*"])
            )
        ),
        indent=3,
    )

    assert same(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (policy(allow("s3:*")), policy(allow("s3:*"), allow("s3:*"))),
        (policy(allow("s3:*")), policy(allow("S3:*"))),
        (policy(allow("s3:*")), policy(allow("s3:*", Sid="x"))),
        (policy(allow("s3:*", Condition={"Bool": {"a": True}})), policy(allow("s3:*", Condition={"Bool": {"a": 1}}))),
        (policy(allow("s3:*", Condition={"Bool": {"a": "x"}})), policy(allow("s3:*", Condition={"Null": {"a": "x"}}))),
        (policy(allow("s3:*")), policy(allow("s3:*"), Id="x")),
    ],
)
def test_a_real_difference_is_one(one: str, other: str) -> None:
    assert not same(one, other)


def test_a_key_that_stands_twice_is_not_compared() -> None:
    with pytest.raises(UnreadableDocumentError):
        same('{"Statement": [], "Statement": []}', "{}")
