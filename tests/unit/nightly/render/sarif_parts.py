"""The parts of SARIF 2.1.0 that are written, as a JSON Schema of our own words.

From the specification, https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/sarif-v2.1.0-errata01-os-complete.html; the
section numbers are its. Stricter than the committee's schema, which lets more be: what is not written is not allowed here. The
committee's whole schema was held against these outputs once, by hand.
"""

from __future__ import annotations

from typing import Any, Final


def _object(required: str, more: dict[str, Any] | None = None, **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "required": required.split(),
        "properties": {**properties, **(more or {})},
        "additionalProperties": False,
    }


_TEXT: Final = {"type": "string", "minLength": 1}
_INDEX: Final = {"type": "integer", "minimum": 0}
_LEVEL: Final = {"enum": ["none", "note", "warning", "error"]}  # 3.27.10
_MOMENT: Final = {"type": "string", "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$"}  # 3.9
_BAG: Final = {"type": "object"}  # 3.8
_MESSAGE: Final = _object("text", text=_TEXT)  # 3.11
_URI: Final = {
    "type": "string",
    "pattern": r"^[A-Za-z0-9._~/%-]+$",
    "not": {"pattern": r"(^|/)\.\.?(/|$)|^/|%2[eEfF]|//"},
}

_RULE: Final = _object(  # 3.49
    "id shortDescription fullDescription help",
    id=_TEXT,
    name=_TEXT,
    shortDescription=_MESSAGE,
    fullDescription=_MESSAGE,
    help=_MESSAGE,
    defaultConfiguration=_object("level", level=_LEVEL),
    properties=_object(
        "tags",
        {"problem.severity": {"enum": ["error", "warning", "recommendation"]}},
        tags={"type": "array", "maxItems": 10},
    ),
)
_LOCATION: Final = _object(  # 3.28
    "physicalLocation",
    physicalLocation=_object(
        "artifactLocation", artifactLocation=_object("uri uriBaseId", uri=_URI, uriBaseId={"const": "%SRCROOT%"})
    ),
    logicalLocations={"type": "array", "items": _object("fullyQualifiedName", fullyQualifiedName=_TEXT, kind=_TEXT)},
)
_SUPPRESSION: Final = _object(  # 3.35
    "kind status justification",
    kind={"enum": ["inSource", "external"]},
    status={"enum": ["accepted", "underReview", "rejected"]},
    justification=_TEXT,
    properties=_BAG,
)
_RESULT: Final = _object(  # 3.27
    "ruleId ruleIndex level message locations partialFingerprints",
    ruleId=_TEXT,
    ruleIndex=_INDEX,
    level=_LEVEL,
    message=_MESSAGE,
    locations={"type": "array", "items": _LOCATION, "minItems": 1, "maxItems": 1},
    partialFingerprints={"type": "object", "additionalProperties": _TEXT, "minProperties": 1},
    suppressions={"type": "array", "items": _SUPPRESSION, "minItems": 1},
    properties=_BAG,
)
_INVOCATION: Final = _object(  # 3.20
    "executionSuccessful",
    executionSuccessful={"type": "boolean"},
    exitCode={"enum": [0, 1, 3]},
    startTimeUtc=_MOMENT,
    endTimeUtc=_MOMENT,
    toolExecutionNotifications={"type": "array", "items": _object("message", level=_LEVEL, message=_MESSAGE)},
)
_RUN: Final = _object(  # 3.14
    "tool results",
    tool=_object("driver", driver=_object("name", name=_TEXT, version=_TEXT, rules={"type": "array", "items": _RULE})),
    automationDetails=_object("id", id={"type": "string", "pattern": r"^[A-Za-z0-9-]+/([A-Za-z0-9-]+/)?$"}),
    invocations={"type": "array", "items": _INVOCATION},
    originalUriBaseIds=_object("", {"%SRCROOT%": _object("description", description=_MESSAGE)}),
    columnKind={"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
    results={"type": "array", "items": _RESULT},
)
LOG: Final = _object(  # 3.13
    "version runs",
    {"$schema": {"type": "string", "pattern": "^https://docs\\.oasis-open\\.org/sarif/"}},
    version={"const": "2.1.0"},
    runs={"type": "array", "items": _RUN, "minItems": 1, "maxItems": 20},
)
