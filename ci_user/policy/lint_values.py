"""Lint of condition values and of policy variables.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from ci_user.policy import catalogue
from ci_user.policy.conditions import moment
from ci_user.policy.lint_finding import Defect, Path, Subject, nearest, quoted
from ci_user.policy.statement import Test

_ACCOUNTS: Final = (
    "aws:principalaccount",
    "aws:resourceaccount",
    "aws:sourceaccount",
    "aws:vpceaccount",
    "s3:resourceaccount",
)
# "The use of wildcards in these condition keys does not have any valid use cases":
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html#condition-keys-sensitive
_SENSITIVE: Final = (
    *_ACCOUNTS,
    *("aws:principalorgid", "aws:resourceorgid", "aws:sourceorgid", "aws:sourcevpc", "aws:sourcevpce", "aws:vpceorgid"),
)
# RFC 1918, 6598 and 4193.
_PRIVATE: Final = tuple(
    ipaddress.ip_network(one) for one in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)
_TAKES_VARIABLES: Final = ("String", "Arn")
_DEFAULT: Final = re.compile(r"\s*([^,\s]+)\s*,\s*'[^']*'\s*")
_PARAMETER: Final = re.compile(r"[a-z_]+")


def value_defects(test: Test, written: str, path: tuple[str, ...], services: Sequence[str]) -> Iterator[Defect]:
    """Find values that do not fit their operator.

    Args:
        test: The test.
        written: Its key as it stands.
        path: The key's place in the statement.
        services: Whose actions the statement is about: their keys may be variables.
    """
    seen: set[str] = set()
    for at, value in enumerate(test.values):
        here: Path = (*path, at)
        if value in seen:
            yield Defect(
                "duplicate-value", "note", f"{quoted(value)} stands twice for {quoted(written)}", "take one out", here
            )
            continue
        seen.add(value)
        if test.operator.startswith(_TAKES_VARIABLES):
            yield from _variables(value, here, services)
        elif "${" in value:
            message = (
                f"{quoted(value)}: IAM fills variables into String and Arn operators only, not into {test.operator}"
            )
            yield Defect("variable-not-filled-in", "error", message, "write the value out", here)
            continue
        yield from _shape(test, value, written, here)


def variable_defects(subject: Subject) -> Iterator[Defect]:
    """Find policy variables in resources that IAM does not know."""
    services = sorted({text.partition(":")[0].lower() for text in subject.actions if ":" in text})
    for at, text in enumerate(subject.resources):
        yield from _variables(text, (subject.resource_element, at), services)


def _variables(text: str, path: Path, services: Sequence[str]) -> Iterator[Defect]:
    at = text.find("${")
    while at >= 0:
        end = text.find("}", at)
        if end < 0:
            message = f"{quoted(text)} opens a variable and never closes it: it is plain text"
            yield Defect("bad-variable", "error", message, "close it with `}`, or write `${$}` for a dollar sign", path)
            return
        yield from _variable(text[at + 2 : end], path, services)
        at = text.find("${", end)


def _variable(name: str, path: Path, services: Sequence[str]) -> Iterator[Defect]:
    if name in ("*", "?", "$"):
        return
    variable = "${" + name + "}"
    default = _DEFAULT.fullmatch(name)
    key = (default[1] if default else name.strip()).lower()
    prefix = key.partition(":")[0]
    kinds = [catalogue.key_type(one, key) for one in (prefix, *services)]
    kind = next((found for found in kinds if found is not None), None)
    if kind is None and "." in prefix and ":" in key:
        return
    if kind is None:
        if _PARAMETER.fullmatch(name):
            message = f"{quoted(variable)} is no policy variable but a parameter of a template that was not filled in"
            yield Defect("unrendered-parameter", "error", message, "lint the file, or the rendered document", path)
            return
        known = catalogue.global_keys() if prefix == "aws" or ":" not in key else catalogue.service_keys(prefix)
        meant = nearest(key, known)
        message = f"{quoted(variable)} is no policy variable: IAM knows no such key, so this matches nothing"
        fix = (
            f"did you mean {quoted('${' + meant + '}')}?" if meant else "use a condition key, such as `${aws:username}`"
        )
        yield Defect("unknown-variable", "error", message, fix, path)
    elif kind.startswith("ArrayOf"):
        message = f"{quoted(variable)} can have several values, and IAM fills in only keys with one"
        yield Defect("multivalued-variable", "error", message, "test the key in Condition instead", path)


def _shape(test: Test, value: str, written: str, path: Path) -> Iterator[Defect]:
    check = next((one for start, one in _SHAPES.items() if test.operator.startswith(start)), None)
    wrong = None if check is None or "${" in value else check(value)
    if wrong:
        message = f"{quoted(value)} is {wrong}, so {test.operator} on {quoted(written)} never holds for it"
        yield Defect("bad-value", "error", message, "correct the value", path)
        return
    if test.operator.startswith(("StringEquals", "StringNotEquals")) and _has_wildcard(value):
        like = "StringNotLike" if "Not" in test.operator else "StringLike"
        yield Defect(
            "literal-wildcard",
            "warning",
            f"{test.operator} takes the wildcard in {quoted(value)} as the character itself",
            f"use {like}, or write `${{*}}` if the character is meant",
            path,
        )
    if test.key in _SENSITIVE and test.operator in ("StringLike", "ArnLike", "ArnEquals") and _has_wildcard(value):
        message = f"{quoted(value)} for {quoted(written)}: AWS advises against any wildcard there, since it may let in strangers"
        yield Defect("wildcard-in-sensitive-key", "warning", message, "write the whole value", path)
    if (
        test.key in _ACCOUNTS
        and test.operator.startswith("StringEquals")
        and not re.fullmatch(r"\d{12}|.*\$\{.*", value)
    ):
        message = f"{quoted(value)} for {quoted(written)} is no account, which has twelve digits"
        yield Defect("bad-account", "error", message, "write the account's number, as a string", path)
    if test.key == "aws:sourceip" and test.operator == "IpAddress" and _is_private(value):
        message = f"{quoted(value)} is a private range, and {quoted(written)} is the public address that AWS sees"
        yield Defect("private-address", "warning", message, "use `aws:VpcSourceIp` for calls through an endpoint", path)


def _has_wildcard(value: str) -> bool:
    return bool(re.search(r"[*?]", re.sub(r"\$\{[^}]*\}", "", value)))


def _boolean(value: str) -> str | None:
    return None if value.lower() in ("true", "false") else "neither true nor false"


def _number(value: str) -> str | None:
    return None if re.fullmatch(r"[+-]?\d+(\.\d+)?", value) else "no number"


def _date(value: str) -> str | None:
    return None if moment(value) is not None else "no date of the form 2026-01-31T23:59:59Z, nor seconds since 1970"


def _binary(value: str) -> str | None:
    try:
        base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return "not base64"
    return None


def _address(value: str) -> str | None:
    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError:
        return "no IP address or range"
    return None


def _arn(value: str) -> str | None:
    shaped = value.startswith(("arn:", "*")) and (value.count(":") >= 5 or not value.strip("*"))
    return None if shaped else "no ARN with six parts"


def _is_private(value: str) -> bool:
    found = ipaddress.ip_network(value, strict=False)
    return any(one.version == found.version and found.subnet_of(one) for one in _PRIVATE)  # type: ignore[arg-type]


_SHAPES: Final[Mapping[str, Callable[[str], str | None]]] = {
    "Bool": _boolean,
    "Null": _boolean,
    "Numeric": _number,
    "Date": _date,
    "Binary": _binary,
    "IpAddress": _address,
    "NotIpAddress": _address,
    "Arn": _arn,
}
