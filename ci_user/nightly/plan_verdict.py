"""What a plan says at night: somebody changed AWS, somebody merged, only outputs differ, or nobody can tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Final

from ci_user.iam_user import QUARANTINE
from ci_user.known_drift import PERMISSIONS, KnownDrift
from ci_user.nightly import attribute_text, codes
from ci_user.nightly.model import Acceptance, AttributeChange, Change, Entry
from ci_user.nightly.plan_causes import Cause, causes
from ci_user.plan_model import Change as PlannedChange
from ci_user.plan_model import Plan
from ci_user.plan_words import told
from ci_user.redaction import SENSITIVE
from ci_user.text import plain

_LINE: Final = 300
_MOST_LINES: Final = 20
_HOLDERS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "aws_iam_user": ("name", ("user", "user_name")),
    "aws_iam_group": ("name", ("group", "group_name")),
    "aws_iam_policy": ("arn", ("policy_arn",)),
}
"""What takes others with it when it is deleted: its own attribute, and those that name it elsewhere."""


@dataclass(frozen=True)
class PlanVerdict:
    """What was found, and every change with its attributes, also those that one entry tells together."""

    entries: tuple[Entry, ...]
    changes: tuple[Change, ...]


@dataclass(frozen=True)
class _Found:
    entry: Entry
    cause: Cause
    words: tuple[str, ...]


def verdict(plan: Plan, known: Sequence[KnownDrift], today: date) -> PlanVerdict:
    """Return what a plan says, resource by resource.

    A plan that is errored or not complete says nothing else: what it leaves out could be either.

    Args:
        plan: A plan whose sensitive values are masked (`ci_user.redaction.redact`).
        known: The environment's ``known_drift``.
        today: The day to compare with the last day of each, in UTC.
    """
    if plan.errored or not plan.complete:
        what = (
            "stopped with an error half way" if plan.errored else "is not complete: an apply would need another round"
        )
        return PlanVerdict((codes.PLAN_ERROR.entry("", f"the plan {what}; what it does not say is not known"),), ())
    found = causes(plan)
    drift = _told_once([_drift(cause, known, today) for cause in found if cause.drifted], found)
    unapplied = _told_once([_unapplied(cause) for cause in found if cause.merged], ())
    entries = [one.entry for one in (*drift, *unapplied)]
    # What is read while applying waits for another change. With none it is what the plan is about.
    reads = [change for change in plan.changes if change.kind == "read" or change.mode != "managed"]
    reads = [change for change in reads if change.kind != "no-op" and not any(entry.counts for entry in entries)]
    entries += [codes.UNAPPLIED.entry(_where(one.address), _message("not deployed yet", told(one))) for one in reads]
    outputs = [output for output in plan.outputs if output.kind != "no-op"]
    if outputs and not any(entry.counts for entry in entries):
        names = ", ".join(plain(output.name, 100) for output in outputs[:_MOST_LINES])
        entries.append(codes.OUTPUTS.entry("", f"no resource, but outputs differ: {names}"))
    entries += _stale(found, known, today)
    entries += [_left(cause, known, today) for cause in found if cause.left]
    changes = [change for cause in found for change in _changes(cause)]
    changes += [Change(address=_where(one.address), action=one.kind, origin="unapplied") for one in reads]
    changes += [
        Change(address=_where(f"output.{output.name}"), action=output.kind, origin="output") for output in outputs
    ]
    return PlanVerdict(tuple(entries), tuple(changes))


def _drift(cause: Cause, known: Sequence[KnownDrift], today: date) -> _Found:
    words = _outside_words(cause, cause.drifted)
    details = [*_values(cause, cause.drifted)]
    details += [f"the next deploy: {line}" for line in _overwriting_words(cause)[:_MOST_LINES]]
    entry = codes.DRIFT.entry(_where(cause.address), _message("somebody changed AWS", words), details=details)
    if any(QUARANTINE in line for line in words):
        fix = "AWS attached it because a key leaked: leave it attached and run `invoke revoke`"
        # A deploy that would detach it is refused, so nothing is said of the next one.
        entry = entry.model_copy(update={"fix": fix, "runbook": "quarantine", "details": ()})
    return _Found(_accepted(entry, cause, cause.drifted, known, today), cause, words)


def _unapplied(cause: Cause) -> _Found:
    words = _unapplied_words(cause)
    return _Found(codes.UNAPPLIED.entry(_where(cause.address), _message("not deployed yet", words)), cause, words)


def _left(cause: Cause, known: Sequence[KnownDrift], today: date) -> Entry:
    words = _outside_words(cause, cause.left)
    entry = codes.CHANGED_OUTSIDE.entry(
        _where(cause.address),
        _message("changed outside, and no deploy would change it", words),
        details=_values(cause, cause.left),
    )
    return _accepted(entry, cause, cause.left, known, today)


def _accepted(entry: Entry, cause: Cause, names: tuple[str, ...], known: Sequence[KnownDrift], today: date) -> Entry:
    """Return the entry accepted, where every attribute is named and may be; else with what stands in the way."""
    for one in known:
        if one.resource != cause.address or one.expired(today):
            continue
        missing = [plain(name, 100) for name in names if name not in one.attributes or name in PERMISSIONS]
        if cause.gone:
            why = "it is for attributes, and the resource is gone"
        elif cause.masked:
            why = "sensitive values hide what else differs"
        elif missing:
            why = f"it does not name {', '.join(missing[:_MOST_LINES])}"
        else:
            acceptance = Acceptance(reason=one.reason, owner=one.owner, expires=str(one.expires))
            return entry.model_copy(update={"accepted": acceptance})
        line = plain(f"`known_drift` does not accept it: {why}", _LINE)
        return entry.model_copy(update={"details": (*entry.details, line)})
    return entry


def _stale(found: Sequence[Cause], known: Sequence[KnownDrift], today: date) -> Iterator[Entry]:
    """Return what is wrong with the environment's ``known_drift``: what is over, and what accepts nothing now."""
    for one in known:
        drifted = {name for cause in found if cause.address == one.resource for name in (*cause.drifted, *cause.left)}
        unused = [name for name in one.attributes if name not in drifted]
        if one.expired(today):
            still = "it did not drift" if len(unused) == len(one.attributes) else "it is still so"
            message = f"`known_drift` names it, but it is over since {one.expires}; {still}"
        elif unused:
            message = f"`known_drift` names {', '.join(unused)}, which did not drift"
        else:
            continue
        yield codes.KNOWN_DRIFT.entry(_where(one.resource), message, details=(plain(f"owner: {one.owner}", _LINE),))


def _told_once(found: list[_Found], all_causes: Sequence[Cause]) -> list[_Found]:
    """Leave out what another entry says already: an attachment and the list of all of them, or a group and what hung on it."""
    gone = [cause for cause in all_causes if cause.gone and cause.drifted]
    along = {id(one): holder for one in found for holder in gone if one.cause.gone and _hung_on(one.cause, holder)}
    open_ = [one for one in found if one.entry.accepted is None]
    said = {line for one in open_ if not _lists_others(one.cause) for line in one.words}
    alone = all(_lists_others(one.cause) for one in open_)
    kept = [
        one
        for one in found
        if id(one) not in along
        and (alone or one.entry.accepted is not None or not _lists_others(one.cause) or not said.issuperset(one.words))
    ]
    return [_with(one, [other for other in found if along.get(id(other)) is one.cause]) for one in kept]


def _lists_others(cause: Cause) -> bool:
    return cause.type.endswith("_exclusive")


def _hung_on(cause: Cause, holder: Cause) -> bool:
    attribute, names = _HOLDERS.get(holder.type, ("", ()))
    own = holder.old.get(attribute)
    return cause is not holder and isinstance(own, str) and any(cause.old.get(name) == own for name in names)


def _with(one: _Found, others: list[_Found]) -> _Found:
    lines = [f"with it: {line[2:]}" for other in others for line in other.words][:_MOST_LINES]
    return replace(one, entry=one.entry.model_copy(update={"details": (*one.entry.details, *lines)}))


def _outside_words(cause: Cause, names: tuple[str, ...]) -> tuple[str, ...]:
    change = cause.outside
    if change is None:
        return ()
    if change.after is not None:
        change = replace(change, after={**cause.old, **{name: cause.live.get(name) for name in names}})
    return told(change) or _generic(cause.address, names)


def _overwriting_words(cause: Cause) -> tuple[str, ...]:
    if cause.planned is None:
        return ()
    return told(_restricted(cause.planned, cause.live, cause.drifted)) or _generic(cause.address, cause.drifted)


def _unapplied_words(cause: Cause) -> tuple[str, ...]:
    change = cause.planned
    if change is None:
        return ()
    if cause.gone and change.kind == "create":
        # That it is made again is the answer to its deletion; here counts how it will differ.
        change = replace(_restricted(replace(change, kind="update"), cause.old, cause.unapplied))
    else:
        change = _restricted(change, cause.live, cause.unapplied)
    return told(change) or (() if _lists_others(cause) else _generic(cause.address, cause.unapplied))


def _restricted(change: PlannedChange, before: Mapping[str, Any], names: tuple[str, ...]) -> PlannedChange:
    """Return an update as if it changed these attributes only; anything else as it is."""
    if change.kind != "update":
        return change
    wanted = change.after or {}
    return replace(
        change,
        before={**wanted, **{name: before.get(name) for name in names}},
        after_unknown={name: True for name in names if change.unknown(name)},
    )


def _generic(address: str, names: tuple[str, ...]) -> tuple[str, ...]:
    what = f" ({', '.join(names[:_MOST_LINES])})" if names else ""
    return (plain(f"~ {address} changes{what}", _LINE),)


def _message(start: str, words: Sequence[str]) -> str:
    more = f"; and {len(words) - _MOST_LINES} more" if len(words) > _MOST_LINES else ""
    lines = "; ".join(line[2:] for line in words[:_MOST_LINES])
    return f"{start}: {lines or 'only what Terraform records'}{more}"


def _changes(cause: Cause) -> Iterator[Change]:
    address = _where(cause.address)
    outside = (*cause.drifted, *cause.left)
    if outside:
        action = cause.outside.kind if cause.outside else "update"
        attributes = _attributes(cause, sorted(outside), cause.old, cause.live)
        yield Change(address=address, action=action, origin="drift", attributes=attributes)
    if cause.merged and cause.planned is not None:
        planned = cause.planned
        wanted = {name: attribute_text.UNKNOWN for name in cause.unapplied if planned.unknown(name)}
        attributes = _attributes(cause, cause.unapplied, cause.live, {**cause.wanted, **wanted})
        action = "record" if planned.kind == "no-op" else planned.kind
        yield Change(address=address, action=action, origin="unapplied", attributes=attributes)


def _values(cause: Cause, names: Sequence[str]) -> Iterator[str]:
    """Yield what somebody changed, an attribute on a line; documents, which fill a page, are in the changes only."""
    if cause.gone:
        return
    for one in _attributes(cause, sorted(names), cause.old, cause.live)[:_MOST_LINES]:
        before, after = (" ".join(text.split()) for text in (one.before, one.after))
        if len(before) + len(after) <= _LINE:
            yield plain(f"{one.name}: {before or '(nothing)'} -> {after or '(nothing)'}", 2 * _LINE)


def _attributes(
    cause: Cause, names: Sequence[str], before: Mapping[str, Any], after: Mapping[str, Any]
) -> tuple[AttributeChange, ...]:
    found = []
    for name in names:
        # What is sensitive at one time is so at every time, as Terraform's own output has it.
        if any(attribute_text.masked(side.get(name)) for side in (cause.old, cause.live, cause.wanted)):
            one = other = SENSITIVE
        else:
            one, other = attribute_text.text(before.get(name)), attribute_text.text(after.get(name))
        found.append(AttributeChange(name=plain(name, _LINE), before=one, after=other))
    return tuple(found)


def _where(address: str) -> str:
    return plain(address, 2_000)
