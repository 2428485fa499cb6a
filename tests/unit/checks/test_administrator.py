"""CIUSER_1: an administrator is known by name and by effect, however it is spelled."""

from __future__ import annotations

from typing import Any

import pytest

from ci_user.checks.administrator import NoAdministrator
from tests.unit.plans import CONTEXT, SAMPLE, allow, document, plan_of, planned, policy, resource

CHECK = NoAdministrator()
ACCOUNT = "arn:aws:iam::000000000000"


def judged(*statements: dict[str, Any], kind: str = "aws_iam_policy") -> str | None:
    return judged_document(policy(*statements), kind)


def judged_document(text: object, kind: str = "aws_iam_policy") -> str | None:
    one = resource(kind, name="scan-fixture.policy-x", policy=text)
    return CHECK.evaluate(one, plan_of(one), CONTEXT)


IAM_SPLIT = [f"iam:{letter}*" for letter in "ACDEGLPRSTU"]

ADMINISTRATORS = {
    "star": [allow("*")],
    "star-star": [allow("*:*")],
    "list": [allow(["s3:GetObject", "*"], ["*"])],
    "double-star": [allow("**")],
    "space": [allow(" * ")],
    "question-marks": [allow("?*:?*")],
    "letter-by-letter": [allow([f"{letter}*" for letter in "abcdefghijklmnopqrstuvwxyz"])],
    "any-arn": [allow("*", "arn:*")],
    "partition": [allow("*", "arn:aws:*")],
    "full-arn": [allow("*", "arn:*:*:*:*:*")],
    "resource-variable": [allow("*", "${aws:nothing}")],
    "not-resource": [{"Effect": "Allow", "Action": "*", "NotResource": "arn:aws:s3:::nothing"}],
    "not-action-nothing": [{"Effect": "Allow", "NotAction": [], "Resource": "*"}],
    "not-action-something": [{"Effect": "Allow", "NotAction": "sts:GetCallerIdentity", "Resource": "*"}],
    "power-user": [{"Effect": "Allow", "NotAction": ["iam:*", "organizations:*", "account:*"], "Resource": "*"}],
    "with-a-deny": [allow("*"), {"Effect": "Deny", "Action": "s3:DeleteBucket", "Resource": "*"}],
    "with-a-condition": [allow("*", Condition={"Bool": {"aws:SecureTransport": "true"}})],
    "effect-in-another-case": [{"Effect": "ALLOW", "Action": "*", "Resource": "*"}],
    "keys-in-another-case": [{"effect": "Allow", "action": "*", "resource": "*"}],
    "iam-star": [allow("iam:*")],
    "iam-upper-case": [allow("IAM:*")],
    "iam-wildcard-service": [allow("i*:*")],
    "iam-question": [allow("?am:*")],
    "iam-in-pieces": [allow(IAM_SPLIT)],
    "iam-over-statements": [allow(action) for action in IAM_SPLIT],
    "iam-by-kinds": [allow("iam:*", [f"{ACCOUNT}:user/*", "arn:*:iam::*:role/*"])],
    "anything-with-a": [allow("*a*")],
}


@pytest.mark.parametrize("name", ADMINISTRATORS)
@pytest.mark.parametrize(
    "kind", ["aws_iam_policy", "aws_iam_group_policy", "aws_iam_user_policy", "aws_iam_role_policy"]
)
def test_an_administrator_fails(name: str, kind: str) -> None:
    assert judged(*ADMINISTRATORS[name], kind=kind) is not None


def test_a_single_statement_needs_no_list() -> None:
    assert judged_document(
        '{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}'
    )
    assert judged_document('{"Statement":[{"Effect":"Allow","Action":"\\u002a","Resource":"\\u002a"}]}')


ORDINARY = {
    "service": [allow("s3:*")],
    "read": [allow(["s3:Get*", "ec2:Describe*"])],
    "iam-reads": [allow(["iam:Get*", "iam:List*"])],
    "role-tools": [allow(["iam:CreateRole", "iam:PutRolePolicy", "iam:PassRole", "iam:DeleteRole"])],
    "iam-on-own-roles": [allow("iam:*", f"{ACCOUNT}:role/shop-*")],
    "star-on-one-bucket": [allow("*", "arn:aws:s3:::shop-files/*")],
    "deny-all": [{"Effect": "Deny", "Action": "*", "Resource": "*"}],
    "deny-not-action": [{"Effect": "Deny", "NotAction": "s3:*", "Resource": "*"}],
    "not-action-on-own-things": [{"Effect": "Allow", "NotAction": "iam:*", "Resource": "arn:aws:s3:::shop-files"}],
}


@pytest.mark.parametrize("name", ORDINARY)
def test_an_ordinary_policy_passes(name: str) -> None:
    assert judged(*ORDINARY[name]) is None


def test_the_recipes_sample_is_no_administrator_by_itself() -> None:
    assert judged_document(planned(document("plan_first"), SAMPLE)["values"]["policy"]) is None


@pytest.mark.parametrize(
    "text",
    [
        None,
        "(sensitive)",
        "",
        "[]",
        "{}",
        '{"Statement": []}',
        '{"Statement": [1]}',
        '{"Statement": [{"Effect": "Allow", "Resource": "*"}]}',
        '{"Statement": [{"Effect": "Allow", "Action": "s3:*"}]}',
        '{"Statement": [{"Effect": "Allow", "Action": [["*"]], "Resource": "*"}]}',
        '{"Statement": [{"Effect": "Maybe", "Action": "s3:*", "Resource": "*"}]}',
        '{"Statement": [{"Effect": "Allow", "Action": "*", "Action": "s3:*", "Resource": "*"}]}',
        '{"Statement": [{"Effect": "Allow", "Action": "*", "action": "s3:*", "Resource": "*"}]}',
        '{"Statement": [], "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}',
        "[" * 5000,
        '{"Statement": "' + "x" * 200_000 + '"}',
    ],
)
def test_a_document_that_cannot_be_judged_fails(text: object) -> None:
    assert judged_document(text) is not None


@pytest.mark.parametrize(
    "name",
    ["AdministratorAccess", "administratoraccess", "AdministratorAccess-Amplify", "PowerUserAccess", "IAMFullAccess"],
)
@pytest.mark.parametrize(
    ("kind", "attribute"),
    [
        ("aws_iam_group_policy_attachment", "policy_arn"),
        ("aws_iam_user_policy_attachment", "policy_arn"),
        ("aws_iam_policy_attachment", "policy_arn"),
        ("aws_iam_role_policy_attachment", "policy_arn"),
        ("aws_iam_group_policy_attachments_exclusive", "policy_arns"),
        ("aws_iam_user_policy_attachments_exclusive", "policy_arns"),
        ("aws_iam_role", "managed_policy_arns"),
    ],
)
def test_an_administrators_arn_fails_wherever_it_is_attached(name: str, kind: str, attribute: str) -> None:
    arn = f"arn:aws-us-gov:iam::aws:policy/{name}"
    one = resource(
        kind, **{attribute: arn if attribute == "policy_arn" else ["arn:aws:iam::aws:policy/ReadOnlyAccess", arn]}
    )

    assert arn in str(CHECK.evaluate(one, plan_of(one), CONTEXT))


def test_an_ordinary_arn_passes() -> None:
    one = resource("aws_iam_group_policy_attachment", policy_arn=f"{ACCOUNT}:policy/scan-fixture.policy-reader")

    assert CHECK.evaluate(one, plan_of(one), CONTEXT) is None


@pytest.mark.parametrize("name", ["scan-fixture.boundary", "scan-fixture.role-boundary"])
def test_a_boundary_may_allow_much_as_long_as_nobody_attaches_it(name: str) -> None:
    boundary = resource("aws_iam_policy", "boundary", name=name, policy=policy(allow("*")))
    attached = resource("aws_iam_group_policy_attachment", policy_arn=f"{ACCOUNT}:policy/{name}")
    listed = resource("aws_iam_group_policy_attachments_exclusive", policy_arns=[f"{ACCOUNT}:policy/{name}"])

    assert CHECK.evaluate(boundary, plan_of(boundary), CONTEXT) is None
    assert CHECK.evaluate(boundary, plan_of(boundary, attached), CONTEXT) is not None
    assert CHECK.evaluate(boundary, plan_of(boundary, listed), CONTEXT) is not None


def test_a_data_source_grants_nothing() -> None:
    one = resource("aws_iam_policy", "read", "data", name="AdministratorAccess", policy=policy(allow("*")))

    assert CHECK.evaluate(one, plan_of(one), CONTEXT) is None
