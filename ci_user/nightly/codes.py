"""What a nightly check can find besides the scan's own findings: one id each, which accepted findings and runbooks name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ci_user.nightly.model import Area, Entry, Gravity


@dataclass(frozen=True)
class Code:
    """One kind of thing that can be found; ``runbook`` is an anchor in docs/runbooks.md."""

    id: str
    area: Area
    gravity: Gravity
    title: str
    fix: str
    runbook: str

    def entry(
        self,
        where: str,
        message: str,
        *,
        fix: str | None = None,
        details: Iterable[str] = (),
        gravity: Gravity | None = None,
    ) -> Entry:
        """Return what was found, in one place of one environment."""
        return Entry(
            id=self.id,
            area=self.area,
            gravity=gravity or self.gravity,
            title=self.title,
            where=where,
            message=message,
            fix=self.fix if fix is None else fix,
            details=tuple(details),
            runbook=self.runbook,
        )


DRIFT: Final = Code(
    "CIUSER_DRIFT",
    "plan",
    "finding",
    "AWS is as Terraform left it",
    "find out who changed it; `invoke deploy` puts it back, or change the environment file to what is wanted",
    "nightly-drift",
)
UNAPPLIED: Final = Code(
    "CIUSER_UNAPPLIED",
    "plan",
    "finding",
    "What was merged is deployed",
    "run `invoke deploy`, or take the change back",
    "nightly-unapplied",
)
OUTPUTS: Final = Code(
    "CIUSER_OUTPUTS",
    "plan",
    "finding",
    "The state's outputs are what the configuration says",
    "run `invoke deploy`: it changes nothing in AWS",
    "nightly-unapplied",
)
CHANGED_OUTSIDE: Final = Code(
    "CIUSER_CHANGED_OUTSIDE",
    "plan",
    "notice",
    "Nothing is changed outside",
    "nothing has to be done: the configuration does not say how this should be",
    "nightly-drift",
)
KNOWN_DRIFT: Final = Code(
    "CIUSER_KNOWN_DRIFT",
    "plan",
    "finding",
    "Known drift is still there and has not expired",
    "take the entry out of `known_drift`, or give it a new date and reason",
    "nightly-known-drift",
)
ACCEPTED_SOON: Final = Code(
    "CIUSER_ACCEPTED_SOON",
    "scan",
    "notice",
    "Accepted findings stay accepted for a while",
    "mend what it accepts, or give it a new date, before it expires",
    "findings",
)
NOT_DEPLOYED: Final = Code(
    "CIUSER_NOT_DEPLOYED",
    "identity",
    "finding",
    "The environment is deployed",
    "run `invoke deploy`, or delete its file",
    "no-key",
)
NOT_CHECKED: Final = Code(
    "CIUSER_NOT_CHECKED",
    "check",
    "error",
    "The environment can be checked",
    "mend what it says; the others were checked all the same",
    "nightly-not-checked",
)
PLAN_ERROR: Final = Code(
    "CIUSER_PLAN_ERROR",
    "plan",
    "error",
    "Terraform can plan",
    "run `invoke plan` and mend what it says",
    "terraform-failed",
)
STATE_MOVES: Final = Code(
    "CIUSER_STATE_MOVES",
    "plan",
    "error",
    "The state stays as it is while it is planned",
    "somebody deploys again and again while the check runs; run it at another time",
    "nightly-not-checked",
)
LEAKED: Final = Code(
    "CIUSER_LEAKED",
    "keys",
    "finding",
    "No access key has leaked",
    "run `invoke revoke` at once, then find out what was done with the key (CloudTrail)",
    "quarantine",
)
REVOKED_ACTIVE: Final = Code(
    "CIUSER_REVOKED_ACTIVE",
    "keys",
    "finding",
    "A revoked key stays inactive",
    "run `invoke revoke` again, and find out who activated it (CloudTrail: UpdateAccessKey)",
    "revocation",
)
REVOCATION: Final = Code(
    "CIUSER_REVOCATION",
    "keys",
    "finding",
    "A revocation comes to its end",
    "run `invoke revoke` again: it goes on where it stopped",
    "revocation",
)
DENIED: Final = Code(
    "CIUSER_DENIED",
    "keys",
    "notice",
    "No revocation is in force",
    "nothing has to be done: `invoke rotate` takes the deny off when no session can be left",
    "revocation",
)
FOREIGN_KEY: Final = Code(
    "CIUSER_FOREIGN_KEY",
    "keys",
    "finding",
    "Every access key was made and delivered by this tool",
    "find out who made it (CloudTrail: CreateAccessKey); when nobody needs it, delete it in IAM; when nobody can say whose it is,"
    " `invoke revoke --delete-key ID`, which replaces the delivered key too",
    "foreign-key",
)
NO_KEY: Final = Code(
    "CIUSER_NO_KEY",
    "keys",
    "finding",
    "The delivered key is there",
    "run `invoke deploy`: it makes and delivers one",
    "no-key",
)
INACTIVE_KEY: Final = Code(
    "CIUSER_INACTIVE_KEY",
    "keys",
    "finding",
    "The delivered key is active",
    "find out who deactivated it, then `invoke reactivate`, or `invoke rotate --force` for a new one",
    "inactive-key",
)
KEY_AGE: Final = Code(
    "CIUSER_KEY_AGE",
    "keys",
    "finding",
    "Keys are renewed when they are due",
    "see that the scheduled `invoke rotate` runs, and what its last run says",
    "two-keys",
)
KEY_UNUSED: Final = Code(
    "CIUSER_KEY_UNUSED",
    "keys",
    "notice",
    "The delivered key is used",
    "if no pipeline needs it any more, remove the environment",
    "no-key",
)
KEY_STILL_USED: Final = Code(
    "CIUSER_KEY_STILL_USED",
    "keys",
    "finding",
    "Nobody uses an old key",
    "find who still has it, by the service and CloudTrail, and give it the new one; `invoke rotate --now` ends it",
    "two-keys",
)
TWO_KEYS: Final = Code(
    "CIUSER_TWO_KEYS",
    "keys",
    "finding",
    "Two keys are active for a while only",
    "see that the scheduled `invoke rotate` runs: it makes the old key inactive",
    "two-keys",
)
KEY_LEFT: Final = Code(
    "CIUSER_KEY_LEFT",
    "keys",
    "notice",
    "An old key is deleted when its time is over",
    "see that the scheduled `invoke rotate` runs: it deletes the key",
    "two-keys",
)
STUCK: Final = Code(
    "CIUSER_ROTATION_STUCK",
    "keys",
    "finding",
    "What was begun with keys is finished",
    "run `invoke rotate`, or `invoke deploy`: it goes on from what the journal says",
    "interrupted",
)
NO_JOURNAL: Final = Code(
    "CIUSER_NO_JOURNAL",
    "keys",
    "error",
    "The journal of the keys can be read",
    "find out what became of the state bucket: without the journal nobody can say whose the keys are",
    "bucket",
)
BUSY: Final = Code(
    "CIUSER_BUSY",
    "keys",
    "notice",
    "Nobody works on the environment while it is checked",
    "nothing has to be done: what changes meanwhile is judged the next night",
    "locked",
)
LEASE_LEFT: Final = Code(
    "CIUSER_LEASE_LEFT",
    "keys",
    "notice",
    "Who worked on the environment gave it back",
    "nothing has to be done: the lease is over, and the next run takes it",
    "locked",
)
PLACE: Final = Code(
    "CIUSER_PLACE",
    "places",
    "finding",
    "Every place holds the delivered key",
    "run `invoke deploy`: it delivers the key to where it is missing, or a new one where no place holds it any more",
    "backend",
)
PLACE_PENDING: Final = Code(
    "CIUSER_PLACE_PENDING",
    "places",
    "finding",
    "No pending copy of a key is left behind",
    "run `invoke rotate`, or `invoke deploy`: it is promoted or dropped",
    "interrupted",
)
PLACE_FORMER: Final = Code(
    "CIUSER_PLACE_FORMER",
    "places",
    "notice",
    "Keys are in the places of the environment file only",
    "run `invoke deploy`: it takes the key out of places that the file no longer names",
    "new-target",
)
PLACE_UNASKED: Final = Code(
    "CIUSER_PLACE_UNASKED",
    "places",
    "error",
    "Every place can be asked which key it holds",
    "mend what it says; `invoke doctor` asks it too",
    "backend",
)
NESTED: Final = Code(
    "CIUSER_NESTED",
    "identity",
    "finding",
    "No other environment of the account reaches this one's names",
    "choose another application or environment name for one of the two",
    "nested-prefixes",
)
UNREAD: Final = Code(
    "CIUSER_UNREAD",
    "identity",
    "error",
    "Everything about the CI user can be looked at",
    "give the nightly check the right that it names",
    "aws-refused-a-call",
)
LINT: Final = Code(
    "CIUSER_LINT",
    "policies",
    "finding",
    "What is attached in AWS is a policy as its author meant it",
    "correct the policy, in its file or in AWS; `invoke policy.lint` says the same of files",
    "policy",
)
UNREADABLE_POLICY: Final = Code(
    "CIUSER_UNREADABLE_POLICY",
    "policies",
    "error",
    "What the CI user may do can be told",
    "look at the policy in IAM: it is not shaped like one",
    "policy",
)
LIVE_REACH: Final = Code(
    "CIUSER_LIVE_REACH",
    "policies",
    "finding",
    "What is attached in AWS reaches no more than what the files say",
    "run `invoke deploy`: it puts the policies back; take the user out of foreign groups",
    "nightly-live",
)

AT_ONCE: Final = frozenset({LEAKED.id, REVOKED_ACTIVE.id})
"""What cannot wait: somebody may be working with a key now."""
