"""Lint of conditions: keys, operators, and tests that hold without the key."""

from __future__ import annotations

from typing import Any

import pytest

from ci_user.policy.lint import LintFinding, lint
from ci_user.policy.lint_conditions import absent_holds
from ci_user.policy.statement import Test as Condition

ROLE = "arn:aws:iam::123456789012:role/shop-*"
BOUNDARY = "arn:aws:iam::123456789012:policy/shop.boundary"


def found_in(
    condition: dict[str, Any], actions: Any = "iam:CreateRole", effect: str = "Allow", resources: Any = ROLE
) -> list[LintFinding]:
    statement = {"Effect": effect, "Action": actions, "Resource": resources, "Condition": condition}
    return list(lint({"Version": "2012-10-17", "Statement": [statement]}, "mine"))


@pytest.mark.parametrize(
    "condition",
    [
        {"StringEquals": {"iam:PermissionsBoundary": BOUNDARY}},
        {"ArnLike": {"IAM:permissionsboundary": BOUNDARY}},
        {"StringEquals": {"aws:RequestTag/team": "shop", "aws:ResourceTag/team": "shop"}},
        {"ForAnyValue:StringEquals": {"aws:TagKeys": ["team"]}},
        {"ForAllValues:StringEquals": {"aws:TagKeys": ["team"]}, "Null": {"aws:TagKeys": "false"}},
        {"Bool": {"aws:SecureTransport": "true"}},
        {"Bool": {"aws:SecureTransport": True}},
        {"StringNotEquals": {"aws:PrincipalAccount": "123456789012"}},
        {"NumericLessThan": {"aws:EpochTime": "1800000000"}},
        {"DateLessThan": {"aws:CurrentTime": "2030-01-01T00:00:00Z"}},
        {"StringNotLike": {"aws:PrincipalTag/team": "x*"}, "Null": {"aws:PrincipalTag/team": "false"}},
        {"StringNotLike": {"aws:PrincipalTag/team": "x*"}, "StringLike": {"aws:PrincipalTag/team": "y*"}},
    ],
)
def test_conditions_that_say_what_they_mean_are_fine(condition: dict[str, Any]) -> None:
    assert found_in(condition) == []


@pytest.mark.parametrize(
    ("key", "fix"),
    [
        ("aws:SourceIP4", "`aws:SourceIp`"),
        ("aws:Zzzzzzzz", "reference_policies"),
        ("iam:PermissionBoundary", "`iam:PermissionsBoundary`"),
        ("iam:Zzzzzzzz", "list_awsidentity"),
        ("zzzzzz:Key", "reference_policies"),
        ("SourceIp", "`aws:SourceIp`"),
        ("s3:prefixes", "`s3:prefix`"),
    ],
)
def test_a_key_that_does_not_exist_is_an_error(key: str, fix: str) -> None:
    (found,) = found_in({"StringEquals": {key: "x"}})
    assert (found.id, found.severity) == ("unknown-key", "error")
    assert fix in found.fix


@pytest.mark.parametrize(
    ("condition", "effect", "word"),
    [
        ({"StringEquals": {"iam:AWSServiceName": "x"}}, "Allow", "never allows it"),
        ({"StringNotEquals": {"iam:AWSServiceName": "x"}}, "Allow", "limits nothing"),
        ({"StringEqualsIfExists": {"iam:AWSServiceName": "x"}}, "Allow", "limits nothing"),
        ({"Null": {"iam:AWSServiceName": "true"}}, "Allow", "limits nothing"),
        ({"Null": {"iam:AWSServiceName": "false"}}, "Allow", "never allows it"),
        ({"StringEquals": {"iam:AWSServiceName": "x"}}, "Deny", "never denies it"),
        ({"StringNotEquals": {"iam:AWSServiceName": "x"}}, "Deny", "denies it always"),
    ],
)
def test_a_key_that_the_action_does_not_know_and_what_follows(
    condition: dict[str, Any], effect: str, word: str
) -> None:
    found = [one for one in found_in(condition, "iam:DeleteRole", effect) if one.id == "key-unknown-to-action"]
    assert len(found) == 1
    assert found[0].severity == "warning"
    assert word in found[0].message


def test_a_tag_of_the_request_is_a_key_of_few_actions() -> None:
    condition = {"StringEquals": {"aws:RequestTag/team": "shop"}}
    (found,) = found_in(
        condition, ["lambda:InvokeFunction", "lambda:CreateFunction"], resources="arn:aws:lambda:*:*:function:x"
    )
    assert "`lambda:InvokeFunction`" in found.message
    assert "CreateFunction" not in found.message


@pytest.mark.parametrize("key", ["token.actions.githubusercontent.com:sub", "saml:aud", "accounts.google.com:aud"])
def test_a_key_of_an_identity_provider_is_a_note(key: str) -> None:
    (found,) = found_in({"StringLike": {key: "repo:shop/*"}})
    assert (found.id, found.severity) == ("federated-key", "note")


def test_of_a_wildcard_one_action_must_know_the_key() -> None:
    condition = {"StringEquals": {"iam:AWSServiceName": "x"}}
    assert found_in(condition, "iam:*Role*") == []
    assert [one.id for one in found_in(condition, "iam:Get*Role*")] == ["key-unknown-to-action"]


def test_nothing_is_said_of_keys_beside_not_action() -> None:
    statement = {
        "Effect": "Deny",
        "NotAction": "iam:GetRole",
        "Resource": "*",
        "Condition": {"StringEquals": {"iam:AWSServiceName": "x"}},
    }
    assert lint({"Version": "2012-10-17", "Statement": [statement]}, "mine") == ()


@pytest.mark.parametrize(
    ("condition", "rules"),
    [
        ({"StringEquals": {"aws:CurrentTime": "2030-01-01T00:00:00Z"}}, ["operator-type"]),
        ({"StringEquals": {"aws:SourceIp": "203.0.113.1"}}, ["operator-type"]),
        ({"StringEquals": {"aws:MultiFactorAuthAge": "10"}}, ["operator-type"]),
        ({"Bool": {"aws:PrincipalTag/team": "true"}}, ["operator-type"]),
        ({"NumericEquals": {"aws:PrincipalAccount": "123456789012"}}, ["operator-type"]),
        ({"IpAddress": {"aws:PrincipalArn": "203.0.113.1"}}, ["operator-type"]),
        ({"StringEquals": {"aws:TagKeys": "team"}}, ["quantifier-missing"]),
        ({"ForAnyValue:StringEquals": {"aws:PrincipalTag/team": "shop"}}, ["quantifier-needless"]),
        ({"StringEquals": {"aws:PrincipalArn": ROLE.rstrip("*")}}, []),
        ({"Null": {"aws:TagKeys": "false"}}, []),
    ],
)
def test_an_operator_must_fit_its_key(condition: dict[str, Any], rules: list[str]) -> None:
    found = found_in(condition)
    assert [one.id for one in found] == rules
    assert {one.severity for one in found} <= {"warning"}


@pytest.mark.parametrize(
    ("condition", "rule"),
    [
        ({"ForAllValues:StringEquals": {"aws:TagKeys": "team"}}, "for-all-values-allowed"),
        ({"StringNotEquals": {"aws:PrincipalTag/team": "x"}}, "negated-allowed"),
        ({"StringNotLike": {"iam:PermissionsBoundary": "x*"}}, "negated-allowed"),
        ({"ArnNotLike": {"iam:PermissionsBoundary": BOUNDARY}}, "negated-allowed"),
        ({"NotIpAddress": {"aws:SourceIp": "203.0.113.0/24"}}, "negated-allowed"),
        ({"StringEqualsIfExists": {"iam:PermissionsBoundary": BOUNDARY}}, "if-exists-allowed"),
    ],
)
def test_a_test_that_holds_without_the_key_is_told_in_allow_only(condition: dict[str, Any], rule: str) -> None:
    assert [one.id for one in found_in(condition)] == [rule]
    assert rule not in {one.id for one in found_in(condition, effect="Deny")}
    key = next(iter(next(iter(condition.values()))))
    assert rule not in {one.id for one in found_in({**condition, "Null": {key: "false"}})}


def test_the_fix_for_an_absent_key_can_be_pasted() -> None:
    (found,) = found_in({"ForAllValues:StringEquals": {"aws:TagKeys": "team"}})
    assert '`"Null": {"aws:TagKeys": "false"}`' in found.fix


@pytest.mark.parametrize(
    ("quantifier", "operator", "if_exists", "values", "holds"),
    [
        ("", "StringEquals", False, ("x",), False),
        ("", "StringEquals", True, ("x",), True),
        ("", "StringNotEquals", False, ("x",), True),
        ("ForAnyValue", "StringNotEquals", False, ("x",), False),
        ("ForAnyValue", "StringEquals", True, ("x",), True),
        ("ForAllValues", "StringEquals", False, ("x",), True),
        ("", "NotIpAddress", False, ("203.0.113.1",), True),
        ("", "Null", False, ("true",), True),
        ("", "Null", False, ("false",), False),
        ("", "Null", False, ("false", "True"), True),
    ],
)
def test_which_tests_hold_without_the_key(
    quantifier: str, operator: str, if_exists: bool, values: tuple[str, ...], holds: bool
) -> None:
    assert absent_holds(Condition(operator, quantifier, if_exists, "aws:tagkeys", values)) is holds
