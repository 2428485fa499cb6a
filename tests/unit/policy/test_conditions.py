"""Condition operators, one by one: what AWS documents for present, absent, several and unknown values."""

from __future__ import annotations

import pytest

from ci_user.policy.conditions import Context, holds, moment, pattern
from ci_user.policy.globs import glob
from ci_user.policy.statement import Test as Line
from ci_user.policy.statement import operator

Values = tuple[str, ...] | None


def judged(name: str, expected: str | tuple[str, ...], found: Values, **more: Values) -> bool | None:
    parsed = operator(name)
    assert parsed is not None
    quantifier, base, if_exists = parsed
    values = (expected,) if isinstance(expected, str) else expected
    return holds(Line(base, quantifier, if_exists, "key", values), Context({"key": found, **more}))


@pytest.mark.parametrize(
    ("name", "expected", "found", "answer"),
    [
        ("StringEquals", "a", ("a",), True),
        ("StringEquals", ("b", "a"), ("a",), True),
        ("StringEquals", "a", ("A",), False),
        ("StringEquals", "a*", ("ab",), False),
        ("StringEquals", "a", (), False),
        ("StringEqualsIfExists", "a", (), True),
        ("StringEqualsIfExists", "a", ("b",), False),
        ("StringNotEquals", "a", ("b",), True),
        ("StringNotEquals", ("a", "b"), ("b",), False),
        ("StringNotEquals", "a", (), True),
        ("StringEqualsIgnoreCase", "A", ("a",), True),
        ("StringNotEqualsIgnoreCase", "A", ("a",), False),
        ("StringLike", "a*", ("ab",), True),
        ("StringLike", "a?", ("a",), False),
        ("StringNotLike", "a*", ("ab",), False),
        ("StringNotLike", "a*", (), True),
        ("NumericLessThan", "10", ("9",), True),
        ("NumericLessThanEquals", "10", ("10",), True),
        ("NumericGreaterThan", "10", ("10",), False),
        ("NumericGreaterThanEquals", "10", ("10.0",), True),
        ("NumericEquals", "1", ("one",), False),
        ("NumericNotEquals", "1", ("2",), True),
        ("DateLessThan", "2026-01-01T00:00:00Z", ("2025-12-31T23:59:59Z",), True),
        ("DateGreaterThan", "2026-01-01", ("1767225601",), True),
        ("DateEquals", "2026-01-01T01:00:00+01:00", ("2026-01-01T00:00:00Z",), True),
        ("DateNotEquals", "2026", ("2026-01-01T00:00:00Z",), False),
        ("DateLessThan", "soon", ("2026-01-01T00:00:00Z",), False),
        ("Bool", "true", ("True",), True),
        ("Bool", "true", (), False),
        ("BoolIfExists", "true", (), True),
        ("BinaryEquals", "QmluYXJ5", ("QmluYXJ5",), True),
        ("BinaryEquals", "not base 64!", ("QmluYXJ5",), False),
        ("IpAddress", "203.0.113.0/24", ("203.0.113.7",), True),
        ("IpAddress", "2001:db8::/32", ("2001:db8::1",), True),
        ("IpAddress", "203.0.113.0/24", ("2001:db8::1",), False),
        ("NotIpAddress", "203.0.113.0/24", ("203.0.113.7",), False),
        ("NotIpAddress", "203.0.113.0/24", (), True),
        ("ArnEquals", "arn:aws:sns:*:1:t*", ("arn:aws:sns:eu-west-1:1:topic",), True),
        ("ArnLike", "arn:aws:*:1:topic", ("arn:aws:sns:eu-west-1:1:topic",), False),
        ("ArnLike", "*", ("arn:aws:sns:eu-west-1:1:topic",), True),
        ("ArnNotLike", "arn:aws:sns:*:1:t*", ("arn:aws:sns:eu-west-1:1:topic",), False),
        ("Null", "true", (), True),
        ("Null", "true", ("a",), False),
        ("Null", "false", ("a",), True),
        ("Null", "false", (), False),
        ("ForAllValues:StringEquals", ("a", "b"), ("a",), True),
        ("ForAllValues:StringEquals", ("a", "b"), ("a", "c"), False),
        ("ForAllValues:StringEquals", "a", (), True),
        ("ForAnyValue:StringEquals", "a", ("c", "a"), True),
        ("ForAnyValue:StringEquals", "a", (), False),
        ("ForAnyValue:StringNotEquals", "a", (), False),
        ("ForAnyValue:StringNotEquals", "a", ("a", "b"), True),
        ("ForAllValues:StringNotLike", "a*", ("b", "ab"), False),
        ("ForAnyValue:StringEqualsIfExists", "a", (), True),
    ],
)
def test_an_operator_answers_as_documented(
    name: str, expected: str | tuple[str, ...], found: Values, answer: bool
) -> None:
    assert judged(name, expected, found) is answer


@pytest.mark.parametrize(
    "name", ["StringEquals", "StringNotEquals", "Null", "Bool", "IpAddress", "ForAnyValue:StringLike"]
)
def test_what_is_not_known_is_never_guessed(name: str) -> None:
    assert judged(name, "true", None) is None


def test_several_values_without_a_quantifier_are_not_decided_unless_all_agree() -> None:
    assert judged("StringEquals", "a", ("a", "b")) is None
    assert judged("StringEquals", "a", ("a", "a")) is True
    assert judged("StringEquals", "a", ("b", "c")) is False


@pytest.mark.parametrize(
    ("text", "values", "found"),
    [
        ("user/${aws:username}", {"aws:username": ("ann",)}, "user/ann"),
        ("user/${AWS:UserName}/*", {"aws:username": ("a*",)}, "user/a*/" + glob("*")),
        ("x/${aws:PrincipalTag/team, 'none'}", {}, "x/none"),
        ("x/${*}${?}${$}", {}, "x/*?$"),
        ("user/${aws:username}", {"aws:username": None}, None),
    ],
)
def test_a_policy_variable_is_filled_in_as_data(text: str, values: dict[str, Values], found: str | None) -> None:
    assert pattern(text, Context(values)) == found


@pytest.mark.parametrize("values", [{}, {"aws:username": ("ann", "bob")}])
def test_a_variable_without_one_value_matches_nothing(values: dict[str, Values]) -> None:
    with pytest.raises(LookupError):
        pattern("user/${aws:username}", Context(values))
    context = Context({"key": ("ann",), **values})
    assert holds(Line("StringEquals", "", False, "key", ("${aws:username}",)), context) is False
    assert holds(Line("StringNotEquals", "", False, "key", ("${aws:username}",)), context) is True


def test_a_variable_of_unknown_value_leaves_the_test_open() -> None:
    context = Context({"key": ("ann",), "aws:username": None})
    assert holds(Line("StringLike", "", False, "key", ("${aws:username}*",)), context) is None
    assert holds(Line("ArnLike", "", False, "key", ("arn:${aws:username}",)), context) is None


@pytest.mark.parametrize(
    ("text", "when"), [("0", 0.0), ("1970", 0.0), ("1970-01-01T00:00", 0.0), ("1970-01-02", 86_400.0)]
)
def test_a_moment_is_read_in_every_form_of_iso_8601(text: str, when: float) -> None:
    assert moment(text) == when


def test_what_is_no_moment_is_none() -> None:
    assert moment("tomorrow") is None
