"""The check of one environment: read, audit, plan where something has changed since the last clean plan; change nothing."""

from __future__ import annotations

import datetime as dt
import time
import zlib
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, Any, Final

from ci_user import revocation
from ci_user.environment_policies import ExistingPolicy
from ci_user.errors import CiUserError
from ci_user.findings import GENERAL, Finding, judge
from ci_user.judging import context_of, never_acceptable
from ci_user.lease import peek
from ci_user.live_policies import managed_document
from ci_user.nightly import codes
from ci_user.nightly.fingerprint import fingerprint
from ci_user.nightly.model import Acceptance, Area, Change, Entry, EnvironmentResult, Grant, Way
from ci_user.nightly.read_only import refuse_writes
from ci_user.nightly.records import Record
from ci_user.once import OncePerKey
from ci_user.plan import parse
from ci_user.plan_guard import refuse_foreign

if TYPE_CHECKING:
    from ci_user.backends.protocol import Held
    from ci_user.environment import Environment
    from ci_user.findings import Verdict
    from ci_user.lease import LeaseState
    from ci_user.nightly.account import Readings
    from ci_user.nightly.facts_model import Facts
    from ci_user.nightly.records import RecordBook
    from ci_user.nightly.state_objects import BucketListing, StateObjects
    from ci_user.run import Loaded, Run
    from ci_user.scan import Scanner
    from ci_user.toolchain import Toolchain

Stage = Callable[[str], None]
"""Told what is done now, in one word: for the table of progress."""

_NOT_SO: Final = "not so: "
_PLANS_AT_MOST: Final = 2
_RECORD_DAYS: Final = 30
_RECORD_SPREAD: Final = 10


@dataclass(frozen=True)
class Judged:
    """What a plan, its scan and the live policies said: everything that stays as it is while the fingerprint does.

    Args:
        entries: What was found that nobody can accept in an environment file's ``accepted_findings``.
        findings: What was found and may be accepted, with the area it belongs to.
        changes: What the plan would change, and what was changed outside.
        access: What the user may do now and should not, or should and may not.
        grants: Who may do what.
        scanned: Whether the plan was scanned: without that nobody knows which acceptances are still needed.
    """

    entries: tuple[Entry, ...] = ()
    findings: tuple[tuple[Finding, Area], ...] = ()
    changes: tuple[Change, ...] = ()
    access: tuple[str, ...] = ()
    grants: tuple[Grant, ...] = ()
    scanned: bool = False


@dataclass(frozen=True)
class Checked:
    """A result, and what lets the next night do without a plan: None unless this one is clean and was planned or still holds."""

    result: EnvironmentResult
    record: Record | None = None


@dataclass
class Tools:
    """What the environments of one night share.

    Args:
        toolchain: Returns Terraform and its provider for an environment; asked only when something is planned.
        readings: What is read once per account.
        states: The versions of state objects, read once per bucket.
        book: The records that are trusted; None has everything planned.
        versions: The part of the fingerprint that all environments share.
        scanner: Scans all plans, one after the other.
        turns: How many plans are made at once.
        stop: Raises when the night is to end.
        twins: Data directories that are initialised already.
        buckets: Whether state buckets are there, asked once for each.
    """

    toolchain: Callable[[Loaded], Toolchain]
    readings: Readings
    states: StateObjects
    book: RecordBook | None
    versions: Callable[[Loaded], str]
    scanner: Scanner
    turns: BoundedSemaphore
    stop: Callable[[], None]
    twins: MutableMapping[str, Path] = field(default_factory=dict)
    buckets: OncePerKey[Hashable, bool] = field(default_factory=OncePerKey)


def check(run: Run, tools: Tools, stage: Stage) -> Checked:
    """Check one environment, whose way into AWS is fenced against everything but reads.

    Raises:
        CiUserError: It could not be checked.
    """
    from ci_user.nightly.live_audit import audit

    began = time.monotonic()
    environment = run.environment
    stage("reading")
    facts = _facts(run, tools)
    tools.stop()
    lease = _lease(run, tools)
    held, trouble = _held(run)
    state = _states(run, tools).version(environment.state.key) if lease is not None else None
    found = audit(facts, environment, lease, held, trouble, facts.now)
    tools.stop()
    today = facts.now.date()
    run = _leaving_the_deny(run, facts)
    digest = None
    if facts.user is None and state is None:
        way, judged, planned_at = _ABSENT, Judged(), None
    else:
        digest = _fingerprint(run, tools, state, facts)
        record = _matching(run, tools, digest, today)
        if record is not None:
            way, judged, planned_at = _UNCHANGED, before(record), record.planned_at
        else:
            judged = _plan(run, tools, facts, stage)
            way, planned_at = _PLANNED, dt.datetime.now(tz=dt.UTC)
    verdict = _verdict(environment, judged, found.findings, today)
    result = EnvironmentResult(
        environment=environment.name,
        prefix=environment.prefix,
        account_id=environment.account_id,
        region=environment.region,
        protected=environment.protected,
        sandbox=environment.sandbox,
        way=way,
        checked_at=dt.datetime.now(tz=dt.UTC),
        planned_at=planned_at,
        seconds=round(time.monotonic() - began, 3),
        entries=(*judged.entries, *found.entries, *_weighed(verdict, judged)),
        changes=judged.changes,
        access=judged.access,
        keys=found.keys,
        grants=judged.grants,
        targets=tuple(settings.target(environment) for settings in environment.places),
    )
    return Checked(result, _record(environment, digest, result, today))


_ABSENT: Final[Way] = "absent"
_UNCHANGED: Final[Way] = "unchanged"
_PLANNED: Final[Way] = "planned"


def now(run: Run, tools: Tools) -> str:
    """Return the fingerprint as it is now: what was planned may be relied on when it was the same before and after the plan.

    Args:
        run: The environment, opened.
        tools: Others than those of the check: they remember what was read then.

    Raises:
        CiUserError: It cannot be read.
    """
    facts = _facts(run, tools)
    state = _states(run, tools).version(run.environment.state.key)
    return _fingerprint(_leaving_the_deny(run, facts), tools, state, facts)


def failed(environment: Environment | None, name: str, error: CiUserError, began: float) -> EnvironmentResult:
    """Return the result of an environment that could not be checked.

    Args:
        environment: The environment; None when its file cannot be read.
        name: Its name.
        error: Why.
        began: When its check began, by ``time.monotonic``.
    """
    what, *more = error.what.split("\n")
    if more and what.endswith(":"):
        # A heading alone says nothing where details are not shown.
        what = f"{what} {more[0].strip()}"
    entry = codes.NOT_CHECKED.entry(
        error.where or f"environments/{name}.yaml",
        what,
        fix=error.do,
        details=(*more, *((f"expected: {error.expected}",) if error.expected else ())),
    )
    if error.runbook:
        entry = entry.model_copy(update={"runbook": error.runbook})
    return EnvironmentResult(
        environment=name,
        prefix=environment.prefix if environment else "",
        account_id=environment.account_id if environment else "",
        region=environment.region if environment else "",
        protected=bool(environment and environment.protected),
        sandbox=bool(environment and environment.sandbox),
        way="failed",
        checked_at=dt.datetime.now(tz=dt.UTC),
        seconds=round(time.monotonic() - began, 3),
        entries=(entry,),
    )


def before(record: Record) -> Judged:
    """Return what the last clean plan said: its accepted findings, which are weighed anew, and what else it told."""
    result = record.result
    weighed = [one for one in result.entries if one.accepted is not None and one.area in ("scan", "policies")]
    return Judged(
        entries=tuple(one for one in result.entries if one.area in ("plan", "policies") and one not in weighed),
        findings=tuple((Finding(one.id, one.title, one.where, one.message, one.fix), one.area) for one in weighed),
        changes=result.changes,
        access=result.access,
        grants=result.grants,
        scanned=True,
    )


def _facts(run: Run, tools: Tools) -> Facts:
    from ci_user.nightly import facts

    target = run.accesses.target
    arns = [item.arn for item in run.environment.policies if isinstance(item, ExistingPolicy)]
    return facts.read(run.environment, tools.readings.of(target), arns, access=target)


def _lease(run: Run, tools: Tools) -> LeaseState | None:
    """Return what lease and journal say; None when there is no bucket that could hold them."""
    bucket = run.bucket
    there = tools.buckets.get((bucket.name, run.accesses.state.login, run.accesses.state.endpoint_url), bucket.exists)
    return peek(bucket, run.environment.state.lease_key) if there else None


def _states(run: Run, tools: Tools) -> BucketListing:
    return tools.states.of(run.accesses.state, run.bucket.name, run.bucket.account_id)


def _held(run: Run) -> tuple[dict[str, Held], dict[str, str]]:
    """Return what each place holds, and why others could not be asked, by place."""
    held: dict[str, Held] = {}
    trouble: dict[str, str] = {}
    for settings in run.environment.places:
        target = settings.target(run.environment)
        try:
            held[target] = run.backend(settings, refuse_writes, reads_secrets=False).held()
        except CiUserError as error:
            trouble[target] = error.what
    return held, trouble


def _leaving_the_deny(run: Run, facts: Facts) -> Run:
    """Return the run with a revocation's deny named to Terraform, which takes off every other inline policy."""
    deny = facts.user_inline.get(revocation.POLICY_NAME)
    if deny is None or revocation.parse(deny) is None:
        return run
    return replace(run, loaded=run.loaded.leaving((revocation.POLICY_NAME,)))


def _fingerprint(run: Run, tools: Tools, state: str | None, facts: Facts) -> str:
    return fingerprint(
        run.loaded,
        versions=tools.versions(run.loaded),
        state=state,
        facts=facts.digest,
        inline_policy_names=run.loaded.inline_policy_names,
    )


def _matching(run: Run, tools: Tools, digest: str, today: dt.date) -> Record | None:
    """Return the record by which nothing has changed; a sandbox, whose account anybody can write, has none."""
    if tools.book is None or run.environment.sandbox:
        return None
    record = tools.book.get(run.environment.name)
    stands = record is not None and record.stands(digest=digest, account_id=run.environment.account_id, today=today)
    return record if stands else None


def _record(environment: Environment, digest: str | None, result: EnvironmentResult, today: dt.date) -> Record | None:
    """Return what the next night may rely on: only of a clean environment, and only for some weeks."""
    if digest is None or environment.sandbox or result.exit_code != 0 or result.planned_at is None:
        return None
    # The longest life of a record differs from one to the next, so that not all of them end in one night.
    longest = _RECORD_DAYS - zlib.crc32(environment.name.encode()) % _RECORD_SPREAD
    ends = [result.planned_at.date() + dt.timedelta(days=longest)]
    last_days = [known.expires for known in environment.known_drift if isinstance(known.expires, dt.date)]
    ends += [day + dt.timedelta(days=1) for day in last_days if day >= today]
    return Record(
        environment=environment.name,
        account_id=environment.account_id,
        digest=digest,
        planned_at=result.planned_at,
        valid_until=min(ends),
        result=result,
    )


def _plan(run: Run, tools: Tools, facts: Facts, stage: Stage) -> Judged:
    """Return what the plan, its scan and the live policies say; the plan is made again when the state changed meanwhile."""
    from ci_user.nightly.live_policies_audit import judge as judge_policies
    from ci_user.nightly.plan_verdict import verdict as plan_verdict

    environment = run.environment
    context = context_of(run.loaded, _contents(run, facts))
    # The import alone: analysing documents before their plan is there takes processor time that other plans need.
    tools.scanner.preload()
    stage("waiting")
    # What needs no plan is judged while others have theirs made.
    policies = judge_policies(facts, run.loaded, context)
    document = _document(run, tools, stage)
    if document is None:
        key = environment.state.key
        return Judged(entries=(codes.STATE_MOVES.entry(key, f"it changed during each of {_PLANS_AT_MOST} plans"),))
    stage("scanning")
    plan = parse(document)
    refuse_foreign(document, run.loaded.tfvars.values)
    said = plan_verdict(plan, environment.known_drift, facts.now.date())
    findings: list[tuple[Finding, Area]] = [(one, "policies") for one in policies.findings]
    whole = not any(entry.gravity == "error" for entry in said.entries)
    if whole:
        scanned = tools.scanner.scan(document, context, run.workdir)
        findings += [(one, "scan") for one in scanned.findings]
    return Judged(
        entries=(*said.entries, *policies.entries),
        findings=tuple(findings),
        changes=said.changes,
        access=policies.access,
        grants=policies.grants,
        scanned=whole,
    )


def _document(run: Run, tools: Tools, stage: Stage) -> Mapping[str, Any] | None:
    """Return the plan, made when its turn has come; None when the state changes again and again."""
    from ci_user.nightly.planner import Planner

    key, states = run.environment.state.key, _states(run, tools)
    with tools.turns:
        tools.stop()
        planner = Planner(run, tools.toolchain(run.loaded), tools.twins, tools.stop)
        for _ in range(_PLANS_AT_MOST):
            stage("planning")
            state = states.fresh(key)
            document = planner.document()
            if states.fresh(key) == state:
                return document
    return None


def _contents(run: Run, facts: Facts) -> tuple[tuple[str, str], ...]:
    """Return what the existing policies allow that the environment lists."""
    known = {arn: facts.policies[arn].document for arn in run.loaded.choice.attached_arns if arn in facts.policies}
    return tuple(
        (arn, known.get(arn) or managed_document(run.accesses.target, arn)) for arn in run.loaded.choice.attached_arns
    )


def _verdict(environment: Environment, judged: Judged, live: Iterable[Finding], today: dt.date) -> Verdict:
    return judge(
        (*(one for one, _ in judged.findings), *live),
        environment.accepted_findings,
        today,
        never_acceptable=never_acceptable(protected=environment.protected),
        destroying=not judged.scanned,
    )


def _weighed(verdict: Verdict, judged: Judged) -> Iterator[Entry]:
    """Yield the entries for findings that were weighed against what the environment accepts."""
    areas = {(one.check, one.resource): area for one, area in judged.findings}
    for finding in verdict.failed:
        yield _entry(finding, areas)
    for accepted in verdict.accepted:
        why = accepted.acceptance
        acceptance = Acceptance(reason=why.reason, owner=why.owner, expires=str(why.expires))
        yield _entry(accepted.finding, areas).model_copy(update={"accepted": acceptance})
    for soon in verdict.expiring_soon:
        yield codes.ACCEPTED_SOON.entry(
            soon.resource, f"{', '.join(soon.check)} is accepted until {soon.expires}", details=(soon.reason,)
        )


def _entry(finding: Finding, areas: Mapping[tuple[str, str], Area]) -> Entry:
    live = finding.check.startswith("CIUSER_LIVE_")
    message = finding.message
    if finding.check.startswith("CKV") and not message.startswith(_NOT_SO):  # which a record says already
        # checkov names a rule and says no more than where: that alone is no sentence about what was found.
        rest = message.removeprefix(GENERAL)
        message = f"{_NOT_SO}{finding.name}{'' if len(rest) < len(message) else '; '}{rest}"
    return Entry(
        id=finding.check,
        area=areas.get((finding.check, finding.resource), "identity" if live else "scan"),
        gravity="finding",
        title=finding.name,
        where=finding.resource,
        message=message,
        fix=finding.fix,
        # What is live is there already: its section says what to do about it, not how to mend a plan.
        runbook="nightly-live" if live else "findings",
    )
