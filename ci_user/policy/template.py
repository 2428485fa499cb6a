"""Policy documents with ``${name}`` in them: parameters are data, and stay data."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ci_user.errors import PolicyError

Document = dict[str, Any]
Parameters = Mapping[str, str | Sequence[str]]

_SCALAR: Final = re.compile(r"[A-Za-z0-9_+=,.@-]{1,256}")
# An ARN may end in a wildcard: Secrets Manager appends six characters to a name, and objects are BUCKET/*.
_ARN: Final = re.compile(r"arn:[a-z-]+:[a-z0-9-]+:[a-z0-9-]*:([0-9]*|aws):[A-Za-z0-9_+=,.@:/-]{1,2048}(\*|\?{6})?")
_PARAMETER: Final = re.compile(r"\$\{([a-z_]+)\}")
# What IAM itself fills in, ${aws:username}, and its escapes ${*}, ${?}, ${$}:
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html
_IAM_VARIABLE: Final = re.compile(r"\$\{([A-Za-z0-9-]+:[^${}]+|[*?$])\}")


def render(document: Mapping[str, Any], parameters: Parameters) -> Document:
    """Return the document with each ``${name}`` replaced.

    A value is data: it can add no statement, quote, wildcard or template. A list replaces the one item of a
    ``Resource`` array, or of an array of values in a ``Condition``, that is exactly ``${name}``; a statement left without any
    resource is dropped.

    Args:
        document: A policy document; not changed.
        parameters: Strings of letters, digits and ``_+=,.@-``, or lists of ARNs, which may end in ``*`` or
            ``??????``.

    Raises:
        PolicyError: An unknown parameter, one where none may stand, or a value with other characters. What
            IAM fills in, such as ``${aws:username}``, stays.
    """
    for name, value in parameters.items():
        pattern, items = (_SCALAR, [value]) if isinstance(value, str) else (_ARN, list(value))
        for item in items:
            if not pattern.fullmatch(item):
                raise PolicyError(
                    f"the value {item!r} cannot stand in a policy",
                    where=f"parameter {name}",
                    expected="letters, digits and _+=,.@-" if pattern is _SCALAR else "ARNs",
                )
    statements = document["Statement"]
    rendered = []
    for index, statement in enumerate([statements] if isinstance(statements, dict) else statements):
        place = f"statement {statement.get('Sid', index + 1)}"
        filled = {
            _key(key, place): _lists(value, parameters, place)
            if key == "Resource" and isinstance(value, list)
            else _condition(value, parameters, place)
            if key == "Condition" and isinstance(value, dict)
            else _fill(value, parameters, place)
            for key, value in statement.items()
        }
        if filled.get("Resource") != []:
            rendered.append(filled)
    head = {
        _key(key, "the document"): _fill(value, parameters, "the document")
        for key, value in document.items()
        if key != "Statement"
    }
    return {**head, "Statement": rendered}


def _key(key: str, place: str) -> str:
    if "${" in key:
        raise PolicyError(
            f"the key {key!r} holds a parameter",
            where=place,
            expected="parameters in values only",
            details={"value": key},
        )
    return key


def _fill(value: Any, parameters: Parameters, place: str) -> Any:
    if isinstance(value, dict):
        return {_key(key, place): _fill(item, parameters, place) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill(item, parameters, place) for item in value]
    if not isinstance(value, str):
        return value

    strings = [name for name, one in parameters.items() if isinstance(one, str)]

    def known(match: re.Match[str]) -> str:
        found = parameters.get(match[1])
        if isinstance(found, str):
            return found
        problem = "is unknown" if found is None else "is a list, which replaces one whole item of Resource"
        raise PolicyError(
            f"the parameter {match[0]} {problem}",
            where=f"{place}, {value!r}",
            expected=f"one of: {', '.join(sorted(strings))}",
            details={"value": value},
        )

    if "${" in _IAM_VARIABLE.sub("", _PARAMETER.sub("", value)):
        raise PolicyError(
            "a ${ that begins neither a parameter nor a policy variable of IAM",
            where=f"{place}, {value!r}",
            expected="${prefix} or the like, or ${aws:username} or the like",
            details={"value": value},
        )
    return _PARAMETER.sub(known, value)


def _condition(condition: dict[str, Any], parameters: Parameters, place: str) -> dict[str, Any]:
    return {
        _key(operator, place): {
            _key(key, place): _values(value, parameters, place)
            if isinstance(value, list)
            else _fill(value, parameters, place)
            for key, value in test.items()
        }
        if isinstance(test, dict)
        else _fill(test, parameters, place)
        for operator, test in condition.items()
    }


def _values(values: list[Any], parameters: Parameters, place: str) -> list[Any]:
    filled = _lists(values, parameters, place)
    if values and not filled:
        # Whether a test without values holds depends on its operator: nobody would see which.
        raise PolicyError(
            "a condition is left without values",
            where=place,
            expected="a value beside the lists",
            details={"value": values[0]},
        )
    return filled


def _lists(resources: list[Any], parameters: Parameters, place: str) -> list[Any]:
    filled: list[Any] = []
    for item in resources:
        match = _PARAMETER.fullmatch(item) if isinstance(item, str) else None
        value = parameters.get(match[1]) if match else None
        if value is None or isinstance(value, str):
            filled.append(_fill(item, parameters, place))
        else:
            filled.extend(value)
    return list(dict.fromkeys(filled))
