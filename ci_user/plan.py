"""Terraform's plan as typed values.

Source of the format: https://developer.hashicorp.com/terraform/internals/json-format
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from ci_user.errors import PlanError
from ci_user.plan_guard import refusals
from ci_user.plan_model import Change, OutputChange, Plan, Resource, malformed
from ci_user.plan_words import iam_changes
from ci_user.text import plain

__all__ = ["Change", "OutputChange", "Plan", "Resource", "iam_changes", "parse", "refusals"]

_ACTIONS: Final[Mapping[tuple[str, ...], str]] = {
    ("no-op",): "no-op",
    ("create",): "create",
    ("read",): "read",
    ("update",): "update",
    ("delete", "create"): "replace",
    ("create", "delete"): "replace",
    ("create", "forget"): "replace",
    ("delete",): "delete",
    ("forget",): "forget",
}
_DEEPEST: Final = 64


def parse(document: Mapping[str, Any]) -> Plan:
    """Return the plan that ``terraform show -json PLAN`` printed.

    Raises:
        PlanError: It is no plan, of another major format version, or parts are missing or of a wrong type.
    """
    if not isinstance(document, Mapping):
        raise malformed("it is no JSON object")
    version = _text(document, "format_version", "")
    if version.split(".")[0] != "1":
        raise PlanError(
            f"the plan has format version {plain(version)}",
            expected="1.x, which Terraform 1 writes",
            do="use a version of Terraform that `invoke doctor` accepts",
        )
    planned = _mapping(document, "planned_values", "")
    prior = _optional(document, "prior_state", dict, "") or {}
    prior_values = _optional(prior, "values", dict, "prior_state") or {}
    resources = tuple(_resources(_mapping(planned, "root_module", "planned_values"), None, 0))
    if len({resource.address for resource in resources}) != len(resources):
        raise malformed("planned_values: one address stands there twice")
    return Plan(
        terraform_version=_text(document, "terraform_version", ""),
        complete=_flag(document, "complete"),
        errored=_flag(document, "errored"),
        applyable=_flag(document, "applyable"),
        resources=resources,
        data=tuple(
            resource
            for resource in _resources(_optional(prior_values, "root_module", dict, "prior_state") or {}, None, 0)
            if resource.mode == "data"
        ),
        changes=_changes(document, "resource_changes"),
        drift=_changes(document, "resource_drift"),
        outputs=tuple(_output(*item) for item in (_optional(document, "output_changes", dict, "") or {}).items()),
    )


def _resources(module: Mapping[str, Any], address: str | None, depth: int) -> Iterator[Resource]:
    where = address or "root_module"
    if depth > _DEEPEST:
        raise malformed(f"modules are nested deeper than {_DEEPEST}")
    for entry in _optional(module, "resources", list, where) or ():
        if not isinstance(entry, Mapping):
            raise malformed(f"{where}: a resource is no object")
        own = _text(entry, "address", where)
        yield Resource(
            address=own,
            mode=_mode(entry, own),
            type=_text(entry, "type", own),
            name=_text(entry, "name", own),
            module=address,
            values=_optional(entry, "values", dict, own) or {},
        )
    for child in _optional(module, "child_modules", list, where) or ():
        if not isinstance(child, Mapping):
            raise malformed(f"{where}: a module is no object")
        yield from _resources(child, _text(child, "address", where), depth + 1)


def _changes(document: Mapping[str, Any], key: str) -> tuple[Change, ...]:
    return tuple(_change(entry, key) for entry in _optional(document, key, list, "") or ())


def _change(entry: object, key: str) -> Change:
    if not isinstance(entry, Mapping):
        raise malformed(f"{key}: an entry is no object")
    address = _text(entry, "address", key)
    change = _mapping(entry, "change", address)
    actions, kind = _actions(change, address)
    unknown = change.get("after_unknown", {})
    if unknown not in (True, False) and not isinstance(unknown, Mapping):
        raise malformed(f"{address}: after_unknown is neither an object nor a flag")
    after = _optional(change, "after", dict, address)
    return Change(
        address=address,
        mode=_mode(entry, address),
        type=_text(entry, "type", address),
        name=_text(entry, "name", address),
        module=_optional(entry, "module_address", str, address),
        actions=actions,
        kind=kind,
        before=_optional(change, "before", dict, address),
        after=after,
        after_unknown=unknown if isinstance(unknown, Mapping) else _Everything() if unknown else {},
        replace_paths=_replace_paths(change, address),
        recorded_only="previous_address" in entry or change.get("importing") is not None,
    )


def _replace_paths(change: Mapping[str, Any], where: str) -> tuple[tuple[str | int, ...], ...]:
    paths = []
    for path in _optional(change, "replace_paths", list, where) or ():
        if not isinstance(path, list) or not all(isinstance(step, str | int) for step in path):
            raise malformed(f"{where}: replace_paths holds something else than paths")
        paths.append(tuple(path))
    return tuple(paths)


def _output(name: str, change: object) -> OutputChange:
    if not isinstance(change, Mapping):
        raise malformed(f"output_changes: {plain(name)} is no object")
    actions, kind = _actions(change, f"output {name}")
    return OutputChange(name=name, actions=actions, kind=kind)


def _actions(change: Mapping[str, Any], where: str) -> tuple[tuple[str, ...], str]:
    words = _optional(change, "actions", list, where)
    actions = tuple(word for word in words or () if isinstance(word, str))
    if not words or len(actions) != len(words) or actions not in _ACTIONS:
        raise PlanError(
            f"the plan does something unknown to {plain(where)}: {plain(words, 100)}",
            expected="one of " + ", ".join("+".join(known) for known in _ACTIONS),
            do="use a version of Terraform that `invoke doctor` accepts",
        )
    return actions, _ACTIONS[actions]


def _mode(entry: Mapping[str, Any], where: str) -> str:
    mode = _text(entry, "mode", where)
    if mode not in ("managed", "data"):
        raise malformed(f"{where}: mode is {mode!r}")
    return mode


def _text(holder: Mapping[str, Any], key: str, where: str) -> str:
    value = holder.get(key)
    if not isinstance(value, str) or not value:
        raise malformed(f"{_path(where, key)} is missing or no text")
    return value


def _flag(holder: Mapping[str, Any], key: str) -> bool:
    value = holder.get(key)
    if not isinstance(value, bool):
        raise malformed(f"{key} is missing or no flag")
    return value


def _mapping(holder: Mapping[str, Any], key: str, where: str) -> Mapping[str, Any]:
    value = holder.get(key)
    if not isinstance(value, Mapping):
        raise malformed(f"{_path(where, key)} is missing or no object")
    return value


def _optional(holder: Mapping[str, Any], key: str, kind: type, where: str) -> Any:
    value = holder.get(key)
    if value is None:
        return None
    if not isinstance(value, Mapping if kind is dict else kind):
        raise malformed(f"{_path(where, key)} is no {'object' if kind is dict else kind.__name__}")
    return value


def _path(where: str, key: str) -> str:
    return f"{where}: {key}" if where else key


class _Everything(Mapping[str, Any]):
    """An ``after_unknown`` of just ``true``: whatever is asked for is unknown."""

    def __getitem__(self, key: str) -> Any:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def get(self, _key: str, _default: Any = None, /) -> Any:
        return True
