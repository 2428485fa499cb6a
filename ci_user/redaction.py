"""A plan's JSON without its sensitive values.

Terraform prints sensitive values in clear text and marks them in masks beside them
(https://developer.hashicorp.com/terraform/internals/json-format). Whatever is marked, and whatever lacks the mask that
it should have, is replaced. A provider's copy of a marked value carries no mark (``tags_all`` of ``tags``, ``output``
of ``terraform_data``), so each value found by its mark is then looked for in all other values.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from ci_user.errors import PlanError

SENSITIVE: Final = "(sensitive)"
"""Stands where a sensitive value stood."""

_KEPT: Final = frozenset(
    {
        "applyable",
        "checks",
        "complete",
        "configuration",
        "deferred_changes",
        "errored",
        "format_version",
        "output_changes",
        "planned_values",
        "prior_state",
        "relevant_attributes",
        "resource_changes",
        "resource_drift",
        "terraform_version",
        "timestamp",
        "variables",
    }
)
_MASKS: Final = {"before": "before_sensitive", "after": "after_sensitive", "values": "sensitive_values"}
_SHORTEST_PART: Final = 6
"""A marked text of fewer characters is only found again where it stands alone, not inside of other text."""
_SHORTEST_NUMBER: Final = 4
_HARMLESS_PROVIDER_CONSTANTS: Final = frozenset({"region", "allowed_account_ids", "forbidden_account_ids"})


def redact(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a new document in which every sensitive value is ``(sensitive)``; the given one is left as it is.

    Parts of the document that this version does not know are left out, since nobody knows how they mark secrets. In the
    configuration all constants go, but for a provider's region and account ids: a secret written into a module stands
    there without any mark. A text that merely contains a sensitive one is replaced as a whole, so that nothing is left
    that could be taken for what will be applied.

    Raises:
        PlanError: It is no JSON object, or nested too deeply.
    """
    if not isinstance(document, Mapping):
        raise _no_plan("it is no JSON object")
    root = _mapping(_mapping(document.get("configuration")).get("root_module"))
    redactor = _Redactor()
    try:
        redacted: dict[str, Any] = {}
        for key, part in document.items():
            if key == "configuration":
                redacted[key] = _configuration(part)
            elif key == "variables":
                redacted[key] = redactor.variables(part, _mapping(root.get("variables")))
            elif key in _KEPT:
                redacted[key] = redactor.walk(part)
        swept: dict[str, Any] = redactor.sweep(redacted)
    except RecursionError:
        raise _no_plan("it is nested too deeply") from None
    return swept


def masked(value: Any, mask: Any) -> Any:
    """Return `value` with everything replaced that `mask` marks.

    Args:
        value: Any JSON value.
        mask: True for all of it, False for nothing, or an object or list of masks for its parts. A mask that does not
            fit the value's shape but marks anything marks everything.
    """
    return _Redactor().masked(value, mask)


class _Redactor:
    """Replaces what is marked, remembers it, and then finds it where it is not marked."""

    def __init__(self) -> None:
        self._texts: set[str] = set()
        self._numbers: set[str] = set()

    def walk(self, part: Any) -> Any:
        if isinstance(part, list):
            return [self.walk(item) for item in part]
        if not isinstance(part, Mapping):
            return part
        redacted: dict[str, Any] = {}
        for key, value in part.items():
            if key in _MASKS and _holds_attributes(key, part):
                redacted[key] = self._attributes(value, part.get(_MASKS[key], True))
            elif key == "outputs" and isinstance(value, Mapping):
                redacted[key] = {name: self._output(output) for name, output in value.items()}
            elif key in ("problems", "generated_config"):
                # Free text, made from expressions.
                redacted[key] = SENSITIVE
            else:
                redacted[key] = self.walk(value)
        return redacted

    def variables(self, variables: Any, declared: Mapping[str, Any]) -> Any:
        if not isinstance(variables, Mapping):
            return SENSITIVE
        redacted = {}
        for name, variable in variables.items():
            # A variable that the configuration does not declare is nobody's; it is taken for sensitive.
            open_ = name in declared and not _mapping(declared[name]).get("sensitive", False)
            value = _mapping(variable).get("value")
            redacted[name] = {"value": self.masked(value, not open_)}
        return redacted

    def masked(self, value: Any, mask: Any) -> Any:
        if mask is False or mask is None:
            return _copy(value)
        if isinstance(mask, Mapping) and isinstance(value, Mapping):
            return {key: self.masked(part, mask.get(key, False)) for key, part in value.items()}
        if isinstance(mask, list) and isinstance(value, list):
            # Beyond a mask that is too short, nobody says what is sensitive.
            beyond = _marks(mask)
            return [self.masked(part, mask[index] if index < len(mask) else beyond) for index, part in enumerate(value)]
        if not _marks(mask):
            return _copy(value)
        self._remember(value)
        return SENSITIVE

    def sweep(self, part: Any) -> Any:
        if not self._texts and not self._numbers:
            return part
        if isinstance(part, list):
            return [self.sweep(item) for item in part]
        if not isinstance(part, Mapping):
            return part
        return {
            key: self._attributes_swept(value)
            if key == "value" or (key in _MASKS and _holds_attributes(key, part))
            else self.sweep(value)
            for key, value in part.items()
        }

    def _attributes(self, values: Any, mask: Any) -> Any:
        if values is None:
            return None
        # The object itself stays an object, so that readers find the attributes' names.
        if isinstance(values, Mapping) and _marks(mask) and not isinstance(mask, Mapping):
            return {key: self.masked(value, True) for key, value in values.items()}
        return self.masked(values, mask)

    def _output(self, output: Any) -> Any:
        if not isinstance(output, Mapping):
            return SENSITIVE
        mask = output.get("sensitive") is not False
        return {key: self.masked(value, mask) if key == "value" else _copy(value) for key, value in output.items()}

    def _attributes_swept(self, values: Any) -> Any:
        if isinstance(values, Mapping):
            return {key: self._swept(value) for key, value in values.items()}
        return self._swept(values)

    def _swept(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            if any(self._holds(key) for key in value):
                return SENSITIVE
            return {key: self._swept(part) for key, part in value.items()}
        if isinstance(value, list):
            return [self._swept(part) for part in value]
        return SENSITIVE if self._holds(value) else value

    def _holds(self, value: Any) -> bool:
        if isinstance(value, str):
            return value in self._texts or any(text in value for text in self._texts if len(text) >= _SHORTEST_PART)
        return isinstance(value, int | float) and str(value) in self._numbers

    def _remember(self, value: Any) -> None:
        for leaf in _leaves(value):
            if isinstance(leaf, str) and leaf and leaf != SENSITIVE:
                # As it is, and as it stands inside of JSON that a provider made of it.
                self._texts |= {leaf, json.dumps(leaf)[1:-1], json.dumps(leaf, ensure_ascii=False)[1:-1]}
            elif isinstance(leaf, int | float) and not isinstance(leaf, bool) and len(str(leaf)) >= _SHORTEST_NUMBER:
                self._numbers.add(str(leaf))
                self._texts.add(str(leaf))


def _holds_attributes(key: str, part: Mapping[str, Any]) -> bool:
    # `prior_state.values` is a tree of modules; every other of these keys holds attributes and must have its mask.
    return not (key == "values" and _MASKS[key] not in part and "address" not in part)


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        for part in value.values():
            yield from _leaves(part)
    elif isinstance(value, list):
        for part in value:
            yield from _leaves(part)
    else:
        yield value


def _configuration(part: Any, key: str = "", in_provider: bool = False) -> Any:
    if isinstance(part, list):
        return [_configuration(item, key, in_provider) for item in part]
    if not isinstance(part, Mapping):
        return part
    redacted: dict[str, Any] = {}
    for name, value in part.items():
        if name == "constant_value":
            kept = in_provider and key in _HARMLESS_PROVIDER_CONSTANTS
            redacted[name] = _copy(value) if kept else SENSITIVE
        elif name == "default":
            redacted[name] = SENSITIVE
        else:
            redacted[name] = _configuration(value, name, in_provider or name == "provider_config")
    return redacted


def _marks(mask: Any) -> bool:
    if isinstance(mask, Mapping):
        return any(_marks(part) for part in mask.values())
    if isinstance(mask, list):
        return any(_marks(part) for part in mask)
    return mask is not False and mask is not None


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_copy(part) for part in value]
    return value


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _no_plan(what: str) -> PlanError:
    return PlanError(
        f"this is no plan that can be redacted: {what}",
        where="the output of `terraform show -json`",
        do="plan again; when it stays, run `invoke doctor` and look at Terraform's version",
    )
