"""What a plan changes in IAM terms, in words for people: which policies, which attachments, which boundary."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from ci_user.plan_model import Change, Plan
from ci_user.text import plain

_MARKS: Final = {"create": "+", "update": "~", "replace": "~", "delete": "-", "forget": "-", "read": "~"}
_DONE: Final = {
    "create": "is created",
    "update": "changes",
    "replace": "is replaced",
    "delete": "is deleted",
    "forget": "is forgotten by Terraform but stays in AWS",
    "read": "is read while applying",
}
UNTOLD: Final = frozenset({"tags_all", "id", "arn", "attachment_count", "policy_id", "unique_id"})
"""Attributes that AWS or the provider sets: they change by themselves, or along with another one."""
_LONGEST: Final = 300


def iam_changes(plan: Plan) -> tuple[str, ...]:
    """Return what will change, one line each, beginning with ``+``, ``~`` or ``-``; nothing only for an empty plan."""
    lines: list[str] = []
    for change in plan.changes:
        if change.kind != "no-op":
            lines += _described(change)
    lines += _moves(plan)
    for change in plan.changes:
        if change.kind == "no-op":
            lines += told(change)
    if not lines and not plan.is_empty:
        changed = [change.address for change in plan.changes if change.kind != "no-op"]
        changed += [f"output {output.name}" for output in plan.outputs if output.kind != "no-op"]
        lines.append(f"~ only what Terraform records changes: {', '.join(changed)}")
    # Two resources can say the same: the attachment itself, and the list of all that may be attached.
    return tuple(dict.fromkeys(plain(line, _LONGEST) for line in lines))


def told(change: Change) -> tuple[str, ...]:
    """Return what one change does, as `iam_changes` says it; nothing where only what Terraform records changes."""
    if change.kind == "no-op":
        return (f"~ {plain(change.address)} is recorded anew (moved or imported)",) if change.recorded_only else ()
    return tuple(dict.fromkeys(plain(line, _LONGEST) for line in _described(change)))


def drifted(plan: Plan) -> tuple[str, ...]:
    """Return the addresses of what was changed outside, without what AWS counts by itself."""
    return tuple(change.address for change in plan.drift if _changed_outside(change))


def _changed_outside(change: Change) -> bool:
    before, after = change.before or {}, change.after or {}
    return any(before.get(name) != after.get(name) for name in {*before, *after} - UNTOLD)


def _described(change: Change) -> Iterator[str]:
    describe = _DESCRIBED.get(change.type, _other) if change.mode == "managed" else _other
    return describe(change)


def _policy(change: Change) -> Iterator[str]:
    name = _name(change)
    before, after = _statements(change.before), _statements(change.after)
    if change.kind == "create":
        yield f"+ policy {name} is created ({_count(after)})"
        return
    if change.kind != "delete" and change.kind != "forget":
        if change.unknown("policy"):
            yield f"~ content of policy {name} is not known until apply"
        elif _text(change.before, "policy") != _text(change.after, "policy"):
            yield f"~ content of policy {name} changes: {_difference(before, after)}"
    yield from _rest(change, f"policy {name}", "policy")


def _moves(plan: Plan) -> Iterator[str]:
    """Tell which statements leave a policy that stays for another one: neither holds them between the two calls."""
    policies = [change for change in plan.changes if change.mode == "managed" and change.type == "aws_iam_policy"]
    for source in policies:
        lost = _allowed(source.before) - _allowed(source.after)
        for target in policies:
            moved = (lost & (_allowed(target.after) - _allowed(target.before))).total()
            if moved and source is not target and source.kind == "update":
                words = "1 statement moves" if moved == 1 else f"{moved} statements move"
                yield f"~ {words} from policy {_name(source)} to {_name(target)}: for a moment while applying in neither"


def _allowed(values: Mapping[str, Any] | None) -> Counter[str]:
    """Return the statements without their Sids, which packing may number anew."""
    found: Counter[str] = Counter()
    for text, count in (_statements(values) or Counter()).items():
        entry = json.loads(text)
        if isinstance(entry, dict):
            found[json.dumps({key: value for key, value in entry.items() if key != "Sid"}, sort_keys=True)] += count
    return found


def _user(change: Change) -> Iterator[str]:
    name = _name(change)
    if change.kind == "create":
        boundary = _value(change, "permissions_boundary")
        yield (f"+ user {name} is created, with the boundary {boundary}" if boundary else f"+ user {name} is created")
        return
    old, new = _text(change.before, "permissions_boundary"), _value(change, "permissions_boundary")
    if change.kind in ("update", "replace") and old != new:
        yield f"~ boundary of user {name} changes from {old or 'none'} to {new or 'none'}"
    yield from _rest(change, f"user {name}", "permissions_boundary")


def _group(change: Change) -> Iterator[str]:
    if change.kind == "create":
        yield f"+ group {_name(change)} is created"
    else:
        yield from _rest(change, f"group {_name(change)}")


def _attachment(holder: str) -> Callable[[Change], Iterator[str]]:
    def describe(change: Change) -> Iterator[str]:
        if change.before is not None and change.kind != "forget":
            arn, target = _text(change.before, "policy_arn"), _text(change.before, holder)
            yield f"- policy {_short(arn)} is detached from {holder} {target}"
        if change.after is not None:
            arn, target = _value(change, "policy_arn"), _value(change, holder)
            yield f"+ policy {_short(arn)} is attached to {holder} {target}"

    return describe


def _exclusive(holder: str, attribute: str, noun: str, gone: str, come: str) -> Callable[[Change], Iterator[str]]:
    def describe(change: Change) -> Iterator[str]:
        # Made or deleted, such a resource changes nothing in AWS by itself: it only tells what else may be there.
        if change.before is None or change.after is None:
            return
        target = _text(change.after, f"{holder}_name")
        before, after = _list(change.before, attribute), _list(change.after, attribute)
        for item in before:
            if item not in after:
                yield f"- {noun} {_short(item)} is {gone} {holder} {target}"
        for item in after:
            if item not in before:
                yield f"+ {noun} {_short(item)} is {come} {holder} {target}"

    return describe


def _membership(change: Change) -> Iterator[str]:
    user = _text(change.after or change.before, "user")
    before, after = _list(change.before, "groups"), _list(change.after, "groups")
    for group in before:
        if group not in after:
            yield f"- user {user} leaves group {group}"
    for group in after:
        if group not in before:
            yield f"+ user {user} joins group {group}"
    if change.unknown("groups"):
        yield f"~ groups of user {user} are not known until apply"


def _other(change: Change) -> Iterator[str]:
    yield f"{_MARKS[change.kind]} {change.address} {_DONE[change.kind]}"


def _rest(change: Change, subject: str, *told: str) -> Iterator[str]:
    if change.kind != "update":
        yield f"{_MARKS[change.kind]} {subject} {_DONE[change.kind]}"
        return
    before, after = change.before or {}, change.after or {}
    changed = sorted(
        key
        for key in {*before, *after}
        if key not in UNTOLD and key not in told and (before.get(key) != after.get(key) or change.unknown(key))
    )
    if changed:
        yield f"~ {subject} changes: {', '.join(changed)}"


_DESCRIBED: Final[Mapping[str, Callable[[Change], Iterator[str]]]] = {
    "aws_iam_policy": _policy,
    "aws_iam_user": _user,
    "aws_iam_group": _group,
    "aws_iam_group_policy_attachment": _attachment("group"),
    "aws_iam_user_policy_attachment": _attachment("user"),
    "aws_iam_user_group_membership": _membership,
    "aws_iam_group_policy_attachments_exclusive": _exclusive(
        "group", "policy_arns", "policy", "detached from", "attached to"
    ),
    "aws_iam_user_policy_attachments_exclusive": _exclusive(
        "user", "policy_arns", "policy", "detached from", "attached to"
    ),
    "aws_iam_group_policies_exclusive": _exclusive(
        "group", "policy_names", "inline policy", "removed from", "expected on"
    ),
    "aws_iam_user_policies_exclusive": _exclusive(
        "user", "policy_names", "inline policy", "removed from", "expected on"
    ),
}


def _name(change: Change) -> str:
    return _text(change.after, "name") or _text(change.before, "name") or change.address


def _value(change: Change, attribute: str) -> str:
    return "(known after apply)" if change.unknown(attribute) else _text(change.after, attribute)


def _text(values: Mapping[str, Any] | None, key: str) -> str:
    value = (values or {}).get(key)
    return value if isinstance(value, str) else ""


def _list(values: Mapping[str, Any] | None, key: str) -> list[str]:
    value = (values or {}).get(key)
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _short(arn: str) -> str:
    # AWS's own policies keep their ARN: an account's policy of the same name is something else.
    return arn if ":iam::aws:" in arn else arn.rsplit("/", 1)[-1]


def _statements(values: Mapping[str, Any] | None) -> Counter[str] | None:
    try:
        document = json.loads(_text(values, "policy"))
    except ValueError:
        return None
    statements = document.get("Statement") if isinstance(document, dict) else None
    if isinstance(statements, dict):
        statements = [statements]
    if not isinstance(statements, list):
        return None
    return Counter(json.dumps(statement, sort_keys=True) for statement in statements)


def _count(statements: Counter[str] | None) -> str:
    if statements is None:
        return "content not readable"
    number = statements.total()
    return f"{number} statement{'' if number == 1 else 's'}"


def _difference(before: Counter[str] | None, after: Counter[str] | None) -> str:
    if before is None or after is None:
        return "its statements cannot be read"
    return f"+{(after - before).total()}/-{(before - after).total()} statements"
