"""What is true of a user's keys now: in IAM, in the backends, and of a revocation, asked for no more often than needed.

What a run has not touched since it looked last is not asked for again: under the lease nobody else may work on it. But for a
revocation, which waits for nobody.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ci_user import key_actions as acts
from ci_user.errors import BackendError
from ci_user.rotation import CALL_WINDOW, Deny
from ci_user.side_by_side import side_by_side

if TYPE_CHECKING:
    from ci_user.backends.protocol import Backend, Held
    from ci_user.iam_user import IamUser, LiveKey
    from ci_user.journal import Intent
    from ci_user.key_actions import Action
    from ci_user.lease import JournalView
    from ci_user.revocation import Revocation

_ROUNDING = dt.timedelta(seconds=2)


class KeyView:
    """Looks at one user's keys and places; reads no secret and changes nothing.

    Args:
        user: The IAM user.
        backends: The environment's places, by target.
        former: Places that the journal knows and the environment file no longer names, by target.
        lease: Its journal, and the history of it.
    """

    def __init__(
        self, user: IamUser, backends: Mapping[str, Backend], former: Mapping[str, Backend], lease: JournalView
    ) -> None:
        self._user = user
        self._backends = backends
        self._former = former
        self._lease = lease
        self._keys: tuple[LiveKey, ...] | None = None
        self._held: dict[str, Held] = {}
        self._revocation: Revocation | None = None
        self.gone: set[str] = set()
        """Keys that this run deleted, whatever IAM still lists."""
        self.unreachable: dict[str, str] = {}
        """Former places that could not be looked into or emptied, with the reasons."""

    def keys(self) -> tuple[LiveKey, ...]:
        """Return what IAM lists, and look for a revocation at the same time.

        Raises:
            AwsError: AWS refused a call.
        """
        if self._keys is None:
            self._keys = self._user.access_keys()
            self._revocation = self._user.revocation()
        return tuple(key for key in self._keys if key.id not in self.gone)

    def moved(self, seen: Sequence[LiveKey]) -> bool:
        """Return whether IAM lists other keys than at the last look; the next look then asks for everything.

        Raises:
            AwsError: AWS refused the call.
        """
        now = {key.id for key in self._user.access_keys()} - self.gone
        if now == {key.id for key in seen}:
            return False
        self.refresh()
        return True

    def refresh(self) -> None:
        """Have the next look ask for everything: time has passed, a person was asked, or Terraform ran."""
        self._keys = None
        self._held.clear()

    def held(self) -> dict[str, Held]:
        """Return what each of the environment's places holds, in the order of the file; they are asked side by side.

        Raises:
            BackendError: One could not be looked into; the first in the order of the file.
        """
        asked = {target: one.held for target, one in self._backends.items() if target not in self._held}
        self._held |= side_by_side(asked).all()
        return {target: self._held[target] for target in self._backends}

    def held_by_former(self) -> dict[str, Held]:
        """Return what former places hold; one that cannot be looked into stops nothing, and is told."""
        known = self._lease.journal.targets
        asked = {t: one.held for t, one in self._former.items() if t in known and t not in self.unreachable}
        answers = side_by_side(asked)
        closed = {target: error for target, error in answers.failures.items() if isinstance(error, BackendError)}
        self.unreachable |= {target: error.what for target, error in closed.items()}
        others = {target: error for target, error in answers.failures.items() if target not in closed}
        return replace(answers, failures=others).all()

    @property
    def revocation(self) -> Revocation | None:
        """Return the deny as of the last look at the keys."""
        return self._revocation

    def deny(self, now: dt.datetime) -> tuple[Deny, tuple[str, ...]]:
        """Return what a revocation denies, and which keys it says were revoked, as of the last look at the keys."""
        if self._revocation is None:
            return "none", ()
        if self._revocation.cutoff is None:
            return "everything", self._revocation.key_ids
        return "over" if self._revocation.over(now) else "sessions", self._revocation.key_ids

    def forget(self, action: Action, stage: str) -> None:
        """Have the next look ask again for what an action touches."""
        match action:
            case acts.Stage() | acts.Promote() | acts.DiscardStaged():
                self._held.pop(stage, None)
            case acts.Deliver(targets=targets):
                for target in targets:
                    self._held.pop(target, None)
            case acts.RemoveDelivered(target):
                self._held.pop(target, None)
        if not isinstance(action, acts.Stage | acts.Settle | acts.NoteRevoked | acts.Forget | acts.DropIntent):
            # Keys, or what is given to others next: a revocation may have begun.
            self._keys = None

    def doubts(self, keys: Sequence[LiveKey]) -> dict[str, str | None]:
        """Return, for each key that no journal names, why it may not be the one that the intent made, or None."""
        journal = self._lease.journal
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
        if not intent.at - _ROUNDING <= key.created <= recorded.at + CALL_WINDOW:
            return f"it was made at {key.created.isoformat()}, not at the intent's time {intent.at.isoformat()}"
        used = self._user.last_use(key.id).at
        if used is not None:
            return f"it was used at {used.isoformat()}"
        return None
