"""New principals: can the holder make a role or a user that may do more than it may itself?

A boundary that new principals must carry closes this, when it is demanded exactly, cannot be taken off again, cannot be written
by the holder, and is no administrator itself. https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_boundaries.html
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from ci_user.policy import globs
from ci_user.policy.conditions import ABSENT, Values
from ci_user.policy.escalation_model import Path, path
from ci_user.policy.holder import STRANGER, Holder
from ci_user.policy.ways import Ask, Way, best, known_names, strangers, told_values, way

BOUNDARY: Final = "iam:permissionsboundary"
POLICY: Final = "iam:policyarn"
WRITES: Final = ("iam:CreatePolicy", "iam:CreatePolicyVersion")
"""What gives a managed policy its content."""
ADMINISTRATORS: Final = ("AdministratorAccess", "PowerUserAccess", "IAMFullAccess")
"""AWS's own policies that make an administrator, at once or in one more call."""


@dataclass(frozen=True)
class Kind:
    """A kind of principal, and the actions on it.

    Args:
        word: ``role`` or ``user``.
        create: What makes one.
        grants: What gives it rights; one is enough.
        enter: What lets the holder in, one is enough; none where a trust policy does.
        bind: What gives it another boundary.
        unbind: What takes its boundary off.
    """

    word: str
    create: str
    grants: tuple[str, ...]
    enter: tuple[str, ...]
    bind: str
    unbind: str


ROLE: Final = Kind(
    "role",
    "iam:CreateRole",
    ("iam:PutRolePolicy", "iam:AttachRolePolicy"),
    (),
    "iam:PutRolePermissionsBoundary",
    "iam:DeleteRolePermissionsBoundary",
)
USER: Final = Kind(
    "user",
    "iam:CreateUser",
    ("iam:PutUserPolicy", "iam:AttachUserPolicy"),
    ("iam:CreateAccessKey", "iam:CreateLoginProfile"),
    "iam:PutUserPermissionsBoundary",
    "iam:DeleteUserPermissionsBoundary",
)


def administrator_arn(holder: Holder) -> str:
    """Return the ARN of AWS's AdministratorAccess."""
    return f"arn:{holder.partition}:iam::aws:policy/{ADMINISTRATORS[0]}"


def demanded_boundaries(holder: Holder) -> tuple[str, ...]:
    """Return the boundaries that the policies name in full as those that roles or users must carry."""
    named = (v for one in holder.every for test in one.tests if test.key == BOUNDARY for v in test.values)
    return tuple(dict.fromkeys(filter(_possible, named)))


def new_principals(holder: Holder, kind: Kind) -> Iterator[Path | str]:
    """Yield each path that a new principal of a kind opens; a string is an assumption that closes one."""
    for grant in kind.grants:
        for enter in kind.enter or (None,):
            actions = [kind.create, grant, *([enter] if enter else [])]
            yield from _by(holder, kind, grant, actions)


def granting(holder: Holder, asks: Sequence[Ask], grant: str, resource: str) -> Way | None:
    """Return the way to call ``asks``, of which ``grant`` is one, so that it gives any right at all.

    Attaching only certain policies is a way that depends on what these allow.
    """
    if grant not in ("iam:AttachRolePolicy", "iam:AttachUserPolicy", "iam:AttachGroupPolicy"):
        return way(holder, asks, resource)

    def attaching(arn: str) -> Way | None:
        given = [Ask(a.action, {**a.given, POLICY: (arn,)}) if a.action == grant else a for a in asks]
        return way(holder, given, resource)

    found = attaching(administrator_arn(holder))
    if found is not None:
        return found
    own = f"arn:{holder.partition}:iam::{holder.account}:policy/{globs.NAME}"
    limited: Way | None = None
    for arn in told_values(holder, [grant], POLICY, own, WRITES):
        may = attaching(arn)
        if may is not None:
            makes = best(way(holder, [Ask(one)], arn) for one in WRITES)
            if makes is not None and makes.certain:
                return may
            limited = may if limited is None else limited
    for arn in filter(_possible, told_values(holder, [grant], POLICY)):
        may = attaching(arn)
        if may is not None:
            if arn.rsplit("/", 1)[-1] in ADMINISTRATORS:
                return may
            limited = may if limited is None else limited
    if limited is None:
        return None
    return Way(
        False, limited.resource, limited.allowing, (*limited.depends, "what the policies allow that may be attached")
    )


def _by(holder: Holder, kind: Kind, grant: str, actions: Sequence[str]) -> Iterator[Path | str]:
    texts = (*strangers(holder, kind.create), *known_names(holder, [*actions, kind.bind, kind.unbind]))
    calls = " + ".join(actions)
    ids = (calls.replace("iam:", ""),)

    def ways(value: Values, *more: Ask) -> Way | None:
        asks = [Ask(action, {BOUNDARY: value}) for action in actions]
        return best(granting(holder, [*asks, *more], grant, text) for text in texts)

    doubtful: list[Path | str] = []
    start = f"arn:{holder.partition}:iam::{holder.account}:policy/"
    make, give = f"make a {kind.word}", f"and give it any right ({calls})"
    for value, how, needs in (
        (ABSENT, "without a boundary", None),
        ((administrator_arn(holder),), "with AWS's administrator as its boundary", None),
        ((f"{start}{STRANGER}",), "with any policy of the account as its boundary", "a policy that allows more"),
    ):
        found = ways(value)
        if found is not None:
            one = path(ids, f"{make} {how} {give}", found, needs=needs)
            if found.certain:
                yield one
                return
            doubtful.append(one)
    own = told_values(holder, actions, BOUNDARY, f"{start}{globs.NAME}", WRITES)
    told = (*own, *told_values(holder, actions, BOUNDARY))
    for boundary in dict.fromkeys(told):
        if boundary == administrator_arn(holder) or not _possible(boundary):
            continue
        bounded = ways((boundary,))
        if bounded is None:
            continue
        doubtful += _behind(holder, kind, boundary, bounded, ids, calls)
        for loosen, then in ((kind.unbind, boundary), (kind.bind, administrator_arn(holder))):
            loosened = ways((boundary,), Ask(loosen, {BOUNDARY: (then,)}))
            if loosened is not None:
                title = f"make a {kind.word}, give it any right, and take its boundary off again ({calls} + {loosen})"
                doubtful.append(path((*ids, loosen.removeprefix("iam:")), title, loosened))
    opened = [one for one in doubtful if isinstance(one, Path) and one.open]
    if opened:
        yield from opened
        return
    yield from (one for one in doubtful if isinstance(one, str))
    # More doubts about the same calls would say no more.
    yield from [one for one in doubtful if isinstance(one, Path)][:1]


def _behind(
    holder: Holder, kind: Kind, boundary: str, found: Way, ids: tuple[str, ...], calls: str
) -> Iterator[Path | str]:
    """Yield what a boundary that new principals carry leaves open."""
    title = f"make a {kind.word} whose boundary is {boundary}, and give it any right ({calls})"
    name = boundary.rsplit("/", 1)[-1]
    literal = _literal(holder, boundary)
    edits = best((*edit(holder, boundary), None if literal else way(holder, [Ask("iam:CreatePolicy")], boundary)))
    if edits is not None:
        both = Way(found.certain and edits.certain, found.resource, (*found.allowing, *edits.allowing), edits.depends)
        yield path((*ids, "editable boundary"), f"{title}, and write that boundary itself", both)
        return
    if boundary in holder.contents:
        from ci_user.policy.escalation import escalation

        inner = escalation(Holder(holder.contents[boundary], arn=holder.arn))
        if inner.verdict != "safe":
            doubt = [] if inner.paths else [f"what {boundary} allows"]
            yield path((*ids, "weak boundary"), f"{title}; it limits nothing that matters", found, depends=doubt)
        return
    if ":iam::aws:policy/" in boundary:
        doubt = [] if name in ADMINISTRATORS else [f"what {boundary} allows"]
        yield path((*ids, "weak boundary"), title, found, depends=doubt)
    elif not literal:
        yield path((*ids, "loose boundary"), title, found, depends=[f"which policies there are like {boundary}"])
    else:
        yield f"the boundary {boundary}, which new {kind.word}s must carry, allows no administrator: its content was not given"


def edit(holder: Holder, arn: str) -> Iterator[Way | None]:
    """Yield the ways in which the holder may write a managed policy."""
    yield way(holder, [Ask("iam:CreatePolicyVersion")], arn)
    yield way(holder, [Ask("iam:DeletePolicy"), Ask("iam:CreatePolicy")], arn)
    yield way(holder, [Ask("iam:SetDefaultPolicyVersion")], arn)


def _possible(arn: str) -> bool:
    """Tell whether a policy can have an ARN: StringEquals takes a wildcard for a character, which no ARN has."""
    return arn.startswith("arn:") and "*" not in arn and "?" not in arn


def _literal(holder: Holder, boundary: str) -> bool:
    """Tell whether the policies name a boundary in full, so that they leave no choice."""
    return any(
        test.key == BOUNDARY and boundary in test.values for statement in holder.every for test in statement.tests
    )
