"""What each command found and did, as frozen values: one model, rendered as lines for people or as JSON for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from ci_user.findings import Verdict


class Report(Protocol):
    """What a command returns."""

    @property
    def exit_code(self) -> int:
        """0 done or nothing to do, 2 changes are pending, 3 findings."""

    def lines(self) -> Sequence[str]:
        """Return the report for a person."""

    def document(self) -> dict[str, Any]:
        """Return the report as a JSON object."""


def findings_document(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as a JSON object: failed, accepted with their reasons, expired and unused acceptances."""
    return {
        "clean": verdict.clean,
        "passed": verdict.passed,
        "failed": [asdict(finding) for finding in verdict.failed],
        "accepted": [
            {
                **asdict(entry.finding),
                "reason": entry.acceptance.reason,
                "owner": entry.acceptance.owner,
                "expires": str(entry.acceptance.expires),
            }
            for entry in verdict.accepted
        ],
    }


@dataclass(frozen=True)
class PlanReport:
    """What a deploy would do. ``digest`` binds the bundle that was written, for ``deploy --plan --digest``."""

    environment: str
    changes: tuple[str, ...]
    access: tuple[str, ...]
    notes: tuple[str, ...]
    drift: tuple[str, ...]
    keys: str | None
    verdict: Verdict
    quarantined_by: tuple[str, ...]
    bundle: str | None
    digest: str | None

    @property
    def exit_code(self) -> int:
        """Return 3 with findings, 2 when changes are pending, else 0."""
        if not self.verdict.clean:
            return 3
        return 2 if self.changes or self.keys else 0

    def lines(self) -> Sequence[str]:
        """Return the report for a person."""
        lines = [f"  {change}" for change in (*self.changes, *self.access)]
        if self.keys:
            lines.append(f"  + {self.keys}")
        lines += [f"  ! {note}" for note in self.notes]
        lines += [f"  changed outside: {address}" for address in self.drift]
        lines += [f"  ! AWS quarantined this user: {arn}" for arn in self.quarantined_by]
        lines += [f"  {line}" for line in self.verdict.lines()]
        if not self.verdict.clean:
            lines.append(f"{self.environment}: the scan found what must not be deployed")
        elif self.exit_code == 2:
            lines.append(
                f"{self.environment}: changes are pending; `invoke deploy --env {self.environment}` makes them"
            )
        else:
            lines.append(f"{self.environment}: nothing to do")
        if self.digest:
            lines.append(f"plan written to {self.bundle}")
            lines.append(f"digest {self.digest}")
            lines.append(
                f"apply it with `invoke deploy --env {self.environment} --plan {self.bundle} --digest {self.digest}`"
            )
        return lines

    def document(self) -> dict[str, Any]:
        """Return the report as a JSON object."""
        return {
            "environment": self.environment,
            "changes": list(self.changes),
            "access": list(self.access),
            "notes": list(self.notes),
            "drift": list(self.drift),
            "keys": self.keys,
            "findings": findings_document(self.verdict),
            "quarantined_by": list(self.quarantined_by),
            "bundle": self.bundle,
            "digest": self.digest,
        }


@dataclass(frozen=True)
class DeployReport:
    """What a deploy did. ``seconds`` has the wall time of its parts; ``verification`` is the wait for AWS to know the key."""

    environment: str
    changed: bool
    changes: tuple[str, ...]
    access: tuple[str, ...]
    user_arn: str
    key_id: str | None
    key_made: bool
    delivered: tuple[str, ...]
    removed: tuple[str, ...]
    acts: tuple[str, ...]
    notes: tuple[str, ...]
    verdict: Verdict
    seconds: Mapping[str, float]

    @property
    def exit_code(self) -> int:
        """Return 0: everything else is raised."""
        return 0

    def lines(self) -> Sequence[str]:
        """Return the report for a person."""
        if not self.changed:
            scan = f"{self.verdict.passed} checks passed, {len(self.verdict.accepted)} findings accepted"
            quiet = f"{self.environment}: nothing to do ({self.key_id} is in place; {scan})"
            return [quiet, *(f"  ! {note}" for note in self.notes)]
        lines = [f"{self.environment}: deployed in {self.seconds['total']:.1f} s"]
        lines.append(f"  user  {self.user_arn}")
        lines.append(f"  key   {self.key_id}{' (new)' if self.key_made else ''}")
        lines += [f"  in    {target}" for target in self.delivered]
        lines += [f"  gone  {target}" for target in self.removed]
        lines += [f"  ! {note}" for note in self.notes]
        return lines

    def document(self) -> dict[str, Any]:
        """Return the report as a JSON object."""
        document = {name: value for name, value in asdict(self).items() if name != "verdict"}
        document["seconds"] = {name: round(value, 3) for name, value in self.seconds.items()}
        return {**document, "findings": findings_document(self.verdict)}


@dataclass(frozen=True)
class DestroyReport:
    """What a destroy removed."""

    environment: str
    changed: bool
    changes: tuple[str, ...]
    acts: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """Return 0: everything else is raised."""
        return 0

    def lines(self) -> Sequence[str]:
        """Return the report for a person."""
        notes = [f"  {note}" for note in self.notes]
        if not self.changed:
            return [*notes, f"{self.environment}: nothing to destroy"]
        return [*(f"  {act}" for act in self.acts), *notes, f"{self.environment}: destroyed"]

    def document(self) -> dict[str, Any]:
        """Return the report as a JSON object."""
        return asdict(self)


@dataclass(frozen=True)
class KeyStatus:
    """One access key: its id, never its secret. Times are ISO 8601, ``age_days`` whole days."""

    id: str
    active: bool
    created: str
    age_days: int
    last_used: str | None
    last_used_in: str | None
    journal: str
    held_by: tuple[str, ...]


@dataclass(frozen=True)
class StatusReport:
    """What is true of an environment now."""

    environment: str
    account_id: str
    user_arn: str
    exists: bool
    boundary: str | None
    groups: tuple[str, ...]
    policies: tuple[str, ...]
    keys: tuple[KeyStatus, ...]
    targets: tuple[str, ...]
    quarantined_by: tuple[str, ...]
    holder: str | None
    notes: tuple[str, ...] = field(default=())

    @property
    def exit_code(self) -> int:
        """Return 0: a status is no verdict."""
        return 0

    def lines(self) -> Sequence[str]:
        """Return the report for a person."""
        if not self.exists:
            lines = [f"{self.environment}: not deployed (no user {self.user_arn})"]
        else:
            lines = [f"{self.environment}: {self.user_arn}", f"  boundary  {self.boundary or 'NONE'}"]
            lines += [f"  group     {group}" for group in self.groups]
            lines += [f"  policy    {policy}" for policy in self.policies]
        for key in self.keys:
            used = f"last used {key.last_used} in {key.last_used_in}" if key.last_used else "never used"
            state = "active" if key.active else "inactive"
            lines.append(f"  key       {key.id} {state}, {key.age_days} days old, {used}; {key.journal}")
            lines += [f"            in {target}" for target in key.held_by]
        if self.exists and not self.keys:
            lines.append("  key       none")
        lines += [f"  ! quarantined by AWS: {arn}" for arn in self.quarantined_by]
        lines += [f"  ! {note}" for note in self.notes]
        if self.holder:
            lines.append(f"  lease     held by {self.holder}")
        return lines

    def document(self) -> dict[str, Any]:
        """Return the report as a JSON object."""
        return asdict(self)


@dataclass(frozen=True)
class TextReport:
    """A report that is only lines, with the JSON object that says the same."""

    text: tuple[str, ...]
    data: Mapping[str, Any] = field(default_factory=dict)
    exit_code: int = 0

    def lines(self) -> Sequence[str]:
        """Return the report for a person."""
        return self.text

    def document(self) -> dict[str, Any]:
        """Return the report as a JSON object."""
        return dict(self.data)
