"""The life of an access key as a table: what is observed decides the next action, and nothing else does.

``decide`` is pure. ``keeper.py`` observes, asks it, performs the one action, and asks again, so that a run which died anywhere
is continued by the next one from what is true in IAM, in the journal and in the backends.

    intent -> minted -> staged -> verified -> delivered -> grace -> inactive -> deleted

This table covers the first key, its repair after a crash, and its removal.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ci_user.backends.protocol import Held
from ci_user.iam_user import KEYS_PER_USER, LiveKey
from ci_user.journal import Journal, KeyRecord

# CreateAccessKey's connect and read timeouts, and the seconds by which AWS's clocks round.
CALL_WINDOW = dt.timedelta(seconds=40)

_FOREIGN = "no journal names this key, so it was not made here"


@dataclass(frozen=True)
class Observation:
    """What is true now.

    Args:
        keys: What IAM lists.
        journal: What the lease object records.
        held: What each target holds, by target.
        stage: The target that a new key goes to first and can be read back from.
        targets: All targets, the stage included.
        in_hand: The id of the key whose secret this process holds, if any.
        run: This run's id.
        now: The time by the state bucket's clock.
        lag: How long IAM's lists may run behind: a key just journalled is believed to exist for so long.
        doubts: For each key that no journal names, why it cannot be attributed to the intent, or None when it can.
    """

    keys: tuple[LiveKey, ...]
    journal: Journal
    held: Mapping[str, Held]
    stage: str
    targets: tuple[str, ...]
    in_hand: str | None
    run: str
    now: dt.datetime
    lag: dt.timedelta
    doubts: Mapping[str, str | None]


@dataclass(frozen=True)
class RecordIntent:
    """Journal that a key is about to be made, and which keys there are."""

    reason: str


@dataclass(frozen=True)
class DropIntent:
    """Forget an intent of an earlier run that made no key."""


@dataclass(frozen=True)
class Wait:
    """Look again later: a key that an earlier run asked for may not be listed yet."""


@dataclass(frozen=True)
class Mint:
    """Make the key of the journalled intent."""


@dataclass(frozen=True)
class DeleteOrphan:
    """Delete a key of ours that nobody can use: its secret was lost before it reached a stage."""

    key_id: str


@dataclass(frozen=True)
class Forget:
    """Take a key out of the journal that IAM no longer has."""

    key_id: str


@dataclass(frozen=True)
class Stage:
    """Give the key to the stage, where consumers do not read it yet."""

    key_id: str


@dataclass(frozen=True)
class Verify:
    """Read the key back from the stage and see that AWS knows it, as the right user."""

    key_id: str


@dataclass(frozen=True)
class Promote:
    """Make the staged key the one that consumers read."""

    key_id: str


@dataclass(frozen=True)
class Deliver:
    """Give the key to one more target, from the stage."""

    key_id: str
    target: str


@dataclass(frozen=True)
class Settle:
    """Record the key as delivered everywhere, and the intent as fulfilled."""

    key_id: str


@dataclass(frozen=True)
class DiscardStaged:
    """Drop a pending copy that will never be promoted."""

    key_id: str


@dataclass(frozen=True)
class RemoveDelivered:
    """Remove what was delivered to a target."""

    target: str


@dataclass(frozen=True)
class Deactivate:
    """Make a key inactive before it is deleted."""

    key_id: str


@dataclass(frozen=True)
class Delete:
    """Delete a key that is inactive."""

    key_id: str


@dataclass(frozen=True)
class Done:
    """Nothing is left to do; ``key_id`` is the delivered key, or None when there is none by intent."""

    key_id: str | None


@dataclass(frozen=True)
class Stop:
    """Only a person can judge this."""

    why: str
    key_ids: tuple[str, ...]


Action = (
    RecordIntent
    | DropIntent
    | Wait
    | Mint
    | DeleteOrphan
    | Forget
    | Stage
    | Verify
    | Promote
    | Deliver
    | Settle
    | DiscardStaged
    | RemoveDelivered
    | Deactivate
    | Delete
    | Done
    | Stop
)


def decide(seen: Observation) -> Action:
    """Return the next action towards exactly one delivered, working key."""
    live = _live(seen)
    records = seen.journal.keys
    for record in records.values():
        if record.id not in live:
            return Forget(record.id)
    unnamed = sorted(set(live) - set(records))
    if seen.journal.intent is not None:
        return _decide_with_intent(seen, unnamed)
    if unnamed:
        return Stop(_FOREIGN, tuple(unnamed))
    unfinished = [r for r in records.values() if r.state in ("minted", "staged", "verified")]
    if unfinished:
        return _advance(seen, unfinished[0])
    delivered = _newest(r for r in records.values() if r.state == "delivered")
    if delivered is None:
        return _new_key(live, "repair" if live else "first")
    return _keep(seen, delivered, live)


def decide_removal(seen: Observation) -> Action:
    """Return the next action towards no key at all and nothing delivered.

    Keys are deactivated and deleted first: what was delivered is worthless then, whatever happens next.
    """
    live = _live(seen)
    records = seen.journal.keys
    unnamed = sorted(set(live) - set(records))
    if len(unnamed) > 1 or any(_doubt(seen, key) for key in unnamed):
        return Stop(_FOREIGN, tuple(unnamed))
    for key in sorted(live):
        state = live[key]
        if state is not None and state.active:
            return Deactivate(key)
    for key in sorted(live):
        return Delete(key)
    for record in records.values():
        return Forget(record.id)
    if seen.journal.intent is not None:
        return DropIntent()
    for target in seen.targets:
        if seen.held[target] != Held(None, None):
            return RemoveDelivered(target)
    return Done(None)


def _live(seen: Observation) -> dict[str, LiveKey | None]:
    """Return the keys that exist, the ones included that IAM does not list yet."""
    live: dict[str, LiveKey | None] = {key.id: key for key in seen.keys}
    for record in seen.journal.keys.values():
        if record.id not in live and (record.id == seen.in_hand or _fresh(record, seen)):
            live[record.id] = None
    return live


def _fresh(record: KeyRecord, seen: Observation) -> bool:
    minted = record.times.get("minted")
    return record.state != "deleted" and minted is not None and seen.now - minted < seen.lag


def _newest(records: Iterable[KeyRecord]) -> KeyRecord | None:
    return max(
        records,
        key=lambda r: (r.times.get("delivered", dt.datetime.min.replace(tzinfo=dt.UTC)), r.id),
        default=None,
    )


def _new_key(live: Mapping[str, LiveKey | None], reason: str) -> Action:
    if len(live) >= KEYS_PER_USER:
        return Stop("IAM allows no third key, and none of these is delivered", tuple(sorted(live)))
    return RecordIntent(reason)


def _decide_with_intent(seen: Observation, unnamed: list[str]) -> Action:
    intent = seen.journal.intent
    assert intent is not None  # noqa: S101 - the caller asked
    made = [record for record in seen.journal.keys.values() if record.intent == intent.id]
    if made and not unnamed:
        return _advance(seen, made[0])
    if made or len(unnamed) > 1:
        return Stop(_FOREIGN, tuple(unnamed))
    if not unnamed:
        # An earlier run may have died before or after it asked: its intent is closed and a new one, with a new list of the
        # keys that are there, takes its place. So no intent ever makes two keys.
        if intent.run == seen.run:
            return Mint()
        # What it asked for shows in IAM's list only after a while, and must be found before another key is made.
        return Wait() if seen.lag and seen.now - intent.at < CALL_WINDOW + seen.lag else DropIntent()
    doubt = _doubt(seen, unnamed[0])
    if doubt is not None:
        return Stop(f"it cannot be attributed to the interrupted run: {doubt}", tuple(unnamed))
    return DeleteOrphan(unnamed[0])


def _doubt(seen: Observation, key_id: str) -> str | None:
    """Return why a key that no journal names may not be the one that the intent made, or None when it is."""
    if seen.journal.intent is None or key_id in seen.journal.intent.before:
        return "it was there before, and was not made here"
    return seen.doubts.get(key_id, "nothing is known about it")


def _advance(seen: Observation, record: KeyRecord) -> Action:
    """Return the next action for a key on its way to being delivered."""
    held = seen.held[seen.stage]
    if held.pending not in (None, record.id):
        return DiscardStaged(held.pending)
    if record.id not in (held.pending, held.current):
        if seen.in_hand == record.id:
            return Stage(record.id)
        if record.delivered:
            # Somebody may read it already, so it lives on as delivered and the loss of the stage is repaired next.
            return Settle(record.id)
        return DeleteOrphan(record.id)
    if record.state == "minted":
        return Stage(record.id)
    if record.state == "staged":
        return Verify(record.id)
    if held != Held(record.id, None):
        return Promote(record.id)
    return _deliver_next(seen, record.id) or Settle(record.id)


def _deliver_next(seen: Observation, key_id: str) -> Deliver | None:
    for target in seen.targets:
        # A promotion that was interrupted half-way left both copies: it is delivered once more.
        if target != seen.stage and seen.held[target] != Held(key_id, None):
            return Deliver(key_id, target)
    return None


def _keep(seen: Observation, record: KeyRecord, live: Mapping[str, LiveKey | None]) -> Action:
    """Return what the delivered key still needs."""
    key = live[record.id]
    if key is not None and not key.active:
        return Stop("the delivered key is inactive, and nothing here made it so", (record.id,))
    held = seen.held[seen.stage]
    if held.pending is not None and held.pending != record.id:
        return DiscardStaged(held.pending)
    if held.pending == record.id:
        return Promote(record.id)
    if held.current != record.id:
        return _new_key(live, "repair")
    missing = _deliver_next(seen, record.id)
    if missing is not None:
        return missing
    if set(record.delivered) != set(seen.targets):
        return Settle(record.id)
    return Done(record.id)


def foretell(seen: Observation) -> str | None:
    """Return, for the person who confirms, what will happen to the keys; None when nothing will."""
    action = decide(seen)
    others = ", ".join(seen.targets)
    match action:
        case Done():
            return None
        case Stop():
            return None
        case RecordIntent(reason="first") | Forget():
            return f"an access key is made, verified and delivered to {others}"
        case RecordIntent():
            return f"no backend holds the key any more: a new one is made, verified and delivered to {others}"
        case Mint() | DropIntent() | Wait() | DeleteOrphan():
            return (
                f"what an interrupted run left is cleaned up; an access key is made, verified and delivered to {others}"
            )
        case Deliver(key_id=key_id, target=target):
            return f"the access key {key_id} is delivered to {target}"
        case Stage(key_id) | Verify(key_id) | Promote(key_id) | Settle(key_id):
            return f"the access key {key_id}, made by an interrupted run, is verified and delivered to {others}"
        case DiscardStaged(key_id):
            return f"a pending copy of {key_id}, which is no longer a key of this user, is dropped from {seen.stage}"
        case _:
            return "the keys are brought in order"
