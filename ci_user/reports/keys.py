"""What the commands on keys found and did, as frozen values, for people and for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ci_user.findings import Finding
    from ci_user.key_outlook import OldKey


@dataclass(frozen=True)
class RotateReport:
    """What a rotation did.

    Args:
        environment: The environment.
        deployed: Whether there is a user at all.
        key_id: The key that consumers read now; None when there is none.
        made: Whether it was made in this run.
        acts: What was done, in words, in order.
        delivered: Where the key is.
        old_keys: Older keys that stay for now, with the reasons.
        notes: What a person should know besides.
        quarantined_by: The policies that AWS attached because a key leaked.
        seconds: Wall time of the whole and of the verification's wait.
    """

    environment: str
    deployed: bool
    key_id: str | None = None
    made: bool = False
    acts: tuple[str, ...] = ()
    delivered: tuple[str, ...] = ()
    old_keys: tuple[OldKey, ...] = ()
    notes: tuple[str, ...] = ()
    quarantined_by: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """Return 3 when a person has to look: an old key still in use for too long, a quarantine, no key at all."""
        wrong = self.quarantined_by or any(old.overdue for old in self.old_keys) or self.key_id is None
        return 3 if self.deployed and wrong else 0

    def lines(self) -> Sequence[str]:
        """Return the report for a person."""
        name = self.environment
        if not self.deployed:
            return [f"{name}: not deployed, nothing to rotate"]
        lines = []
        if self.made:
            lines.append(f"{name}: rotated in {self.seconds['total']:.1f} s")
            lines.append(f"  key   {self.key_id} (new)")
            lines += [f"  in    {target}" for target in self.delivered]
        elif self.key_id is None:
            lines.append(f"  ! {name}: there is NO key; only `invoke deploy --env {name}` makes one")
        elif self.acts:
            lines.append(f"{name}: moved on ({self.key_id} is in place)")
        else:
            lines.append(f"{name}: nothing to do ({self.key_id} is in place)")
        lines += [f"  {'! ' if old.overdue else ''}old   {old.id} {old.why}" for old in self.old_keys]
        lines += [f"  ! {note}" for note in self.notes]
        lines += [
            f"  ! AWS quarantined this user, because a key leaked: {arn} (docs/runbooks.md#quarantine)"
            for arn in self.quarantined_by
        ]
        return lines

    def document(self) -> dict[str, Any]:
        """Return the report as a JSON object."""
        return {**asdict(self), "seconds": {name: round(value, 3) for name, value in self.seconds.items()}}


@dataclass(frozen=True)
class RevokeReport:
    """How a leak was answered.

    Args:
        environment: The environment.
        revoked: The keys that are inactive now and never become active again.
        deleted: The keys that were deleted on request.
        cutoff: Sessions issued before this moment are denied everything, ISO 8601.
        denied_until: From when on a later run takes that deny off, ISO 8601.
        key_id: The new key; None with ``--no-replacement``.
        delivered: Where the new key is.
        foreign: Keys on the user that nothing here made and that are active still.
        acts: What was done, in words, in order.
        findings: Other ways in, and what lends the user more.
        quarantined_by: The policies that AWS attached because a key leaked.
        notes: What a person should know besides.
        next_steps: What to look at in CloudTrail.
    """

    environment: str
    revoked: tuple[str, ...]
    deleted: tuple[str, ...]
    cutoff: str
    denied_until: str
    key_id: str | None
    delivered: tuple[str, ...]
    foreign: tuple[str, ...]
    acts: tuple[str, ...]
    findings: tuple[Finding, ...]
    quarantined_by: tuple[str, ...]
    notes: tuple[str, ...]
    next_steps: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """Return 3 when another way in was found or a key is active that nothing here made, else 0."""
        return 3 if self.findings or self.foreign else 0

    def lines(self) -> Sequence[str]:
        """Return the report for a person."""
        lines = [f"{self.environment}: revoked {', '.join(self.revoked) or 'no key: none was active'}"]
        lines.append(f"  sessions issued before {self.cutoff} are denied everything; a run after {self.denied_until}")
        lines.append("  takes that deny off")
        if self.key_id:
            lines.append(f"  key   {self.key_id} (new)")
            lines += [f"  in    {target}" for target in self.delivered]
        else:
            lines.append(f"  key   none: only `invoke deploy --env {self.environment}` makes one")
        lines += [
            f"  ! {key_id} is active, and nothing here made it (--all-keys, --delete-key)" for key_id in self.foreign
        ]
        lines += [f"  ! {one.check} {one.resource}: {one.message}; {one.fix}" for one in self.findings]
        lines += [f"  ! quarantined by AWS, which stays in place: {arn}" for arn in self.quarantined_by]
        lines += [f"  ! {note}" for note in self.notes]
        lines.append("what to look at next:")
        lines += [f"  {number}. {step}" for number, step in enumerate(self.next_steps, 1)]
        return lines

    def document(self) -> dict[str, Any]:
        """Return the report as a JSON object."""
        return {**asdict(self), "findings": [asdict(finding) for finding in self.findings]}


@dataclass(frozen=True)
class DeliveryReport:
    """What ``redeliver`` or ``reactivate`` did."""

    environment: str
    key_id: str
    what: str
    acts: tuple[str, ...]
    notes: tuple[str, ...] = ()
    exit_code: int = 0

    def lines(self) -> Sequence[str]:
        """Return the report for a person."""
        return [
            f"{self.environment}: {self.what}",
            *(f"  ! {note}" for note in self.notes),
        ]

    def document(self) -> dict[str, Any]:
        """Return the report as a JSON object."""
        return asdict(self)


@dataclass(frozen=True)
class FleetReport:
    """The reports of many environments, and the errors of those that failed.

    Args:
        results: For each environment, in order: its name, its exit code, its lines and its JSON object.
    """

    results: tuple[tuple[str, int, tuple[str, ...], Mapping[str, Any]], ...]

    @property
    def exit_code(self) -> int:
        """Return the gravest: 1 over 4 over 3 over 0."""
        codes = {code for _, code, _, _ in self.results}
        return next((code for code in (1, 4, 3, 2) if code in codes), 0)

    def lines(self) -> Sequence[str]:
        """Return the summary; each environment's own lines were shown when it ended."""
        counts = {code: [name for name, one, _, _ in self.results if one == code] for code in (0, 1, 3, 4)}
        lines = [f"{len(self.results)} environments, {len(counts[0])} in order"]
        words = {1: "failed", 3: "need a person to look", 4: "locked by somebody else"}
        lines += [
            f"  ! {len(names)} {words[code]}: {', '.join(names)}" for code, names in counts.items() if code and names
        ]
        return lines

    def document(self) -> dict[str, Any]:
        """Return the reports as a JSON object."""
        return {
            "exit_code": self.exit_code,
            "environments": [
                {"environment": name, "exit_code": code, **document} for name, code, _, document in self.results
            ],
        }
