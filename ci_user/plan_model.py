"""The values a plan is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ci_user.errors import PlanError
from ci_user.text import plain


@dataclass(frozen=True)
class Resource:
    """A resource, or a data source, as it will be.

    Args:
        address: Its full address.
        mode: ``managed`` or ``data``.
        type: Such as ``aws_iam_user``.
        name: Its name in the module.
        module: The module's address, or None in the root module.
        values: The attributes that are known; what is unknown until apply is missing or None.
    """

    address: str
    mode: str
    type: str
    name: str
    module: str | None
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Change:
    """What will happen, or with drift what has happened outside, to one resource.

    Args:
        address: Its full address.
        mode: ``managed`` or ``data``.
        type: Such as ``aws_iam_user``.
        name: Its name in the module.
        module: The module's address, or None in the root module.
        actions: Terraform's words, such as ``("delete", "create")``.
        kind: One word for them: no-op, create, read, update, replace, delete or forget.
        before: The attributes before, as last read from AWS; None when it does not exist yet.
        after: The attributes after; None when it will be gone.
        after_unknown: True where an attribute, or a part of one, is unknown until apply.
        replace_paths: The attributes that force a replacement.
        recorded_only: It is moved or imported: the state changes although nothing else does.
    """

    address: str
    mode: str
    type: str
    name: str
    module: str | None
    actions: tuple[str, ...]
    kind: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    after_unknown: Mapping[str, Any]
    replace_paths: tuple[tuple[str | int, ...], ...]
    recorded_only: bool

    def unknown(self, attribute: str) -> bool:
        """Tell whether an attribute, or any part of it, is unknown until apply."""
        return _any_true(self.after_unknown.get(attribute, False))


@dataclass(frozen=True)
class OutputChange:
    """What will happen to an output of the root module."""

    name: str
    actions: tuple[str, ...]
    kind: str


@dataclass(frozen=True)
class Plan:
    """A plan.

    Args:
        terraform_version: The version that planned.
        complete: False when another round will be needed after the apply.
        errored: True when planning stopped half way.
        applyable: True when an apply would do something.
        resources: Everything that will be there, managed and data, of all modules.
        data: The data sources that were read while planning.
        changes: What happens to each resource, ``no-op`` included.
        drift: What was changed outside, as found when planning.
        outputs: What happens to the outputs.
    """

    terraform_version: str
    complete: bool
    errored: bool
    applyable: bool
    resources: tuple[Resource, ...]
    data: tuple[Resource, ...]
    changes: tuple[Change, ...]
    drift: tuple[Change, ...]
    outputs: tuple[OutputChange, ...]

    @property
    def managed(self) -> tuple[Resource, ...]:
        """Return what Terraform manages and will be there."""
        return tuple(resource for resource in self.resources if resource.mode == "managed")

    @property
    def creates(self) -> tuple[Change, ...]:
        """Return what is made anew."""
        return self._of("create")

    @property
    def updates(self) -> tuple[Change, ...]:
        """Return what is changed in place."""
        return self._of("update")

    @property
    def deletes(self) -> tuple[Change, ...]:
        """Return what is deleted."""
        return self._of("delete")

    @property
    def replaces(self) -> tuple[Change, ...]:
        """Return what is deleted and made anew, in either order."""
        return self._of("replace")

    @property
    def is_empty(self) -> bool:
        """Tell whether an apply would change nothing: no resource, no output, nothing moved, imported or forgotten."""
        return all(change.kind == "no-op" and not change.recorded_only for change in self.changes) and all(
            output.kind == "no-op" for output in self.outputs
        )

    def change(self, address: str) -> Change:
        """Return what happens to a resource.

        Raises:
            PlanError: The plan does not speak of it.
        """
        for change in self.changes:
            if change.address == address:
                return change
        raise malformed(f"resource_changes: nothing about {plain(address)}")

    def unknown(self, address: str, attribute: str) -> bool:
        """Tell whether an attribute, or any part of it, is unknown until apply.

        Raises:
            PlanError: The plan does not speak of the resource.
        """
        return self.change(address).unknown(attribute)

    def _of(self, kind: str) -> tuple[Change, ...]:
        return tuple(change for change in self.changes if change.kind == kind)


def malformed(what: str) -> PlanError:
    """Return the error for a document that is no plan, or no whole one."""
    return PlanError(
        f"this is no plan that can be read: {plain(what, 300)}",
        where="the output of `terraform show -json`",
        expected="https://developer.hashicorp.com/terraform/internals/json-format",
        do="plan again; when it stays, run `invoke doctor` and look at Terraform's version",
    )


def _any_true(mask: object) -> bool:
    if isinstance(mask, Mapping):
        return any(_any_true(part) for part in mask.values())
    if isinstance(mask, list):
        return any(_any_true(part) for part in mask)
    return mask is True
