"""Lint of condition values and policy variables."""

from __future__ import annotations

from typing import Any

import pytest

from ci_user.policy.lint import LintFinding, lint

BUCKET = "arn:aws:s3:::shop-*"


def found_in(condition: dict[str, Any], resource: str = BUCKET) -> list[LintFinding]:
    statement = {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": resource, "Condition": condition}
    return list(lint({"Version": "2012-10-17", "Statement": [statement]}, "mine"))


def test_fitting_values_are_fine() -> None:
    condition = {
        "Bool": {"aws:SecureTransport": ["true", "FALSE"]},
        "Null": {"aws:SourceVpce": "false"},
        "NumericLessThan": {"aws:MultiFactorAuthAge": ["300", -1, 2.5]},
        "DateGreaterThan": {"aws:CurrentTime": ["2026-01-31T23:59:59Z", "2026-01-31", "1800000000"]},
        "IpAddress": {"aws:SourceIp": ["203.0.113.0/24", "2001:db8::/32", "203.0.113.7"]},
        "ArnLike": {"aws:PrincipalArn": ["arn:aws:iam::*:role/x", "*", "arn:*:iam::${aws:PrincipalAccount}:role/x"]},
        "StringLike": {"s3:prefix": ["home/${aws:username}/*", "${*}", "", "${aws:PrincipalTag/team, 'none'}/*"]},
        "StringEquals": {"aws:ResourceAccount": ["123456789012", "${aws:PrincipalAccount}"], "s3:delimiter": "${?}"},
    }
    assert found_in(condition) == []


@pytest.mark.parametrize(
    ("operator", "key", "value", "word"),
    [
        ("Bool", "aws:SecureTransport", "yes", "neither true nor false"),
        ("Null", "aws:SourceVpce", "1", "neither true nor false"),
        ("NumericEquals", "aws:MultiFactorAuthAge", "ten", "no number"),
        ("NumericEquals", "aws:MultiFactorAuthAge", "nan", "no number"),
        ("DateLessThan", "aws:CurrentTime", "31.12.2026", "no date"),
        ("IpAddress", "aws:SourceIp", "203.0.113.0/33", "no IP address"),
        ("IpAddress", "aws:SourceIp", "203.0.113.*", "no IP address"),
        ("NotIpAddress", "aws:SourceIp", "localhost", "no IP address"),
        ("ArnEquals", "aws:PrincipalArn", "shop", "no ARN"),
        ("ArnNotLike", "aws:PrincipalArn", "arn:aws:iam::role/x", "no ARN"),
        ("BinaryEquals", "aws:userid", "not base64!", "not base64"),
    ],
)
def test_a_value_that_its_operator_cannot_read_is_an_error(operator: str, key: str, value: str, word: str) -> None:
    errors = [one for one in found_in({operator: {key: value}}) if one.severity == "error"]
    assert [one.id for one in errors] == ["bad-value"]
    assert word in errors[0].message


@pytest.mark.parametrize(
    "operator", ["StringEquals", "StringNotEquals", "StringEqualsIgnoreCase", "StringEqualsIfExists"]
)
def test_a_wildcard_that_is_taken_literally_is_a_warning(operator: str) -> None:
    found = {one.id: one for one in found_in({operator: {"aws:PrincipalTag/team": "shop-*"}})}
    assert found["literal-wildcard"].severity == "warning"
    assert ("StringNotLike" if "Not" in operator else "StringLike") in found["literal-wildcard"].fix
    assert "literal-wildcard" not in {one.id for one in found_in({operator: {"aws:PrincipalTag/team": "shop-${*}"}})}


def test_wildcards_in_arn_operators_are_none() -> None:
    assert found_in({"ArnEquals": {"aws:PrincipalArn": "arn:aws:iam::123456789012:role/x*"}}) == []


@pytest.mark.parametrize(
    ("condition", "rule"),
    [
        ({"StringLike": {"aws:ResourceAccount": "12345678901*"}}, "wildcard-in-sensitive-key"),
        ({"StringLike": {"aws:PrincipalOrgID": "o-*"}}, "wildcard-in-sensitive-key"),
        ({"StringEquals": {"aws:ResourceAccount": "1234"}}, "bad-account"),
        ({"StringEquals": {"aws:PrincipalAccount": 123456789}}, "bad-account"),
        ({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, "private-address"),
        ({"StringEquals": {"aws:PrincipalTag/team": ["a", "b", "a"]}}, "duplicate-value"),
    ],
)
def test_values_that_cannot_be_meant(condition: dict[str, Any], rule: str) -> None:
    assert [one.id for one in found_in(condition)] == [rule]


@pytest.mark.parametrize(
    ("text", "rule", "fix"),
    [
        ("${aws:usernme}", "unknown-variable", "`${aws:username}`"),
        ("${username}", "unrendered-parameter", "lint the file"),
        ("${UserName}", "unknown-variable", "`${aws:username}`"),
        ("${prefix}", "unrendered-parameter", "lint the file"),
        ("${}", "unknown-variable", "${aws:username}"),
        ("${zzz:Zzz}", "unknown-variable", "${aws:username}"),
        ("${aws:TagKeys}", "multivalued-variable", "Condition"),
        ("${aws:username", "bad-variable", "close it"),
    ],
)
def test_variables_that_iam_does_not_know(text: str, rule: str, fix: str) -> None:
    for found in (
        found_in({"StringLike": {"s3:prefix": f"a/{text}"}}),
        found_in({"StringLike": {"s3:prefix": "a"}}, f"arn:aws:s3:::shop-{text}"),
    ):
        assert [(one.id, one.severity) for one in found] == [(rule, "error")]
        assert fix in found[0].fix


@pytest.mark.parametrize(
    "text",
    [
        "${aws:username}",
        "${AWS:UserName}",
        "${aws:PrincipalTag/team}",
        "${aws:PrincipalTag/team, 'x'}",
        "${s3:prefix}",
        "${cognito-identity.amazonaws.com:sub}",
        "${*}${?}${$}",
        "${aws:userid}-${aws:PrincipalAccount}",
    ],
)
def test_variables_that_iam_fills_in_are_fine(text: str) -> None:
    assert found_in({"StringLike": {"s3:prefix": f"a/{text}"}}, f"arn:aws:s3:::shop-{text}") == []


@pytest.mark.parametrize(
    ("operator", "key"),
    [
        ("NumericEquals", "aws:MultiFactorAuthAge"),
        ("Bool", "aws:SecureTransport"),
        ("IpAddress", "aws:SourceIp"),
        ("DateEquals", "aws:CurrentTime"),
        ("Null", "aws:SourceVpce"),
    ],
)
def test_variables_where_iam_fills_none_in_are_errors(operator: str, key: str) -> None:
    (found,) = found_in({operator: {key: "${aws:userid}"}})
    assert (found.id, found.severity) == ("variable-not-filled-in", "error")
