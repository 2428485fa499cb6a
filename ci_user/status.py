"""What is true of an environment, read and nothing else: no lock, no write, no secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ci_user.credentials import calling
from ci_user.iam_user import IamUser, LiveKey
from ci_user.reports.model import KeyStatus, StatusReport
from ci_user.revocation import LASTS
from ci_user.side_by_side import side_by_side

if TYPE_CHECKING:
    from ci_user.backends.protocol import Held
    from ci_user.journal import Journal
    from ci_user.revocation import Revocation
    from ci_user.run import Run


def status(run: Run) -> StatusReport:
    """Return user, policies, keys with age and last use, and where each was delivered.

    Raises:
        AwsError, BackendError, StateBucketError: Something could not be read.
    """
    from ci_user.lease import peek

    environment = run.environment
    access = run.accesses.target
    user = IamUser(access, environment.user_name)
    live = user.describe()
    seen = peek(run.bucket, environment.state.lease_key) if run.bucket.exists() else None
    held = side_by_side({backend.target: backend.held for backend in run.backends()}).all()
    policies: list[str] = []
    if live is not None:
        with calling(f"reading the group {environment.group_name}"):
            client = access.client("iam")
            for group in live.groups:
                attached = client.list_attached_group_policies(GroupName=group)["AttachedPolicies"]
                policies += [policy["PolicyArn"] for policy in attached]
    keys = user.access_keys() if live is not None else ()
    journal = seen.journal if seen else None
    revocation = user.revocation() if live is not None else None
    return StatusReport(
        environment=environment.name,
        account_id=environment.account_id,
        user_arn=environment.user_arn,
        exists=live is not None,
        boundary=live.boundary_arn if live else None,
        groups=live.groups if live else (),
        policies=(*policies, *(live.attached if live else ())),
        keys=tuple(_key(user, key, journal, held, revocation) for key in keys),
        targets=tuple(held),
        quarantined_by=live.quarantined_by if live else (),
        holder=seen.holder_text if seen else None,
        notes=(*_notes(keys, journal, held), *_deny(revocation)),
    )


def _key(
    user: IamUser, key: LiveKey, journal: Journal | None, held: dict[str, Held], revocation: Revocation | None
) -> KeyStatus:
    import datetime as dt

    used = user.last_use(key.id)
    record = journal.keys.get(key.id) if journal else None
    revoked = key.id in (*(journal.revoked if journal else ()), *(revocation.key_ids if revocation else ()))
    return KeyStatus(
        id=key.id,
        active=key.active,
        created=key.created.isoformat(),
        age_days=(dt.datetime.now(tz=dt.UTC) - key.created).days,
        last_used=used.at.isoformat() if used.at else None,
        last_used_in=f"{used.service}, {used.region}" if used.at else None,
        journal=(record.state if record else "not made by this tool") + (", revoked" if revoked else ""),
        held_by=tuple(target for target, holds in held.items() if holds.current == key.id),
    )


def _deny(revocation: Revocation | None) -> tuple[str, ...]:
    if revocation is None:
        return ()
    if revocation.cutoff is None:
        return ("a revocation is not finished and everything is denied: `invoke revoke` goes on with it",)
    until = (revocation.cutoff + LASTS).isoformat(timespec="seconds")
    return (f"revoked: sessions from before {revocation.cutoff.isoformat()} are denied everything, until {until}",)


def _notes(keys: tuple[LiveKey, ...], journal: Journal | None, held: dict[str, Held]) -> tuple[str, ...]:
    notes = []
    if journal and journal.intent:
        notes.append(
            f"an interrupted run left an intent of {journal.intent.at.isoformat()}: `invoke deploy` finishes it"
        )
    known = {key.id for key in keys}
    for target, holds in held.items():
        if holds.current and holds.current not in known:
            notes.append(f"{target} holds {holds.current}, which is no key of this user")
        if holds.pending:
            notes.append(f"{target} has a pending copy of {holds.pending}")
    return tuple(notes)
