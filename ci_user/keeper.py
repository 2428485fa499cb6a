"""Does what ``rotation.py`` decides: observe, take the one next action, journal it, and look again."""

from __future__ import annotations

import datetime as dt
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ci_user import rotation
from ci_user.errors import CredentialsError, KeyStateError
from ci_user.journal import Intent, Journal, KeyRecord
from ci_user.rotation import Action, Observation, Stop

if TYPE_CHECKING:
    from ci_user.backends.protocol import Backend
    from ci_user.credentials import AwsAccess
    from ci_user.environment import Verification
    from ci_user.iam_user import IamUser, LiveKey
    from ci_user.lease import JournalView
    from ci_user.secret import AccessKey

_ROUNDING = dt.timedelta(seconds=2)
_ACTIONS_AT_MOST = 120
_LOOK_AGAIN_SECONDS = 2.0


@dataclass(frozen=True)
class Kept:
    """What became of the keys.

    Args:
        key_id: The delivered key, or None after a removal.
        made: Whether it was made in this run.
        changed: Whether anything was done at all.
        acts: What was done, in words, in order.
        waited: Seconds that the verification waited for AWS to know the key.
    """

    key_id: str | None
    made: bool
    changed: bool
    acts: tuple[str, ...]
    waited: float


class KeyKeeper:
    """Brings the keys of one user to where they should be, under a lease.

    Args:
        user: The IAM user.
        access: Where the new key is verified.
        backends: All of the environment's, in its order; the first that can be read back is the stage.
        lease: Held by this run; its journal is the truth about what was begun.
        verification: Successes in a row, interval and deadline.
        user_arn: Who the new key must turn out to be.
        tell: Told each act as it begins.
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
        tell: Callable[[str], None] = lambda _: None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._user = user
        self._access = access
        self._backends = {backend.target: backend for backend in backends}
        self._stage = next(backend for backend in backends if backend.readable)
        self._lease = lease
        self._verification = verification
        self._user_arn = user_arn
        self._tell = tell
        self._pause = pause
        self._in_hand: AccessKey | None = None
        self._gone: set[str] = set()
        self._waited = 0.0
        self._made: set[str] = set()

    def preflight(self) -> None:
        """Ask every backend whether it could take a key, before one is made.

        Raises:
            BackendError: The first that could not.
        """
        for backend in self._backends.values():
            backend.preflight()

    def observe(self) -> Observation:
        """Return what is true in IAM, in the journal and in the backends, without reading a secret."""
        journal = self._lease.journal
        listed = self._user.keys()
        keys = tuple(key for key in listed if key.id not in self._gone)
        return Observation(
            keys=keys,
            journal=journal,
            held={target: backend.held() for target, backend in self._backends.items()},
            stage=self._stage.target,
            targets=tuple(self._backends),
            in_hand=self._in_hand.id if self._in_hand else None,
            run=self._lease.run,
            now=self._lease.now(),
            lag=self._verification.lag,
            doubts=self._doubts(keys, journal),
        )

    def keep(self) -> Kept:
        """Bring the user to exactly one delivered, working key.

        Raises:
            KeyStateError: Only a person can judge what is there, or the key does not come to work.
            BackendError, AwsError, LeaseLostError: A step failed; the next run continues from it.
        """
        return self._until_done(rotation.decide)

    def remove(self) -> Kept:
        """Delete the user's keys and remove what was delivered.

        Raises:
            KeyStateError: There is a key that nothing here made; nothing was touched.
        """
        return self._until_done(rotation.decide_removal)

    def refuse_what_needs_a_person(self, seen: Observation, *, removing: bool = False) -> None:
        """Raise at once what ``keep``, or ``remove``, would stop at, before anything else is changed.

        Raises:
            KeyStateError: Only a person can judge what is there.
        """
        self._refuse((rotation.decide_removal if removing else rotation.decide)(seen), seen)

    def _refuse(self, action: Action, seen: Observation) -> None:
        if isinstance(action, Stop):
            raise self._stopped(action, seen)

    def _until_done(self, decide: Callable[[Observation], Action]) -> Kept:
        acts: list[str] = []
        for _ in range(_ACTIONS_AT_MOST):
            seen = self.observe()
            action = decide(seen)
            if isinstance(action, rotation.Done):
                return Kept(
                    key_id=action.key_id,
                    made=action.key_id in self._made,
                    changed=bool(acts),
                    acts=tuple(acts),
                    waited=self._waited,
                )
            self._refuse(action, seen)
            self._lease.check()
            self._perform(action, seen)
            act = self._words(action)
            self._tell(act)
            if not isinstance(action, rotation.Wait):
                acts.append(act)
        raise KeyStateError(
            f"the keys of {self._user.name} do not settle: {', '.join(acts[-1:]) or 'one may still appear'}",
            do="run `invoke status`, wait a minute, then run the same command again",
            runbook="keys-do-not-settle",
        )

    def _perform(self, action: Action, seen: Observation) -> None:
        journal = self._lease.journal
        match action:
            case rotation.RecordIntent(reason):
                intent = Intent(
                    id=secrets.token_hex(16),
                    reason=reason,
                    before=tuple(sorted(key.id for key in seen.keys)),
                    at=seen.now,
                    run=self._lease.run,
                )
                self._lease.record(journal.with_intent(intent))
                self._user.mirror({"intent": intent.id})
            case rotation.DropIntent():
                self._lease.record(journal.without_intent())
            case rotation.Wait():
                self._pause(_LOOK_AGAIN_SECONDS)
            case rotation.Mint():
                self._mint(journal)
            case rotation.DeleteOrphan(key_id):
                self._user.delete_key(key_id)
                self._gone.add(key_id)
                self._lease.record(journal.without_key(key_id).without_intent())
            case rotation.Forget(key_id):
                self._lease.record(journal.without_key(key_id))
            case rotation.Stage(key_id):
                if self._in_hand is not None and self._in_hand.id == key_id:
                    self._stage.stage(self._in_hand)
                self._mark(key_id, "staged")
            case rotation.Verify(key_id):
                self._verify(key_id)
                self._mark(key_id, "verified")
            case rotation.Promote(key_id):
                self._stage.promote(key_id)
                self._delivered(key_id, self._stage.target)
            case rotation.Deliver(key_id, target):
                self._deliver(self._from_stage(key_id), self._backends[target], seen.held[target].pending)
                self._delivered(key_id, target)
            case rotation.Settle(key_id):
                self._settle(key_id)
            case rotation.DiscardStaged(key_id):
                self._stage.discard_staged(key_id)
            case rotation.RemoveDelivered(target):
                self._backends[target].remove()
            case rotation.Deactivate(key_id):
                self._user.deactivate_key(key_id)
            case rotation.Delete(key_id):
                self._user.delete_key(key_id)
                self._gone.add(key_id)
                self._lease.record(journal.without_key(key_id))
            case _:
                raise AssertionError(action)

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

    def _mark(self, key_id: str, state: str) -> None:
        record = self._lease.journal.keys[key_id]
        self._lease.record(self._lease.journal.with_key(record.entering(state, self._lease.now())))

    def _delivered(self, key_id: str, target: str) -> None:
        record = self._lease.journal.keys[key_id]
        self._lease.record(self._lease.journal.with_key(record.delivered_to(target, self._lease.now())))

    def _settle(self, key_id: str) -> None:
        journal = self._lease.journal
        now = self._lease.now()
        for record in journal.keys.values():
            if record.id != key_id and record.state == "delivered":
                journal = journal.with_key(record.entering("grace", now))
        record = journal.keys[key_id]
        for target in self._backends:
            if target not in record.delivered:
                record = record.delivered_to(target, now)
        record = record if record.state == "delivered" else record.entering("delivered", now)
        # The mirror first: a run that dies in between settles again, and the tags never stay behind.
        self._user.mirror({"intent": "", "key": key_id, "delivered-at": now.isoformat()})
        self._lease.record(journal.with_key(record).without_intent())
        self._in_hand = None

    @staticmethod
    def _deliver(key: AccessKey, backend: Backend, pending: str | None) -> None:
        if not backend.readable:
            backend.deliver(key)
            return
        # It could be a stage itself, and takes a key in two steps only.
        if pending not in (None, key.id):
            backend.discard_staged(pending)
        backend.stage(key)
        backend.promote(key.id)

    def _from_stage(self, key_id: str) -> AccessKey:
        key = self._stage.read_staged(key_id)
        if key is None:
            raise KeyStateError(
                f"{self._stage.target} no longer holds {key_id}, which it held a moment ago",
                do="run the same command again",
                runbook="keys-do-not-settle",
            )
        return key

    def _verify(self, key_id: str) -> None:
        """See that the staged copy signs as the right user, several times in a row: new keys take seconds to work."""
        key = self._from_stage(key_id)
        access = self._access.with_key(key.id, key.secret)
        started = time.monotonic()
        deadline = started + self._verification.deadline.total_seconds()
        successes = 0
        last = "AWS did not know it"
        while successes < self._verification.successes:
            self._lease.check()
            try:
                caller = access.caller()
            except CredentialsError as error:
                successes, last = 0, error.what
            else:
                if caller.arn != self._user_arn or caller.account_id != self._access.account_id:
                    raise KeyStateError(
                        f"the new key {key_id} belongs to {caller.arn}",
                        expected=self._user_arn,
                        do="do not use it; run `invoke status` and look at CloudTrail",
                        runbook="wrong-account",
                    )
                successes += 1
            if successes < self._verification.successes:
                if time.monotonic() > deadline:
                    raise KeyStateError(
                        f"the new key {key_id} did not come to work within {self._verification.deadline}: {last}",
                        do="run the same command again: it goes on with this key, which is kept in the stage",
                        runbook="key-does-not-work",
                    )
                self._pause(self._verification.interval.total_seconds())
        self._waited += time.monotonic() - started

    def _doubts(self, keys: Sequence[LiveKey], journal: Journal) -> Mapping[str, str | None]:
        intent = journal.intent
        if intent is None:
            return {}
        strangers = [key for key in keys if key.id not in journal.keys and key.id not in intent.before]
        return {key.id: self._doubt(key, intent) for key in strangers}

    def _doubt(self, key: LiveKey, intent: Intent) -> str | None:
        """Return why the key may not be the one that the intent made (security rule 9), or None."""
        recorded = self._lease.confirm_intent(intent.id)
        if recorded is None or recorded.before != intent.before:
            return "the history of the lease object does not confirm the intent"
        if not intent.at - _ROUNDING <= key.created <= recorded.at + rotation.CALL_WINDOW:
            return f"it was made at {key.created.isoformat()}, not at the intent's time {intent.at.isoformat()}"
        used = self._user.last_use(key.id).at
        if used is not None:
            return f"it was used at {used.isoformat()}"
        return None

    def _stopped(self, stop: Stop, seen: Observation) -> KeyStateError:
        known = {key.id: key for key in seen.keys}
        lines = []
        for key_id in stop.key_ids:
            key = known.get(key_id)
            if key is None:
                lines.append(f"{key_id}: not listed by IAM")
                continue
            used = self._user.last_use(key_id)
            age = (seen.now - key.created).days
            last = f"last used {used.at.isoformat()} ({used.service}, {used.region})" if used.at else "never used"
            lines.append(f"{key_id}: {'active' if key.active else 'inactive'}, {age} days old, {last}")
        listed = "".join(f"\n    {line}" for line in lines)
        return KeyStateError(
            f"the keys of {self._user.name} need a person: {stop.why}{listed}",
            expected="only keys that this tool made and journalled",
            do="find out whose key it is; when nobody needs it, delete it in IAM and run the same command again",
            runbook="foreign-key",
        )

    def _words(self, action: Action) -> str:
        user = self._user.name
        match action:
            case rotation.RecordIntent(reason):
                return f"journalled the intent to make an access key for {user} ({reason})"
            case rotation.DropIntent():
                return "closed the intent of an interrupted run"
            case rotation.Wait():
                return "looked again for a key that an interrupted run may have made"
            case rotation.Mint():
                return f"made an access key for {user}"
            case rotation.DeleteOrphan(key_id):
                return f"deleted {key_id}, which an interrupted run made and nobody ever received"
            case rotation.Forget(key_id):
                return f"took {key_id} out of the journal: IAM no longer has it"
            case rotation.Stage(key_id):
                return f"staged {key_id} in {self._stage.target}"
            case rotation.Verify(key_id):
                return f"verified {key_id} with sts:GetCallerIdentity"
            case rotation.Promote(key_id):
                return f"delivered {key_id} to {self._stage.target}"
            case rotation.Deliver(key_id, target):
                return f"delivered {key_id} to {target}"
            case rotation.Settle(key_id):
                return f"journalled {key_id} as delivered"
            case rotation.DiscardStaged(key_id):
                return f"dropped the pending copy of {key_id} from {self._stage.target}"
            case rotation.RemoveDelivered(target):
                return f"removed what was delivered to {target}"
            case rotation.Deactivate(key_id):
                return f"deactivated {key_id}"
            case rotation.Delete(key_id):
                return f"deleted {key_id}"
            case _:
                raise AssertionError(action)
