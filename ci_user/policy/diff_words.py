"""An access diff in words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from ci_user.policy import catalogue
from ci_user.policy.statement import Test
from ci_user.text import plain

if TYPE_CHECKING:
    from ci_user.policy.diff import Actions, Change, Resources

_SHOWN: Final = 160
_NAMED: Final = 4
_VARIABLE: Final = re.compile(r"\$\{[^}]*\}")

_VERBS: Final[Mapping[str, str]] = {
    "StringEquals": "is",
    "StringNotEquals": "is not",
    "StringEqualsIgnoreCase": "is, in any case,",
    "StringNotEqualsIgnoreCase": "is not, in any case,",
    "StringLike": "is like",
    "StringNotLike": "is not like",
    "NumericEquals": "is",
    "NumericNotEquals": "is not",
    "NumericLessThan": "is less than",
    "NumericLessThanEquals": "is at most",
    "NumericGreaterThan": "is more than",
    "NumericGreaterThanEquals": "is at least",
    "DateEquals": "is",
    "DateNotEquals": "is not",
    "DateLessThan": "is before",
    "DateLessThanEquals": "is not after",
    "DateGreaterThan": "is after",
    "DateGreaterThanEquals": "is not before",
    "Bool": "is",
    "BinaryEquals": "is",
    "IpAddress": "is in",
    "NotIpAddress": "is not in",
    "ArnEquals": "is",
    "ArnLike": "is like",
    "ArnNotEquals": "is not",
    "ArnNotLike": "is not like",
}


def line(sign: str, change: Change) -> str:
    """Return a change as one line.

    >>> line("+", change)
    '+ s3:Get* (71 actions) on arn:aws:s3:::shop-* if aws:SourceVpc is vpc-1'

    Args:
        sign: ``+`` for what is gained, ``-`` for what is lost.
        change: The change.
    """
    text = f"{sign} {_actions(change)} on {_resources(change.resources)}"
    if change.denial:
        text += " is denied now" if sign == "-" else " is no longer denied"
    tests = " and ".join(words(test) for test in change.tests)
    return f"{text} if {tests}" if tests else text


def words(test: Test) -> str:
    """Return one test of a condition in words: ``aws:SourceVpc is vpc-1``."""
    key = plain(_key(test.key), _SHOWN)
    if test.operator == "Null":
        absent = {value.lower() for value in test.values} == {"true"}
        return f"{key} is {'absent' if absent else 'there'}"
    subject = {"ForAllValues": f"every value of {key}", "ForAnyValue": f"a value of {key}"}.get(test.quantifier, key)
    values = _some(
        [plain(value, _SHOWN) or "empty" for value in test.values], "or" if "Not" not in test.operator else "nor"
    )
    return f"{subject} {_VERBS[test.operator]} {values}{' or absent' if test.if_exists else ''}"


def without_variables(pattern: str) -> str:
    """Return a pattern in which each policy variable is a wildcard."""
    return _VARIABLE.sub("*", pattern)


def _actions(change: Change) -> str:
    texts = _some([_named(one) for one in change.actions])
    if all(not _is_wild(one.pattern) for one in change.actions):
        return texts
    if not change.differing:
        return f"{texts} (no action known today)"
    known = {
        action.full for one in change.actions if one.pattern is not None for action in catalogue.expand(one.pattern)
    }
    if any(one.pattern is None for one in change.actions) or len(change.differing) >= len(known):
        return f"{texts} ({_counted(len(change.differing))})"
    if len(change.differing) <= _NAMED:
        return f"{_some(change.differing)} (of {texts})"
    return f"{texts} ({len(change.differing):,} of {_counted(len(known))})"


def _counted(number: int) -> str:
    return "1 action" if number == 1 else f"{number:,} actions"


def _named(actions: Actions) -> str:
    if actions.pattern is None:
        return f"everything but {_some([_cased(one) for one in actions.but])}"
    return _cased(actions.pattern)


def _resources(resources: Sequence[Resources]) -> str:
    return _some([_resource(one) for one in resources])


def _resource(one: Resources) -> str:
    if one.pattern is None:
        return f"everything but {_some([plain(text, _SHOWN) for text in one.but])}"
    return plain(one.pattern, _SHOWN)


def _cased(pattern: str) -> str:
    """Return a pattern of actions in AWS's own case, as far as the catalogue tells it."""
    found = catalogue.expand(pattern)
    if not found or pattern.count("*") > _NAMED:
        return plain(pattern, _SHOWN)
    full = found[0].full
    pieces = re.split(r"([*?])", pattern)
    expression = "".join({"*": ".*?", "?": "."}.get(piece, f"({re.escape(piece)})") for piece in pieces)
    match = re.fullmatch(expression, full.lower())
    if match is None:
        return plain(pattern, _SHOWN)
    literals = iter([full[start:end] for start, end in (match.span(at) for at in range(1, len(match.groups()) + 1))])
    cased = "".join(piece if piece in ("*", "?") else next(literals) for piece in pieces)
    return plain(cased, _SHOWN)


def _key(key: str) -> str:
    """Return a condition key in AWS's own case, as far as the catalogue tells it."""
    for known in (catalogue.global_keys(), catalogue.service_keys(key.partition(":")[0])):
        for name in known:
            start = name.partition("${")[0]
            if name.lower() == key or ("${" in name and key.startswith(start.lower())):
                return start + key[len(start) :] if "${" in name else name
    return key


def _some(names: Iterable[str], word: str = "and") -> str:
    every = list(names)
    if len(every) == 1:
        return every[0]
    if len(every) <= _NAMED + 1:
        return f"{', '.join(every[:-1])} {word} {every[-1]}"
    return f"{', '.join(every[:_NAMED])} {word} {len(every) - _NAMED} more"


def _is_wild(text: str | None) -> bool:
    return text is None or "*" in text or "?" in text
