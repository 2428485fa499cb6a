"""Can the holder of some policies become more than it is? ``safe``, ``escalates`` by these paths, or ``unknown``.

Its policies are united and intersected with its boundary; conditions, denies, wildcards and what is split over several policies
count. Where a path takes something of the account that no document shows, that is said. Never a silent ``safe``: what could not
be decided, or tried in bounded time, makes the verdict ``unknown``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from ci_user.policy.conditions import ABSENT
from ci_user.policy.escalation_model import Escalation, Path, path
from ci_user.policy.escalation_principals import BOUNDARY, ROLE, USER, administrator_arn, edit, granting, new_principals
from ci_user.policy.escalation_reach import Found, makes, makes_nothing, makes_roles, reached, told
from ci_user.policy.escalation_services import existing, passing
from ci_user.policy.globs import TangledPatternsError
from ci_user.policy.holder import STRANGER, Holder
from ci_user.policy.ways import Ask, Way, best, known_names, strangers, way

_ACCOUNTS_AT_MOST: Final = 4
_LETS_IN: Final = (
    ("iam-002", "iam:CreateAccessKey"),
    ("iam-004", "iam:CreateLoginProfile"),
    ("iam-006", "iam:UpdateLoginProfile"),
    ("ssh-key", "iam:UploadSSHPublicKey"),
    ("signing-certificate", "iam:UploadSigningCertificate"),
    ("service-credential", "iam:CreateServiceSpecificCredential"),
    ("service-credential", "iam:ResetServiceSpecificCredential"),
)
_TAKES_DENIES_AWAY: Final = (
    "iam:DetachUserPolicy",
    "iam:DeleteUserPolicy",
    "iam:DetachGroupPolicy",
    "iam:DeleteGroupPolicy",
    "iam:RemoveUserFromGroup",
)


def escalation(holder: Holder) -> Escalation:
    """Return the verdict, with each path in plain words and the statements that it uses.

    While the holder's account is not known, each account that its policies name is supposed to be it.
    """
    accounts = holder.possible_accounts
    paths: list[Path] = []
    assumptions: list[str] = []
    for account in accounts[:_ACCOUNTS_AT_MOST]:
        supposed = holder if len(accounts) == 1 else replace(holder, supposed_account=account)
        for look in _LOOKS:
            _looked(supposed, look, paths, assumptions)
    if len(accounts) > _ACCOUNTS_AT_MOST:
        doubt = f"which of {len(accounts)} accounts is the holder's"
        paths.append(Path(("undecided",), "more accounts are named than can be tried", None, (), "*", (doubt,)))
    found = _distinct(paths)
    return Escalation(
        paths=tuple(one for one in found if one.open),
        unknown=tuple(one for one in found if not one.open),
        assumptions=tuple(dict.fromkeys(assumptions)),
    )


def _looked(holder: Holder, look: Callable[[Holder], Found], paths: list[Path], assumptions: list[str]) -> None:
    try:
        for one in look(holder):
            if isinstance(one, str):
                assumptions.append(one)
            else:
                paths.append(one)
    except TangledPatternsError as error:
        title = f"{(look.__doc__ or '').splitlines()[0].rstrip('.')}: not looked at to the end"
        paths.append(Path(("undecided",), title, None, (), "*", (str(error),)))


def _administrator(holder: Holder) -> Found:
    """Everything, at once."""
    service = f"{STRANGER}:{STRANGER}"
    anything = f"arn:{holder.partition}:{STRANGER}:{STRANGER}:{holder.account}:{STRANGER}/{STRANGER}"
    found = way(holder, [Ask(service)], anything)
    # Who is allowed an action that no service has is allowed everything, but for a list of exceptions.
    role = f"arn:{holder.partition}:iam::{holder.account}:role/{STRANGER}"
    if found is not None and best([way(holder, [Ask("iam:PutRolePolicy")], role)]) is not None:
        yield path(("administrator",), "it may do everything already", found)


def _new_roles(holder: Holder) -> Found:
    """New roles."""
    yield from new_principals(holder, ROLE)


def _new_users(holder: Holder) -> Found:
    """New users."""
    yield from new_principals(holder, USER)
    for enter in USER.enter:
        actions = [USER.create, enter]
        joins = best(_join(holder, strangers(holder, "iam:AddUserToGroup")))
        texts = strangers(holder, USER.create)
        found = best(way(holder, [Ask(one, {BOUNDARY: ABSENT}) for one in actions], text) for text in texts)
        if found is not None and joins is not None:
            both = Way(
                found.certain and joins.certain, found.resource, (*found.allowing, *joins.allowing), joins.depends
            )
            title = f"make a user and put it into a group ({' + '.join((*actions, 'iam:AddUserToGroup'))})"
            yield path(("CreateUser + AddUserToGroup",), title, both, needs="a group that may do more")


def _own_rights(holder: Holder) -> Found:
    """Rights that it gives itself."""
    group = ("iam-011", "iam:PutGroupPolicy"), ("iam-010", "iam:AttachGroupPolicy")
    user = ("iam-007", "iam:PutUserPolicy"), ("iam-008", "iam:AttachUserPolicy")
    for id_, grant in user:
        extra = ("iam-018",) if grant == "iam:PutUserPolicy" else ("iam-015",)
        texts = (holder.user_arn, *strangers(holder, grant), *known_names(holder, [grant]))
        found = best(_unbounded(holder, grant, text) for text in dict.fromkeys(texts))
        if found is not None:
            yield path(
                (id_, *extra), f"give a user, itself among them, any right ({grant})", found, needs=_limit(holder)
            )
    for id_, grant in group:
        found = best(granting(holder, [Ask(grant)], grant, text) for text in _groups(holder, grant))
        if found is not None:
            yield path((id_,), f"give a group any right ({grant})", found, needs="that it is, or gets, into that group")
    joins = best(_join(holder, _groups(holder, "iam:AddUserToGroup")))
    if joins is not None:
        yield path(("iam-013",), "join a group (iam:AddUserToGroup)", joins, needs="a group that may do more")


def _own_limits(holder: Holder) -> Found:
    """Limits that it takes off itself."""
    if holder.boundary is not None:
        for action, given in ((USER.unbind, None), (USER.bind, administrator_arn(holder))):
            ask = Ask(action, {BOUNDARY: (given,)} if given else {})
            found = best(way(holder, [ask], text) for text in (holder.user_arn, *strangers(holder, action)))
            if found is not None:
                yield path((action.removeprefix("iam:"),), f"take its own boundary off ({action})", found)
        if holder.boundary_arn is not None:
            edits = best(edit(holder, holder.boundary_arn))
            if edits is not None:
                yield path(
                    ("editable boundary",), "write its own boundary (iam:CreatePolicyVersion or the like)", edits
                )
    if any(not one.allows for one in holder.identity):
        for action in _TAKES_DENIES_AWAY:
            on_user = "User" in action
            texts = [holder.user_arn, *strangers(holder, action)] if on_user else _groups(holder, action)
            found = best(way(holder, [Ask(action)], text) for text in texts)
            if found is not None:
                yield path((action.removeprefix("iam:"),), f"take a policy with denies off itself ({action})", found)


def _other_users(holder: Holder) -> Found:
    """Other users' credentials."""
    for id_, action in _LETS_IN:
        found_there = reached(holder, [Ask(action)], lambda text: text == holder.user_arn)
        ids = (id_, "iam-003") if id_ == "iam-002" else (id_,)
        title = f"get credentials of another user ({action})"
        yield from told(ids, title, found_there, "a user that may do more", "users")


def _roles(holder: Holder) -> Found:
    """Roles that are there."""
    made = functools.partial(makes_roles, holder)
    trust = reached(holder, [Ask("iam:UpdateAssumeRolePolicy")], made)
    title = "let itself into a role by its trust policy (iam:UpdateAssumeRolePolicy)"
    yield from told(("iam-012",), title, trust, "a role that may do more", "roles")
    enter = reached(holder, [Ask("sts:AssumeRole")], made)
    title = "assume a role (sts:AssumeRole)"
    yield from told(("sts-001",), title, enter, "a role that may do more and trusts it", "roles")
    ids = {
        "iam:PutRolePolicy": ("iam-005", "iam-017", "iam-021"),
        "iam:AttachRolePolicy": ("iam-009", "iam-014", "iam-019"),
    }
    for grant in ROLE.grants:
        found_there = reached(holder, [Ask(grant, {BOUNDARY: ABSENT})], made, grant=grant)
        title = f"give a role any right ({grant})"
        needs = "a role that it is, may assume, or makes work for it"
        yield from told(ids[grant], title, found_there, needs, "roles")
    for kind in (ROLE, USER):
        for loosen in (kind.unbind, kind.bind):
            found_there = reached(holder, [Ask(loosen)], functools.partial(makes, holder, (kind.create,)))
            title = f"take the boundary off a {kind.word} that is there ({loosen})"
            doubt = f"whether a {kind.word} that works for it is kept back by its boundary alone"
            for found in found_there.beyond[:1]:
                yield path((loosen.removeprefix("iam:"),), title, found, depends=[doubt])


def _policies(holder: Holder) -> Found:
    """Managed policies that are there."""
    for ids, action in (
        (("iam-001", "iam-016", "iam-020"), "iam:CreatePolicyVersion"),
        (("rhino: default version",), "iam:SetDefaultPolicyVersion"),
    ):
        title = f"write a policy that it has ({action})"
        own = best(way(holder, [Ask(action)], arn) for arn in holder.policy_arns)
        if own is not None:
            yield path(ids, title, own)
            continue
        made = functools.partial(makes, holder, ("iam:CreatePolicy",)) if holder.policy_arns else makes_nothing
        yield from told(ids, title, reached(holder, [Ask(action)], made), "a policy attached to it", "policies")


_LOOKS: Final[Sequence[Callable[[Holder], Found]]] = (
    _administrator,
    _new_roles,
    _new_users,
    _own_rights,
    _own_limits,
    _other_users,
    _roles,
    _policies,
    passing,
    existing,
)


def _unbounded(holder: Holder, grant: str, text: str) -> Way | None:
    """Return how to give a user rights; its boundary is the holder's own, none, or whatever the policies want it to be."""
    own = (holder.boundary_arn,) if holder.boundary_arn and text == holder.user_arn else ABSENT
    return granting(holder, [Ask(grant, {BOUNDARY: own})], grant, text)


def _groups(holder: Holder, action: str) -> tuple[str, ...]:
    """Return the groups to ask about: those that nobody has in mind, and its own, or all names while these are not known."""
    if holder.groups is None:
        return (*strangers(holder, action), *known_names(holder, [action]))
    start = f"arn:{holder.partition}:iam::{holder.account}:group/"
    return (*(f"{start}{name}" for name in holder.groups), *strangers(holder, action))


def _join(holder: Holder, groups: Iterable[str]) -> Iterator[Way | None]:
    for text in groups:
        yield way(holder, [Ask("iam:AddUserToGroup")], text)


def _limit(holder: Holder) -> str | None:
    return None if holder.boundary is None else "nothing, up to what its boundary allows"


def _distinct(paths: Iterable[Path]) -> list[Path]:
    """Return the paths, those that differ only in the catalogues' names or in a region joined."""
    found: dict[tuple[str, bool], Path] = {}
    for one in paths:
        key = (one.title, one.open)
        if key in found:
            ids = tuple(dict.fromkeys((*found[key].ids, *one.ids)))
            depends = tuple(dict.fromkeys((*found[key].depends, *one.depends)))
            found[key] = Path(ids, one.title, one.needs, found[key].statements, found[key].resource, depends)
        else:
            found[key] = one
    return list(found.values())
