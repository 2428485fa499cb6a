"""Cuts vendors' published descriptions down to the operations that the tests use: ``make descriptions``.

Reads ``wanted.toml`` and the npm packages that ``package-lock.json`` pins; writes ``descriptions/NAME.json``. What comes
out is JSON Schema 2020-12 in the shape of OpenAPI 3.1, whatever the vendor writes.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent
_METHODS = ("get", "put", "post", "patch", "delete", "head")
# What a validator has no use for, and what only matters to readers.
_READERS = ("description", "summary", "title", "example", "examples", "externalDocs", "deprecated", "default")
_TURNED = ("nullable", "exclusiveMinimum", "exclusiveMaximum")
_PROSE = frozenset((*_READERS, *_TURNED, "discriminator", "xml", "readOnly", "writeOnly"))
# Members whose keys are names of the vendor's, not words of the schema language.
_MAPS = frozenset(("properties", "patternProperties", "definitions", "$defs"))
_LITERAL = frozenset(("enum", "const", "required", "type"))


def cut(openapi: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return the wanted operations of an OpenAPI 3 document and the components that they reach.

    ``wanted`` is a table of ``wanted.toml``.
    """
    paths: dict[str, Any] = {}
    for line in wanted["operations"]:
        methods, _, path = line.partition(" ")
        item = openapi["paths"][path]
        kept = paths.setdefault(path, {})
        if item.get("parameters"):
            kept["parameters"] = [_parameter(raw) for raw in item["parameters"]]
        for method in methods.lower().split(","):
            kept[method] = _operation(item[method])
    components: dict[str, Any] = {}
    waiting = list(_references(paths))
    while waiting:
        kind, name = waiting.pop()
        if name in components.setdefault(kind, {}):
            continue
        raw = openapi["components"][kind][name]
        components[kind][name] = _component(kind, raw)
        waiting += _references(components[kind][name])
    ordered = {kind: dict(sorted(found.items())) for kind, found in sorted(components.items())}
    return {"openapi": "3.1.0", "paths": dict(sorted(paths.items())), "components": ordered}


def schema(raw: Any) -> Any:
    """Turn a schema of OpenAPI 3.0 into one of JSON Schema 2020-12, without its prose."""
    if isinstance(raw, list):
        return [schema(item) for item in raw]
    if not isinstance(raw, dict):
        return raw
    if "$ref" in raw:
        # In OpenAPI 3.0 nothing beside a reference counts.
        return _or_null({"$ref": raw["$ref"]}, raw.get("nullable", False))
    kept: dict[str, Any] = {}
    for word, value in raw.items():
        if word in _PROSE or word.startswith("x-"):
            continue
        if word in _MAPS:
            kept[word] = {name: schema(inner) for name, inner in value.items()}
        elif word in _LITERAL:
            kept[word] = value
        elif word == "format":
            if value == "date-time":
                kept[word] = value
        elif word == "pattern":
            if _is_pattern(value):
                kept[word] = value
        else:
            kept[word] = schema(value)
    for word, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if raw.get(word) is True:
            kept[word] = kept.pop(bound)
        elif raw.get(word) not in (None, False):
            kept[word] = raw[word]
    return _or_null(kept, raw.get("nullable", False))


def _or_null(kept: dict[str, Any], nullable: bool) -> dict[str, Any]:
    if not nullable:
        return kept
    if isinstance(kept.get("type"), str):
        kept["type"] = [kept["type"], "null"]
        if "enum" in kept and None not in kept["enum"]:
            kept["enum"] = [*kept["enum"], None]
        if not {"allOf", "anyOf", "oneOf"} & set(kept):
            return kept
    return {"anyOf": [kept, {"type": "null"}]} if kept else kept


def _operation(raw: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    if raw.get("parameters"):
        kept["parameters"] = [_parameter(parameter) for parameter in raw["parameters"]]
    if "requestBody" in raw:
        kept["requestBody"] = _content(raw["requestBody"])
    kept["responses"] = {status: _content(response) for status, response in raw["responses"].items()}
    return kept


def _parameter(raw: Mapping[str, Any]) -> dict[str, Any]:
    if "$ref" in raw:
        return {"$ref": raw["$ref"]}
    kept: dict[str, Any] = {"name": raw["name"], "in": raw["in"]}
    if raw.get("required"):
        kept["required"] = True
    if raw.get("style") == "deepObject":
        kept["style"] = "deepObject"
    if "schema" in raw:
        kept["schema"] = schema(raw["schema"])
    return kept


def _content(raw: Mapping[str, Any]) -> dict[str, Any]:
    if "$ref" in raw:
        return {"$ref": raw["$ref"]}
    kept: dict[str, Any] = {"required": True} if raw.get("required") else {}
    if raw.get("content"):
        kept["content"] = {
            kind.partition(";")[0]: {"schema": schema(media["schema"])} if "schema" in media else {}
            for kind, media in raw["content"].items()
        }
    return kept


def _component(kind: str, raw: Mapping[str, Any]) -> Any:
    if kind == "parameters":
        return _parameter(raw)
    return _content(raw) if kind in ("responses", "requestBodies") else schema(raw)


def _references(node: Any) -> Iterator[tuple[str, str]]:
    if isinstance(node, list):
        for item in node:
            yield from _references(item)
    elif isinstance(node, dict):
        reference = node.get("$ref")
        if isinstance(reference, str):
            _, _, kind, name = reference.split("/")
            yield kind, name
        for value in node.values():
            yield from _references(value)


def _is_pattern(text: str) -> bool:
    try:
        re.compile(text)
    except re.error:
        return False  # ECMAScript's own
    return True


def fingerprint(openapi: Mapping[str, Any]) -> str:
    """Return the SHA-256 (hex) of a description, as its file records it."""
    return hashlib.sha256(json.dumps(openapi, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def write(name: str, origin: Mapping[str, Any], openapi: Mapping[str, Any]) -> None:
    """Write ``descriptions/NAME.json``."""
    document = {**origin, "sha256": fingerprint(openapi), "openapi": openapi}
    path = _HERE / "descriptions" / f"{name}.json"
    path.write_text(json.dumps(document, indent=1) + "\n", "utf-8")


def _published_at(openapi: Mapping[str, Any]) -> str:
    """Say where a collection of descriptions took this one from."""
    origins = openapi["info"].get("x-origin")
    return f", taken from {origins[-1]['url']}" if origins else ""


def main(packages: Path) -> None:
    """Cut everything that ``wanted.toml`` names out of the packages installed below ``packages``."""
    lock = json.loads((_HERE / "package-lock.json").read_bytes())["packages"]
    for name, wanted in tomllib.loads((_HERE / "wanted.toml").read_text("utf-8")).items():
        package = lock[f"node_modules/{wanted['package']}"]
        published = json.loads((packages / wanted["package"] / wanted["file"]).read_bytes())
        origin = {
            "source": f"npm package {wanted['package']}, {wanted['file']}" + _published_at(published),
            "version": package["version"],
            "integrity": package["integrity"],
            "license": package["license"],
        }
        write(name, origin, cut(published, wanted))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
