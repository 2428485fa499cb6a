"""What a vendor publishes of its API, cut down to the operations that are used: found by request, read on first use.

Each file in ``descriptions/`` says where it comes from; ``make descriptions`` makes them (see ``cut.py``).
"""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError, best_match
from referencing import Registry
from referencing.jsonschema import DRAFT202012

_DIRECTORY = Path(__file__).parent / "descriptions"
_ROOT = "urn:description"
# Only what every vendor writes by the book; a uuid in braces, for one, is not a "uuid".
_FORMATS = FormatChecker(formats=("date-time",))
# Said of a parameter whose value may hold slashes, as a path in Vault does. OpenAPI itself has no word for it.
MANY_PARTS = "x-many-parts"


@dataclass(frozen=True)
class Parameter:
    """One declared parameter. ``place`` is "path", "query" or "header"."""

    name: str
    place: str
    required: bool
    deep: bool
    many_parts: bool
    schema: Mapping[str, Any]
    pointer: str


@dataclass(frozen=True)
class Content:
    """The media types that a body may have, each with where its schema is (None: anything goes)."""

    required: bool
    schemas: Mapping[str, str | None]


@dataclass(frozen=True)
class Operation:
    """A method on a path template. ``responses`` are by status, "4XX" and "default" among them."""

    name: str
    parameters: tuple[Parameter, ...]
    body: Content | None
    responses: Mapping[str, Content]

    def response(self, status: int) -> Content | None:
        """Return what is declared for ``status``, or None."""
        for key in (str(status), f"{status // 100}XX"):
            if key in self.responses:
                return self.responses[key]
        # A "default" stands for errors: it must not excuse a wrong status of something that went well.
        return self.responses.get("default") if status >= 400 else None


@dataclass(frozen=True)
class Match:
    """An operation, and the decoded values of the parameters in its path."""

    operation: Operation
    parameters: Mapping[str, str]


@dataclass(frozen=True)
class Description:
    """A vendor's description: ``source`` is the package, repository or page that it was made from."""

    name: str
    source: str
    version: str
    openapi: Mapping[str, Any]
    written: bool = False
    _validators: dict[str, Draft202012Validator] = field(default_factory=dict, repr=False, compare=False)

    def match(self, method: str, raw_path: str) -> Match | None:
        """Return the operation for a path as it came over the wire, without query. ``%2F`` belongs to its part."""
        found = [
            (rank, [len(group) for group in fits.groups()], fits, operation)
            for rank, pattern, template in self._templates
            if (fits := pattern.fullmatch(raw_path)) and (operation := self._operation(method, template))
        ]
        if not found:
            return None
        # Of templates that are as specific, the one with the shortest first parameter: Vault's mount before its path.
        *_, fits, operation = min(found, key=lambda each: each[:2])
        names = [p.name for p in operation.parameters if p.place == "path"]
        return Match(operation, {n: _decoded(v) for n, v in zip(names, fits.groups(), strict=True)})

    def knows_path(self, raw_path: str) -> bool:
        """Tell whether any method is declared for the path."""
        return any(pattern.fullmatch(raw_path) for _, pattern, _ in self._templates)

    def faults(self, pointer: str, document: Any, excused: Collection[str] = ()) -> list[str]:
        """Return what the schema at ``pointer`` refuses in ``document``, as text that repeats no value of it.

        ``excused`` members may be missing at the top.
        """
        errors = [e for e in self._validator(pointer).iter_errors(document) if not _is_excused(e, excused)]
        best = best_match(errors)
        return [_fault(best)] if best else []

    def undeclared(self, pointer: str, document: Any) -> list[str]:
        """Return the members of an object that its schema doesn't name, unless it says that more are welcome."""
        if not isinstance(document, dict):
            return []
        declared = self._declared(pointer)
        return [] if declared is None else sorted(set(document) - declared)

    @cached_property
    def _templates(self) -> list[tuple[int, re.Pattern[str], str]]:
        return [(_rank(path), self._pattern(path), path) for path in self.openapi["paths"]]

    @cached_property
    def _registry(self) -> Registry[Any]:
        registry: Registry[Any] = Registry().with_resource(_ROOT, DRAFT202012.create_resource(self.openapi))
        return registry

    @cached_property
    def _operations(self) -> dict[tuple[str, str], Operation | None]:
        return {}

    def _pattern(self, template: str) -> re.Pattern[str]:
        many = {p.name for p in self._parameters(template, None) if p.many_parts}
        parts = re.split(r"\{([^}]+)\}", template)
        text = [
            (r"(.+?)" if part in many else r"([^/]+)") if index % 2 else re.escape(part)
            for index, part in enumerate(parts)
        ]
        return re.compile("".join(text))

    def _operation(self, method: str, template: str) -> Operation | None:
        key = (method, template)
        if key not in self._operations:
            self._operations[key] = self._compiled(method, template)
        return self._operations[key]

    def _compiled(self, method: str, template: str) -> Operation | None:
        raw = self.openapi["paths"][template].get(method.lower())
        if raw is None:
            return None
        here = f"/paths/{_escaped(template)}/{method.lower()}"
        body = self._content(raw["requestBody"], f"{here}/requestBody") if "requestBody" in raw else None
        responses = {s: self._content(r, f"{here}/responses/{s}") for s, r in raw["responses"].items()}
        return Operation(f"{method} {template}", tuple(self._parameters(template, method)), body, responses)

    def _parameters(self, template: str, method: str | None) -> Iterator[Parameter]:
        """Yield the path's parameters in the order of the template, then the others. Without a method: all methods'."""
        item = self.openapi["paths"][template]
        methods = [method.lower()] if method else [name for name in item if name != "parameters"]
        found: dict[tuple[str, str], Parameter] = {}
        for owner in ("", *methods):
            declared = item.get(owner, {}) if owner else item
            where = f"/paths/{_escaped(template)}" + (f"/{owner}" if owner else "") + "/parameters"
            for index, raw in enumerate(declared.get("parameters", ())):
                parameter = self._parameter(raw, f"{where}/{index}")
                found[parameter.place, parameter.name] = parameter
        for name in re.findall(r"\{([^}]+)\}", template):
            yield found.pop(("path", name))
        yield from found.values()

    def _parameter(self, raw: Mapping[str, Any], pointer: str) -> Parameter:
        raw, pointer = self._followed(raw, pointer)
        return Parameter(
            raw["name"],
            raw["in"],
            raw.get("required", False),
            raw.get("style") == "deepObject",
            raw.get(MANY_PARTS, False),
            self._followed(raw.get("schema", {}), "")[0],
            f"{pointer}/schema" if "schema" in raw else "",
        )

    def _content(self, raw: Mapping[str, Any], pointer: str) -> Content:
        raw, pointer = self._followed(raw, pointer)
        content = raw.get("content", {})
        return Content(
            raw.get("required", False),
            {
                kind.lower(): f"{pointer}/content/{_escaped(kind)}/schema" if "schema" in media else None
                for kind, media in content.items()
            },
        )

    def _followed(self, raw: Mapping[str, Any], pointer: str) -> tuple[Mapping[str, Any], str]:
        while "$ref" in raw:
            pointer = raw["$ref"].removeprefix("#")
            raw = self._at(pointer)
        return raw, pointer

    def _at(self, pointer: str) -> Any:
        node: Any = self.openapi
        for part in pointer.lstrip("/").split("/"):
            key = urllib.parse.unquote(part).replace("~1", "/").replace("~0", "~")
            node = node[int(key)] if isinstance(node, list) else node[key]
        return node

    def _validator(self, pointer: str) -> Draft202012Validator:
        if pointer not in self._validators:
            # The pointer travels in a URI: what a URI would read as its own must be quoted.
            reference = {"$ref": f"{_ROOT}#{urllib.parse.quote(pointer, safe='/~')}"}
            self._validators[pointer] = Draft202012Validator(
                reference, registry=self._registry, format_checker=_FORMATS
            )
        return self._validators[pointer]

    def _declared(self, pointer: str) -> set[str] | None:
        schema, here = self._followed(self._at(pointer), pointer)
        if schema.get("additionalProperties") not in (None, False):
            return None
        names = set(schema.get("properties", {}))
        branches = [
            f"{here}/{word}/{i}" for word in ("allOf", "anyOf", "oneOf") for i in range(len(schema.get(word, ())))
        ]
        for branch in branches:
            more = self._declared(branch)
            if more is None:
                return None
            names |= more
        # An object of which nothing is said may hold anything.
        return names or None


@cache
def described(name: str) -> Description:
    """Read ``descriptions/NAME.json``; a second call returns the same object."""
    document = json.loads((_DIRECTORY / f"{name}.json").read_bytes())
    return Description(
        name, document["source"], document["version"], document["openapi"], written=document.get("written", False)
    )


def _rank(template: str) -> int:
    """Order templates, lowest first, so that a literal part wins over a parameter in its place."""
    return -sum("{" not in part for part in template.split("/"))


def _escaped(part: str) -> str:
    return part.replace("~", "~0").replace("/", "~1")


def _decoded(value: str) -> str:
    return "/".join(urllib.parse.unquote(part) for part in value.split("/"))


def _is_excused(error: ValidationError, excused: Collection[str]) -> bool:
    if error.validator != "required" or error.absolute_path or not excused:
        return False
    asked_for: Any = error.validator_value
    instance: Any = error.instance
    return not set(asked_for) - set(instance) - set(excused)


def _fault(error: ValidationError) -> str:
    where = "/".join(str(part) for part in error.absolute_path) or "the whole"
    asked_for: Any = error.validator_value
    instance: Any = error.instance
    if error.validator == "required":
        missing = sorted(set(asked_for) - set(instance))
        return f"{where}: lacks {', '.join(missing)}"
    asked = json.dumps(asked_for, sort_keys=True)
    return f"{where}: does not fit {error.validator} {asked[:200]}"
