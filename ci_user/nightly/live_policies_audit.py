"""What the policies in AWS let the CI user do now, against what the environment's files say. Pure.

What the files themselves allow is judged by the scan of the plan; here is told what AWS has beyond that.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from ci_user import naming, revocation
from ci_user.checks.escalation import in_words
from ci_user.checks.planned import holder, judged
from ci_user.findings import Finding
from ci_user.judging import planned_documents
from ci_user.live import USER_ADDRESS
from ci_user.live_prefix import LIVE_ESCALATION, LIVE_UNKNOWN
from ci_user.nightly import codes
from ci_user.nightly.live_grants import grants
from ci_user.nightly.model import Entry, Grant
from ci_user.policy.diff import diff
from ci_user.policy.documents import canonical
from ci_user.policy.escalation import escalation
from ci_user.policy.lint import lint
from ci_user.policy.reach import Belonging, Touch, reach, summary
from ci_user.policy.statement import UnreadableStatementError, parse
from ci_user.text import plain

if TYPE_CHECKING:
    from ci_user.checks import CheckContext
    from ci_user.nightly.facts_model import Facts
    from ci_user.policy.escalation_model import Escalation, Path
    from ci_user.policy.holder import Holder
    from ci_user.policy.lint_finding import LintFinding
    from ci_user.policy.statement import Statement
    from ci_user.run import Loaded

LINES: Final = 20
"""The most lines of each side of an access diff."""
_DETAILS: Final = 10
_ADMINISTRATOR: Final = "administrator"


@dataclass(frozen=True)
class PoliciesJudged:
    """What was found of the live policies.

    Args:
        findings: What a deploy judges too, to be weighed against what is accepted.
        entries: What nobody can accept.
        grants: Which policy gives what.
        access: What AWS allows beyond the files, and what it does not allow of them, in words.
    """

    findings: tuple[Finding, ...] = ()
    entries: tuple[Entry, ...] = ()
    grants: tuple[Grant, ...] = ()
    access: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Document:
    """A live policy document: what to call it, whose it is, and its JSON; None when it was not read."""

    name: str
    attached_to: str
    text: str | None


def judge(facts: Facts, loaded: Loaded, context: CheckContext) -> PoliciesJudged:
    """Judge what is attached in AWS now; nothing when there is no user.

    Args:
        facts: What was read.
        loaded: The environment, with the policies that its files name.
        context: What the environment says must be true; `contents` has the existing policies that it lists.
    """
    if facts.user is None:
        return PoliciesJudged()
    documents, boundary = tuple(_documents(facts, loaded)), _boundary(facts)
    planned = tuple((name, _canonical(text)) for name, text in planned_documents(loaded, context))
    entries = [*_linted(documents, boundary, dict(planned), context)]
    try:
        live = _holder(facts, documents, boundary, context)
        files = holder(planned, context)
    except UnreadableStatementError as error:
        unread = any(one.text is None for one in (*documents, *([boundary] if boundary else [])))
        fix = (
            "give the nightly check the right to read it: another error of this environment names it"
            if unread
            else None
        )
        entries.append(codes.UNREADABLE_POLICY.entry(context.user_name, plain(error, 500), fix=fix))
        return PoliciesJudged(entries=tuple(entries))
    given = [grants(one.name, one.attached_to, parse(one.text or "", one.name), live) for one in documents]
    findings: tuple[Finding, ...] = ()
    if not _same(live, files):
        found, expected = escalation(live), judged(planned, context)
        findings = tuple(_escalations(found, expected))
        if found.verdict != "escalates":
            # Who becomes more reaches everything.
            entries += _reached(live, files, context)
    return PoliciesJudged(findings, tuple(entries), tuple(one for each in given for one in each), _access(live, files))


def _documents(facts: Facts, loaded: Loaded) -> Iterator[_Document]:
    """Yield what gives the user rights; the deny of a revocation gives none."""
    environment, user = loaded.environment, facts.user
    assert user is not None  # noqa: S101 - for mypy: asked of users only
    own = {environment.policy_arn(name): naming.policy_name(environment.prefix, name) for name in loaded.choice.packs}

    def managed(arn: str, attached_to: str) -> _Document:
        policy = facts.policies.get(arn)
        return _Document(own.get(arn, arn), attached_to, None if policy is None else policy.document)

    yield from (managed(arn, environment.user_name) for arn in user.attached)
    for name in user.inline:
        text = facts.user_inline.get(name)
        if name != revocation.POLICY_NAME or revocation.parse(text) is None:
            yield _Document(f"inline policy {plain(name)} of the user", environment.user_name, text)
    for group in user.groups:
        fact = facts.groups.get(group)
        if fact is None:
            yield _Document(f"the group {plain(group)}", group, None)
            continue
        yield from (managed(arn, group) for arn in fact.attached)
        for name, text in fact.inline.items():
            yield _Document(f"inline policy {plain(name)} of group {plain(group)}", group, text)


def _boundary(facts: Facts) -> _Document | None:
    arn = facts.user.boundary_arn if facts.user else None
    if arn is None:
        return None
    policy = facts.policies.get(arn)
    return _Document(f"the boundary {arn}", "", None if policy is None else policy.document)


def _holder(
    facts: Facts, documents: tuple[_Document, ...], boundary: _Document | None, context: CheckContext
) -> Holder:
    """Return the user as it is.

    Raises:
        UnreadableStatementError: A document was not read, or is not shaped like a policy.
    """
    known = tuple(sorted((one.name, _text(one)) for one in documents))
    bounds = None if boundary is None else parse(_text(boundary), "the boundary")
    start = f"arn:{context.partition}:iam::{context.account_id}:policy/"
    role_boundary = facts.policies.get(f"{start}{context.role_boundary_name}")
    user = facts.user
    assert user is not None  # noqa: S101 - for mypy: asked of users only
    contents = {}
    if role_boundary is not None:
        contents = {role_boundary.arn: parse(role_boundary.document, "the role boundary")}
    return replace(
        holder(known, context),
        boundary=bounds,
        boundary_arn=user.boundary_arn,
        groups=user.groups,
        contents=contents,
    )


def _text(document: _Document) -> str:
    if document.text is None:
        raise UnreadableStatementError(f"what {document.name} allows was not read")
    return _canonical(document.text)


def _canonical(text: str) -> str:
    """Return a document as it is compared: equal ones are equal, however they are written."""
    try:
        return canonical(json.loads(text))
    except (ValueError, RecursionError, AttributeError):
        return text


def _same(live: Holder, files: Holder) -> bool:
    return (live.identity, live.boundary, live.boundary_arn, live.groups, live.contents) == (
        files.identity,
        files.boundary,
        files.boundary_arn,
        files.groups,
        files.contents,
    )


def _escalations(found: Escalation, expected: Escalation) -> Iterator[Finding]:
    """Yield the paths that the files do not open: of those the scan tells."""
    name = "With what is attached in AWS, the CI user cannot become more than it is"
    fix = "run `invoke deploy`: it puts the policies back; take the user out of foreign groups"
    told = {_path(one) for one in (*expected.paths, *expected.unknown)}
    opened = {_path(one) for one in expected.paths}
    paths = [one for one in found.paths if _path(one) not in opened]
    unknown = [one for one in found.unknown if _path(one) not in told]
    for check, some in ((LIVE_ESCALATION, paths), (LIVE_UNKNOWN, unknown)):
        administrator = [one for one in paths if _ADMINISTRATOR in one.ids]
        if administrator and check != LIVE_ESCALATION:
            continue
        # Who may do everything may do each of the others.
        text = in_words(administrator or some)
        if text is not None:
            yield Finding(check, name, USER_ADDRESS, text, fix)


def _path(path: Path) -> tuple[tuple[str, ...], str]:
    return path.ids, path.title


def _reached(live: Holder, files: Holder, context: CheckContext) -> Iterator[Entry]:
    """Yield what of others is reached beyond what the files allow: of that the scan tells."""
    guarded = [Belonging(owner, arns) for owner, arns in context.guarded if arns]
    neighbours = [Belonging(f"the environment {name}", (), prefix) for name, prefix in context.neighbours]
    # What is guarded must not be reached perhaps either.
    touches = [one for one in reach(live, guarded) if one.harmful]
    touches += [one for one in reach(live, neighbours) if one.harmful and not one.depends]
    known = {_touch(one) for one in reach(files, (*guarded, *neighbours))} if touches else set()
    more = [one for one in touches if _touch(one) not in known]
    if more:
        owners = ", ".join(dict.fromkeys(one.owner for one in more))
        told = f"it reaches {plain(owners, 300)}, which the files do not let it"
        details = [plain(line, 1000) for line in summary(more)[:_DETAILS]]
        yield codes.LIVE_REACH.entry(USER_ADDRESS, told, details=details)


def _touch(touch: Touch) -> tuple[str, str]:
    return touch.owner, touch.action


def _linted(
    documents: tuple[_Document, ...], boundary: _Document | None, planned: dict[str, str], context: CheckContext
) -> Iterator[Entry]:
    """Yield what IAM would refuse or take otherwise; of the policies that the files choose the lint of files tells the rest."""
    for one in documents:
        if one.text is not None:
            ours = planned.get(one.name) == _text(one)
            yield from _of_one(one, boundary=False, known=ours)
    if boundary is not None and boundary.text is not None and _text(boundary) != context.boundary_document:
        # An older boundary of ours is no work of somebody else's: what lint says of the next one as well is no news.
        planned_too = lint(json.loads(context.boundary_document), boundary.name, boundary=True)
        yield from _of_one(boundary, boundary=True, known=False, said={(one.id, one.message) for one in planned_too})


def _of_one(
    document: _Document, *, boundary: bool, known: bool, said: Collection[tuple[str, str]] = ()
) -> Iterator[Entry]:
    try:
        content = json.loads(document.text or "")
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        yield codes.UNREADABLE_POLICY.entry(plain(document.name, 300), "it is no JSON object")
        return
    found = [one for one in lint(content, document.name, boundary=boundary) if (one.id, one.message) not in said]
    errors = [one for one in found if one.severity == "error"]
    warnings = [one for one in found if one.severity == "warning"]
    if errors:
        # What the files choose was deployed like this, and nothing could accept it: the lint of files is the place to act on it.
        yield _lint_entry(document, errors, "notice" if known else "finding")
    if warnings and not known:
        yield _lint_entry(document, warnings, "notice")


def _lint_entry(document: _Document, found: list[LintFinding], gravity: str) -> Entry:
    details = [plain(f"{one.id}: {one.where}: {one.message}; {one.fix}", 1000) for one in found[:_DETAILS]]
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return codes.LINT.entry(
        plain(document.name, 300),
        f"{plain(found[0].message, 500)}{more}",
        details=details,
        gravity="notice" if gravity == "notice" else None,
    )


def _access(live: Holder, files: Holder) -> tuple[str, ...]:
    lines = [*_differing("", files.identity, live.identity)]
    if live.boundary is None:
        lines.append("the boundary: it has none, and nothing limits what the policies allow")
    else:
        lines += _differing("the boundary: ", files.boundary or (), live.boundary)
    return tuple(lines)


def _differing(of: str, files: tuple[Statement, ...], live: tuple[Statement, ...]) -> Iterator[str]:
    if files == live:
        return
    words = {"+": "more than the files say: ", "-": "less than the files say: "}
    for line in diff(files, live).lines(LINES):
        yield plain(f"{of}{words[line[0]]}{line[2:]}", 1000)
