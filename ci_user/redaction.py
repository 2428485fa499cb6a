"""A plan's JSON without its sensitive values.

Terraform prints sensitive values in clear text and marks them in masks beside them
(https://developer.hashicorp.com/terraform/internals/json-format). Whatever is marked, and whatever lacks the mask that
it should have, is replaced. Nothing is guessed from how a value looks.
"""

from __future__ import annotations

from collections.abc import Mapping
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
_HARMLESS_PROVIDER_CONSTANTS: Final = frozenset({"region", "allowed_account_ids", "forbidden_account_ids"})


def redact(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a new document in which every sensitive value is ``(sensitive)``; the given one is left as it is.

    Parts of the document that this version does not know are left out, since nobody knows how they mark secrets. In the
    configuration all constants go, but for a provider's region and account ids: a secret written into a module stands
    there without any mark.

    Raises:
        PlanError: It is no JSON object, or nested too deeply.
    """
    if not isinstance(document, Mapping):
        raise _no_plan("it is no JSON object")
    configuration = _mapping(document.get("configuration"))
    try:
        redacted = {}
        for key, part in document.items():
            if key == "configuration":
                redacted[key] = _configuration(part)
            elif key == "variables":
                redacted[key] = _variables(part, _mapping(_mapping(configuration.get("root_module")).get("variables")))
            elif key in _KEPT:
                redacted[key] = _walk(part)
        return redacted
    except RecursionError:
        raise _no_plan("it is nested too deeply") from None


def masked(value: Any, mask: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return `value` with everything replaced that `mask` marks.

    Args:
        value: Any JSON value.
        mask: True for all of it, False for nothing, or an object or list of masks for its parts. A mask that does not
            fit the value's shape but marks anything marks everything.
    """
    if mask is False or mask is None:
        return _copy(value)
    if isinstance(mask, Mapping) and isinstance(value, Mapping):
        return {key: masked(part, mask.get(key, False)) for key, part in value.items()}
    if isinstance(mask, list) and isinstance(value, list):
        # Beyond a mask that is too short, nobody says what is sensitive.
        beyond = _marks(mask)
        return [masked(part, mask[index] if index < len(mask) else beyond) for index, part in enumerate(value)]
    return SENSITIVE if _marks(mask) else _copy(value)


def _walk(part: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(part, list):
        return [_walk(item) for item in part]
    if not isinstance(part, Mapping):
        return part
    if "value" in part and "sensitive" in part:
        return {**_copy(part), "value": masked(part["value"], part["sensitive"] is not False)}
    redacted: dict[str, Any] = {}
    for key, value in part.items():
        if key in _MASKS and (_MASKS[key] in part or _holds_attributes(key, part)):
            redacted[key] = _attributes(value, part.get(_MASKS[key], True))
        elif key == "outputs" and isinstance(value, Mapping):
            redacted[key] = {name: _output(output) for name, output in value.items()}
        elif key in ("problems", "generated_config"):
            # Free text, made from expressions.
            redacted[key] = SENSITIVE
        else:
            redacted[key] = _walk(value)
    return redacted


def _holds_attributes(key: str, part: Mapping[str, Any]) -> bool:
    # `prior_state.values` is a tree of modules; every other of these keys holds attributes and must have its mask.
    return not (key == "values" and "root_module" in _mapping(part["values"]))


def _attributes(values: Any, mask: Any) -> Any:  # noqa: ANN401 - any JSON value
    # The object itself stays an object, so that readers find the attributes' names.
    if mask is True and isinstance(values, Mapping):
        return dict.fromkeys(values, SENSITIVE)
    if values is None:
        return None
    return masked(values, mask)


def _output(output: Any) -> Any:  # noqa: ANN401 - any JSON value
    if not isinstance(output, Mapping):
        return SENSITIVE
    redacted = _copy(output)
    if "value" in redacted and output.get("sensitive") is not False:
        redacted["value"] = SENSITIVE
    return redacted


def _variables(variables: Any, declared: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any JSON value
    if not isinstance(variables, Mapping):
        return SENSITIVE
    # A variable that the configuration does not declare is nobody's; it is taken for sensitive.
    return {
        name: _copy(variable)
        if name in declared and not _mapping(declared[name]).get("sensitive", False)
        else {"value": SENSITIVE}
        for name, variable in variables.items()
    }


def _configuration(part: Any, key: str = "", in_provider: bool = False) -> Any:  # noqa: ANN401 - any JSON value
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


def _marks(mask: Any) -> bool:  # noqa: ANN401 - any JSON value
    if isinstance(mask, Mapping):
        return any(_marks(part) for part in mask.values())
    if isinstance(mask, list):
        return any(_marks(part) for part in mask)
    return mask is not False and mask is not None


def _copy(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, Mapping):
        return {key: _copy(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_copy(part) for part in value]
    return value


def _mapping(value: Any) -> Mapping[str, Any]:  # noqa: ANN401 - any JSON value
    return value if isinstance(value, Mapping) else {}


def _no_plan(what: str) -> PlanError:
    return PlanError(
        f"this is no plan that can be redacted: {what}",
        where="the output of `terraform show -json`",
        do="plan again; when it stays, run `invoke doctor` and look at Terraform's version",
    )
