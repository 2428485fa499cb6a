"""Why a plan would change a resource: because somebody changed AWS, because somebody merged, or both; attribute by attribute.

Terraform compares twice: what it last wrote down with what AWS says (``resource_drift``), and what AWS says with what the
configuration wants (``resource_changes``). So there are three values of each attribute, and which of them differ tells why
(https://developer.hashicorp.com/terraform/internals/json-format).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Any, Final

from ci_user.nightly.attribute_text import masked, same
from ci_user.plan_model import Change, Plan
from ci_user.plan_words import UNTOLD

_NOTHING: Final[Mapping[str, Any]] = {}


@dataclass(frozen=True)
class Cause:
    """What happened, and will happen, to one resource.

    Args:
        address: Its full address.
        type: Such as ``aws_iam_user``.
        outside: What was changed outside; None when nothing was.
        planned: What will be changed; None when nothing will.
        drifted: The attributes that were changed outside and that the planned change overwrites.
        unapplied: The attributes that the configuration wants otherwise than they were left.
        left: The attributes that were changed outside and that no planned change touches.
        merged: The planned change is not, or not only, an answer to what was changed outside, even without ``unapplied``.
        masked: Sensitive values hide what else may differ.
    """

    address: str
    type: str
    outside: Change | None
    planned: Change | None
    drifted: tuple[str, ...] = ()
    unapplied: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    merged: bool = False
    masked: bool = False

    @property
    def gone(self) -> bool:
        """Tell whether it was deleted outside."""
        return self.outside is not None and self.outside.after is None

    @property
    def old(self) -> Mapping[str, Any]:
        """Return the attributes as Terraform left them."""
        source = self.outside or self.planned
        return (source.before if source else None) or _NOTHING

    @property
    def live(self) -> Mapping[str, Any]:
        """Return the attributes as they are in AWS."""
        if self.planned is not None:
            return self.planned.before or _NOTHING
        return (self.outside.after if self.outside else None) or _NOTHING

    @property
    def wanted(self) -> Mapping[str, Any]:
        """Return the attributes as they will be, as far as that is known."""
        return self.live if self.planned is None else self.planned.after or _NOTHING


def causes(plan: Plan) -> tuple[Cause, ...]:
    """Return each managed resource that was changed outside or will be changed, in the plan's order.

    Args:
        plan: A plan whose sensitive values are masked (`ci_user.redaction.redact`).
    """
    outside: dict[str, list[Change]] = {}
    for change in plan.drift:
        if change.mode == "managed":
            outside.setdefault(change.address, []).append(change)
    planned: dict[str, list[Change]] = {address: [] for address in outside}
    for change in plan.changes:
        if change.mode == "managed" and (change.kind != "no-op" or change.recorded_only):
            planned.setdefault(change.address, []).append(change)
    found = [
        _cause(Cause(address, (after or before).type, before, after))
        for address, changes in planned.items()
        for before, after in zip_longest(outside.get(address, ()), sorted(changes, key=_leftover))
    ]
    return tuple(cause for cause in found if cause.drifted or cause.left or cause.merged)


def _leftover(change: Change) -> bool:
    # Under one address may also be what an earlier replacement left behind: it is deleted, and was not looked at for drift.
    return change.kind in ("delete", "forget")


@dataclass
class _Sorted:
    drifted: list[str] = field(default_factory=list)
    unapplied: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def _cause(whole: Cause) -> Cause:
    outside, planned = whole.outside, whole.planned
    told, untold = _names(whole)
    hidden = tuple(name for name in told if any(masked(side.get(name)) for side in _sides(whole)))
    found = _sort(whole, told)
    nothing = not found.drifted and not found.unapplied
    if nothing and hidden and outside is not None and outside.before == outside.after:
        (found.drifted if planned is not None and planned.kind != "no-op" else found.left).extend(hidden)
    elif nothing and planned is not None and planned.kind != "no-op":
        less = _sort(whole, untold)
        found.drifted, found.unapplied = less.drifted, less.unapplied
        if not found.drifted and not found.unapplied:
            found.unapplied += hidden
    return replace(
        whole,
        drifted=tuple(found.drifted),
        unapplied=tuple(found.unapplied),
        left=tuple(found.left),
        merged=bool(found.unapplied) or _unexplained(whole, found.drifted),
        masked=bool(hidden),
    )


def _sort(cause: Cause, names: Iterable[str]) -> _Sorted:
    found = _Sorted()
    vague: list[str] = []
    for name in names:
        old, live, wanted = (side.get(name) for side in _sides(cause))
        changed = not same(old, live)
        if cause.planned is not None and cause.planned.unknown(name):
            (found.drifted if changed else vague).append(name)
        elif same(live, wanted):
            found.left += [name] if changed else []
        elif not changed:
            found.unapplied.append(name)
        else:
            found.drifted.append(name)
            found.unapplied += [] if same(old, wanted) else [name]
    # Nobody can say why an attribute is unknown until apply: mostly it follows from whatever else changes.
    (found.drifted if found.drifted and not found.unapplied else found.unapplied).extend(vague)
    return found


def _unexplained(cause: Cause, drifted: list[str]) -> bool:
    """Tell whether what was changed outside does not explain the planned change, whatever the attributes say."""
    planned = cause.planned
    if planned is None:
        return False
    if cause.outside is None or not drifted or planned.recorded_only:
        return True
    if planned.kind == "replace":
        return not {path[0] for path in planned.replace_paths if path} & set(drifted)
    return planned.kind != ("create" if cause.gone else "update")


def _sides(cause: Cause) -> tuple[Mapping[str, Any], ...]:
    return cause.old, cause.live, cause.wanted


def _names(cause: Cause) -> tuple[list[str], list[str]]:
    """Return the names of all attributes: those that are told of, and those that change by themselves."""
    names = {name for side in _sides(cause) for name in side}
    if cause.planned is not None:
        names |= set(cause.planned.after_unknown)
    return sorted(names - UNTOLD), sorted(names & UNTOLD)
