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
INTERRUPTED: Final = Code(
    "CIUSER_INTERRUPTED",
    "check",
    "error",
    "The check comes to its end",
    "run the check again",
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
