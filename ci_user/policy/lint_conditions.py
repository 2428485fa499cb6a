"""Lint of conditions: keys that nobody sends, operators that do not fit, tests that hold when they should not.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition.html
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from ci_user.policy import catalogue
from ci_user.policy.lint_finding import Defect, Subject, listed, nearest, quoted
from ci_user.policy.lint_values import value_defects
from ci_user.policy.statement import Test

# Which operators compare which type. ARNs are strings as well, and Bool is compared as text by AWS too.
_FITTING: Final[Mapping[str, Sequence[str]]] = {
    "String": ("String", "Arn"),
    "ARN": ("Arn", "String"),
    "Bool": ("Bool", "String"),
    "Numeric": ("Numeric",),
    "Date": ("Date",),
    "IPAddress": ("IpAddress", "NotIpAddress"),
}
_EPOCH: Final = "aws:epochtime"


def condition_defects(subject: Subject) -> Iterator[Defect]:
    """Find what is wrong with a statement's condition, if it has one."""
    services = sorted({text.partition(":")[0].lower() for text in subject.actions if ":" in text})
    for path, test in located(subject):
        written = str(path[-1])
        if _is_federated(test.key):
            message = f"{quoted(written)} is a key of sessions from an identity provider: a user with access keys never has it"
            yield Defect("federated-key", "note", message, "use it in policies of such roles only", path)
        elif not any(catalogue.key_type(one, test.key) for one in (test.key.partition(":")[0], *services)):
            yield _unknown(test.key, written, path)
        else:
            yield from _unsent(subject, test, written, path)
            yield from _operator(test, written, services, path)
            if subject.statement.allows:
                yield from _loose(subject, test, written, path)
        yield from value_defects(test, written, path, services)


def located(subject: Subject) -> Iterator[tuple[tuple[str, ...], Test]]:
    """Return a statement's tests, each with its path in the entry."""
    found = [value for name, value in subject.raw.items() if name.lower() == "condition"]
    condition: Mapping[str, Mapping[str, object]] = found[0] if found else {}
    paths = [("Condition", name, key) for name, block in condition.items() for key in block]
    yield from zip(paths, subject.statement.tests, strict=True)


def absent_holds(test: Test) -> bool:
    """Tell whether a test holds when the request does not have its key.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
    """
    if test.operator == "Null":
        return any(value.lower() == "true" for value in test.values)
    if test.quantifier == "ForAnyValue":
        return test.if_exists
    return test.if_exists or test.quantifier == "ForAllValues" or _negated(test)


def _negated(test: Test) -> bool:
    return "Not" in test.operator


def _is_federated(key: str) -> bool:
    """Tell whether an identity provider sets a key: ``token.actions.githubusercontent.com:sub``, ``saml:aud``.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_iam-condition-keys.html
    """
    prefix, colon, _ = key.partition(":")
    return bool(colon) and ("." in prefix or prefix == "saml")


def _unknown(key: str, written: str, path: tuple[str, ...]) -> Defect:
    prefix, colon, _ = key.partition(":")
    known = catalogue.global_keys() if prefix == "aws" else catalogue.service_keys(prefix)
    meant = nearest(written, known or catalogue.global_keys())
    if not colon:
        message = f"{quoted(written)} is no condition key: those begin with `aws:` or with a service"
    else:
        message = f"there is no condition key {quoted(written)} in AWS's reference of {catalogue.dated().date}"
    fix = f"did you mean {quoted(meant)}?" if meant else f"see {catalogue.page(prefix)}"
    return Defect("unknown-key", "error", message, fix, path)


def _unsent(subject: Subject, test: Test, written: str, path: tuple[str, ...]) -> Iterator[Defect]:
    if subject.statement.actions is None:
        return
    unsent = [text for text in subject.actions if not _some_knows(text, test.key)]
    if not unsent:
        return
    effects = {
        (True, False): "so the statement never allows them",
        (True, True): "so the test holds for them always and limits nothing",
        (False, False): "so the statement never denies them",
        (False, True): "so the statement denies them always",
    }
    effect = effects[subject.statement.allows, absent_holds(test)]
    if len(unsent) == 1:
        effect = effect.replace("them", "it")
    yield Defect(
        "key-unknown-to-action",
        "warning",
        f"AWS's reference does not list {quoted(written)} for {listed(unsent)}, {effect}",
        "move what knows the key into a statement of its own"
        if len(unsent) < len(subject.actions)
        else "use a key they know",
        path,
    )


@functools.lru_cache(maxsize=16_384)
def _some_knows(pattern: str, key: str) -> bool:
    """Tell whether one of the actions that a pattern names knows a key; unknown actions count as knowing all."""
    found = catalogue.expand(pattern)
    return not found or any(catalogue.knows_key(one.full, key) for one in found)


def _operator(test: Test, written: str, services: Sequence[str], path: tuple[str, ...]) -> Iterator[Defect]:
    own = test.key.partition(":")[0]
    kind = next((found for one in (own, *services) if (found := catalogue.key_type(one, test.key))), None)
    if kind is None or test.operator == "Null":
        return
    several, base = kind.startswith("ArrayOf"), kind.removeprefix("ArrayOf")
    fitting = _FITTING.get(base, ())
    fits = test.operator.startswith(tuple(fitting)) or (test.key == _EPOCH and test.operator.startswith("Numeric"))
    if fitting and not fits:
        yield Defect(
            "operator-type",
            "warning",
            f"{quoted(written)} is of type {base}, which {test.operator} does not compare: the test may never hold",
            f"use an operator that begins with {' or '.join(fitting)}",
            path,
        )
    if several and not test.quantifier:
        yield Defect(
            "quantifier-missing",
            "warning",
            f"{quoted(written)} can have several values at once, and {test.operator} without a quantifier compares one",
            f"write ForAnyValue:{test.operator}, or ForAllValues:{test.operator} together with a Null test",
            path,
        )
    if not several and test.quantifier:
        yield Defect(
            "quantifier-needless",
            "warning",
            f"{quoted(written)} has one value; AWS advises against {test.quantifier} with it"
            + (", which also holds when there is none" if test.quantifier == "ForAllValues" else ""),
            f"write {test.operator}{'IfExists' if test.if_exists else ''}",
            path,
        )


def _loose(subject: Subject, test: Test, written: str, path: tuple[str, ...]) -> Iterator[Defect]:
    """Find tests that let a request through since it does not have the key at all."""
    guarded = any(other.key == test.key and not absent_holds(other) for other in subject.statement.tests)
    if test.operator == "Null" or guarded or catalogue.always_there(test.key) or not absent_holds(test):
        return
    guard = f'add `"Null": {{{quoted(written)[1:-1]!r}: "false"}}`'.replace("'", '"')
    if test.quantifier == "ForAllValues":
        message = (
            f"ForAllValues on {quoted(written)} also holds when the request has no such key: then everything is allowed"
        )
        yield Defect("for-all-values-allowed", "warning", message, f"{guard} to the condition", path)
    elif test.if_exists:
        message = f"IfExists on {quoted(written)} allows every request that does not have the key"
        yield Defect("if-exists-allowed", "note", message, "take IfExists off if the key must be there", path)
    else:
        yield Defect(
            "negated-allowed",
            "warning",
            f"{test.operator} on {quoted(written)} also holds when the request has no such key: then the statement allows it",
            f"name what is meant instead of what is not, or {guard}",
            path,
        )
