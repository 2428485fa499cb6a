"""Findings, what a person has accepted of them, and the verdict over both."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Final, Protocol

SOON: Final = timedelta(days=30)
"""An acceptance whose last day is at most this far away is said to expire soon."""

GENERAL: Final = "it does not meet this"
"""A message that says no more than the check's name."""


@dataclass(frozen=True, order=True)
class Finding:
    """Something that must not be deployed as it is.

    Args:
        check: The check's id, such as ``CKV_AWS_273``.
        name: What the check asks for, one line.
        resource: The resource's address in the plan.
        message: What was found there.
        fix: What to change.
    """

    check: str
    name: str
    resource: str
    message: str
    fix: str


class Acceptance(Protocol):
    """What an environment file accepts: these checks, on this resource, for this reason, until this day.

    ``check`` holds ids; ``expires`` is the last day, or the word ``never``.
    """

    @property
    def check(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def resource(self) -> str: ...  # noqa: D102
    @property
    def reason(self) -> str: ...  # noqa: D102
    @property
    def owner(self) -> str: ...  # noqa: D102
    @property
    def expires(self) -> date | str: ...  # noqa: D102


@dataclass(frozen=True)
class Accepted:
    """A finding that stays, with what accepts it."""

    finding: Finding
    acceptance: Acceptance


@dataclass(frozen=True)
class Verdict:
    """What was found, judged.

    Args:
        failed: Everything that stops a deploy, also each acceptance that is expired, unused or not allowed.
        accepted: What stays, with its reason.
        expired: The acceptances whose last day is over.
        unused: The acceptances that accept nothing, in part or whole.
        passed: How many checks passed.
        expiring_soon: The acceptances in use that end within `SOON`.
    """

    failed: tuple[Finding, ...]
    accepted: tuple[Accepted, ...]
    expired: tuple[Acceptance, ...]
    unused: tuple[Acceptance, ...]
    passed: int
    expiring_soon: tuple[Acceptance, ...]

    @property
    def clean(self) -> bool:
        """Tell whether nothing stops a deploy."""
        return not self.failed

    def lines(self) -> tuple[str, ...]:
        """Return the verdict in words, one line each: failures with their fix, then what is accepted or soon is not."""
        lines = []
        for finding in self.failed:
            lines.append(f"failed {finding.check} on {finding.resource}: {finding.name}: {finding.message}")
            lines.append(f"  to do: {finding.fix}")
        for entry in self.accepted:
            lines.append(
                f"skipped {entry.finding.check} on {entry.finding.resource}: {_oneline(entry.acceptance.reason)} "
                f"({_oneline(entry.acceptance.owner)}, until {entry.acceptance.expires})"
            )
        for acceptance in self.expiring_soon:
            lines.append(
                f"soon over: {', '.join(acceptance.check)} on {acceptance.resource} "
                f"is accepted until {acceptance.expires}"
            )
        return tuple(lines)


def judge(
    findings: Iterable[Finding],
    acceptances: Sequence[Acceptance],
    today: date,
    *,
    never_acceptable: frozenset[str],
    passed: int = 0,
    destroying: bool = False,
) -> Verdict:
    """Weigh findings against what is accepted, by exact check id and exact resource address.

    An acceptance that is expired, accepts nothing, or is for a check that nobody may accept, fails itself.

    Args:
        findings: What the checks found.
        acceptances: What the environment file accepts.
        today: The day to compare with each acceptance's last day, in UTC.
        never_acceptable: Ids of the checks that nobody may accept.
        passed: How many checks passed, for the report.
        destroying: Leave unused acceptances alone: what they are for is about to go.
    """
    open_entries = [(id_, acceptance) for acceptance in acceptances for id_ in dict.fromkeys(acceptance.check)]
    valid: dict[tuple[str, str], Acceptance] = {}
    lapsed: dict[tuple[str, str], Acceptance] = {}
    for id_, acceptance in open_entries:
        target = lapsed if _is_over(acceptance, today) else valid
        target.setdefault((id_, acceptance.resource), acceptance)

    failed: list[Finding] = []
    accepted: list[Accepted] = []
    matched: set[tuple[str, str]] = set()
    for finding in sorted(set(findings)):
        key = (finding.check, finding.resource)
        matched.add(key)
        if key in valid and finding.check not in never_acceptable:
            accepted.append(Accepted(finding, valid[key]))
        else:
            failed.append(_explained(finding, valid.get(key), lapsed.get(key)))

    unused: list[Acceptance] = []
    for id_, acceptance in open_entries:
        key = (id_, acceptance.resource)
        over = _is_over(acceptance, today)
        # An expired one that was renewed beside it accepts nothing either.
        if destroying or (key in matched and not (over and key in valid)):
            continue
        unused.append(acceptance)
        failed.append(_unused(id_, acceptance, over))
    used = tuple(_distinct(entry.acceptance for entry in accepted))
    return Verdict(
        failed=tuple(failed),
        accepted=tuple(accepted),
        expired=tuple(acceptance for acceptance in acceptances if _is_over(acceptance, today)),
        unused=tuple(_distinct(unused)),
        passed=passed,
        expiring_soon=tuple(one for one in used if isinstance(one.expires, date) and one.expires - today <= SOON),
    )


def _is_over(acceptance: Acceptance, today: date) -> bool:
    # Anything but a date or the one word counts as over: an acceptance must not last by accident.
    if isinstance(acceptance.expires, date):
        return acceptance.expires < today
    return acceptance.expires != "never"


def _explained(finding: Finding, valid: Acceptance | None, lapsed: Acceptance | None) -> Finding:
    if valid is not None:
        return replace(
            finding,
            message=f"{finding.message} (nobody may accept this check)",
            fix=f"{finding.fix}; take its entry out of accepted_findings",
        )
    if lapsed is not None:
        return replace(finding, message=f"{finding.message} (it was accepted until {lapsed.expires})")
    return finding


def _unused(id_: str, acceptance: Acceptance, over: bool) -> Finding:
    message = f"it is over since {acceptance.expires}" if over else "the scan does not find it"
    return Finding(
        check=id_,
        name="Every accepted finding is there",
        resource=acceptance.resource,
        message=f"accepted_findings names it, but {message}",
        fix="take the entry out of accepted_findings, or correct its check or resource",
    )


def _distinct(acceptances: Iterable[Acceptance]) -> list[Acceptance]:
    seen: list[Acceptance] = []
    for acceptance in acceptances:
        if not any(acceptance is other for other in seen):
            seen.append(acceptance)
    return seen


def _oneline(text: str) -> str:
    return " ".join(text.split())
