"""What a plan is judged with, and what is live beside it: the context of the checks, and the findings that no plan shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from ci_user import naming
from ci_user.checks import CheckContext
from ci_user.checks.escalation import EscalationDecided, in_words
from ci_user.checks.planned import Documents, judged
from ci_user.findings import Finding, Verdict, judge
from ci_user.live import FOREIGN_GROUP, USER_ADDRESS, live_findings
from ci_user.live_policies import LiveDocument, live_documents, managed_document
from ci_user.live_prefix import LIVE_ESCALATION, LIVE_UNKNOWN, prefix_findings
from ci_user.policy import catalogue
from ci_user.policy.statement import UnreadableStatementError
from ci_user.scan import NEVER_ACCEPTABLE, ScanResult
from ci_user.ways_in import WAY_IN

if TYPE_CHECKING:
    from ci_user.iam_user import LiveUser
    from ci_user.run import Loaded, Run


@dataclass(frozen=True)
class Live:
    """What is live and no plan shows.

    Args:
        user: The CI user, or None when there is none yet.
        documents: Policies on it and its groups that the plan does not make.
        findings: What was found of groups, and of what lives under the prefix.
    """

    user: LiveUser | None
    documents: tuple[LiveDocument, ...]
    findings: tuple[Finding, ...]


def contents_of(run: Run) -> Documents:
    """Return what the existing policies allow that the environment lists, read from IAM.

    Raises:
        PolicyError: One does not exist.
        AwsError: AWS refused a call.
    """
    return tuple((arn, managed_document(run.accesses.target, arn)) for arn in run.loaded.choice.attached_arns)


def check_context(run: Run, contents: Documents) -> CheckContext:
    """Return what the environment says must be true of its plan."""
    return context_of(run.loaded, contents)


def context_of(loaded: Loaded, contents: Documents) -> CheckContext:
    """Return the same for an environment that no way into AWS is open to.

    Args:
        loaded: The environment.
        contents: What the existing policies allow that it lists, by ARN.

    Raises:
        PolicyError: A policy of its file is wrong.
    """
    environment, guarded = loaded.environment, loaded.guarded
    return CheckContext(
        prefix=environment.prefix,
        account_id=environment.account_id,
        partition=environment.partition,
        user_name=environment.user_name,
        group_name=environment.group_name,
        boundary_arn=environment.boundary_arn,
        boundary_document=loaded.boundary,
        role_boundary_document=loaded.role_boundary,
        protected=environment.protected,
        attached_arns=loaded.choice.attached_arns,
        contents=contents,
        guarded=(
            ("Terraform's state and the lease", tuple(a for arn in guarded.state_buckets for a in (arn, f"{arn}/*"))),
            ("the CI keys", (*guarded.secret_names, *guarded.parameter_arns)),
            ("the KMS keys of state and CI keys", guarded.kms_keys),
        ),
        neighbours=loaded.neighbours,
    )


def look(run: Run, context: CheckContext, user: LiveUser | None) -> Live:
    """Return what is live beside the plan. Reads only; and judges the documents while Terraform still plans.

    Raises:
        AwsError: AWS refused to read the user's own policies or groups.
    """
    _verdict(planned_documents(run.loaded, context), context)
    # Telling what is newly allowed takes all of it as soon as a statement is about every action.
    catalogue.expand("*")
    access, environment = run.accesses.target, run.environment
    known = {environment.policy_arn(name) for name in run.loaded.choice.packs} | set(run.loaded.choice.attached_arns)
    return Live(
        user=user,
        documents=live_documents(access, environment, user, known) if user is not None else (),
        findings=(*live_findings(access, environment, user), *prefix_findings(access, environment)),
    )


def verdict(run: Run, context: CheckContext, result: ScanResult, live: Live) -> Verdict:
    """Weigh everything that was found against what the environment accepts."""
    staying = [one for one in live.documents if one.stays]
    return judge(
        (*result.findings, *live.findings, *_united(run, context, staying)),
        run.environment.accepted_findings,
        datetime.now(tz=UTC).date(),
        never_acceptable=never_acceptable(protected=context.protected),
        passed=result.passed,
    )


def never_acceptable(*, protected: bool) -> frozenset[str]:
    """Return the ids of what nobody may accept; in a protected environment nobody accepts what could not be decided."""
    always = NEVER_ACCEPTABLE | {FOREIGN_GROUP, LIVE_ESCALATION, WAY_IN}
    return always | {EscalationDecided.id, LIVE_UNKNOWN} if protected else always


def passing_rights(run: Run, context: CheckContext, live: Live) -> tuple[str, ...]:
    """Return, for people, what is attached besides and the next deploy takes off again, if it makes the user more."""
    passing = [one for one in live.documents if not one.stays]
    if not passing:
        return ()
    planned, besides = planned_documents(run.loaded, context), [(one.name, one.text) for one in live.documents]
    now = _verdict((*planned, *besides), context)
    if _GRAVITY.index(now) <= _GRAVITY.index(_verdict(planned, context)):
        return ()
    names = ", ".join(one.name for one in passing)
    can = "can" if now == "escalates" else "may be able to"
    return (f"until this is deployed the user also has {names}: with it, it {can} become more than it is",)


_GRAVITY: Final = ("safe", "unknown", "escalates")


def _verdict(documents: Documents, context: CheckContext) -> str:
    try:
        return judged(documents, context).verdict
    except UnreadableStatementError:
        return "unknown"


def _united(run: Run, context: CheckContext, staying: Sequence[LiveDocument]) -> tuple[Finding, ...]:
    """Return what follows from the planned documents and those that stay live, united."""
    if not staying:
        return ()
    name = "With what is live besides, the CI user cannot become more than it is"
    fix = "take the user out of foreign groups"
    try:
        found = judged((*planned_documents(run.loaded, context), *((one.name, one.text) for one in staying)), context)
    except UnreadableStatementError as error:
        return (Finding(LIVE_UNKNOWN, name, USER_ADDRESS, str(error), fix),)
    told = ((LIVE_ESCALATION, in_words(found.paths)), (LIVE_UNKNOWN, in_words(found.unknown)))
    return tuple(Finding(check, name, USER_ADDRESS, text, fix) for check, text in told if text)


def planned_documents(loaded: Loaded, context: CheckContext) -> Documents:
    """Return what the environment's files give the CI user: its own policies, and the existing ones that it lists."""
    packs = loaded.choice.packs.items()
    return tuple(
        sorted((*((naming.policy_name(context.prefix, name), text) for name, text in packs), *context.contents))
    )
