"""What will happen to the keys, and what keeps an old one from going, in words for people."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from ci_user.backends.protocol import Held
from ci_user.durations import format_duration
from ci_user.iam_user import KEYS_PER_USER
from ci_user.journal import KeyRecord
from ci_user.key_actions import (
    Delete,
    DeleteOrphan,
    Deliver,
    DiscardStaged,
    Done,
    DropIntent,
    Forget,
    ForgetTarget,
    LiftDeny,
    Mint,
    NoteRevoked,
    Promote,
    RecordIntent,
    RemoveDelivered,
    Retire,
    Settle,
    Stage,
    Stop,
    Verify,
    Wait,
)
from ci_user.rotation import (
    Observation,
    Rotate,
    decide,
    delivered_key,
    in_states,
    in_use,
    is_due,
    older_keys,
)


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


def foretell(seen: Observation) -> str | None:
    """Return, for the person who confirms a deploy, what will happen to the keys; None when nothing will."""
    first = _foretold(seen)
    emptied = [target for target in seen.former if seen.held[target] != Held(None, None)]
    if first is None or not emptied:
        return first
    return (
        f"{first}; what was delivered to {', '.join(emptied)}, which the environment file no longer names, is removed"
    )


def _foretold(seen: Observation) -> str | None:
    action = decide(seen)
    others = ", ".join(seen.targets)
    match action:
        case Done() | Stop():
            return None
        case RecordIntent(reason="first") | Forget():
            return f"an access key is made, verified and delivered to {others}"
        case RecordIntent(reason="rotate"):
            return f"the rotation that was interrupted goes on: a new access key is made, verified and delivered to {others}"
        case RecordIntent():
            return f"no backend holds the key any more: a new one is made, verified and delivered to {others}"
        case Mint() | DropIntent() | Wait() | DeleteOrphan():
            return (
                f"what an interrupted run left is cleaned up; an access key is made, verified and delivered to {others}"
            )
        case Deliver(key_id=key_id):
            missing = [t for t in seen.targets if key_id != seen.held[t].current]
            return f"the access key {key_id} is delivered to {', '.join(missing) or action.target}"
        case Stage(key_id) | Verify(key_id) | Promote(key_id) | Settle(key_id):
            return f"the access key {key_id}, made by an interrupted run, is verified and delivered to {others}"
        case DiscardStaged(key_id):
            return f"a pending copy of {key_id}, which is no longer a key of this user, is dropped from {seen.stage}"
        case RemoveDelivered() | ForgetTarget():
            return "every place of the environment file has the key"
        case LiftDeny() | Delete():
            return "the deny of the last revocation is taken off, and what it revoked deleted: no session is as old as that"
        case NoteRevoked() | Retire():
            return f"the revoked key is inactive; a new one is made, verified and delivered to {others}"
        case _:
            return "the keys are brought in order"


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
