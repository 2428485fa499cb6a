"""Policy documents as typed statements: what the evaluator, the linter and the checks read.

Grammar: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ci_user.policy.globs import glob

QUANTIFIERS: Final = ("ForAllValues", "ForAnyValue")

_OPERATORS: Final = (
    *("StringEquals", "StringNotEquals", "StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase"),
    *("StringLike", "StringNotLike"),
    *("NumericEquals", "NumericNotEquals", "NumericLessThan", "NumericLessThanEquals"),
    *("NumericGreaterThan", "NumericGreaterThanEquals"),
    *("DateEquals", "DateNotEquals", "DateLessThan", "DateLessThanEquals", "DateGreaterThan", "DateGreaterThanEquals"),
    *("Bool", "BinaryEquals", "IpAddress", "NotIpAddress"),
    *("ArnEquals", "ArnLike", "ArnNotEquals", "ArnNotLike", "Null"),
)
OPERATORS: Final[Mapping[str, str]] = {name.lower(): name for name in _OPERATORS}
"""Every condition operator, by its name in lower case: operators, like keys, are not case-sensitive.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
"""
_WILD: Final = re.compile(r"[*?]")
_OPERATOR: Final = re.compile(r"(?:(?P<quantifier>\w+):)?(?P<name>[A-Za-z]+?)(?P<if_exists>IfExists)?", re.IGNORECASE)


class UnreadableStatementError(ValueError):
    """The document is not shaped like a policy; ``str()`` says where and why."""


@dataclass(frozen=True)
class Test:
    """One line of a condition: an operator, a key and the values, of which any may match.

    Args:
        operator: As AWS writes it, without quantifier and ``IfExists``: ``StringEquals``.
        quantifier: ``ForAllValues``, ``ForAnyValue`` or nothing.
        if_exists: Whether the test also holds when the key is absent.
        key: The condition key, in lower case.
        values: The values as they stand, with wildcards and policy variables.
    """

    operator: str
    quantifier: str
    if_exists: bool
    key: str
    values: tuple[str, ...]

    @property
    def text(self) -> str:
        """Return it in one line for people."""
        quantifier = f"{self.quantifier}:" if self.quantifier else ""
        return f"{quantifier}{self.operator}{'IfExists' if self.if_exists else ''} {self.key} {', '.join(self.values)}"


@dataclass(frozen=True)
class Statement:
    """One statement of an identity policy; exactly one of each pair is not None.

    Args:
        where: Where it stands, for people: ``sample.json, statement 3``.
        allows: Whether it allows; else it denies.
        actions: Patterns in lower case; actions are not case-sensitive.
        not_actions: The same, of ``NotAction``.
        resources: Patterns as they stand, with wildcards and policy variables.
        not_resources: The same, of ``NotResource``.
        tests: The condition: every test must hold.
    """

    where: str
    allows: bool
    actions: tuple[str, ...] | None
    not_actions: tuple[str, ...] | None
    resources: tuple[str, ...] | None
    not_resources: tuple[str, ...] | None
    tests: tuple[Test, ...] = ()

    @functools.cached_property
    def resource_patterns(self) -> tuple[tuple[str, str | None, str], ...]:
        """Return each pattern of either resource element: the text before its first wildcard, the glob, and as written.

        The glob is None for a pattern with policy variables.
        """
        written = self.resources if self.resources is not None else self.not_resources or ()
        return tuple((_WILD.split(one, maxsplit=1)[0], None if "${" in one else glob(one), one) for one in written)


def statements(document: Mapping[str, Any], name: str) -> tuple[Statement, ...]:
    """Return the statements of a document that ``documents.read`` or ``json.loads`` gave.

    Args:
        document: The policy.
        name: What to call it for people: a file or a policy's name.

    Raises:
        UnreadableStatementError: An element is missing, unknown, doubled or of a wrong type. Nothing is guessed: who
            reads a document wrongly judges another one.
    """
    return tuple(_statement(entry, f"{name}, {place}") for place, entry in entries(document, name))


def parse(text: str, name: str) -> tuple[Statement, ...]:
    """Return the statements of a document that is known to be JSON, such as one that was rendered here.

    Raises:
        UnreadableStatementError: As for `statements`, or it is no JSON object.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise UnreadableStatementError(f"{name}: it is not JSON") from None
    if not isinstance(document, dict):
        raise UnreadableStatementError(f"{name}: it is no JSON object")
    return statements(document, name)


def entries(document: Mapping[str, Any], name: str) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """Return each statement's place, ``statement 2 (Sid)``, and content, not yet judged.

    Raises:
        UnreadableStatementError: There is no list of statements.
    """
    found = _field(document, "Statement", name)
    listed = [found] if isinstance(found, dict) else found
    if not isinstance(listed, list) or not listed:
        raise UnreadableStatementError(f"{name}: it has no statement")
    placed = []
    for number, entry in enumerate(listed, 1):
        if not isinstance(entry, dict):
            raise UnreadableStatementError(f"{name}, statement {number}: it is no object")
        sid = entry.get("Sid")
        placed.append((f"statement {number} ({sid})" if isinstance(sid, str) and sid else f"statement {number}", entry))
    return placed


def operator(text: str) -> tuple[str, str, bool] | None:
    """Return quantifier, operator and whether ``IfExists`` follows, as AWS writes them; None when there is no such operator.

    >>> operator("forAnyValue:stringlikeIfExists")
    ('ForAnyValue', 'StringLike', True)
    """
    found = _OPERATOR.fullmatch(text)
    if found is None:
        return None
    quantifiers = {"": ""} | {one.lower(): one for one in QUANTIFIERS}
    quantifier = quantifiers.get((found["quantifier"] or "").lower())
    name = OPERATORS.get(found["name"].lower())
    if quantifier is None or name is None or (name == "Null" and (found["if_exists"] or quantifier)):
        return None
    return quantifier, name, bool(found["if_exists"])


def _statement(entry: Mapping[str, Any], where: str) -> Statement:
    known = {"sid", "effect", "action", "notaction", "resource", "notresource", "condition"}
    unknown = [key for key in entry if key.lower() not in known]
    if unknown:
        raise UnreadableStatementError(f"{where}: {unknown[0]!r} is no element of an identity policy")
    effect = _field(entry, "Effect", where)
    if effect not in ("Allow", "Deny"):
        raise UnreadableStatementError(f"{where}: Effect is neither Allow nor Deny")
    actions, not_actions = _patterns(entry, "Action", where), _patterns(entry, "NotAction", where)
    resources, not_resources = _patterns(entry, "Resource", where), _patterns(entry, "NotResource", where)
    if (actions is None) == (not_actions is None):
        raise UnreadableStatementError(f"{where}: it needs either Action or NotAction")
    if (resources is None) == (not_resources is None):
        raise UnreadableStatementError(f"{where}: it needs either Resource or NotResource")
    return Statement(
        where=where,
        allows=effect == "Allow",
        actions=_lower(actions),
        not_actions=_lower(not_actions),
        resources=resources,
        not_resources=not_resources,
        tests=tuple(_tests(_field(entry, "Condition", where), where)),
    )


def _tests(condition: object, where: str) -> Iterable[Test]:
    if condition is None:
        return
    if not isinstance(condition, dict):
        raise UnreadableStatementError(f"{where}: Condition is no object")
    for name, block in condition.items():
        found = operator(name)
        if found is None:
            raise UnreadableStatementError(f"{where}: {name!r} is no condition operator")
        if not isinstance(block, dict) or not block:
            raise UnreadableStatementError(f"{where}: {name} names no condition key")
        quantifier, base, if_exists = found
        for key, value in block.items():
            yield Test(base, quantifier, if_exists, key.lower(), _values(value, f"{where}: {name} {key}"))


def _values(value: object, where: str) -> tuple[str, ...]:
    values = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(one, str | int | float) for one in values):
        raise UnreadableStatementError(f"{where}: neither a value nor a list of values")
    return tuple(json.dumps(one) if isinstance(one, bool) else str(one) for one in values)


def _patterns(entry: Mapping[str, Any], key: str, where: str) -> tuple[str, ...] | None:
    value = _field(entry, key, where)
    if value is None:
        return None
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not values or not all(isinstance(one, str) and one for one in values):
        raise UnreadableStatementError(f"{where}: {key} is neither a string nor a list of strings")
    return tuple(values)


def _lower(patterns: tuple[str, ...] | None) -> tuple[str, ...] | None:
    return None if patterns is None else tuple(pattern.lower() for pattern in patterns)


def _field(entry: Mapping[str, Any], key: str, where: str) -> Any:
    found = [value for name, value in entry.items() if name.lower() == key.lower()]
    if len(found) > 1:
        raise UnreadableStatementError(f"{where}: {key} stands twice")
    return found[0] if found else None
