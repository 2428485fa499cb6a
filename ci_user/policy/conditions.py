"""Conditions, decided for what is known of a request.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-single-vs-multi-valued-context-keys.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import functools
import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from ci_user.policy import globs
from ci_user.policy.statement import Test
from ci_user.policy.three import Maybe, both, either, negation

Values = tuple[str, ...]
"""The values of one key of a request; none when the key is absent."""
ABSENT: Final[Values] = ()

_VARIABLE: Final = re.compile(r"\$\{([^}]*)\}")
_DEFAULT: Final = re.compile(r"\s*([^,\s]+)\s*,\s*'([^']*)'\s*")
_LITERAL: Final = frozenset("*?$")


@dataclass(frozen=True)
class Context:
    """What is known of a request besides action and resource.

    Args:
        values: The values of each key, by the key in lower case; None for a key of which nothing is known.
        rest: The same for every key that ``values`` does not name.
    """

    values: Mapping[str, Values | None] = field(default_factory=dict)
    rest: Values | None = ABSENT

    def get(self, key: str) -> Values | None:
        """Return a key's values, or None when nothing is known of it."""
        return self.values.get(key, self.rest)


NOTHING: Final = Context()
"""A request without any condition key."""


class _AbsentVariableError(LookupError):
    """A policy variable stands for a key that the request does not have."""


def pattern(text: str, context: Context) -> str | None:
    """Return a pattern as a glob, its policy variables filled in; None when a variable's value is not known.

    Raises:
        LookupError: A variable's key is absent, or has several values: then the pattern matches nothing.
    """
    return globs.glob(text) if "${" not in text else _filled(text, context, globs.glob)


def holds(test: Test, context: Context) -> Maybe:
    """Tell whether one test of a condition holds; None when that depends on what is not known."""
    values = context.get(test.key)
    if values is None:
        return None
    if test.operator == "Null":
        return either((value.lower() == "true") is (not values) for value in test.values)
    negated, matching = _OPERATORS[test.operator]
    if not values:
        if test.quantifier == "ForAnyValue":
            return test.if_exists
        return test.if_exists or test.quantifier == "ForAllValues" or negated
    each = [_holds_for(value, test.values, context, negated, matching) for value in values]
    if test.quantifier == "ForAllValues":
        return both(each)
    if test.quantifier == "ForAnyValue":
        return either(each)
    # Without a quantifier AWS promises nothing for several values.
    return each[0] if all(one is each[0] for one in each) else None


def _holds_for(
    value: str, expected: Values, context: Context, negated: bool, matching: Callable[[str, str, Context], Maybe]
) -> Maybe:
    found = either(matching(value, one, context) for one in expected)
    return negation(found) if negated else found


def _filled(text: str, context: Context, outside: Callable[[str], str]) -> str | None:
    parts, at = [], 0
    for variable in _VARIABLE.finditer(text):
        parts.append(outside(text[at : variable.start()]))
        at = variable.end()
        name = variable[1]
        if name in _LITERAL:
            parts.append(name)
            continue
        default = _DEFAULT.fullmatch(name)
        values = context.get((default[1] if default else name.strip()).lower())
        if values is None:
            return None
        if not values and default:
            values = (default[2],)
        if len(values) != 1:
            raise _AbsentVariableError(name)
        parts.append(values[0])
    parts.append(outside(text[at:]))
    return "".join(parts)


def _string(ignore_case: bool, wildcards: bool) -> Callable[[str, str, Context], Maybe]:
    def matching(value: str, expected: str, context: Context) -> Maybe:
        try:
            filled = _filled(expected, context, globs.glob if wildcards else str)
        except _AbsentVariableError:
            return False
        if filled is None:
            return None
        if ignore_case:
            return value.lower() == filled.lower()
        return globs.matches(filled, value) if wildcards else value == filled

    return matching


def _arn(value: str, expected: str, context: Context) -> Maybe:
    # "Each of the six colon-delimited components of the ARN is checked separately": ArnEquals and ArnLike alike.
    try:
        filled = pattern(expected, context)
    except _AbsentVariableError:
        return False
    if filled is None:
        return None
    if filled == globs.STAR:
        return True
    wanted, found = filled.split(":", 5), value.split(":", 5)
    return len(wanted) == len(found) == 6 and all(map(globs.matches, wanted, found))


def _number(compare: Callable[[float, float], bool]) -> Callable[[str, str, Context], Maybe]:
    def matching(value: str, expected: str, _: Context) -> Maybe:
        try:
            return compare(float(value), float(expected))
        except ValueError:
            return False

    return matching


def _date(compare: Callable[[float, float], bool]) -> Callable[[str, str, Context], Maybe]:
    def matching(value: str, expected: str, _: Context) -> Maybe:
        found, wanted = moment(value), moment(expected)
        return found is not None and wanted is not None and compare(found, wanted)

    return matching


def moment(text: str) -> float | None:
    """Return a date of a policy as seconds since 1970; None when it is none.

    W3C's forms of ISO 8601 and epoch seconds: https://www.w3.org/TR/NOTE-datetime
    """
    year = re.fullmatch(r"([0-9]{4})(?:-([0-9]{2}))?", text)
    try:
        if year is not None:
            return dt.datetime(int(year[1]), int(year[2] or 1), 1, tzinfo=dt.UTC).timestamp()
        return float(text)
    except ValueError:
        pass
    try:
        when = dt.datetime.fromisoformat(text)
    except ValueError:
        return None
    return (when if when.tzinfo else when.replace(tzinfo=dt.UTC)).timestamp()


def _boolean(value: str, expected: str, context: Context) -> Maybe:
    return _string(ignore_case=True, wildcards=False)(value, expected, context)


def _binary(value: str, expected: str, _: Context) -> Maybe:
    try:
        return base64.b64decode(value, validate=True) == base64.b64decode(expected, validate=True)
    except (binascii.Error, ValueError):
        return False


def _address(value: str, expected: str, _: Context) -> Maybe:
    network = _network(expected)
    try:
        return network is not None and ipaddress.ip_address(value) in network
    except ValueError:
        return False


@functools.lru_cache(maxsize=1_024)
def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


_EQUALS, _LIKE = _string(ignore_case=False, wildcards=False), _string(ignore_case=False, wildcards=True)
_SAME = _string(ignore_case=True, wildcards=False)

_OPERATORS: Final[Mapping[str, tuple[bool, Callable[[str, str, Context], Maybe]]]] = {
    "StringEquals": (False, _EQUALS),
    "StringNotEquals": (True, _EQUALS),
    "StringEqualsIgnoreCase": (False, _SAME),
    "StringNotEqualsIgnoreCase": (True, _SAME),
    "StringLike": (False, _LIKE),
    "StringNotLike": (True, _LIKE),
    "NumericEquals": (False, _number(float.__eq__)),
    "NumericNotEquals": (True, _number(float.__eq__)),
    "NumericLessThan": (False, _number(float.__lt__)),
    "NumericLessThanEquals": (False, _number(float.__le__)),
    "NumericGreaterThan": (False, _number(float.__gt__)),
    "NumericGreaterThanEquals": (False, _number(float.__ge__)),
    "DateEquals": (False, _date(float.__eq__)),
    "DateNotEquals": (True, _date(float.__eq__)),
    "DateLessThan": (False, _date(float.__lt__)),
    "DateLessThanEquals": (False, _date(float.__le__)),
    "DateGreaterThan": (False, _date(float.__gt__)),
    "DateGreaterThanEquals": (False, _date(float.__ge__)),
    "Bool": (False, _boolean),
    "BinaryEquals": (False, _binary),
    "IpAddress": (False, _address),
    "NotIpAddress": (True, _address),
    "ArnEquals": (False, _arn),
    "ArnLike": (False, _arn),
    "ArnNotEquals": (True, _arn),
    "ArnNotLike": (True, _arn),
}
"""Whether an operator is a negation, and how one value is compared with one expected."""
