"""Attributes of a plan compared by what they mean, and as text of which a difference can be read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from ci_user.policy.documents import canonical
from ci_user.redaction import SENSITIVE
from ci_user.text import plain

UNKNOWN: Final = "(known after apply)"
"""Stands where Terraform cannot say yet what it will be."""
LONGEST: Final = 20_000
"""The most characters of one attribute's text; a managed policy has 6,144 at most, without white space."""
_DEEPEST: Final = 64


def same(one: Any, other: Any) -> bool:
    """Tell whether two values of an attribute mean the same.

    Nothing and an empty value do: a provider writes one and reads the other. JSON documents do when they differ in white space
    and the order of keys only, and policy documents also when lists are in another order or a list holds one item alone
    (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html).
    """
    return bool(one == other or _settled(one) == _settled(other))


def text(value: Any) -> str:
    """Return a value for people: nothing as an empty text, JSON with one item a line, in an order that stays the same.

    Each character that could steer a terminal is written out, line breaks of the text itself are kept.
    """
    if value is None:
        return ""
    if isinstance(value, str):
        document = _document(value)
        written = value or '""' if document is None else _pretty(_in_order(document))
    else:
        written = _pretty(value)
    lines = "\n".join(plain(line) for line in written.split("\n"))
    return (
        lines
        if len(lines) <= LONGEST
        else f"{lines[: LONGEST - 60]}\n(and {len(lines) - LONGEST + 60} characters more)"
    )


def masked(value: Any) -> bool:
    """Tell whether a value, or a part of it, is sensitive: what it was and what it will be cannot be compared."""
    if isinstance(value, Mapping):
        return any(masked(part) for part in value.values())
    if isinstance(value, list):
        return any(masked(part) for part in value)
    return bool(value == SENSITIVE)


def _settled(value: Any) -> Any:
    if isinstance(value, str):
        document = _document(value)
        if document is not None:
            return ("JSON", json.dumps(_settled_policy(document) if _is_policy(document) else document, sort_keys=True))
    if isinstance(value, Mapping):
        value = {key: _settled(part) for key, part in value.items()}
    elif isinstance(value, list):
        value = [_settled(part) for part in value]
    return None if value in ("", [], {}) else value


def _settled_policy(part: Any) -> Any:
    if isinstance(part, Mapping):
        return {key: _settled_policy(value) for key, value in part.items()}
    if isinstance(part, list):
        items = sorted((_settled_policy(item) for item in part), key=lambda item: json.dumps(item, sort_keys=True))
        return items[0] if len(items) == 1 else items
    return part


def _in_order(document: Any) -> Any:
    if isinstance(document, Mapping):
        return json.loads(canonical(_sorted_texts(document) if _is_policy(document) else document))
    return document


def _sorted_texts(part: Any) -> Any:
    if isinstance(part, Mapping):
        return {key: _sorted_texts(value) for key, value in part.items()}
    if isinstance(part, list):
        return sorted(part) if all(isinstance(item, str) for item in part) else [_sorted_texts(item) for item in part]
    return part


def _is_policy(document: Any) -> bool:
    return isinstance(document, Mapping) and "Statement" in document


def _document(value: str) -> Any:
    """Return the JSON object or list that a text holds; None where it holds none, or one that readers may read differently."""
    if not value.lstrip().startswith(("{", "[")):
        return None
    try:
        document = json.loads(value, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        return None
    return None if _deeper(document, _DEEPEST) else document


def _deeper(value: Any, levels: int) -> bool:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels == 0 or any(_deeper(part, levels - 1) for part in parts)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _pretty(value: Any) -> str:
    # A policy's keys are in IAM's order already; those of anything else are sorted, as Terraform writes maps.
    return json.dumps(value, indent=2, ensure_ascii=False, sort_keys=not _is_policy(value))
