"""The runs on keys alone: rotate, redeliver, reactivate. None of them needs Terraform or a policy."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from ci_user import rotation
from ci_user.errors import KeyStateError, UsageError
from ci_user.iam_user import IamUser, quarantines
from ci_user.key_actions import Done
from ci_user.key_outlook import deny_notes, going, held_up, old_keys
from ci_user.key_work import check_deployed, holding_keeper
from ci_user.reports.keys import DeliveryReport, RotateReport
from ci_user.run import Loaded, Run, opened
from ci_user.text import plain

if TYPE_CHECKING:
    from ci_user.confirmation import Consent
    from ci_user.journal import KeyRecord, KeyState
    from ci_user.keeper import Kept, KeyKeeper
    from ci_user.reports.console import Console
    from ci_user.rotation import Observation


def rotate(
    loaded: Loaded,
    console: Console,
    *,
    force: bool,
    now: bool,
    consent: Consent,
    lock_timeout: timedelta,
) -> RotateReport:
    """Renew the key when it is due, and move the old ones on.

    Args:
        loaded: The environment.
        console: Where progress and questions go.
        force: Renew it whatever its age.
        now: Finish without grace and soak; asks first, because what still holds the old key fails.
        consent: What the command line agreed to, and how to ask.
        lock_timeout: How long to wait for somebody else's lease.

    Raises:
        LockHeldError: Somebody else works on the environment (exit code 4).
        KeyStateError: Only a person can judge what is there; or somebody deleted the user.
        CiUserError: Anything else that stops it; the next run goes on from there.
    """
    started = time.monotonic()
    goal = rotation.Rotate(force=force, now=now)
    if now:
        consent.check_early(loaded.environment, "rotate --now")
    with opened(loaded, console) as run:
        attached = IamUser(run.accesses.target, run.environment.user_name).attached()
        if attached is None:
            _refuse_a_lost_user(run)
            return RotateReport(environment=run.environment.name, deployed=False)
        with run.lease("rotate", lock_timeout) as lease:
            keeper = holding_keeper(run, lease, "rotate", _teller(console))
            seen = keeper.observe(goal)
            keeper.refuse_what_needs_a_person(seen, goal)
            if isinstance(rotation.decide(seen, goal), Done):
                return _rotated(run, attached, _nothing(seen), started, forced=force)
            if now:
                _say_what_breaks(run, keeper, going(seen, goal))
                consent.require(run.environment, "rotate --now")
                lease.check()
            keeper.preflight()
            return _rotated(run, attached, keeper.reach(goal), started, forced=force)


def redeliver(
    loaded: Loaded,
    console: Console,
    *,
    to: Sequence[str],
    consent: Consent,
    lock_timeout: timedelta,
) -> DeliveryReport:
    """Deliver the current key once more, from where it can be read back, without making one.

    Args:
        loaded: The environment.
        console: Where progress and questions go.
        to: Backends, by name or as a whole target; none means those that do not hold the key.
        consent: What the command line agreed to; asked for where a key was never delivered to.
        lock_timeout: How long to wait for somebody else's lease.

    Raises:
        UsageError: ``to`` names no place of the environment.
        KeyStateError: There is no key that could be delivered.
        CiUserError: Anything else that stops it.
    """
    with opened(loaded, console) as run:
        check_deployed(run)
        with run.lease("redeliver", lock_timeout) as lease:
            keeper = holding_keeper(run, lease, "redeliver", _teller(console))
            seen = keeper.observe(rotation.Redeliver(()))
            targets = _chosen(seen, to)
            goal = rotation.Redeliver(targets)
            keeper.refuse_what_needs_a_person(seen, goal)
            new = [target for target in targets if target not in seen.journal.targets]
            if new:
                console.line(f"  no key was ever delivered to {', '.join(new)}")
                consent.require(run.environment, "redeliver")
                lease.check()
            keeper.preflight()
            kept = keeper.reach(goal)
            assert kept.key_id is not None  # noqa: S101 - without a key it had stopped
            what = f"{kept.key_id} was delivered to {', '.join(targets)}" if targets else "every place holds the key"
            return DeliveryReport(run.environment.name, kept.key_id, what, kept.acts, keeper.former_notes())


def reactivate(
    loaded: Loaded, console: Console, *, key_id: str, consent: Consent, lock_timeout: timedelta
) -> DeliveryReport:
    """Make an old key active again whose deactivation broke something. A revoked key never comes back.

    Args:
        loaded: The environment.
        console: Where progress and questions go.
        key_id: Which key; empty for the one that was deactivated last.
        consent: What the command line agreed to, and how to ask.
        lock_timeout: How long to wait for somebody else's lease.

    Raises:
        KeyStateError: There is no such key, it was not made here, or it was revoked.
        CiUserError: Anything else that stops it.
    """
    consent.check_early(loaded.environment, "reactivate")
    with opened(loaded, console) as run:
        check_deployed(run)
        with run.lease("reactivate", lock_timeout) as lease:
            keeper = holding_keeper(run, lease, "reactivate", _teller(console))
            seen = keeper.observe()
            chosen = _reactivable(seen, key_id, run.environment.name)
            consent.require(run.environment, "reactivate")
            lease.check()
            state = keeper.reactivate(chosen)
            name = run.environment.name
            return DeliveryReport(name, chosen, f"{chosen} is active again", (), (_reactivated(state, name),))


def _reactivated(state: KeyState, environment: str) -> str:
    if state == "grace":
        return f"its grace begins anew: find out who still uses it, with `invoke status --env {environment}`"
    if state == "delivered":
        return "it is the key that consumers read: find out who switched it off, in CloudTrail (UpdateAccessKey)"
    return f"its delivery was interrupted: `invoke deploy --env {environment}` goes on with it"


def _refuse_a_lost_user(run: Run) -> None:
    """Tell an environment that was never deployed, or was destroyed, from one whose user somebody deleted.

    Raises:
        KeyStateError: The journal has keys of a user that is not there.
    """
    from ci_user.lease import peek

    environment = run.environment
    if not run.bucket.exists():
        return
    journal = peek(run.bucket, environment.state.lease_key).journal
    left = [record.id for record in journal.keys.values() if record.state != "deleted"]
    if left:
        raise KeyStateError(
            f"there is no user {environment.user_name}, although the journal has its keys: {', '.join(left)}",
            where=f"account {environment.account_id}",
            expected="a user that only `invoke destroy` deletes",
            do=f"`invoke deploy --env {environment.name}` makes user and key anew; if it was to go, `invoke destroy` ends it",
            runbook="no-key",
        )


def _teller(console: Console) -> Callable[[str], None]:
    return lambda act: console.line(f"  {act}")


def _chosen(seen: Observation, to: Sequence[str]) -> tuple[str, ...]:
    delivered = rotation.delivered_key(seen)
    if not to:
        key_id = delivered.id if delivered else None
        return tuple(target for target in seen.targets if seen.held[target].current != key_id)
    unknown = [one for one in to if not any(one in (target, target.split(":")[0]) for target in seen.targets)]
    if unknown:
        raise UsageError(
            f"the environment delivers to no {plain(unknown[0], 200)}",
            where="--to",
            expected=f"the name of a backend or one of: {', '.join(seen.targets)}",
            do="add it to `secrets` in the environment file first",
        )
    return tuple(target for target in seen.targets if target in to or target.split(":")[0] in to)


def _reactivable(seen: Observation, key_id: str, environment: str) -> str:
    if seen.deny == "everything":
        raise KeyStateError(
            "a revocation was begun and is not finished", do="run `invoke revoke` again", runbook="revocation"
        )
    listed = {key.id: key for key in seen.keys}
    records = [record for record in seen.journal.keys.values() if record.id in listed]
    # Also one that a rotation switched off a moment ago, which a list may still show as active.
    ours = [one for one in records if not (listed[one.id].active and rotation.active_by_now(seen, one))]
    if key_id in seen.revoked or (not key_id and ours and all(record.id in seen.revoked for record in ours)):
        raise KeyStateError(
            f"{plain(key_id or ours[0].id)} was revoked because it leaked, and never becomes active again",
            do=f"`invoke deploy --env {environment}` delivers another key",
            runbook="revocation",
        )
    usable = [record for record in ours if record.id not in seen.revoked and key_id in ("", record.id)]
    if not usable:
        raise KeyStateError(
            f"there is no inactive key {plain(key_id)} that was made here" if key_id else "no key of ours is inactive",
            expected="a key that a rotation deactivated and did not delete yet",
            do=f"`invoke status --env {environment}` lists the keys",
            runbook="no-key",
        )
    return max(usable, key=lambda r: (r.times.get("inactive", r.times.get("minted", seen.now)), r.id)).id


def _say_what_breaks(run: Run, keeper: KeyKeeper, records: Sequence[KeyRecord]) -> None:
    run.console.line("  without grace and soak: whatever still holds one of these keys fails at its next call to AWS:")
    for record in records:
        used = keeper.last_use(record.id)
        last = f"last used {used.at.isoformat()} in {used.service}, {used.region}" if used.at else "never used"
        run.console.line(f"    {record.id}, {record.state}, {last}")
    run.console.line("  that is every pipeline run that was queued or began before the new key was delivered")


def _nothing(seen: Observation) -> Kept:
    from ci_user.keeper import Kept

    delivered = rotation.delivered_key(seen)
    return Kept(key_id=delivered.id if delivered else None, made=False, changed=False, acts=(), waited=0.0, seen=seen)


def _rotated(run: Run, attached: tuple[str, ...], kept: Kept, started: float, *, forced: bool) -> RotateReport:
    seen = kept.seen
    assert seen is not None  # noqa: S101 - each way here has looked
    blocked = held_up(seen, forced=forced)
    return RotateReport(
        environment=run.environment.name,
        deployed=True,
        key_id=kept.key_id,
        made=kept.made,
        acts=kept.acts,
        delivered=seen.targets,
        old_keys=old_keys(seen),
        notes=(*((blocked,) if blocked else ()), *deny_notes(seen)),
        quarantined_by=quarantines(attached),
        seconds={"total": time.monotonic() - started, "verification": kept.waited},
    )
