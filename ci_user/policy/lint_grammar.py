"""Lint of the grammar: elements, their types, Sids, and characters that deceive the eye.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from ci_user.policy import documents
from ci_user.policy.lint_finding import Defect, nearest, quoted
from ci_user.policy.statement import OPERATORS, QUANTIFIERS, operator

_DOCUMENT: Final = ("Version", "Id", "Statement")
_STATEMENT: Final = ("Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition")
_PRINCIPALS: Final = ("principal", "notprincipal")
_LISTS: Final = ("Action", "NotAction", "Resource", "NotResource")
# https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreatePolicy.html, PolicyDocument
_REFUSED: Final = re.compile(r"[^\t\n\r\u0020-\u00ff]")
_UNSEEN: Final = re.compile(r"[\t\n\r\u007f-\u00a0\u00ad]")


def document_defects(document: Mapping[str, Any]) -> Iterator[Defect]:
    """Find what is wrong with the document around its statements."""
    yield from _names(document, _DOCUMENT, "a policy")
    version = _get(document, "Version")
    if version is None:
        yield Defect(
            "missing-version",
            "error",
            "Version is missing: IAM then takes 2008-10-17, in which policy variables are plain text",
            'add `"Version": "2012-10-17"`',
        )
    elif version != "2012-10-17":
        old = version == "2008-10-17"
        yield Defect(
            "old-version" if old else "bad-version",
            "error",
            "Version 2008-10-17 takes policy variables as plain text"
            if old
            else f"IAM knows no Version {quoted(version)}",
            'write `"Version": "2012-10-17"`',
            ("Version",),
        )
    statements = _get(document, "Statement")
    if statements is None or statements == []:
        yield Defect("no-statement", "error", "there is no statement", "add one, or remove the policy")
    elif not isinstance(statements, list | dict):
        yield _type("Statement", statements, "a list of statements")
    size = documents.size(document)
    if size > documents.MANAGED_POLICY_SIZE:
        yield Defect(
            "too-large",
            "error",
            f"it has {size:,} characters that are not white space, more than the {documents.MANAGED_POLICY_SIZE:,} of a "
            "managed policy",
            "split it (`invoke policy.pack` does), or group actions with wildcards",
        )


def statement_defects(entry: object) -> Iterator[Defect]:
    """Find what is wrong with the grammar of one statement. Without an error here it can be read as a `Statement`."""
    if not isinstance(entry, dict):
        yield Defect("wrong-type", "error", f"{quoted(entry)} is no statement", "write an object")
        return
    yield from _names(entry, _STATEMENT, "a statement")
    yield from _effect(_get(entry, "Effect"))
    for one in ("Action", "Resource"):
        yield from _pair(entry, one, f"Not{one}")
    for one in _LISTS:
        yield from _items(one, _get(entry, one))
    yield from _condition(_get(entry, "Condition"))
    yield from _characters(entry)


def sid_defects(entries: Sequence[object]) -> Iterator[tuple[int, Defect]]:
    """Find Sids that IAM refuses; each with its statement's number.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_sid.html
    """
    sids = [_get(entry, "Sid") if isinstance(entry, dict) else None for entry in entries]
    counted = Counter(sid for sid in sids if isinstance(sid, str) and sid)
    for number, sid in enumerate(sids, 1):
        if sid is not None and not isinstance(sid, str):
            yield number, _type("Sid", sid, "a string")
        elif sid and not re.fullmatch(r"[A-Za-z0-9]+", sid):
            yield (
                number,
                Defect(
                    "bad-sid",
                    "error",
                    f"the Sid {quoted(sid)} has other characters than letters and digits, which IAM refuses",
                    f"write {quoted(re.sub(r'[^A-Za-z0-9]', '', sid) or 'Statement1')}",
                    ("Sid",),
                ),
            )
        if isinstance(sid, str) and counted[sid] > 1 and sids.index(sid) != number - 1:
            message = (
                f"the Sid {quoted(sid)} stands at statement {sids.index(sid) + 1} too: a policy's Sids must differ"
            )
            yield number, Defect("duplicate-sid", "error", message, "rename one of them", ("Sid",))


def _names(entry: Mapping[str, Any], known: Sequence[str], what: str) -> Iterator[Defect]:
    by_case = {name.lower(): name for name in known}
    seen: dict[str, str] = {}
    for name in entry:
        proper = by_case.get(name.lower())
        if name.lower() in _PRINCIPALS and "Effect" in known:
            yield Defect(
                "principal-in-identity-policy",
                "error",
                f"{quoted(name)} belongs into resource policies and trust policies: here the holder is the principal",
                f"take {quoted(name)} out",
                (name,),
            )
        elif proper is None:
            meant = nearest(name, known)
            yield Defect(
                "unknown-element",
                "error",
                f"{quoted(name)} is no element of {what}",
                f"write {quoted(meant)}" if meant else f"take it out; {what} has {', '.join(known)}",
                (name,),
            )
        elif proper in seen:
            yield Defect(
                "duplicate-element",
                "error",
                f"{quoted(seen[proper])} and {quoted(name)} are the same element, since case does not count",
                "keep one of them",
                (name,),
            )
        elif name != proper:
            message = f"{quoted(name)} is written {proper} by AWS; not every tool reads it otherwise"
            yield Defect("element-case", "note", message, f"write {proper}", (name,))
        if proper is not None:
            seen.setdefault(proper, name)


def _effect(effect: object) -> Iterator[Defect]:
    if effect is None:
        message = "Effect is missing: a statement neither allows nor denies by itself"
        yield Defect("missing-element", "error", message, 'add `"Effect": "Allow"` or `"Effect": "Deny"`')
    elif effect not in ("Allow", "Deny"):
        proper = str(effect).capitalize()
        yield Defect(
            "bad-effect",
            "error",
            f"Effect is {quoted(effect)}; it must be Allow or Deny, in exactly this case",
            f"write {proper}" if proper in ("Allow", "Deny") else "write Allow or Deny",
            ("Effect",),
        )


def _pair(entry: Mapping[str, Any], name: str, negated: str) -> Iterator[Defect]:
    one, other = _get(entry, name), _get(entry, negated)
    if one is None and other is None:
        yield Defect("missing-element", "error", f"neither {name} nor {negated} is there", f"add {name}")
    elif one is not None and other is not None:
        message = f"{name} and {negated} are both there: IAM refuses that"
        yield Defect("both-elements", "error", message, "make two statements of it", (negated,))


def _items(name: str, value: object) -> Iterator[Defect]:
    if value is None or (isinstance(value, str) and value):
        return
    if value in ([], ""):
        yield Defect("empty-list", "error", f"{name} is empty: the statement is about nothing", f"fill {name}", (name,))
    elif not isinstance(value, list):
        yield _type(name, value, "a string or a list of strings")
    else:
        for at, item in enumerate(value):
            if not isinstance(item, str):
                yield _type(name, item, "a list of strings", at)
            elif not item:
                yield Defect("empty-list", "error", f"{name} has an empty item", "take it out", (name, at))


def _condition(condition: object) -> Iterator[Defect]:
    if condition is None:
        return
    if not isinstance(condition, dict):
        yield _type("Condition", condition, "an object of operators")
        return
    if not condition:
        message = "Condition is empty: the statement holds without any"
        yield Defect("empty-condition", "warning", message, "fill it, or take it out", ("Condition",))
    for name, block in condition.items():
        path = ("Condition", name)
        if operator(name) is None:
            yield _operator(name, path)
        if not isinstance(block, dict):
            yield _type(f"{quoted(name)} in Condition", block, "an object of condition keys", path=path)
        elif not block:
            message = f"{quoted(name)} names no condition key, which tests nothing"
            yield Defect("empty-condition", "error", message, "fill it, or take it out", path)
        else:
            yield from _block(block, path)


def _block(block: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[Defect]:
    for key, value in block.items():
        here = (*path, key)
        values = value if isinstance(value, list) else [value]
        if not values:
            message = f"{quoted(key)} has no value: the test can never hold"
            yield Defect("empty-list", "error", message, "give a value, or use Null to test for presence", here)
        for at, one in enumerate(values):
            if not isinstance(one, str | int | float):
                yield _type(quoted(key), one, "strings", at, here)


def _operator(name: str, path: tuple[str, ...]) -> Defect:
    quantifier, colon, rest = name.rpartition(":")
    base = re.sub(r"(?i)IfExists$", "", rest)
    end = "IfExists" if base != rest else ""
    meant = nearest(base, OPERATORS.values())
    for_each = nearest(quantifier, QUANTIFIERS) if colon else ""
    if meant == "Null":
        message = f"{quoted(name)} is no condition operator: Null goes without IfExists and without a quantifier"
        return Defect("bad-operator", "error", message, "write `Null`", path)
    fix = "use one of " + ", ".join(OPERATORS.values())
    if meant and for_each is not None:
        fix = f"write {quoted(f'{for_each}{colon}{meant}{end}')}"
    return Defect("bad-operator", "error", f"{quoted(name)} is no condition operator", fix, path)


def _characters(value: object, path: tuple[str | int, ...] = ()) -> Iterator[Defect]:
    for text, here in _texts(value, path):
        refused, unseen = _REFUSED.search(text), _UNSEEN.search(text)
        found = refused or unseen
        if found:
            yield Defect(
                "odd-character",
                "error" if refused else "warning",
                f"{quoted(text)} has the character U+{ord(found[0]):04X}"
                + (", which IAM refuses" if refused else ", which nobody sees"),
                "type the text anew",
                here,
            )
        elif text != text.strip():
            message = f"{quoted(text)} begins or ends with a space, which counts: it is compared as it stands"
            yield Defect("stray-space", "warning", message, f"write {quoted(text.strip())}", here)


def _texts(value: object, path: tuple[str | int, ...]) -> Iterable[tuple[str, tuple[str | int, ...]]]:
    if isinstance(value, str):
        yield value, path
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key, (*path, key)
            yield from _texts(item, (*path, key))
    elif isinstance(value, list):
        for at, item in enumerate(value):
            yield from _texts(item, (*path, at))


def _type(
    name: str, value: object, expected: str, at: int | None = None, path: tuple[str, ...] | None = None
) -> Defect:
    way: tuple[str | int, ...] = (name,) if path is None else path
    kind = {
        dict: "an object",
        list: "a list",
        str: "a string",
        bool: "true or false",
        int: "a number",
        float: "a number",
    }
    found = "null" if value is None else kind.get(type(value), "something else")
    place = way if at is None else (*way, at)
    subject = name if at is None else f"an item of {name}"
    return Defect("wrong-type", "error", f"{subject} is {found}", f"write {expected}", place)


def _get(entry: Mapping[str, Any], name: str) -> Any:
    return next((value for key, value in entry.items() if key.lower() == name.lower()), None)
