"""What keeps an old key from going, and what an early end of it breaks, in words for people."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from ci_user.durations import format_duration
from ci_user.iam_user import KEYS_PER_USER
from ci_user.journal import KeyRecord
from ci_user.rotation import Observation, Rotate, delivered_key, in_states, in_use, is_due, older_keys


@dataclass(frozen=True)
class OldKey:
    """An older key that stays for now.

    Args:
        id: The key.
        why: What it waits for, in words.
        overdue: It is still in use although it should have gone: a finding.
    """

    id: str
    why: str
    overdue: bool


def old_keys(seen: Observation) -> tuple[OldKey, ...]:
    """Return the older keys that a rotation leaves in place for now, with the reasons."""
    return tuple(_old_key(seen, record) for record in older_keys(seen))


def going(seen: Observation, goal: Rotate) -> tuple[KeyRecord, ...]:
    """Return the keys that ``rotate --now`` makes inactive: whatever still holds one of them fails at its next call to AWS."""
    older, current = older_keys(seen), delivered_key(seen)
    # A rotation under way is only finished, unless its successor is to be renewed too.
    begun = bool(in_states(seen.journal, "minted", "staged", "verified"))
    renewed = current is not None and (goal.force or is_due(seen, current) or not older or begun)
    return (*older, *((current,) if renewed and current else ()))


def held_up(seen: Observation, *, forced: bool) -> str | None:
    """Return why a key that is due, or whose renewal was asked for, is not renewed now; None when it is not held up."""
    delivered = delivered_key(seen)
    if delivered is None or seen.renewed or len(seen.keys) < KEYS_PER_USER or not (forced or is_due(seen, delivered)):
        return None
    waiting = ", ".join(old.id for old in old_keys(seen)) or "another key"
    return f"{delivered.id} is not renewed now: IAM has no room for a third key until {waiting} has gone (--now)"


def deny_notes(seen: Observation) -> tuple[str, ...]:
    """Return what to say while a revocation's deny is on the user."""
    if seen.deny == "sessions":
        return (f"the deny of the revocation of {', '.join(seen.denied)} is still on the user",)
    return ()


def _old_key(seen: Observation, record: KeyRecord) -> OldKey:
    schedule = seen.schedule
    if record.state == "inactive":
        until = record.times["inactive"] + schedule.soak
        return OldKey(record.id, f"inactive; deleted from {_time(until)} on", overdue=False)
    since = record.times["grace"]
    used = seen.uses.get(record.id)
    if used is not None and used.at is not None and in_use(seen, record):
        overdue = seen.now - since >= schedule.expire_after
        last = f"last used {_time(used.at)} in {used.service}, {used.region}"
        late = (
            f"STILL IN USE {format_duration(schedule.expire_after)} and more after its successor was delivered: "
            if overdue
            else "still in use: "
        )
        return OldKey(record.id, late + last, overdue=overdue)
    return OldKey(record.id, f"in its grace until {_time(since + schedule.overlap)}", overdue=False)


def _time(when: dt.datetime) -> str:
    return when.isoformat(timespec="seconds")
