"""Lint of the grammar."""

from __future__ import annotations

from typing import Any

import pytest

from ci_user.policy.lint import LintFinding, lint

ALLOW = {"Effect": "Allow", "Action": "sqs:ListQueues", "Resource": "*"}


def policy(*statements: Any, **head: Any) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements), **head}


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in ALLOW.items() if key != name}


def found_in(statement: Any) -> list[LintFinding]:
    return list(lint(policy(statement), "mine"))


def test_a_right_statement_has_no_finding() -> None:
    assert found_in(ALLOW) == []
    assert lint(policy(ALLOW, Id="mine"), "mine") == ()


@pytest.mark.parametrize(
    ("head", "rule", "fix"),
    [
        ({"Version": "2008-10-17"}, "old-version", "2012-10-17"),
        ({"Version": "2012-10-18"}, "bad-version", "2012-10-17"),
        ({"Version": None}, "missing-version", "2012-10-17"),
        ({"Statement": []}, "no-statement", "add one"),
        ({"Statement": 3}, "wrong-type", "a list of statements"),
        ({"Statment": []}, "unknown-element", "`Statement`"),
        ({"version": "2012-10-17"}, "duplicate-element", "keep one"),
    ],
)
def test_the_document_around_the_statements(head: dict[str, Any], rule: str, fix: str) -> None:
    (found,) = lint(policy(ALLOW) | head, "mine")
    assert (found.id, found.severity, found.where.statement) == (rule, "error", None)
    assert fix in found.fix


@pytest.mark.parametrize(
    ("statement", "rule", "fix"),
    [
        ("Allow", "wrong-type", "an object"),
        ({**ALLOW, "Principal": "*"}, "principal-in-identity-policy", "`Principal` out"),
        ({**ALLOW, "NotPrincipal": "*"}, "principal-in-identity-policy", "`NotPrincipal` out"),
        ({**ALLOW, "Conditions": {}}, "unknown-element", "`Condition`"),
        ({**ALLOW, "Zzz": 1}, "unknown-element", "Sid, Effect"),
        ({**ALLOW, "action": "s3:*"}, "duplicate-element", "keep one"),
        (without("Effect"), "missing-element", "Effect"),
        ({**ALLOW, "Effect": "allow"}, "bad-effect", "write Allow"),
        ({**ALLOW, "Effect": "DENY"}, "bad-effect", "write Deny"),
        ({**ALLOW, "Effect": "Permit"}, "bad-effect", "Allow or Deny"),
        ({**ALLOW, "Effect": ["Allow"]}, "bad-effect", "Allow or Deny"),
        (without("Action"), "missing-element", "add Action"),
        (without("Resource"), "missing-element", "add Resource"),
        ({**ALLOW, "NotAction": "s3:*"}, "both-elements", "two statements"),
        ({**ALLOW, "NotResource": "arn:aws:s3:::b"}, "both-elements", "two statements"),
        ({**ALLOW, "Action": []}, "empty-list", "fill Action"),
        ({**ALLOW, "Action": ""}, "empty-list", "fill Action"),
        ({**ALLOW, "Resource": ["*", ""]}, "empty-list", "take it out"),
        ({**ALLOW, "Action": {"s3": 1}}, "wrong-type", "list of strings"),
        ({**ALLOW, "Resource": ["*", 3]}, "wrong-type", "list of strings"),
        ({**ALLOW, "Condition": []}, "wrong-type", "operators"),
        ({**ALLOW, "Condition": {"Bool": []}}, "wrong-type", "condition keys"),
        ({**ALLOW, "Condition": {"Bool": {}}}, "empty-condition", "take it out"),
        ({**ALLOW, "Condition": {"Bool": {"aws:SecureTransport": []}}}, "empty-list", "Null"),
        ({**ALLOW, "Condition": {"Bool": {"aws:SecureTransport": None}}}, "wrong-type", "strings"),
        ({**ALLOW, "Condition": {"Bool": {"aws:SecureTransport": ["true", {}]}}}, "wrong-type", "strings"),
        ({**ALLOW, "Condition": {"StringEqual": {"aws:userid": "x"}}}, "bad-operator", "`StringEquals`"),
        ({**ALLOW, "Condition": {"StringMatches": {"aws:userid": "x"}}}, "bad-operator", "one of StringEquals"),
        (
            {**ALLOW, "Condition": {"ForAllValue:StringLike": {"aws:TagKeys": "x"}}},
            "bad-operator",
            "`ForAllValues:StringLike`",
        ),
        ({**ALLOW, "Condition": {"StringLikesIfExists": {"aws:userid": "x"}}}, "bad-operator", "`StringLikeIfExists`"),
        ({**ALLOW, "Condition": {"NullIfExists": {"aws:userid": "true"}}}, "bad-operator", "`Null`"),
        ({**ALLOW, "Condition": {"ForAnyValue:Null": {"aws:userid": "true"}}}, "bad-operator", "`Null`"),
        ({**ALLOW, "Sid": 3}, "wrong-type", "a string"),
        ({**ALLOW, "Sid": "my sid-1"}, "bad-sid", "`mysid1`"),
        ({**ALLOW, "Sid": "--"}, "bad-sid", "`Statement1`"),
        ({**ALLOW, "Resource": "arn:aws:sqs:*:*:\u2013x"}, "odd-character", "anew"),
    ],
)
def test_what_iam_refuses_is_an_error(statement: Any, rule: str, fix: str) -> None:
    errors = [one for one in found_in(statement) if one.severity == "error"]
    assert [one.id for one in errors] == [rule]
    assert fix in errors[0].fix
    assert errors[0].where.statement == 1


@pytest.mark.parametrize(
    ("statement", "rule", "severity"),
    [
        ({**ALLOW, "Condition": {}}, "empty-condition", "warning"),
        ({"effect": "Allow", **without("Effect")}, "element-case", "note"),
        ({**ALLOW, "Condition": {"StringEquals": {"aws:userid": "x\u00a0y"}}}, "odd-character", "warning"),
        ({**ALLOW, "Condition": {"StringEquals": {"aws:userid": "x\ty"}}}, "odd-character", "warning"),
        ({**ALLOW, "Condition": {"StringEquals": {"aws:userid": "x\u00ad"}}}, "odd-character", "warning"),
        ({**ALLOW, "Condition": {"StringEquals": {"aws:userid": "x "}}}, "stray-space", "warning"),
    ],
)
def test_what_deceives_the_eye_is_told(statement: Any, rule: str, severity: str) -> None:
    assert [(one.id, one.severity) for one in found_in(statement)] == [(rule, severity)]


def test_sids_must_differ() -> None:
    (found,) = lint(
        policy(
            {**ALLOW, "Sid": "A"},
            {**ALLOW, "Sid": "B", "Action": "sns:ListTopics"},
            {**ALLOW, "Sid": "A", "Action": "sts:GetCallerIdentity"},
        ),
        "mine",
    )
    assert (found.id, found.where.statement) == ("duplicate-sid", 3)
    assert "statement 1" in found.message


def test_statements_without_a_sid_or_with_an_empty_one_are_fine() -> None:
    assert lint(policy({**ALLOW, "Sid": ""}, {**ALLOW, "Sid": "", "Action": "sns:ListTopics"}), "mine") == ()


def test_a_wrong_statement_does_not_hide_the_others() -> None:
    found = lint(policy({**ALLOW, "Effect": "allow"}, {**ALLOW, "Action": "s3:Nothing"}), "mine")
    assert [(one.id, one.where.statement) for one in found] == [("bad-effect", 1), ("unknown-action", 2)]


def test_a_policy_over_the_limit_is_too_large() -> None:
    arns = [f"arn:aws:sqs:eu-west-1:123456789012:queue-{number}" for number in range(160)]
    (found,) = lint(policy({**ALLOW, "Action": "sqs:SendMessage", "Resource": arns}), "mine")
    assert found.id == "too-large"
    assert "6,144" in found.message
