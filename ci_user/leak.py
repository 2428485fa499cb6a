"""The answer to a leaked key: deny, deactivate, see that it took effect, narrow the deny, look around, deliver a new key.

The first steps need IAM alone: no lease, no bucket, no backend. The deny is on the user before anything is looked up, so that
it holds whatever happens next, and a run that works on the keys at the same time stops at it.

Sessions outlive the key that they were made with, and GetSessionToken is stopped by no policy; so the deny ends as one on
everything issued before the key had come to be refused, plus a margin.
https://docs.aws.amazon.com/STS/latest/APIReference/API_GetSessionToken.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_revoke-sessions.html
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ci_user import rotation
from ci_user.errors import (
    AwsError,
    BackendError,
    CiUserError,
    CredentialsError,
    KeyStateError,
    StateBucketError,
    UsageError,
)
from ci_user.findings import Finding
from ci_user.iam_user import IamUser, LiveKey
from ci_user.key_check import wait_until_it_is_refused
from ci_user.key_work import holding_keeper, not_deployed
from ci_user.leak_advice import next_steps
from ci_user.live_prefix import LIVE_UNKNOWN, prefix_findings
from ci_user.reports.keys import RevokeReport
from ci_user.revocation import LASTS, POLICY_NAME, Revocation
from ci_user.run import Loaded, Run, opened
from ci_user.side_by_side import side_by_side
from ci_user.text import plain
from ci_user.ways_in import ways_in

if TYPE_CHECKING:
    from ci_user.audit import Recorder
    from ci_user.backends.protocol import Backend
    from ci_user.confirmation import Consent
    from ci_user.keeper import Kept
    from ci_user.lease import Lease
    from ci_user.reports.console import Console
    from ci_user.secret import AccessKey

_ROUNDING = dt.timedelta(seconds=2)
_MARGIN_AT_MOST = dt.timedelta(seconds=15)
_ROUNDS = 5


@dataclass(frozen=True)
class Order:
    """What the command line asked for.

    Args:
        all_keys: Deactivate keys too that nothing here made.
        delete_keys: Delete these keys, whoever made them.
        replacement: Deliver a new key.
    """

    all_keys: bool = False
    delete_keys: tuple[str, ...] = ()
    replacement: bool = True


def revoke(
    loaded: Loaded, console: Console, *, order: Order, consent: Consent, lock_timeout: dt.timedelta
) -> RevokeReport:
    """Answer a leak.

    Args:
        loaded: The environment.
        console: Where progress and questions go.
        order: What the command line asked for.
        consent: What it agreed to, and how to ask.
        lock_timeout: How long to wait for somebody else's lease before a new key is delivered.

    Raises:
        KeyStateError: There is no user, or a key did not come to be refused; the deny stays on the user.
        LockHeldError: The leak is closed, and somebody else holds the lease that a new key needs (exit code 4).
        CiUserError: Anything else that stops it; what was denied stays denied, and the same command goes on from there.
    """
    consent.check_early(loaded.environment, "revoke")
    with opened(loaded, console, only_target=True) as run:
        user = IamUser(run.accesses.target, run.environment.user_name)
        if not _exists(user):
            raise not_deployed(run)
        if order.delete_keys:
            _known(order.delete_keys, user)
        console.line("  at once: everything that the CI user does is denied, and its keys become inactive")
        consent.require(run.environment, "revoke")
        answer = _Answer(run, user, order, run.trail("revoke", _run_id()))
        answer.shut()
        findings: tuple[Finding, ...] = ()
        try:
            answer.delete()
            findings = answer.look()
            kept = answer.replace(lock_timeout)
        except CiUserError:
            answer.say_where_things_stand(findings)
            raise
        finally:
            answer.hold_the_deny()
        return answer.report(kept, findings)


def _exists(user: IamUser) -> bool:
    """Return whether there is such a user; when that cannot be asked, the deny is tried all the same."""
    try:
        return user.attached() is not None
    except AwsError:
        return True


def _run_id() -> str:
    import secrets

    return secrets.token_hex(8)


def _known(key_ids: Collection[str], user: IamUser) -> None:
    there = {key.id for key in user.access_keys()}
    for key_id in key_ids:
        if key_id not in there:
            raise UsageError(
                f"{user.name} has no access key {plain(key_id, 128)}",
                where="--delete-key",
                expected=f"one of: {', '.join(sorted(there)) or 'none'}",
                do="nothing was changed",
            )


@dataclass
class _Answer:
    """One answer to a leak, and what it has learnt so far."""

    run: Run
    user: IamUser
    order: Order
    audit: Recorder
    deny: Revocation | None = None
    revoked: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    closed: bool = False
    strangers: tuple[str, ...] = ()
    quarantined_by: tuple[str, ...] = ()
    acts: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    pause: Callable[[float], None] = time.sleep

    def shut(self) -> None:
        """Deny everything, make the keys inactive, see that it took effect, and narrow the deny; needs IAM alone.

        Keys that turn up meanwhile are treated in further rounds.

        A deny that cannot be put keeps no key from becoming inactive.

        Raises:
            KeyStateError: A key goes on working, keys go on turning up, or the deny could not be put.
        """
        self.closed = False
        try:
            self.deny = self.user.revocation()
        except AwsError as error:
            self.run.console.line(f"  ! {error.what}")
        # Of an earlier revocation's keys those that were deleted since are of no interest any more.
        known = set(self.deny.key_ids if self.deny else ())
        refused = self._try_to_deny(known, "denied everything that the CI user does")
        there = self.user.access_keys()
        known &= {key.id for key in there}
        for _ in range(_ROUNDS):
            # Inactive ones too: none of them is ever to become active again.
            leaked = self._leaked(there, known)
            known |= {key.id for key in leaked}
            if leaked:
                # The ids first: from here on `reactivate` refuses them.
                refused = self._try_to_deny(known, None)
            active = [key for key in leaked if key.active]
            for key in active:
                self.user.deactivate_key(key.id)
                self._did("Deactivate", f"deactivated {key.id}", key.id)
            # Also of what a run before this one deactivated: it may have died before AWS refused it.
            self._wait_until_refused(leaked)
            there = self.user.access_keys()
            if not self._leaked([key for key in there if key.active], known):
                break
        else:
            raise KeyStateError(
                f"{self.user.name} goes on getting active keys",
                expected="no key of this user active, once it was deactivated",
                do="everything stays denied; find out who makes keys (CloudTrail: CreateAccessKey, UpdateAccessKey)",
                runbook="revocation",
            )
        if refused is not None:
            raise KeyStateError(
                f"{', '.join(sorted(known)) or 'no key'} is inactive, but sessions made with it live on: {refused.what}",
                expected=f"the inline policy {POLICY_NAME} on {self.user.name}",
                do="let the deployer call iam:PutUserPolicy, take other inline policies off the user, then run it again",
                runbook="revocation",
            )
        self.revoked = tuple(sorted(known))
        cutoff = self.user.aws_time() + min(self.run.environment.verification.lag, _MARGIN_AT_MOST) + _ROUNDING
        self._deny(Revocation(self.revoked, cutoff), f"denied every session issued before {cutoff.isoformat()}")
        self.closed = True

    def say_where_things_stand(self, findings: tuple[Finding, ...]) -> None:
        """Say what is true when something failed after the keys were dealt with."""
        tell = self.run.console.line
        if self.closed:
            tell(f"  the leak is closed: {', '.join(self.revoked) or 'no key'} revoked, older sessions denied")
        else:
            tell("  ! the leak is NOT closed yet: everything stays denied; run the same command again")
        for finding in findings:
            tell(f"  ! {finding.check} {finding.resource}: {finding.message}; {finding.fix}")
        for key_id in self.strangers:
            tell(f"  ! {key_id} is active, and nothing here made it (--all-keys, --delete-key)")
        tell("  ! what was to come next failed, and there may be no new key:")

    def hold_the_deny(self) -> None:
        """Put the deny back if somebody has changed it meanwhile, such as an apply that was under way.

        Raises:
            AwsError: It cannot be read or put.
        """
        if self.deny is not None and self.user.revocation() != self.deny:
            self.user.deny(self.deny)
            self._did("Deny", "put the deny back, which somebody had changed", *self.deny.key_ids)

    def delete(self) -> None:
        """Delete the keys that were named for it."""
        for key_id in self.order.delete_keys:
            self.user.deactivate_key(key_id)
            self.user.delete_key(key_id)
            self.deleted = (*self.deleted, key_id)
            self._did("Delete", f"deleted {key_id}", key_id)

    def look(self) -> tuple[Finding, ...]:
        """Return other ways in, and what lends the user more than it has."""
        access, environment = self.run.accesses.target, self.run.environment
        found = prefix_findings(access, environment)
        try:
            live = self.user.describe()
            self.quarantined_by = live.quarantined_by if live else ()
            found = (*(ways_in(access, environment, live) if live else ()), *found)
        except AwsError as error:
            name, fix = "What hangs on the CI user is known", "let the deployer read the user, its groups and policies"
            found = (Finding(LIVE_UNKNOWN, name, f'live.user["{environment.user_name}"]', error.what, fix), *found)
        if not environment.sandbox:
            return found
        # The embedded AWS does not know every one of these calls.
        self.notes += [f"not looked at: {one.message}" for one in found if one.check == LIVE_UNKNOWN]
        return tuple(one for one in found if one.check != LIVE_UNKNOWN)

    def replace(self, lock_timeout: dt.timedelta) -> Kept:
        """Deliver a new key in place of the revoked ones, or leave none; from here on lease, bucket and backends are needed."""
        run = self.run
        run.accesses.verify_others()
        with run.lease("revoke", lock_timeout) as lease:
            # Whoever held the lease until now may have made a key: nobody can any more.
            self._shut_the_late(lease)
            keeper = holding_keeper(run, lease, "revoke", lambda act: run.console.line(f"  {act}"))
            goal: rotation.Goal
            if self.order.replacement:
                goal = rotation.Replace()
                keeper.refuse_what_needs_a_person(keeper.observe(goal), goal)
                keeper.preflight()
                self._wait_for_the_cutoff()
            else:
                goal = rotation.Remove(leave_foreign=True, lift=False)
            kept = keeper.reach(goal)
            self.notes += keeper.former_notes()
            return kept

    def report(self, kept: Kept, findings: tuple[Finding, ...]) -> RevokeReport:
        """Return what was done."""
        assert self.deny is not None  # noqa: S101 - shut has put it there
        assert self.deny.cutoff is not None  # noqa: S101 - and narrowed it
        listed = kept.seen.keys if kept.seen else ()
        foreign = [key.id for key in listed if key.active and key.id not in (kept.key_id, *self.revoked)]
        environment = self.run.environment
        return RevokeReport(
            environment=environment.name,
            revoked=self.revoked,
            deleted=self.deleted,
            cutoff=self.deny.cutoff.isoformat(),
            denied_until=(self.deny.cutoff + LASTS).isoformat(),
            key_id=kept.key_id,
            delivered=kept.seen.targets if kept.seen and kept.key_id else (),
            foreign=tuple(foreign),
            acts=(*self.acts, *kept.acts),
            findings=findings,
            quarantined_by=self.quarantined_by,
            notes=tuple(self.notes),
            next_steps=next_steps(environment, self.revoked),
        )

    def _shut_the_late(self, lease: Lease) -> None:
        """Revoke keys too that a run had made and journalled while this one shut the others."""
        known = set(self.revoked)
        late = [
            key
            for key in self.user.access_keys()
            if key.active and key.id in lease.journal.keys and key.id not in known
        ]
        if late and (self.deny is None or self.deny.cutoff is None or min(k.created for k in late) <= self.deny.cutoff):
            self.shut()

    def _leaked(self, keys: Sequence[LiveKey], known: Collection[str]) -> list[LiveKey]:
        """Return the keys that are to be inactive for good: ours, or all where that was asked for."""
        sure = {*known, *self.order.delete_keys}
        if self.order.all_keys or all(key.id in sure for key in keys):
            return list(keys)
        ours, silent = self._journalled()
        if not all(key.id in sure | ours for key in keys):
            # Places are asked only about keys that the journal does not know: one that does not answer takes its time.
            ours |= self._held_anywhere()
        sure |= ours
        self.strangers = tuple(key.id for key in keys if key.active and key.id not in sure)
        if self.strangers and silent is not None:
            raise KeyStateError(
                f"the journal cannot be read, so {', '.join(self.strangers)} cannot be told to be ours or not: {silent.what}",
                expected="the journal, or --all-keys",
                do="everything that the CI user does is denied already; run it again with --all-keys, which makes every"
                " key of the user inactive",
                runbook="revocation",
            )
        return [key for key in keys if key.id in sure]

    def _journalled(self) -> tuple[set[str], CiUserError | None]:
        """Return the keys that the journal knows, and why it could not be read, if it could not."""
        from ci_user.lease import peek

        try:
            return set(peek(self.run.bucket, self.run.environment.state.lease_key).journal.keys), None
        except (AwsError, StateBucketError, KeyStateError, CredentialsError) as error:
            return set(), error

    def _held_anywhere(self) -> set[str]:
        """Return the keys that the backends hold which answer."""
        # What a place that cannot be asked holds, the journal tells; how long it is asked for holds up nothing but itself.
        answers = side_by_side({backend.target: backend.held for backend in self._backends()})
        if answers.stopped is not None and not isinstance(answers.stopped, Exception):
            # Ctrl-C. A backend that fails in a way of its own, as another package's may, stops no answer to a leak.
            raise answers.stopped
        return {key_id for held in answers.values.values() for key_id in (held.current, held.pending) if key_id}

    def _backends(self) -> Sequence[Backend]:
        try:
            return self.run.backends()
        except Exception:  # noqa: BLE001 - another package's code may raise anything, and a leak is answered without it
            return ()

    def _wait_until_refused(self, keys: Sequence[LiveKey]) -> None:
        """Wait until AWS refuses the keys: asked with those that a backend holds, for as long as lists run behind with others."""
        verification, blind = self.run.environment.verification, False
        if keys:
            self.run.console.line("  waiting until AWS refuses what was deactivated ...")
        for key in keys:
            held = self._read_back(key.id)
            if held is None:
                blind = True
            elif not wait_until_it_is_refused(held, self.run.accesses.target, verification, self.pause):
                raise KeyStateError(
                    f"AWS did not come to refuse {key.id} within {verification.deadline}, although it is inactive",
                    do="everything stays denied; run the same command again",
                    runbook="revocation",
                )
        if blind:
            self.pause(verification.lag.total_seconds())

    def _read_back(self, key_id: str) -> AccessKey | None:
        for backend in self._backends():
            if backend.readable:
                try:
                    held = backend.read_staged(key_id)
                except (BackendError, CredentialsError):
                    continue
                if held is not None:
                    return held
        return None

    def _wait_for_the_cutoff(self) -> None:
        """Wait until sessions of the new key are issued after the cut-off."""
        assert self.deny is not None  # noqa: S101 - shut has put it there
        assert self.deny.cutoff is not None  # noqa: S101 - and narrowed it
        left = (self.deny.cutoff - self.user.aws_time()).total_seconds()
        if left > 0:
            self.run.console.line(
                f"  waiting {left:.0f} s, so that what is made with the new key is newer than the cut-off ..."
            )
            self.pause(left)

    def _try_to_deny(self, known: Collection[str], act: str | None) -> AwsError | None:
        """Deny everything; return why it could not be done, or None."""
        try:
            self._deny(Revocation(tuple(sorted(known)), None), act)
        except AwsError as error:
            self.run.console.line(f"  ! {error.what}")
            return error
        return None

    def _deny(self, deny: Revocation, act: str | None) -> None:
        if deny == self.deny:
            return
        self.user.deny(deny)
        self.deny = deny
        if act:
            self._did("Deny", act, *deny.key_ids)

    def _did(self, name: str, act: str, *key_ids: str) -> None:
        self.audit.record(name, key_ids=key_ids)
        self.run.console.line(f"  {act}")
        self.acts.append(act)
