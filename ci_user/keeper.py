"""Does what ``rotation.py`` decides: observe, take the one next action, journal it, and look again."""

from __future__ import annotations

import datetime as dt
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from ci_user import key_actions as acts
from ci_user import rotation
from ci_user.audit import Silent
from ci_user.environment_parts import Rotation
from ci_user.errors import BackendError, CiUserError, KeyStateError
from ci_user.iam_user import IamUser
from ci_user.journal import Intent, Journal, KeyRecord, KeyState
from ci_user.key_actions import Action, Stop, words
from ci_user.key_check import wait_until_it_works
from ci_user.key_life import state_after
from ci_user.key_trouble import not_taken, stopped
from ci_user.key_view import KeyView
from ci_user.rotation import Goal, Keep, Observation, Redeliver, Remove, Rotate
from ci_user.side_by_side import DELIVERIES_AT_ONCE, side_by_side

if TYPE_CHECKING:
    from ci_user.audit import Recorder
    from ci_user.backends.protocol import Backend
    from ci_user.credentials import AwsAccess
    from ci_user.environment import Verification
    from ci_user.iam_user import LastUse
    from ci_user.lease import JournalView
    from ci_user.secret import AccessKey

_ACTIONS_AT_MOST = 120
_AGAIN = dt.timedelta(seconds=60)
_LOOK_AGAIN_SECONDS = 2.0


@dataclass(frozen=True)
class Kept:
    """What became of the keys.

    Args:
        key_id: The delivered key, or None when there is none.
        made: Whether it was made in this run.
        changed: Whether anything was done at all.
        acts: What was done, in words, in order.
        waited: Seconds that the verification waited for AWS to know the key.
        removed: The places that what was delivered was removed from.
        seen: What is true at the end; None where nothing was looked at.
    """

    key_id: str | None
    made: bool
    changed: bool
    acts: tuple[str, ...]
    waited: float
    removed: tuple[str, ...] = ()
    seen: Observation | None = None


class KeyKeeper:
    """Brings the keys of one user to where they should be, under a lease.

    Args:
        user: The IAM user.
        access: Where the new key is verified.
        backends: All of the environment's, in its order; the first that can be read back is the stage.
        former: Places that the journal knows and the environment file no longer names.
        lease: Held by this run; its journal is the truth about what was begun.
        verification: Successes in a row, interval and deadline.
        schedule: When keys are renewed, and when old ones go.
        user_arn: Who the new key must turn out to be.
        tell: Told each act when it is done.
        audit: Told each act, done or failed.
        pause: Sleeps; tests pass one that does not.
    """

    def __init__(
        self,
        *,
        user: IamUser,
        access: AwsAccess,
        backends: Sequence[Backend],
        lease: JournalView,
        verification: Verification,
        user_arn: str,
        schedule: Rotation | None = None,
        former: Sequence[Backend] = (),
        tell: Callable[[str], None] = lambda _: None,
        audit: Recorder | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._user = user
        self._access = access
        self._backends = {backend.target: backend for backend in backends}
        self._former = {backend.target: backend for backend in former if backend.target not in self._backends}
        self._stage = next(backend for backend in backends if backend.readable)
        self._lease = lease
        self._verification = verification
        self._schedule = schedule or Rotation()
        self._user_arn = user_arn
        self._tell = tell
        self._audit: Recorder = audit or Silent()
        self._pause = pause
        self._in_hand: AccessKey | None = None
        self._view = KeyView(user, self._backends, self._former, lease)
        self._waited = 0.0
        self._made: set[str] = set()
        self._renewed = False
        self._retired = False
        self._redelivered: set[str] = set()

    @property
    def unreachable(self) -> dict[str, str]:
        """Former places that could not be opened, looked into or emptied, with the reasons."""
        return self._view.unreachable

    def preflight(self) -> None:
        """Ask every backend whether it could take a key, side by side, before one is made.

        Raises:
            BackendError: One could not; the first in the order of the environment file.
        """
        side_by_side({target: backend.preflight for target, backend in self._backends.items()}).all()

    def observe(self, goal: Goal = Keep()) -> Observation:  # noqa: B008 - frozen
        """Return what is true in IAM, in the journal and in the backends, without reading a secret."""
        journal, view = self._lease.journal, self._view
        keys, held = view.keys(), view.held()
        former = view.held_by_former() if isinstance(goal, Keep | Remove | Redeliver) else {}
        places = {**self._backends, **self._former}
        listed = {key.id for key in keys}
        grace = [r.id for r in rotation.in_states(journal, "grace") if r.id in listed and isinstance(goal, Rotate)]
        now = self._lease.now()
        deny, denied = view.deny(now)
        return Observation(
            keys=keys,
            journal=journal,
            held={**held, **former},
            stage=self._stage.target,
            targets=tuple(self._backends),
            in_hand=self._in_hand.id if self._in_hand else None,
            run=self._lease.run,
            now=now,
            lag=self._verification.lag,
            doubts=view.doubts(keys),
            schedule=self._schedule,
            readable=frozenset(target for target in (*held, *former) if places[target].readable),
            former=tuple(former),
            uses={key_id: self._user.last_use(key_id) for key_id in grace},
            deny=deny,
            denied=denied,
            renewed=self._renewed,
            retired=self._retired,
            redelivered=frozenset(self._redelivered),
        )

    def reach(self, goal: Goal) -> Kept:
        """Do what is needed until the goal is reached.

        Raises:
            KeyStateError: Only a person can judge what is there, or a key does not come to work.
            BackendError, AwsError, LeaseLostError: A step failed; the next run continues from it.
        """
        self._view.refresh()
        done: list[str] = []
        removed: list[str] = []
        actions = waits = 0
        while actions < _ACTIONS_AT_MOST and waits < self._waits_at_most():
            seen = self.observe(goal)
            action = rotation.decide(seen, goal)
            if isinstance(action, acts.Done):
                return Kept(
                    key_id=action.key_id,
                    made=action.key_id in self._made,
                    changed=bool(done),
                    acts=tuple(done),
                    waited=self._waited,
                    removed=tuple(removed),
                    seen=seen,
                )
            self._refuse(action, seen)
            waits, actions = (waits + 1, actions) if isinstance(action, acts.Wait) else (waits, actions + 1)
            if isinstance(action, acts.RecordIntent) and self._view.moved(seen.keys):
                # The intent says which keys were there before it: what somebody made meanwhile is looked at first.
                continue
            self._lease.check()
            if not self._audited(action, seen):
                continue
            act = words(action, self._user.name, self._stage.target)
            self._tell(act)
            if not isinstance(action, acts.Wait):
                done.append(act)
            if isinstance(action, acts.RemoveDelivered):
                removed.append(action.target)
        raise KeyStateError(
            f"the keys of {self._user.name} do not settle: {', '.join(done[-1:]) or 'one may still appear'}",
            do="run `invoke status`, wait a minute, then run the same command again",
            runbook="keys-do-not-settle",
        )

    def _waits_at_most(self) -> int:
        """Return how often to look again for a key that may not be listed yet: for as long as ``decide`` waits, and some more."""
        longest = rotation.CALL_WINDOW + self._verification.lag
        return int(longest.total_seconds() / _LOOK_AGAIN_SECONDS) + _ACTIONS_AT_MOST

    def reactivate(self, key_id: str) -> KeyState:
        """Make an old key active again, unless it is revoked meanwhile; the grace of one that has a successor begins anew.

        Returns:
            The state that the journal has it in now.

        Raises:
            KeyStateError: It was revoked while this ran, and is inactive; or it is gone.
        """
        self._refuse_revoked(key_id)
        try:
            self._user.activate_key(key_id)
            self._refuse_revoked(key_id)
        except CiUserError as error:
            self._audit.record("Reactivate", key_ids=(key_id,), result=f"failed: {error.what}")
            self._put_back(key_id)
            raise
        self._audit.record("Reactivate", key_ids=(key_id,))
        if self._lease.journal.keys[key_id].state in ("grace", "inactive"):
            self._lease.record(self._entering(self._lease.journal, key_id, acts.Reinstate(key_id)))
        return self._lease.journal.keys[key_id].state

    def _put_back(self, key_id: str) -> None:
        """Make a key inactive that may be revoked. The lease may be lost by now, so this is not fenced.

        Raises:
            AwsError: AWS refused it.
        """
        try:
            IamUser(self._access, self._user.name).deactivate_key(key_id)
        except CiUserError as error:
            self._audit.record("Deactivate", key_ids=(key_id,), result=f"failed: {error.what}")
            raise
        self._audit.record("Deactivate", key_ids=(key_id,))

    def _refuse_revoked(self, key_id: str) -> None:
        revocation = self._user.revocation()
        if revocation is not None and (revocation.cutoff is None or key_id in revocation.key_ids):
            raise KeyStateError(
                f"{key_id} was revoked meanwhile, and stays inactive", do="`invoke status`", runbook="revocation"
            )

    def last_use(self, key_id: str) -> LastUse:
        """Return when a key of the user was last used."""
        return self._user.last_use(key_id)

    def former_notes(self) -> tuple[str, ...]:
        """Return what to say of places that the environment file no longer names and that could not be looked into."""
        return tuple(
            f"{target}, which the environment file no longer names, could not be looked into or emptied: {why}"
            for target, why in sorted(self.unreachable.items())
        )

    def refuse_what_needs_a_person(self, seen: Observation, goal: Goal = Keep()) -> None:  # noqa: B008 - frozen
        """Raise at once what ``reach`` would stop at first, before anything else is changed.

        Raises:
            KeyStateError: Only a person can judge what is there.
        """
        self._refuse(rotation.decide(seen, goal), seen)

    def _refuse(self, action: Action, seen: Observation) -> None:
        if isinstance(action, Stop):
            raise stopped(action, self._user.name, seen.keys, seen.now, self._user.last_use)

    def _audited(self, action: Action, seen: Observation) -> bool:
        """Perform an action and record how it ended; return whether it was done."""
        self._view.forget(action, self._stage.target)
        if isinstance(action, acts.Deliver):
            self._fan_out(action, seen)
            return True
        name = type(action).__name__
        targets = [target] if (target := getattr(action, "target", None)) else []
        if isinstance(action, acts.Stage | acts.Promote | acts.DiscardStaged):
            targets = [self._stage.target]
        try:
            refusal = self._perform(action, seen)
        except CiUserError as error:
            self._audit.record(name, key_ids=self._ids(action), targets=targets, result=f"failed: {error.what}")
            raise
        if not isinstance(action, acts.Wait):
            result = f"failed: {refusal}" if refusal else "done"
            self._audit.record(name, key_ids=self._ids(action), targets=targets, result=result)
        return refusal is None

    def _ids(self, action: Action) -> tuple[str, ...]:
        if isinstance(action, acts.Mint):
            return (self._in_hand.id,) if self._in_hand else ()
        key_id = getattr(action, "key_id", None)
        return (key_id,) if key_id else getattr(action, "key_ids", ())

    def _perform(self, action: Action, seen: Observation) -> str | None:
        """Do what was decided; return why it was not done where that stops nothing else, or None when it was."""
        journal = self._lease.journal
        match action:
            case acts.RecordIntent(reason):
                intent = Intent(
                    id=secrets.token_hex(16),
                    reason=reason,
                    before=tuple(sorted(key.id for key in seen.keys)),
                    at=seen.now,
                    run=self._lease.run,
                )
                self._lease.record(journal.without_intent().with_intent(intent))
            case acts.DropIntent():
                self._lease.record(journal.without_intent())
            case acts.Wait():
                self._pause(_LOOK_AGAIN_SECONDS)
            case acts.Mint():
                self._mint(journal)
            case acts.DeleteOrphan(key_id) | acts.Delete(key_id):
                self._user.delete_key(key_id)
                self._view.gone.add(key_id)
                self._retired |= isinstance(action, acts.Delete)
                self._lease.record(self._entering(journal, key_id, action))
            case acts.Forget(key_id):
                self._lease.record(journal.without_key(key_id))
            case acts.Stage(key_id):
                if self._in_hand is not None and self._in_hand.id == key_id:
                    self._stage.stage(self._in_hand)
                self._lease.record(self._entering(journal, key_id, action))
            case acts.Verify(key_id):
                self._verify(key_id)
                self._lease.record(self._entering(self._lease.journal, key_id, action))
            case acts.Promote(key_id):
                self._stage.promote(key_id)
                self._delivered(key_id, (self._stage.target,))
            case acts.Settle(key_id):
                self._settle(key_id, seen)
            case acts.DiscardStaged(key_id):
                self._stage.discard_staged(key_id)
            case acts.RemoveDelivered(target):
                return self._remove(target)
            case acts.ForgetTarget(target):
                # What somebody has changed there looks like nothing of ours: only the place itself can tell.
                refusal = self._remove(target)
                if refusal is not None:
                    return refusal
                self._lease.record(journal.without_target(target))
            case acts.Deactivate(key_id):
                self._user.deactivate_key(key_id)
                self._retired = True
                self._lease.record(self._entering(journal, key_id, action))
            case acts.Retire(key_id):
                self._user.deactivate_key(key_id)
                deny, now = self._view.revocation, self._lease.now()
                worked = any(key.id == key_id and key.active for key in seen.keys)
                if worked and deny is not None and deny.cutoff is not None and now > deny.cutoff + _AGAIN:
                    # It had been made active again: sessions that it made since are denied too.
                    self._user.deny(replace(deny, cutoff=now + _AGAIN))
                retired = self._entering(journal, key_id, action)
                mine = journal.intent is not None and journal.intent.id == journal.keys[key_id].intent
                self._lease.record(retired.without_intent() if mine else retired)
            case acts.Reinstate(key_id) | acts.SetAside(key_id):
                self._lease.record(self._entering(journal, key_id, action))
            case acts.NoteRevoked(key_ids):
                self._lease.record(journal.with_revoked(key_ids))
            case acts.LiftDeny():
                # Another revocation may have begun since the look: then its deny stays, and the next look sees it.
                if self._user.revocation() != self._view.revocation:
                    return "the deny is another one than a moment ago"
                self._user.lift_deny()
            case _:
                raise AssertionError(action)
        return None

    def _mint(self, journal: Journal) -> None:
        intent = journal.intent
        assert intent is not None  # noqa: S101 - Mint is decided with an intent only
        self._in_hand = self._user.create_key(intent.id)
        self._made.add(self._in_hand.id)
        record = KeyRecord(
            id=self._in_hand.id,
            intent=intent.id,
            state="minted",
            times={"minted": self._lease.now()},
            delivered={},
        )
        self._lease.record(journal.with_key(record))

    def _entering(self, journal: Journal, key_id: str, action: Action) -> Journal:
        """Return the journal with the key in the state that the action leads to.

        A key that only an intent explains gets a record of its own.
        """
        record = journal.keys.get(key_id)
        state, now = state_after(action), self._lease.now()
        if record is not None:
            return journal.with_key(record.entering(state, now))
        if journal.intent is None:
            return journal
        return journal.with_key(KeyRecord(key_id, journal.intent.id, state, {state: now}, {}))

    def _delivered(self, key_id: str, targets: Iterable[str]) -> None:
        record, now = self._lease.journal.keys[key_id], self._lease.now()
        for target in targets:
            record = record.delivered_to(target, now)
        self._lease.record(self._lease.journal.with_key(record))

    def _fan_out(self, action: acts.Deliver, seen: Observation) -> None:
        """Deliver the key to places side by side, and journal each that has it, whatever became of the others.

        Raises:
            CiUserError: Some did not take it; all of them are named, and each is in the audit trail.
            LeaseLostError: The lease was lost; what had not begun by then did not begin.
        """
        key_id = action.key_id
        try:
            key = self._read_back(seen, key_id)
        except CiUserError as error:
            self._audit.record("Deliver", key_ids=(key_id,), targets=action.targets, result=f"failed: {error.what}")
            raise
        answers = side_by_side(
            {target: partial(self._deliver, key, target, seen.held[target].pending) for target in action.targets},
            DELIVERIES_AT_ONCE,
        )
        arrived = tuple(answers.values)
        for target, failure in answers.failures.items():
            self._audit.record("Deliver", key_ids=(key_id,), targets=(target,), result=f"failed: {failure.what}")
        if arrived:
            self._audit.record("Deliver", key_ids=(key_id,), targets=arrived)
            self._redelivered.update(arrived)
            self._delivered(key_id, arrived)
        if answers.stopped is not None:
            raise answers.stopped
        if answers.failures:
            if arrived:
                self._tell(words(acts.Deliver(key_id, arrived), self._user.name, self._stage.target))
            raise not_taken(answers.failures)

    def _settle(self, key_id: str, seen: Observation) -> None:
        journal = self._lease.journal
        now = self._lease.now()
        record = journal.keys[key_id]
        for target in self._backends:
            # A run that died may have delivered without journalling it.
            if target not in record.delivered and seen.held[target].current == key_id:
                record = record.delivered_to(target, now)
        # A run that died before this settled nothing, but its deliveries count from when they were made.
        since = max(record.delivered.values())
        for before in journal.keys.values():
            if before.id != key_id and before.state == "delivered":
                journal = journal.with_key(before.entering("grace", since))
        self._renewed |= record.state != "delivered"
        record = record if record.state == "delivered" else record.entering(state_after(acts.Settle(key_id)), now)
        # The mirror first: a run that dies in between settles again, and the tags never stay behind.
        self._user.mirror({"key": key_id, "delivered-at": now.isoformat()})
        self._lease.record(journal.with_key(record).without_intent())
        self._in_hand = None

    def _deliver(self, key: AccessKey, target: str, pending: str | None) -> None:
        """Deliver to one place; a thread of its own does it, and one that has waited for its turn looks at the lease again."""
        self._lease.check()
        backend = self._backends[target]
        if not backend.readable:
            backend.deliver(key)
            return
        # It could be a stage itself, and takes a key in two steps only.
        if pending not in (None, key.id):
            backend.discard_staged(pending)
        backend.stage(key)
        backend.promote(key.id)

    def _read_back(self, seen: Observation, key_id: str) -> AccessKey:
        target = rotation.holder(seen, key_id) or self._stage.target
        key = {**self._former, **self._backends}[target].read_staged(key_id)
        if key is None:
            raise KeyStateError(
                f"{target} no longer holds {key_id}, which it held a moment ago",
                do="run the same command again",
                runbook="keys-do-not-settle",
            )
        return key

    def _remove(self, target: str) -> str | None:
        """Remove what was delivered; a former place that refuses is told, and stops nothing that is still in use."""
        if target in self._backends:
            self._backends[target].remove()
            return None
        try:
            self._former[target].remove()
        except BackendError as error:
            self.unreachable[target] = error.what
            return error.what
        return None

    def _verify(self, key_id: str) -> None:
        key = self._stage.read_staged(key_id)
        if key is None:
            raise KeyStateError(
                f"{self._stage.target} no longer holds {key_id}, which it held a moment ago",
                do="run the same command again",
                runbook="keys-do-not-settle",
            )
        self._waited += wait_until_it_works(
            key,
            self._access,
            self._verification,
            user_arn=self._user_arn,
            check=self._lease.check,
            pause=self._pause,
        )
