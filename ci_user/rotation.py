"""The life of an access key as a table: what is observed decides the next action, and nothing else does.

``decide`` is pure. ``keeper.py`` observes, asks it, performs the one action, and asks again, so that a run which died anywhere
is continued by the next one from what is true in IAM, in the journal and in the backends.

    intent -> minted -> staged -> verified -> delivered -> grace -> inactive -> deleted

``docs/rotation.md`` tells it for people; ``key_life.py`` has the states and what leads from one to the next.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from ci_user.backends.protocol import Held
from ci_user.environment_parts import Rotation
from ci_user.iam_user import KEYS_PER_USER, LastUse, LiveKey
from ci_user.journal import Journal, KeyRecord
from ci_user.key_actions import (
    Action,
    Deactivate,
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
    Reinstate,
    RemoveDelivered,
    Retire,
    SetAside,
    Settle,
    Stage,
    Stop,
    Verify,
    Wait,
)

if TYPE_CHECKING:
    from ci_user.journal import Intent

# CreateAccessKey's connect and read timeouts, and the seconds by which AWS's clocks round.
CALL_WINDOW = dt.timedelta(seconds=40)

_FOREIGN = "no journal names this key, so it was not made here"
UNFINISHED = ("minted", "staged", "verified")
_OVER = ("grace", "inactive", "deleted")

Deny = Literal["none", "everything", "sessions", "over"]
"""What a revocation's policy on the user denies: everything until the key's deactivation has taken effect, then the sessions
issued before, and nothing any more once the longest session has ended."""


@dataclass(frozen=True)
class Keep:
    """One delivered, working key in every place of the environment file, and in no other: what a deploy wants."""


@dataclass(frozen=True)
class Rotate:
    """A new key when the one there is old enough, and the old ones moved on.

    Args:
        force: Make a new key whatever the age.
        now: Finish the rotation under way, or a whole new one, without grace and soak.
    """

    force: bool = False
    now: bool = False


@dataclass(frozen=True)
class Replace:
    """A new key in place of revoked ones. Keys that nothing here made stay where they are."""


@dataclass(frozen=True)
class Redeliver:
    """The delivered key once more to these targets. No key is ever made."""

    targets: tuple[str, ...]


@dataclass(frozen=True)
class Remove:
    """No key at all and nothing delivered.

    Args:
        leave_foreign: Leave keys that nothing here made; else they stop everything.
        lift: Take the deny of a revocation off too, because the user itself goes.
    """

    leave_foreign: bool = False
    lift: bool = True


Goal = Keep | Rotate | Replace | Redeliver | Remove


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
        lag: How long IAM's lists may run behind: a key just journalled is believed to exist for so long, one just deleted to be
            gone.
        doubts: For each key that no journal names, why it cannot be attributed to the intent, or None when it can.
        schedule: When keys are renewed, and when old ones go.
        readable: The targets that a key can be read back from.
        former: Targets that the journal knows, the environment file no longer names, and that can be looked into.
        uses: The last use of each key in its grace; only a rotation asks for it.
        deny: What a revocation's policy on the user denies.
        denied: The ids of the keys that this policy says were revoked.
        renewed: Whether this run has delivered a new key.
        retired: Whether this run has made an old key inactive or deleted one.
        redelivered: The targets that this run has delivered to.
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
    schedule: Rotation = field(default_factory=Rotation)
    readable: frozenset[str] = frozenset()
    former: tuple[str, ...] = ()
    uses: Mapping[str, LastUse] = field(default_factory=dict)
    deny: Deny = "none"
    denied: tuple[str, ...] = ()
    renewed: bool = False
    retired: bool = False
    redelivered: frozenset[str] = frozenset()

    @property
    def revoked(self) -> frozenset[str]:
        """Return the keys that leaked, as journal and deny tell it."""
        return frozenset((*self.journal.revoked, *self.denied))


def decide(seen: Observation, goal: Goal = Keep()) -> Action:
    """Return the next action towards the goal."""
    if isinstance(goal, Remove):
        return _remove(seen, goal)
    return _tidy(seen) or _attribute(seen, goal) or _towards(seen, goal)


def in_use(seen: Observation, record: KeyRecord) -> bool:
    """Return whether a key in its grace was used since its successor was delivered, but for runs that began before."""
    used = seen.uses.get(record.id)
    return used is None or (used.at is not None and used.at > record.times["grace"] + seen.schedule.margin)


def is_due(seen: Observation, record: KeyRecord) -> bool:
    """Return whether a delivered key is as old as ``rotate_after`` says."""
    made = next((key.created for key in seen.keys if key.id == record.id), record.times.get("minted", seen.now))
    return seen.now - made >= seen.schedule.rotate_after


def delivered_key(seen: Observation) -> KeyRecord | None:
    """Return the key that consumers read, by the journal; None when there is none."""
    found = (record for record in seen.journal.keys.values() if record.state == "delivered")
    early = dt.datetime.min.replace(tzinfo=dt.UTC)
    return max(found, key=lambda r: (r.times.get("delivered", early), r.id), default=None)


def older_keys(seen: Observation) -> tuple[KeyRecord, ...]:
    """Return the keys in grace or inactive, the longest there first; revoked ones are not among them."""
    found = [r for r in in_states(seen.journal, "grace", "inactive") if r.id not in seen.revoked]
    return tuple(sorted(found, key=lambda r: (r.times.get("grace", seen.now), r.id)))


def in_states(journal: Journal, *states: str) -> tuple[KeyRecord, ...]:
    """Return the keys that the journal has in one of these states."""
    return tuple(record for record in journal.keys.values() if record.state in states)


def _tidy(seen: Observation) -> Action | None:
    """Return what has to be put right before anything else, whatever the goal."""
    if seen.deny == "everything":
        return Stop("a revocation was begun and is not finished", seen.denied, runbook="revocation")
    missing = tuple(key_id for key_id in seen.denied if key_id not in seen.journal.revoked)
    if missing:
        return NoteRevoked(missing)
    listed = {key.id: key for key in seen.keys}
    live = _live(seen)
    for record in seen.journal.keys.values():
        if record.state == "deleted":
            if not _lately(record, "deleted", seen):
                # Either it is gone for good, or it is listed longer than a list can run behind.
                return Delete(record.id) if record.id in listed else Forget(record.id)
        elif record.id not in live:
            return Forget(record.id)
        elif record.id in seen.revoked and (record.state != "inactive" or active_by_now(seen, record)):
            return Retire(record.id)
    return None


def _attribute(seen: Observation, goal: Goal) -> Action | None:
    """Return what an intent, or a key that no journal names, asks for."""
    unnamed = sorted(set(_live(seen)) - set(seen.journal.keys))
    intent = seen.journal.intent
    if isinstance(goal, Replace):
        unnamed = [key for key in unnamed if intent is not None and key not in intent.before]
    if intent is not None:
        return _with_intent(seen, intent, unnamed, goal)
    return Stop(_FOREIGN, tuple(unnamed)) if unnamed else None


def _with_intent(seen: Observation, intent: Intent, unnamed: list[str], goal: Goal) -> Action | None:
    records = [record for record in seen.journal.keys.values() if record.intent == intent.id]
    made = [record for record in records if record.state not in _OVER]
    if made and not unnamed:
        return _refuse_new_targets(seen, goal) or _advance(seen, made[0])
    if intent.run == seen.run and not records and unnamed:
        # This run has not asked for its key yet, so somebody else made this one. With the intent gone no later run can take
        # it for an interrupted run's own.
        return DropIntent()
    if made or len(unnamed) > 1:
        return Stop(_FOREIGN, tuple(unnamed))
    if unnamed:
        doubt = _doubt(seen, unnamed[0])
        if doubt is not None:
            return Stop(f"it cannot be attributed to the interrupted run: {doubt}", tuple(unnamed))
        return DeleteOrphan(unnamed[0])
    # An earlier run may have died before or after it asked: its intent is closed and a new one, with a new list of the
    # keys that are there, takes its place. So no intent ever makes two keys.
    if intent.run == seen.run and not records and not isinstance(goal, Redeliver):
        return Mint()
    if not records and seen.lag and seen.now - intent.at < CALL_WINDOW + seen.lag:
        # What it asked for shows in IAM's list only after a while, and must be found before another key is made.
        return Wait()
    live, delivered = _live(seen), delivered_key(seen)
    begun = intent.reason == "rotate" and isinstance(goal, Keep | Rotate) and delivered and _active(live[delivered.id])
    if not begun or len(live) >= KEYS_PER_USER:
        return DropIntent()
    return _refuse_new_targets(seen, goal) or RecordIntent("rotate")


def _towards(seen: Observation, goal: Goal) -> Action:
    """Return the next action where every key is attributed and no intent stands."""
    unfinished = [r for r in seen.journal.keys.values() if r.state in UNFINISHED]
    if unfinished:
        return _refuse_new_targets(seen, goal) or _advance(seen, unfinished[0])
    delivered = delivered_key(seen)
    if isinstance(goal, Redeliver):
        return _redeliver(seen, delivered, goal)
    if isinstance(goal, Rotate):
        return _rotate(seen, delivered, goal)
    if delivered is None:
        reason = "replace" if isinstance(goal, Replace) else "repair" if _live(seen) else "first"
        return _new_key(seen, reason)
    return (
        _keep(seen, delivered) or (_leave_former(seen) if isinstance(goal, Keep) else None) or _finish(seen, delivered)
    )


def _rotate(seen: Observation, delivered: KeyRecord | None, goal: Rotate) -> Action:
    if delivered is None:
        # Only somebody who means it makes a first key: after a removal, `deploy`.
        return _finish(seen, None)
    action = _refuse_new_targets(seen, goal) or _keep(seen, delivered)
    if isinstance(action, Stop) and action.runbook == "two-keys":
        # An old key that may go makes the room.
        return _move_on(seen, goal) or action
    action = action or _move_on(seen, goal)
    if action is not None:
        return action
    wanted = goal.force or is_due(seen, delivered) or (goal.now and not seen.retired)
    if wanted and not seen.renewed and len(_live(seen)) < KEYS_PER_USER:
        return RecordIntent("rotate")
    return _finish(seen, delivered)


def _refuse_new_targets(seen: Observation, goal: Goal) -> Stop | None:
    """Refuse a delivery to somewhere new that nobody confirmed: an edited file must not send keys elsewhere at night.

    Who redelivers was asked about the places that were named, and about no other.
    """
    asked = goal.targets if isinstance(goal, Redeliver) else ()
    new = [target for target in seen.targets if target not in (*seen.journal.targets, *asked)]
    if new and isinstance(goal, Rotate | Redeliver):
        return Stop(f"no key was ever delivered to {', '.join(new)}", (), runbook="new-target")
    return None


def _move_on(seen: Observation, goal: Rotate) -> Action | None:
    """Return what an earlier rotation's key needs: grace over and unused, it becomes inactive; soaked, it goes."""
    for record in older_keys(seen):
        active = active_by_now(seen, record)
        if record.state == "grace":
            over = _since(seen, record.times["grace"]) >= seen.schedule.overlap and not in_use(seen, record)
            if goal.now or over or not active:
                return Deactivate(record.id)
        elif active:
            return Deactivate(record.id) if goal.now else Reinstate(record.id)
        elif goal.now or _since(seen, record.times["inactive"]) >= seen.schedule.soak:
            return Delete(record.id)
    return None


def _redeliver(seen: Observation, delivered: KeyRecord | None, goal: Redeliver) -> Action:
    if delivered is None:
        return Stop("there is no delivered key that could be delivered once more", (), runbook="no-key")
    if not _active(_live(seen)[delivered.id]):
        return _inactive(delivered)
    if holder(seen, delivered.id) is None:
        return Stop("no place that can be read back holds the key any more", (delivered.id,), runbook="no-key")
    left = tuple(target for target in goal.targets if target not in seen.redelivered)
    return Deliver(delivered.id, left) if left else _finish(seen, delivered)


def _finish(seen: Observation, delivered: KeyRecord | None) -> Action:
    if seen.deny == "over":
        for record in seen.journal.keys.values():
            if record.id in seen.revoked and record.state == "inactive":
                return Delete(record.id)
        return LiftDeny()
    return Done(delivered.id if delivered else None)


def _remove(seen: Observation, goal: Remove) -> Action:
    """Return the next action towards no key at all and nothing delivered.

    Keys are deactivated and deleted first: what was delivered is worthless then, whatever happens next.
    """
    live = _live(seen)
    records = seen.journal.keys
    unnamed = sorted(set(live) - set(records))
    if goal.leave_foreign:
        unnamed = [key for key in unnamed if _doubt(seen, key) is None]
    elif len(unnamed) > 1 or any(_doubt(seen, key) for key in unnamed):
        return Stop(_FOREIGN, tuple(unnamed))
    ours = sorted({*unnamed, *(key for key in live if key in records)})
    for key in ours:
        state = live[key]
        if state is not None and state.active and (key not in records or active_by_now(seen, records[key])):
            return Deactivate(key)
    for key in ours:
        return Delete(key)
    for record in records.values():
        if not _lately(record, "deleted", seen):
            return Forget(record.id)
    if seen.journal.intent is not None:
        return DropIntent()
    for target in seen.targets:
        if seen.held[target] != Held(None, None):
            return RemoveDelivered(target)
    left = _leave_former(seen)
    if left is not None:
        return left
    return LiftDeny() if goal.lift and seen.deny != "none" else Done(None)


def _leave_former(seen: Observation) -> Action | None:
    """Return what a place still needs that the environment file no longer names."""
    for target in seen.former:
        return RemoveDelivered(target) if seen.held[target] != Held(None, None) else ForgetTarget(target)
    return None


def _live(seen: Observation) -> dict[str, LiveKey | None]:
    """Return the keys that exist: the ones included that IAM does not list yet, without those that it lists still."""
    records = seen.journal.keys
    deleted = {record.id for record in records.values() if record.state == "deleted"}
    live: dict[str, LiveKey | None] = {key.id: key for key in seen.keys if key.id not in deleted}
    for record in records.values():
        if record.id in live or record.id in deleted:
            continue
        if record.id == seen.in_hand or _lately(record, "minted", seen):
            live[record.id] = None
    return live


def _active(key: LiveKey | None) -> bool:
    """Return whether a key is active; one that IAM does not list yet was made a moment ago, and is."""
    return key is None or key.active


def active_by_now(seen: Observation, record: KeyRecord) -> bool:
    """Return whether an old key is active: what this tool switched a moment ago counts more than a list that runs behind."""
    if record.state == "inactive" and _lately(record, "inactive", seen):
        return False
    return _active(_live(seen)[record.id]) or (record.state == "grace" and _lately(record, "grace", seen))


def _since(seen: Observation, when: dt.datetime) -> dt.timedelta:
    """Return how long ago it was; the bucket's clock is known to the second only, so a later look may seem the earlier one."""
    return max(seen.now - when, dt.timedelta(0))


def _lately(record: KeyRecord, state: str, seen: Observation) -> bool:
    """Return whether a key entered a state so lately that IAM's lists may not show it yet."""
    when = record.times.get(state)
    return when is not None and _since(seen, when) < seen.lag


def _new_key(seen: Observation, reason: str) -> Action:
    live = _live(seen)
    if len(live) < KEYS_PER_USER:
        return RecordIntent(reason)
    for record in seen.journal.keys.values():
        if record.id in live and record.id in seen.revoked and record.state == "inactive":
            # It makes room; it would never be active again.
            return Delete(record.id)
    revoked = any(key_id in seen.revoked for key_id in live)
    way = (
        "`invoke revoke --delete-key ID` makes room"
        if revoked
        else "`invoke rotate --now` retires what a rotation left"
    )
    return Stop(
        f"a new key is needed and IAM allows no third one; {way}",
        tuple(sorted(live)),
        runbook="two-keys",
    )


def _doubt(seen: Observation, key_id: str) -> str | None:
    """Return why a key that no journal names may not be the one that the intent made, or None when it is."""
    if seen.journal.intent is None or key_id in seen.journal.intent.before:
        return "it was there before, and was not made here"
    return seen.doubts.get(key_id, "nothing is known about it")


def _advance(seen: Observation, record: KeyRecord) -> Action:
    """Return the next action for a key on its way to being delivered."""
    held = seen.held[seen.stage]
    if not _active(_live(seen)[record.id]):
        # Somebody switched it off before it was everywhere: it is not what consumers should get.
        return _inactive(record) if record.delivered else DeleteOrphan(record.id)
    if held.pending not in (None, record.id):
        return DiscardStaged(held.pending)
    if record.id not in (held.pending, held.current):
        if seen.in_hand == record.id:
            return Stage(record.id)
        return _without_stage(seen, record)
    if record.state == "minted":
        return Stage(record.id)
    if record.state == "staged":
        return Verify(record.id)
    if held != Held(record.id, None):
        return Promote(record.id)
    return _fan_out(seen, record.id) or Settle(record.id)


def _without_stage(seen: Observation, record: KeyRecord) -> Action:
    """Return the next action for a key on its way that the stage has lost."""
    if not record.delivered:
        return DeleteOrphan(record.id)
    if holder(seen, record.id) is not None:
        return Deliver(record.id, (seen.stage,))
    before = delivered_key(seen) if record.state in UNFINISHED else None
    if before is not None and any(seen.held[target].current == before.id for target in seen.targets):
        # Consumers read the key before it elsewhere, so that one stays the delivered key.
        return SetAside(record.id)
    # Somebody may read it already, so it lives on as delivered and the loss of the stage is repaired next.
    return Settle(record.id)


def _fan_out(seen: Observation, key_id: str) -> Deliver | None:
    """Return the delivery to every place besides the stage that is without the key."""
    # A promotion that was interrupted half-way left both copies: it is delivered once more.
    missing = tuple(t for t in seen.targets if t != seen.stage and seen.held[t] != Held(key_id, None))
    return Deliver(key_id, missing) if missing else None


def _keep(seen: Observation, record: KeyRecord) -> Action | None:
    """Return what the delivered key still needs, or None."""
    if not _active(_live(seen)[record.id]):
        return _inactive(record)
    held = seen.held[seen.stage]
    if held.pending is not None and held.pending != record.id:
        return DiscardStaged(held.pending)
    if held.pending == record.id:
        return Promote(record.id)
    if held.current != record.id:
        # It may stand in another place that can be read back: the one that was the stage until now.
        return Deliver(record.id, (seen.stage,)) if holder(seen, record.id) else _new_key(seen, "repair")
    missing = _fan_out(seen, record.id)
    if missing is not None:
        return missing
    before = [r for r in seen.journal.keys.values() if r.state == "delivered" and r.id != record.id]
    return None if not before and set(seen.targets) <= set(record.delivered) else Settle(record.id)


def _inactive(record: KeyRecord) -> Stop:
    return Stop("the delivered key is inactive, and nothing here made it so", (record.id,), runbook="inactive-key")


def holder(seen: Observation, key_id: str) -> str | None:
    """Return the first place that the key can be read back from."""
    places: Iterable[str] = (seen.stage, *seen.targets, *seen.former)
    return next(
        (p for p in places if p in seen.readable and key_id in (seen.held[p].current, seen.held[p].pending)), None
    )
