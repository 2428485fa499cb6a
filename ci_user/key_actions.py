"""What can be done about an access key: one action each, as a frozen value, and in words for people.

``rotation.py`` decides which is next; ``keeper.py`` does it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RecordIntent:
    """Journal that a key is about to be made, and which keys there are; an earlier run's intent is closed with it."""

    reason: str


@dataclass(frozen=True)
class DropIntent:
    """Forget an intent of an earlier run that has no key to finish."""


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
    """Give the key to all targets that are without it, side by side, from where it can be read back."""

    key_id: str
    targets: tuple[str, ...]


@dataclass(frozen=True)
class Settle:
    """Record the key as delivered everywhere, the intent as fulfilled, and the key before it as in its grace."""

    key_id: str


@dataclass(frozen=True)
class SetAside:
    """Record as in its grace a key that some may read and that can get no further: its stage was lost on the way."""

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
class ForgetTarget:
    """Take a target out of the journal that the environment file no longer names and that holds nothing of ours."""

    target: str


@dataclass(frozen=True)
class Deactivate:
    """Make an old key inactive: nobody used it since its successor was delivered."""

    key_id: str


@dataclass(frozen=True)
class Reinstate:
    """Journal as in its grace again an old key that somebody made active."""

    key_id: str


@dataclass(frozen=True)
class Delete:
    """Delete a key that is inactive."""

    key_id: str


@dataclass(frozen=True)
class NoteRevoked:
    """Journal which keys the user's deny says were revoked."""

    key_ids: tuple[str, ...]


@dataclass(frozen=True)
class Retire:
    """Make a revoked key inactive, whatever state it was in, and close its intent."""

    key_id: str


@dataclass(frozen=True)
class LiftDeny:
    """Take the deny of a revocation off the user: no session can be as old as its cut-off any more."""


@dataclass(frozen=True)
class Done:
    """Nothing is left to do; ``key_id`` is the delivered key, or None when there is none."""

    key_id: str | None


@dataclass(frozen=True)
class Stop:
    """Only a person can judge this."""

    why: str
    key_ids: tuple[str, ...]
    runbook: str = "foreign-key"


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
    | SetAside
    | DiscardStaged
    | RemoveDelivered
    | ForgetTarget
    | Deactivate
    | Reinstate
    | Delete
    | NoteRevoked
    | Retire
    | LiftDeny
    | Done
    | Stop
)


def words(action: Action, user: str, stage: str) -> str:
    """Return what was done, in words.

    Args:
        action: The action, which is neither ``Done`` nor ``Stop``.
        user: The user's name.
        stage: The target that a new key goes to first.
    """
    match action:
        case RecordIntent(reason):
            return f"journalled the intent to make an access key for {user} ({reason})"
        case DropIntent():
            return "closed the intent of an interrupted run"
        case Wait():
            return "looked again for a key that an interrupted run may have made"
        case Mint():
            return f"made an access key for {user}"
        case DeleteOrphan(key_id):
            return f"deleted {key_id}, which an interrupted run made and nobody ever received"
        case Forget(key_id):
            return f"took {key_id} out of the journal: IAM no longer has it"
        case Stage(key_id):
            return f"staged {key_id} in {stage}"
        case Verify(key_id):
            return f"verified {key_id} with sts:GetCallerIdentity"
        case Promote(key_id):
            return f"delivered {key_id} to {stage}"
        case Deliver(key_id, targets):
            return f"delivered {key_id} to {', '.join(targets)}"
        case Settle(key_id):
            return f"journalled {key_id} as delivered"
        case SetAside(key_id):
            return f"journalled {key_id} as in its grace: {stage} lost it before every place had it"
        case DiscardStaged(key_id):
            return f"dropped the pending copy of {key_id} from {stage}"
        case RemoveDelivered(target):
            return f"removed what was delivered to {target}"
        case ForgetTarget(target):
            return f"took {target} out of the journal: the environment file no longer names it, and it holds nothing"
        case Deactivate(key_id):
            return f"deactivated {key_id}"
        case Reinstate(key_id):
            return f"journalled {key_id} as in its grace again: somebody made it active"
        case Delete(key_id):
            return f"deleted {key_id}"
        case NoteRevoked(key_ids):
            return f"journalled {', '.join(key_ids)} as revoked"
        case Retire(key_id):
            return f"deactivated {key_id}, which was revoked"
        case LiftDeny():
            return f"took the deny of the revocation off {user}"
        case _:
            raise AssertionError(action)
