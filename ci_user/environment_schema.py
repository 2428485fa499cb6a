"""The JSON Schema of environment files, with which editors complete and check them; made from the model."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from ci_user import backends
from ci_user.durations import format_duration
from ci_user.environment import Environment
from ci_user.environment_problems import NOT_IN_FILES
from ci_user.environment_template import template, write_new

__all__ = ["DIALECT", "schema", "template", "text", "write_new"]

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema() -> dict[str, Any]:
    """Return the schema (draft 2020-12) of one file of ``environments/``.

    Each entry of ``secrets`` is one of the known backends with its own settings. What takes more than one key
    to judge is left to `ci_user.environment_files.load`.
    """
    whole = Environment.model_json_schema(schema_generator=_Generator)
    definitions: dict[str, Any] = {k: v for k, v in whole["$defs"].items() if k != "BackendSettings"}
    for name in backends.builtin():
        settings = backends.settings_model(name).model_json_schema()
        definitions |= settings.pop("$defs", {})
        settings["properties"]["backend"] = {"const": name, "description": "Which backend this is."}
        definitions[f"secrets-{name}"] = settings
    properties = {key: value for key, value in whole["properties"].items() if key not in NOT_IN_FILES}
    plugin: dict[str, Any] = {
        "description": "A backend of another package.",
        "type": "object",
        "required": ["backend"],
        "properties": {
            "backend": {"type": "string", "not": {"enum": list(backends.builtin())}},
            backends.PIN: {
                "type": "string",
                "pattern": "^[a-z0-9-]+==.+$",
                "description": "DISTRIBUTION==VERSION of it.",
            },
        },
    }
    own = [{"$ref": f"#/$defs/secrets-{name}"} for name in backends.builtin()]
    properties["secrets"]["items"] = {"oneOf": [*own, plugin]}
    cleaned: dict[str, Any] = _cleaned({"properties": properties, "$defs": definitions})
    return {
        "$schema": DIALECT,
        "title": "An environment of ci-user",
        "description": "One file of environments/; its name is the environment's name.",
        "type": "object",
        "additionalProperties": False,
        "required": [key for key in whole["required"] if key not in NOT_IN_FILES],
        **cleaned,
    }


def text() -> str:
    """Return the schema as ``environments/schema.json`` holds it."""
    return json.dumps(schema(), indent=2) + "\n"


class _Generator(GenerateJsonSchema):
    def encode_default(self, dft: Any) -> Any:
        return format_duration(dft) if isinstance(dft, timedelta) else super().encode_default(dft)


def _cleaned(part: Any, *, names: bool = False) -> Any:
    """Drop what says nothing to an editor: titles made of class names, and defaults that mean "left out"."""
    if isinstance(part, list):
        return [_cleaned(item) for item in part]
    if not isinstance(part, dict):
        return part
    return {
        key: _cleaned(value, names=key in {"properties", "$defs"})
        for key, value in part.items()
        if names or not (key == "title" or (key == "default" and value in ("", None)))
    }
