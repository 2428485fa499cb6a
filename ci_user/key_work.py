"""What every command on keys starts from: a keeper over the environment's user, places, lease and audit trail."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ci_user.errors import KeyStateError
from ci_user.iam_user import IamUser
from ci_user.keeper import KeyKeeper

if TYPE_CHECKING:
    from ci_user.audit import Recorder
    from ci_user.lease import Lease, LeaseState
    from ci_user.run import Run


def ready_bucket(run: Run) -> None:
    """See that state, lease and journal have a safe place; the sandbox's is made, everybody else's must be there.

    A deploy looks at all of the bucket's settings; work on keys alone relies on the last one.

    Raises:
        StateBucketError: It is not there, or not as safe as it must be.
    """
    if run.environment.sandbox:
        run.bucket.bootstrap()
    else:
        run.bucket.verify()


def holding_keeper(run: Run, lease: Lease, command: str, tell: Callable[[str], None] | None = None) -> KeyKeeper:
    """Return the keeper of a run that holds the lease: each of its requests is fenced by it, each of its acts audited.

    Args:
        run: The environment's run.
        lease: Held by it.
        command: The task, for the audit trail.
        tell: Told each act in words when it is done; by default only `--verbose` shows it.
    """
    trail = run.trail(command, lease.run)
    if run.environment.audit.bucket:
        trail.keep_in(run.bucket, run.environment.state.folder)
    return _keeper(run, lease, lease.check_request, trail, tell)


def looking_keeper(run: Run, state: LeaseState) -> KeyKeeper:
    """Return a keeper that only looks: it holds no lease."""
    return _keeper(run, state, None, None, None)


def check_deployed(run: Run) -> None:
    """See that there is a user.

    Raises:
        KeyStateError: There is none.
    """
    if IamUser(run.accesses.target, run.environment.user_name).attached() is None:
        raise not_deployed(run)


def not_deployed(run: Run) -> KeyStateError:
    """Return the error for an environment without a user."""
    return KeyStateError(
        f"{run.environment.name} is not deployed: there is no user {run.environment.user_name}",
        where=f"account {run.environment.account_id}",
        do=f"`invoke deploy --env {run.environment.name}` makes it",
        runbook="no-key",
    )


def _keeper(
    run: Run,
    journal: Lease | LeaseState,
    fence: Callable[[Any], None] | None,
    audit: Recorder | None,
    tell: Callable[[str], None] | None,
) -> KeyKeeper:
    environment, target = run.environment, run.accesses.target
    former, closed = run.former_backends(journal.journal.targets, fence)
    keeper = KeyKeeper(
        user=IamUser(target.fenced_by(fence) if fence else target, environment.user_name),
        access=target,
        backends=run.backends(fence),
        former=former,
        lease=journal,
        verification=environment.verification,
        schedule=environment.rotation,
        user_arn=environment.user_arn,
        tell=tell or run.console.detail,
        audit=audit,
    )
    keeper.unreachable.update(closed)
    return keeper
