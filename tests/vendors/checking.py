"""Judges a request, and a double's answer, by the vendor's description. No text of it repeats a value."""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.vendors.description import Description, Operation, Parameter

_FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Body:
    """A body as read: ``value`` is the parsed JSON, the fields of a form, or the bytes; None when there is none."""

    value: Any
    kind: str
    faults: tuple[str, ...] = ()


def media_type(header: str) -> str:
    """Return a Content-Type without its parameters, in lower case."""
    return header.partition(";")[0].strip().lower()


def read_body(raw: bytes, content_type: str) -> Body:
    """Parse a body by the type it claims to have."""
    kind = media_type(content_type)
    if not raw:
        return Body(None, kind)
    if kind == "application/json" or kind.endswith("+json"):
        try:
            return Body(json.loads(raw), kind)
        except ValueError:
            return Body(raw, kind, ("the body is not JSON",))
    if kind == _FORM:
        fields = urllib.parse.parse_qs(raw.decode("utf-8", "replace"), keep_blank_values=True)
        return Body({name: values[0] if len(values) == 1 else values for name, values in fields.items()}, kind)
    if not kind:
        # Kubernetes' own client says nothing of its JSON; whether a type may be missing is the description's to say.
        try:
            return Body(json.loads(raw), kind)
        except ValueError:
            return Body(raw, kind)
    return Body(raw, kind)


def request_faults(
    description: Description,
    operation: Operation,
    parameters: Mapping[str, str],
    query: Mapping[str, list[str]],
    headers: Mapping[str, str],
    body: Body,
    undocumented: Collection[str],
) -> list[str]:
    """Return what the description refuses, but for what is ``undocumented`` (see ``VendorServer``)."""
    faults = list(body.faults)
    for name, value in parameters.items():
        declared = next(p for p in operation.parameters if p.place == "path" and p.name == name)
        faults += _value_faults(description, declared, [value])
    faults += _query_faults(description, operation, query, undocumented)
    for declared in operation.parameters:
        # Accept, Content-Type and Authorization are not described this way, says OpenAPI, and are to be ignored here.
        if declared.place == "header" and declared.name.lower() not in ("accept", "content-type", "authorization"):
            given = headers.get(declared.name.lower())
            if given is not None:
                faults += _value_faults(description, declared, [given])
            elif declared.required:
                faults.append(f"lacks the header {declared.name}")
    return faults or list(_body_faults(description, operation, body, undocumented))


def answer_faults(description: Description, operation: Operation, status: int, document: Any, kind: str) -> list[str]:
    """Return what is wrong with an answer; errors that the description doesn't mention may look as they like."""
    declared = operation.response(status)
    if declared is None:
        return [] if status >= 400 else [f"{status} is no declared answer"]
    if document is None:
        return ["the answer lacks its document"] if "application/json" in declared.schemas else []
    if not declared.schemas:
        return [] if status >= 400 else [f"{status} is declared without a document"]
    if kind not in declared.schemas:
        return [f"{status} is not declared as {kind}"]
    pointer = declared.schemas[kind]
    return [] if pointer is None else [f"the answer: {fault}" for fault in description.faults(pointer, document)]


def _query_faults(
    description: Description, operation: Operation, query: Mapping[str, list[str]], undocumented: Collection[str]
) -> Iterator[str]:
    declared = [p for p in operation.parameters if p.place == "query"]
    taken: set[str] = set()
    for parameter in declared:
        if parameter.deep:
            inner = {n[len(parameter.name) + 1 : -1]: n for n in query if n.startswith(f"{parameter.name}[")}
            taken |= set(inner.values())
            given: Any = {name: query[key][0] for name, key in inner.items()}
            if given:
                yield from (f"query {parameter.name}: {f}" for f in description.faults(parameter.pointer, given))
                yield from (
                    f"query {parameter.name}[{n}] is not declared"
                    for n in description.undeclared(parameter.pointer, given)
                )
            elif parameter.required:
                yield f"lacks the query parameter {parameter.name}"
        elif parameter.name in query:
            taken.add(parameter.name)
            yield from _value_faults(description, parameter, query[parameter.name])
        elif parameter.required:
            yield f"lacks the query parameter {parameter.name}"
    for name in query:
        if name not in taken and f"query:{name}" not in undocumented:
            yield f"query parameter {name} is not declared"


def _body_faults(
    description: Description, operation: Operation, body: Body, undocumented: Collection[str]
) -> Iterator[str]:
    declared = operation.body
    if body.value is None:
        if declared is not None and declared.required:
            yield "lacks its body"
        return
    if declared is None:
        yield "has a body, and none is declared"
        return
    kind = body.kind if body.kind in declared.schemas else "*/*"
    if kind not in declared.schemas:
        yield f"the body is {body.kind or 'of no type'}, declared is {', '.join(sorted(declared.schemas))}"
        return
    pointer = declared.schemas[kind]
    if pointer is None:
        return
    excused = {name.removeprefix("lacks:") for name in undocumented if name.startswith("lacks:")}
    yield from (f"the body: {fault}" for fault in description.faults(pointer, body.value, excused))
    for name in description.undeclared(pointer, body.value):
        if f"body:{name}" not in undocumented:
            yield f"the body: {name} is not declared"


def _value_faults(description: Description, parameter: Parameter, values: list[str]) -> Iterator[str]:
    """Judge a parameter that came as text, by the type that its schema asks for."""
    kinds = _kinds(parameter.schema)
    where = f"{parameter.place} parameter {parameter.name}"
    if "array" not in kinds and len(values) > 1:
        yield f"{where} is there more than once"
    elif parameter.pointer:
        inner = _kinds(parameter.schema.get("items", {}))
        given = [_typed(v, inner) for v in values] if "array" in kinds else _typed(values[0], kinds)
        yield from (f"{where}: {fault}" for fault in description.faults(parameter.pointer, given))


def _kinds(schema: Mapping[str, Any]) -> set[str]:
    kinds = schema.get("type", ())
    found = {kinds} if isinstance(kinds, str) else set(kinds)
    for word in ("anyOf", "oneOf", "allOf"):
        for branch in schema.get(word, ()):
            found |= _kinds(branch)
    return found


def _typed(text: str, kinds: set[str]) -> Any:
    if "boolean" in kinds and text in ("true", "false"):
        return text == "true"
    if "string" not in kinds and kinds & {"integer", "number"}:
        try:
            return json.loads(text) if text.lstrip("-")[:1].isdigit() else text
        except ValueError:
            return text
    return text
