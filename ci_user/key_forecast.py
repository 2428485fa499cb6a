"""What a deploy will do about the keys, in words, for the person who confirms it.

The forecast goes through the same decisions as the work. It supposes that what only clears away has been done, and looks what
comes next, until a key is made or delivered: what that leads to is told at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from ci_user.backends.protocol import Held
from ci_user.journal import Journal, KeyRecord, KeyState
from ci_user.key_actions import (
    Action,
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
    SetAside,
    Settle,
    Stage,
    Stop,
    Verify,
    Wait,
)
from ci_user.rotation import CALL_WINDOW, UNFINISHED, Observation, decide, delivered_key, in_states

_STEPS_AT_MOST: Final = 50


def foretell(seen: Observation) -> str | None:
    """Return what will happen to the keys; None when nothing will, or only the journal is tidied of keys that are gone."""
    told: list[str] = []
    first = seen
    for _ in range(_STEPS_AT_MOST):
        action = decide(seen)
        if isinstance(action, Done):
            break
        if isinstance(action, Stop):
            # What stops at once is raised, not foretold.
            told += [] if seen is first else [f"then a person is needed: {action.why}"]
            break
        words = _words(seen, action)
        told += [words] if words and words not in told else []
        after = _after(seen, action)
        if after is None:
            told += [_emptied(seen)] if _full(seen) else []
            break
        seen = after
    return "; ".join(told) or None


def _full(seen: Observation) -> list[str]:
    return [target for target in seen.former if seen.held[target] != Held(None, None)]


def _emptied(seen: Observation) -> str:
    return f"what was delivered to {', '.join(_full(seen))}, which the environment file no longer names, is removed"


def _words(seen: Observation, action: Action) -> str | None:
    """Return what an action means to a person, or None when it means nothing."""
    places = ", ".join(seen.targets)
    made = f"is made, verified and delivered to {places}"
    current = delivered_key(seen)
    match action:
        case RecordIntent(reason="rotate"):
            return f"the rotation that was interrupted goes on: a new access key {made}"
        case RecordIntent() if current is not None:
            return f"no place that can be read back holds {current.id} any more: a new access key {made}"
        case RecordIntent() | Mint():
            return f"an access key {made}"
        case Wait():
            return "what an interrupted run may have asked for is waited for"
        case DropIntent():
            return "the intent of an interrupted run is closed"
        case DeleteOrphan(key_id):
            return f"{key_id}, which an interrupted run made and nobody received, is deleted"
        case Deliver(key_id):
            missing = [target for target in seen.targets if seen.held[target].current != key_id]
            return f"the access key {key_id} is delivered to {', '.join(missing or action.targets)}"
        case Stage(key_id) | Verify(key_id) | Promote(key_id) if seen.journal.keys[key_id].state in UNFINISHED:
            return f"the access key {key_id}, made by an interrupted run, is verified and delivered to {places}"
        case Stage(key_id) | Verify(key_id) | Promote(key_id):
            return f"the access key {key_id} is delivered to {seen.stage}"
        case Settle(key_id):
            return f"the access key {key_id} is journalled as delivered"
        case SetAside(key_id):
            return (
                f"the access key {key_id}, which an interrupted run made and {seen.stage} lost, is kept for its grace"
            )
        case DiscardStaged(key_id):
            return f"a pending copy of {key_id}, which is not to be delivered, is dropped from {seen.stage}"
        case RemoveDelivered():
            return _emptied(seen)
        case ForgetTarget(target):
            return (
                f"{target}, which the environment file no longer names and which is empty, is taken out of the journal"
            )
        case LiftDeny():
            return "the deny of the last revocation is taken off: no session is as old as that"
        case Delete(key_id) if seen.journal.keys[key_id].state == "deleted":
            return f"{key_id}, which was deleted and which IAM still lists, is deleted once more"
        case Delete(key_id):
            return f"{key_id}, which was revoked, is deleted"
        case NoteRevoked(key_ids):
            return f"what was revoked is journalled: {', '.join(key_ids)}"
        case Retire(key_id):
            return f"{key_id}, which was revoked, is to be inactive"
        case _:
            return None


def _after(seen: Observation, action: Action) -> Observation | None:
    """Return what will be true after an action that only clears away; None after one that others follow as a matter of course."""
    journal = seen.journal
    match action:
        case Forget(key_id):
            return replace(seen, journal=journal.without_key(key_id))
        case DropIntent():
            return replace(seen, journal=journal.without_intent())
        case NoteRevoked(key_ids):
            return replace(seen, journal=journal.with_revoked(key_ids))
        case Wait() if journal.intent is not None:
            return replace(seen, now=max(seen.now, journal.intent.at + CALL_WINDOW + seen.lag))
        case Delete(key_id) | DeleteOrphan(key_id):
            keys = tuple(key for key in seen.keys if key.id != key_id)
            return replace(seen, keys=keys, journal=_entering(seen, key_id, "deleted"))
        case Retire(key_id):
            keys = tuple(replace(key, active=key.active and key.id != key_id) for key in seen.keys)
            mine = journal.intent is not None and journal.intent.id == journal.keys[key_id].intent
            retired = _entering(seen, key_id, "inactive")
            return replace(seen, keys=keys, journal=retired.without_intent() if mine else retired)
        case SetAside(key_id):
            return replace(seen, journal=_entering(seen, key_id, "grace"))
        case Settle(key_id):
            return replace(seen, journal=_settled(seen, key_id))
        case DiscardStaged():
            return _holding(seen, seen.stage, lambda held: Held(held.current, None))
        case RemoveDelivered():
            for target in _full(seen):
                seen = _holding(seen, target, lambda _: Held(None, None))
                seen = _without(seen, target)
            return seen
        case ForgetTarget(target):
            return _without(seen, target)
        case LiftDeny():
            return replace(seen, deny="none", denied=())
        case _:
            return None


def _entering(seen: Observation, key_id: str, state: KeyState) -> Journal:
    record = seen.journal.keys.get(key_id)
    if record is not None:
        return seen.journal.with_key(record.entering(state, seen.now))
    if seen.journal.intent is None:
        return seen.journal
    return seen.journal.with_key(KeyRecord(key_id, seen.journal.intent.id, state, {state: seen.now}, {}))


def _settled(seen: Observation, key_id: str) -> Journal:
    journal, record = seen.journal, seen.journal.keys[key_id]
    for before in in_states(journal, "delivered"):
        journal = journal.with_key(before.entering("grace", seen.now))
    for target in seen.targets:
        if seen.held[target].current == key_id:
            record = record.delivered_to(target, seen.now)
    return journal.with_key(record.entering("delivered", seen.now)).without_intent()


def _holding(seen: Observation, target: str, change: Callable[[Held], Held]) -> Observation:
    return replace(seen, held={**seen.held, target: change(seen.held[target])})


def _without(seen: Observation, target: str) -> Observation:
    former = tuple(one for one in seen.former if one != target)
    return replace(seen, former=former, journal=seen.journal.without_target(target))
