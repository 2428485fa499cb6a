"""What a plan newly allows and no longer allows the CI user, in words: its live documents against the planned ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from ci_user.checks.attachments import ARN_ATTRIBUTES, DOCUMENT_TYPES
from ci_user.plan_model import Change, Plan
from ci_user.policy.statement import UnreadableStatementError, parse
from ci_user.text import plain

if TYPE_CHECKING:
    from ci_user.checks import CheckContext
    from ci_user.policy.statement import Statement

LINES: Final = 20
"""The most lines of each side that are told."""

_Sides = tuple[tuple["Statement", ...], tuple["Statement", ...]]


def access_changes(plan: Plan, context: CheckContext) -> tuple[str, ...]:
    """Return what changes in words: ``may now: s3:DeleteBucket on ...``; nothing when no document changes what is allowed.

    A plan is refreshed, so what it calls ``before`` is live. Policies give rights, the boundary limits them: both are told.
    """
    from ci_user.policy.diff import diff

    boundary = [change for change in plan.changes if _name(change) == context.boundary_name]
    policies = [
        change
        for change in plan.changes
        if change.type in DOCUMENT_TYPES and _name(change) not in (context.boundary_name, context.role_boundary_name)
    ]
    try:
        rights, limits = _sides(policies), _sides(boundary)
        attached = _existing(plan, context)
    except UnreadableStatementError as error:
        return (f"what changes in access cannot be told: {plain(error, 300)}",)
    told = diff((*rights[0], *attached[0]), (*rights[1], *attached[1])).lines(LINES)
    lines = [f"access {line}" for line in told]
    if limits[0]:
        lines += [f"boundary {line}" for line in diff(*limits).lines(LINES)]
    return tuple(lines)


def _sides(changes: list[Change]) -> _Sides:
    before: list[Statement] = []
    after: list[Statement] = []
    for change in changes:
        for values, side in ((change.before, before), (change.after, after)):
            document = (values or {}).get("policy")
            if isinstance(document, str):
                side += parse(document, _name(change) or change.address)
    return tuple(before), tuple(after)


def _existing(plan: Plan, context: CheckContext) -> _Sides:
    """Return the statements of existing policies that are attached before and after, as far as they are known."""
    contents = dict(context.contents)
    sides: tuple[dict[str, None], dict[str, None]] = ({}, {})
    for change in plan.changes:
        if change.type in ARN_ATTRIBUTES:
            for values, side in zip((change.before, change.after), sides, strict=True):
                found = (values or {}).get(ARN_ATTRIBUTES[change.type])
                side |= dict.fromkeys(str(one) for one in (found if isinstance(found, list) else [found]))

    def of(side: dict[str, None]) -> Iterator[Statement]:
        for arn in side:
            if arn in contents:
                yield from parse(contents[arn], arn)

    return tuple(of(sides[0])), tuple(of(sides[1]))


def _name(change: Change) -> str | None:
    name = (change.after or change.before or {}).get("name")
    return name if isinstance(name, str) else None
