"""Policy documents as a check reads them: strictly, and when in doubt against the document.

Grammar: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ci_user.policy import globs

_LONGEST: Final = 100_000
_SETS: Final = frozenset({"Action", "NotAction", "Resource", "NotResource"})


class UnreadableDocumentError(ValueError):
    """The document is not JSON, or not shaped like a policy; ``str()`` says why."""


@dataclass(frozen=True)
class Statement:
    """One statement: lower-case actions and resources as patterns; exactly one of each pair is not None."""

    allows: bool
    actions: tuple[str, ...] | None
    not_actions: tuple[str, ...] | None
    resources: tuple[str, ...] | None
    not_resources: tuple[str, ...] | None

    def covers(self, action: str, resource: str) -> bool:
        """Tell whether the statement speaks of an action on a resource; conditions do not narrow it."""
        return _side(self.actions, self.not_actions, action) and _side(self.resources, self.not_resources, resource)


def statements(document: str) -> tuple[Statement, ...]:
    """Return a policy's statements.

    Raises:
        UnreadableDocumentError: It cannot be read for sure: then nobody can say what it allows.
    """
    content = load(document)
    found = _field(content, "Statement")
    entries = [found] if isinstance(found, dict) else found
    if not isinstance(entries, list) or not entries:
        raise UnreadableDocumentError("it has no statement")
    return tuple(_statement(entry) for entry in entries)


def load(document: str) -> dict[str, Any]:
    """Return the JSON object of a document.

    Raises:
        UnreadableDocumentError: It is no JSON object, or one key stands twice in one object.
    """
    if len(document) > _LONGEST:
        raise UnreadableDocumentError(f"it is longer than {_LONGEST} characters")
    try:
        content = json.loads(document, object_pairs_hook=_once)
    except UnreadableDocumentError:
        raise
    except (ValueError, RecursionError):
        raise UnreadableDocumentError("it is not JSON") from None
    if not isinstance(content, dict):
        raise UnreadableDocumentError("it is no JSON object")
    return content


def same(one: str, other: str) -> bool:
    """Tell whether two documents say the same, whatever the order of keys, statements, actions and resources.

    Raises:
        UnreadableDocumentError: One of them is no JSON object.
    """
    return _canonical(load(one)) == _canonical(load(other))


def _statement(entry: object) -> Statement:
    if not isinstance(entry, dict):
        raise UnreadableDocumentError("a statement is no object")
    effect = _field(entry, "Effect")
    if not isinstance(effect, str) or effect.casefold() not in ("allow", "deny"):
        raise UnreadableDocumentError("a statement has no effect")
    actions, not_actions = _patterns(entry, "Action"), _patterns(entry, "NotAction")
    resources, not_resources = _patterns(entry, "Resource"), _patterns(entry, "NotResource")
    if (actions is None) == (not_actions is None):
        raise UnreadableDocumentError("a statement needs either Action or NotAction")
    if (resources is None) == (not_resources is None):
        raise UnreadableDocumentError("a statement needs either Resource or NotResource")
    return Statement(effect.casefold() == "allow", actions, not_actions, resources, not_resources)


def _patterns(entry: Mapping[str, Any], key: str) -> tuple[str, ...] | None:
    value = _field(entry, key)
    if value is None:
        return None
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(item, str) for item in values):
        raise UnreadableDocumentError(f"{key} is neither a string nor a list of strings")
    return tuple(_loose(item.strip().lower()) for item in values)


def _loose(pattern: str) -> str:
    # A policy variable can stand for anything, so it is read as a wildcard.
    parts = pattern.split("${")
    return parts[0] + "".join("*" + rest.partition("}")[2] for rest in parts[1:])


def _field(entry: Mapping[str, Any], key: str) -> Any:
    found = [value for name, value in entry.items() if name.casefold() == key.casefold()]
    if len(found) > 1:
        raise UnreadableDocumentError(f"{key} stands twice in one object")
    return found[0] if found else None


def _side(patterns: tuple[str, ...] | None, excluded: tuple[str, ...] | None, text: str) -> bool:
    lowered = text.lower()
    if patterns is not None:
        return any(globs.matches(globs.glob(pattern), lowered) for pattern in patterns)
    return not any(globs.matches(globs.glob(pattern), lowered) for pattern in excluded or ())


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise UnreadableDocumentError("one key stands twice in one object")
    return content


def _canonical(document: Mapping[str, Any]) -> str:
    # Terraform keeps the state's spelling of a document when AWS takes both for equal, so order must not matter where
    # it means nothing.
    content = {key: value for key, value in document.items() if key != "Statement"}
    entries = document.get("Statement", [])
    entries = [entries] if isinstance(entries, dict) else entries
    if isinstance(entries, list):
        entries = sorted(json.dumps(_ordered(entry), sort_keys=True) for entry in entries)
    return json.dumps({**content, "Statement": entries}, sort_keys=True)


def _ordered(entry: object) -> object:
    if not isinstance(entry, dict):
        return entry
    ordered = {key: _as_set(value) if key in _SETS else value for key, value in entry.items()}
    condition = ordered.get("Condition")
    if isinstance(condition, dict):
        ordered["Condition"] = {
            operator: {key: _as_set(value) for key, value in block.items()} if isinstance(block, dict) else block
            for operator, block in condition.items()
        }
    return ordered


def _as_set(value: object) -> object:
    values = value if isinstance(value, list) else [value]
    return sorted({json.dumps(item, sort_keys=True) for item in values})
