"""What the model refuses, in a person's words: the line, the key, what was found and what is expected."""

from __future__ import annotations

import difflib
import typing
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from ci_user import backends
from ci_user.environment import Environment
from ci_user.environment_policies import item_model
from ci_user.environment_yaml import Path, Problem, shown, spelled

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

    from ci_user.environment_yaml import Document

NOT_IN_FILES = frozenset({"name", "root"})
"""Fields of the model that the reader fills in."""
_LISTS = frozenset({"secrets", "policies"})
"""Fields whose items say themselves which model reads them."""

_TYPES = {
    "bool_type": "true or false",
    "int_type": "a whole number",
    "float_type": "a number",
    "dict_type": "keys with values",
    "model_type": "keys with values",
    "model_attributes_type": "keys with values",
    "tuple_type": "a list",
    "list_type": "a list",
}
_BOUNDS = {
    "greater_than_equal": "at least {ge}",
    "greater_than": "more than {gt}",
    "less_than_equal": "at most {le}",
    "less_than": "less than {lt}",
    "too_short": "at least {min_length} of them",
    "too_long": "at most {max_length} of them",
    "string_too_short": "at least {min_length} characters",
    "string_too_long": "at most {max_length} characters",
    "string_pattern_mismatch": "text that matches {pattern}",
    "literal_error": "{expected}",
    "enum": "{expected}",
}


def explain(error: ValidationError, document: Document) -> list[Problem]:
    """Return the problems of one file, in the order of its lines."""
    details = error.errors(include_url=False)
    places = [detail["loc"] for detail in details]
    problems = []
    for detail in details:
        place = detail["loc"]
        if any(place[:length] in document.refused for length in range(1, len(place) + 1)):
            continue
        # A list that lost its bad items is "too short" for no reason of its own.
        if detail["type"] == "too_short" and any(len(p) > len(place) and p[: len(place)] == place for p in places):
            continue
        problems.append(Problem(document.line(place), spelled(place), _sentence(detail, document)))
    return sorted(set(problems))


def _sentence(detail: ErrorDetails, document: Document) -> str:
    kind, place = detail["type"], detail["loc"]
    if kind == "extra_forbidden":
        return _unknown(place, document)
    if kind == "missing":
        return f"missing; expected {_described(place, document)}"
    return f"found {_found(detail, document)}; {_expected(detail, document)}"


def _expected(detail: ErrorDetails, document: Document) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "expected":
        return f"expected {context['expected']}"
    if kind in {"value_error", "assertion_error"}:
        return str(context["error"])
    if kind == "string_type":
        number = isinstance(detail["input"], int | float)
        return "expected text in quotes: without them YAML reads no text" if number else "expected text"
    if kind in _TYPES:
        return f"expected {_TYPES[kind]}"
    if kind in _BOUNDS:
        return f"expected {_BOUNDS[kind].format_map(context)}"
    return f"expected {_described(detail['loc'], document)}"


def _found(detail: ErrorDetails, document: Document) -> str:
    place, value = detail["loc"], detail["input"]
    if place in document.raw and place not in document.quoted and not isinstance(value, str):
        return document.raw[place][:80] or "nothing"
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return shown(value)
    if isinstance(value, dict | BaseModel):
        return "keys with values"
    if isinstance(value, list | tuple):
        return "a list" if value else "an empty list"
    return shown(str(value))


def _unknown(place: Path, document: Document) -> str:
    model = _model_at(place[:-1], document)
    known = sorted(set(model.model_fields) - (NOT_IN_FILES if model is Environment else set())) if model else []
    if place in {("name",), ("root",)}:
        return "unknown key; the file's name is the environment's name"
    close = difflib.get_close_matches(str(place[-1]), known, n=1)
    if close:
        return f'unknown key; did you mean "{close[0]}"?'
    return f"unknown key; expected one of {', '.join(known)}"


def _described(place: Path, document: Document) -> str:
    model = _model_at(place[:-1], document)
    info = model.model_fields.get(str(place[-1])) if model else None
    text = (info.description if info else None) or "a value"
    return text[:1].lower() + text[1:].rstrip(".") if text[1:2].islower() else text.rstrip(".")


def _model_at(place: Path, document: Document) -> type[BaseModel] | None:
    """Find the model that reads the mapping at `place`."""
    model: type[BaseModel] | None = Environment
    value: Any = document.value
    for index, part in enumerate(place):
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return None
        if place[:1] == ("secrets",) and index == 1:
            name = value.get("backend") if isinstance(value, dict) else None
            # A plugin that was refused is not imported for an explanation.
            model = backends.settings_model(name) if name in backends.builtin() else None
        elif place[:1] == ("policies",) and index == 1:
            model = item_model(value)
        elif isinstance(part, str) and model is not None and part in model.model_fields and part not in _LISTS:
            model = _model_in(model.model_fields[part].annotation)
    return model


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, typing.get_args(annotation))), None)
