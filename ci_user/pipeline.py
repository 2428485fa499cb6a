"""The road: plan, scan, confirm, apply that very plan, key, delivery. The only file that imports every stage.

Each stage is a function that takes the frozen value before it and returns the next one.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from ci_user import approval, judging, rotation, scan_memory
from ci_user.backends.protocol import Held
from ci_user.errors import ApprovalError, CiUserError, FindingsError, PlanError
from ci_user.files import digest_of_file, write_private
from ci_user.findings import Verdict
from ci_user.iam_user import IamUser
from ci_user.keeper import Kept, KeyKeeper
from ci_user.key_actions import Done
from ci_user.key_forecast import foretell
from ci_user.key_outlook import deny_notes
from ci_user.key_work import holding_keeper, looking_keeper, ready_bucket
from ci_user.live import refuse_nested_prefixes
from ci_user.plan import Plan, parse
from ci_user.plan_access import access_changes
from ci_user.plan_guard import refusals, refuse_foreign
from ci_user.plan_words import drifted, iam_changes
from ci_user.redaction import redact
from ci_user.reports.model import DeployReport, DestroyReport, PlanReport, findings_document
from ci_user.revocation import POLICY_NAME as REVOCATION
from ci_user.run import Loaded, Run, find_toolchain, load, opened
from ci_user.scan import CheckContext, Scanner

if TYPE_CHECKING:
    from ci_user.confirmation import Consent
    from ci_user.reports.console import Console
    from ci_user.terraform_cli import Terraform


@dataclass(frozen=True)
class Approved:
    """Where an approved plan lies, and the digest that was handed over apart from it."""

    directory: Path
    digest: str


@dataclass(frozen=True)
class Surroundings:
    """What is true around the plan: what is live, and what the keys need."""

    live: judging.Live
    seen: rotation.Observation

    @property
    def quarantined_by(self) -> tuple[str, ...]:
        """Return the policies that AWS attached to the user because a key leaked."""
        return self.live.user.quarantined_by if self.live.user else ()

    @property
    def key_work(self) -> str | None:
        """Return in words what will happen to the keys, or None when nothing will."""
        return foretell(self.seen)


@dataclass(frozen=True)
class Planned:
    """A plan that was made, read and judged, but not applied.

    Args:
        file: The plan file.
        digest: Binds plan file, variables, code, accepted findings and backends.
        plan: The plan's content; None when nothing changes and its scan is known.
        changes: What will change in IAM terms.
        access: What will newly be allowed, and what no longer.
        drift: Addresses that were changed outside.
        verdict: The findings, judged.
        around: What is true around it.
        notes: What a person should know besides.
        seconds: How long planning and scanning took.
    """

    file: Path
    digest: str
    plan: Plan | None
    changes: tuple[str, ...]
    access: tuple[str, ...]
    drift: tuple[str, ...]
    verdict: Verdict
    around: Surroundings
    notes: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def pending(self) -> bool:
        """Tell whether a deploy would change anything in AWS or in a backend."""
        return bool(self.changes) or self.around.key_work is not None


def plan(name: str, root: Path, console: Console, *, out: Path | None, allow_replace: bool) -> PlanReport:
    """Plan and scan an environment, changing nothing; with ``out``, write the bundle that an approver releases.

    Raises:
        CiUserError: Anything that stops it; findings are in the report, not raised.
    """
    from ci_user.lease import peek

    if out is not None:
        approval.refuse_used(out)
    loaded = load(name, root)
    toolchain = find_toolchain(loaded, _environ())
    with opened(loaded, console) as run:
        ready_bucket(run)
        run = _leaving_the_deny(run)
        terraform = run.terraform(toolchain)
        journal = peek(run.bucket, run.environment.state.lease_key)
        keeper = looking_keeper(run, journal)
        planned = _plan(run, terraform, keeper, allow_replace=allow_replace, lock=False)
        keeper.refuse_what_needs_a_person(planned.around.seen)
        digest = None
        if out is not None:
            digest = approval.write_bundle(
                out, planned.file, _subject(run, terraform, planned.around.key_work), findings_document(planned.verdict)
            )
        return PlanReport(
            environment=name,
            changes=planned.changes,
            access=planned.access,
            notes=planned.notes,
            drift=planned.drift,
            keys=planned.around.key_work,
            verdict=planned.verdict,
            quarantined_by=planned.around.quarantined_by,
            bundle=str(out) if out else None,
            digest=digest,
        )


def deploy(
    name: str,
    root: Path,
    console: Console,
    *,
    consent: Consent,
    approved: Approved | None = None,
    allow_replace: bool = False,
    lock_timeout: timedelta = timedelta(0),
) -> DeployReport:
    """Bring an environment's identity and key to what its file says.

    Args:
        name: The environment.
        root: The repository.
        console: Where progress and questions go.
        consent: What the command line agreed to, and how to ask.
        approved: Apply exactly this plan instead of making one.
        allow_replace: Accept a plan that deletes or replaces the user or the group.
        lock_timeout: How long to wait for somebody else's lease.

    Raises:
        FindingsError: The scan found what must not be deployed (exit code 3).
        LockHeldError: Somebody else works on the environment (exit code 4).
        CiUserError: Anything else that stops it; nothing is half done that the next run does not finish.
    """
    started = time.monotonic()
    loaded = load(name, root)
    if approved is None:
        consent.check_early(loaded.environment, "deploy")
    toolchain = find_toolchain(loaded, _environ())
    with opened(loaded, console) as run:
        ready_bucket(run)
        run = _leaving_the_deny(run)
        terraform = run.terraform(toolchain)
        with run.lease("deploy", lock_timeout) as lease:
            keeper = holding_keeper(run, lease, "deploy")
            planned = _plan(
                run,
                terraform,
                keeper,
                allow_replace=allow_replace,
                approved=approved,
            )
            _show(console, planned)
            _refuse_findings(planned)
            keeper.refuse_what_needs_a_person(planned.around.seen)
            if not planned.pending:
                return _report(run, planned, _nothing_done(planned), keeper.former_notes(), started)
            if approved is None:
                consent.require(run.environment, "deploy")
                _unchanged_since(run, planned)
            lease.check()
            seconds = dict(planned.seconds)
            if planned.changes:
                _refuse_late_leak(run, planned)
                seconds["apply"] = _apply(run, terraform, planned, lease.check)
            began = time.monotonic()
            kept = keeper.reach(rotation.Keep())
            seconds["key"] = time.monotonic() - began
            return _report(run, planned, kept, keeper.former_notes(), started, seconds)


def destroy(
    name: str,
    root: Path,
    console: Console,
    *,
    consent: Consent,
    lock_timeout: timedelta = timedelta(0),
) -> DestroyReport:
    """Delete an environment's keys, what was delivered, and then its identity.

    Raises:
        KeyStateError: A key that nothing here made is on the user; nothing was touched.
        CiUserError: Anything else that stops it; the next run goes on from there.
    """
    loaded = load(name, root)
    consent.check_early(loaded.environment, "destroy")
    toolchain = find_toolchain(loaded, _environ())
    with opened(loaded, console) as run:
        ready_bucket(run)
        run = _leaving_the_deny(run)
        terraform = run.terraform(toolchain)
        with run.lease("destroy", lock_timeout) as lease:
            keeper = holding_keeper(run, lease, "destroy")
            tfvars, file = _write_tfvars(run), run.workdir / "destroy.tfplan"
            with console.step("planning the removal"):
                _initialise(run, terraform)
                changes: tuple[str, ...] = ()
                if terraform.plan(tfvars, file, destroy=True):
                    document = parse(terraform.show(file))
                    _refuse(document, allow_replace=True, destroying=True)
                    changes = iam_changes(document)
            seen = keeper.observe(rotation.Remove())
            keeper.refuse_what_needs_a_person(seen, rotation.Remove())
            first = rotation.decide(seen, rotation.Remove())
            for line in changes:
                console.line(f"  {line}")
            for key in seen.keys:
                console.line(f"  - access key {key.id} is deleted")
            for target in (*seen.targets, *seen.former):
                if seen.held[target] != Held(None, None):
                    console.line(f"  - what was delivered to {target} is removed")
            if not changes and isinstance(first, Done):
                return DestroyReport(environment=name, changed=False, changes=(), acts=(), notes=keeper.former_notes())
            consent.require(run.environment, "destroy")
            lease.check()
            user = IamUser(run.accesses.target, run.environment.user_name)
            deny = user.revocation()
            kept = keeper.reach(rotation.Remove())
            lease.check()
            if changes:
                try:
                    with console.step("removing policies, group and user"):
                        terraform.apply(file, lease.check)
                except CiUserError:
                    # The user cannot go with the deny on it; as long as it stays, the deny does too.
                    if deny is not None and user.attached() is not None:
                        user.deny(deny)
                    raise
            return DestroyReport(
                environment=name, changed=True, changes=changes, acts=kept.acts, notes=keeper.former_notes()
            )


def _environ() -> dict[str, str]:
    import os

    return dict(os.environ)


def _leaving_the_deny(run: Run) -> Run:
    """Return the run with a revocation's deny named to Terraform, which takes off every other inline policy."""
    if IamUser(run.accesses.target, run.environment.user_name).revocation() is None:
        return run
    return replace(run, loaded=run.loaded.leaving((REVOCATION,)))


def _look_around(run: Run, keeper: KeyKeeper, context: CheckContext) -> Surroundings:
    user = IamUser(run.accesses.target, run.environment.user_name)
    live = user.describe()
    if live is None:
        refuse_nested_prefixes(run.accesses.target, run.environment)
    keeper.preflight()
    return Surroundings(live=judging.look(run, context, live), seen=keeper.observe())


def _write_tfvars(run: Run) -> Path:
    path = run.workdir / "terraform.tfvars.json"
    write_private(path, run.loaded.tfvars.content)
    return path


def _initialise(run: Run, terraform: Terraform) -> None:
    if terraform.init(run.cache.parent / "init.lock"):
        run.console.detail("initialised Terraform's data directory")


def _plan(
    run: Run,
    terraform: Terraform,
    keeper: KeyKeeper,
    *,
    allow_replace: bool,
    approved: Approved | None = None,
    lock: bool = True,
) -> Planned:
    """Make or take a plan, scan it, and look around meanwhile. Only a plan that may be applied locks the state."""
    seconds: dict[str, float] = {}
    context = judging.check_context(run, judging.contents_of(run))
    scan_key = _scan_key(run, context)
    memory = scan_memory.recall(run.cache, scan_key)
    scanner = Scanner()
    with ThreadPoolExecutor(max_workers=1) as pool:
        around: Future[Surroundings] = pool.submit(_look_around, run, keeper, context)
        if approved is not None:
            if memory is None:
                scanner.preload(run.loaded.documents)
            about = _subject(run, terraform, around.result().key_work)
            file = approval.open_bundle(approved.directory, approved.digest, about, run.workdir)
            with run.console.step("reading the approved plan"):
                _initialise(run, terraform)
            changed = True
        else:
            tfvars, file = _write_tfvars(run), run.workdir / "plan.tfplan"
            began = time.monotonic()
            with run.console.step("planning"):
                _initialise(run, terraform)
                if memory is None:
                    scanner.preload(run.loaded.documents)
                changed = terraform.plan(tfvars, file, lock=lock)
            seconds["plan"] = time.monotonic() - began
        content: Plan | None = None
        if changed or memory is None:
            began = time.monotonic()
            with run.console.step("scanning the plan"):
                document = redact(terraform.show(file))
                content = parse(document)
                refuse_foreign(document, run.loaded.tfvars.values)
                _refuse(content, allow_replace=allow_replace, destroying=False)
                result = scanner.scan(document, context, run.workdir)
            if approved is None:
                # What travelled between two jobs says nothing about what this configuration plans.
                scan_memory.remember(run.cache, scan_key, result)
            seconds["scan"] = time.monotonic() - began
        else:
            result = memory
        surroundings = around.result()
    verdict = judging.verdict(run, context, result, surroundings.live)
    changing = content is not None and not content.is_empty
    changes = iam_changes(content) if content is not None and changing else ()
    access = access_changes(content, context) if content is not None and changing else ()
    drift = drifted(content) if content is not None else ()
    return Planned(
        file=file,
        digest=_digest_of(run.loaded, file),
        plan=content,
        changes=changes,
        access=access,
        drift=drift,
        verdict=verdict,
        around=surroundings,
        notes=judging.passing_rights(run, context, surroundings.live),
        seconds=seconds,
    )


def _refuse(content: Plan, *, allow_replace: bool, destroying: bool) -> None:
    reasons = refusals(content, allow_replace=allow_replace, destroying=destroying)
    if reasons:
        listed = "".join(f"\n    {reason}" for reason in reasons)
        raise PlanError(
            f"this plan is not applied:{listed}",
            do="see the runbook; `--allow-replace` lets a plan delete or replace the user or the group",
            runbook="refused-plan",
        )


def _scan_key(run: Run, context: CheckContext) -> str:
    scanners = [version(name) for name in ("checkov", "cloudsplaining", "policy-sentry")]
    parts = f"{run.loaded.tfvars.digest}{approval.code_digest(run.loaded.root)}{context}{scanners}"
    return hashlib.sha256(parts.encode()).hexdigest()


def _subject(run: Run, terraform: Terraform, keys: str | None) -> approval.Subject:
    return approval.subject(
        run.environment,
        run.loaded.root,
        keys=keys,
        tfvars=run.loaded.tfvars.digest,
        state=run.bucket.state_serial(run.environment.state.key),
        terraform=terraform.version,
    )


def _unchanged_since(run: Run, planned: Planned) -> None:
    """See that what was planned, scanned and confirmed is still what would be applied: read everything again."""
    again = load(run.environment.name, run.loaded.root).leaving(run.loaded.inline_policy_names)
    if _digest_of(again, planned.file) != planned.digest:
        raise ApprovalError(
            "the environment, a policy, a module or the plan changed after it was planned",
            do="run the same command again: it plans anew",
            runbook="approval",
        )


def _digest_of(loaded: Loaded, file: Path) -> str:
    about = approval.subject(
        loaded.environment, loaded.root, keys=None, tfvars=loaded.tfvars.digest, state=None, terraform=""
    )
    return hashlib.sha256(f"{digest_of_file(file)}{about}".encode()).hexdigest()


def _nothing_done(planned: Planned) -> Kept:
    keys = [key.id for key in planned.around.seen.keys if key.active]
    return Kept(key_id=keys[-1] if keys else None, made=False, changed=False, acts=(), waited=0.0)


def _refuse_late_leak(run: Run, planned: Planned) -> None:
    """See that no key leaked while somebody looked at the plan: the apply could take off what was put there against it."""
    user = IamUser(run.accesses.target, run.environment.user_name)
    if REVOCATION not in run.loaded.inline_policy_names and user.revocation() is not None:
        raise PlanError(
            "a revocation began since this was planned, and the plan could take its deny off the user",
            where=run.environment.user_name,
            do="wait for `invoke revoke` to end, then run the same command again",
            runbook="revocation",
        )
    live = user.describe()
    if live is not None and live.quarantined_by and planned.plan is not None:
        touched = [c.address for c in planned.plan.changes if c.kind != "no-op" and "attachments_exclusive" in c.type]
        if touched:
            raise PlanError(
                f"AWS has attached {', '.join(live.quarantined_by)} since this was planned, and the plan would detach it",
                where=touched[0],
                do="treat the key as leaked; nothing was changed",
                runbook="quarantine",
            )


def _apply(run: Run, terraform: Terraform, planned: Planned, check: Callable[[], None]) -> float:
    began = time.monotonic()
    with run.console.step("applying the plan"):
        terraform.apply(planned.file, check)
    return time.monotonic() - began


def _show(console: Console, planned: Planned) -> None:
    for line in (*planned.changes, *planned.access):
        console.line(f"  {line}")
    for address in planned.drift:
        console.detail(f"changed outside: {address}")
    for note in planned.notes:
        console.line(f"  ! {note}")
    if planned.around.quarantined_by:
        console.line("  ! AWS quarantined this user because a key leaked: docs/runbooks.md#quarantine")
    if planned.around.key_work:
        console.line(f"  + {planned.around.key_work}")
    # A deploy that has nothing to do is quiet; the reports and --verbose have the reasons all the same.
    say = console.line if planned.pending or not planned.verdict.clean else console.detail
    for text in planned.verdict.lines():
        say(f"  {text}")


def _refuse_findings(planned: Planned) -> None:
    if not planned.verdict.clean:
        raise FindingsError(
            f"the scan found {len(planned.verdict.failed)} thing(s) that must not be deployed; nothing was changed",
            do="mend them, or accept one with reason, owner and expiry in the environment file",
            runbook="findings",
            details={"findings": findings_document(planned.verdict)},
        )


def _report(
    run: Run,
    planned: Planned,
    kept: Kept,
    notes: tuple[str, ...],
    started: float,
    seconds: dict[str, float] | None = None,
) -> DeployReport:
    return DeployReport(
        environment=run.environment.name,
        changed=bool(planned.changes) or kept.changed,
        changes=planned.changes,
        access=planned.access,
        user_arn=run.environment.user_arn,
        key_id=kept.key_id,
        key_made=kept.made,
        delivered=tuple(settings.target(run.environment) for settings in run.environment.places),
        removed=kept.removed,
        acts=kept.acts,
        notes=(*notes, *deny_notes(kept.seen or planned.around.seen)),
        verdict=planned.verdict,
        seconds={
            **(seconds or planned.seconds),
            "total": time.monotonic() - started,
            "verification": kept.waited,
        },
    )
