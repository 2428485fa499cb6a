"""Can the holder of some policies become more than it is? ``safe``, ``escalates`` by these paths, or ``unknown``.

Its policies are united and intersected with its boundary; conditions, denies, wildcards and what is split over several policies
count. Where a path takes something of the account that no document shows, that is said. Never a silent ``safe``: what could not
be decided, or tried in bounded time, makes the verdict ``unknown``.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from ci_user.policy import catalogue, globs
from ci_user.policy.conditions import ABSENT
from ci_user.policy.escalation_model import Escalation, Path, path
from ci_user.policy.escalation_principals import BOUNDARY, ROLE, USER, administrator_arn, edit, granting, new_principals
from ci_user.policy.globs import TangledPatternsError
from ci_user.policy.holder import STRANGER, Holder
from ci_user.policy.methods import EXISTING, PASSING, ExistingMethod, PassingMethod
from ci_user.policy.ways import Ask, Way, best, known_names, patterns_written, strangers, told_values, way

Found = Iterator[Path | str]

_SERVICE: Final = "iam:passedtoservice"
_SHORTEST_PREFIX: Final = 3
_ACCOUNTS_AT_MOST: Final = 4
_REGION: Final = re.compile(r"\.[a-z]{2}(-[a-z]+)+-[0-9]+(?=\.)")
_STACK_ROLE: Final = "cloudformation:rolearn"
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
        reached = _reach(holder, [Ask(action)], lambda text: text == holder.user_arn)
        ids = (id_, "iam-003") if id_ == "iam-002" else (id_,)
        title = f"get credentials of another user ({action})"
        yield from _told(ids, title, reached, "a user that may do more", "users")


def _roles(holder: Holder) -> Found:
    """Roles that are there."""
    made = functools.partial(_makes_roles, holder)
    trust = _reach(holder, [Ask("iam:UpdateAssumeRolePolicy")], made)
    title = "let itself into a role by its trust policy (iam:UpdateAssumeRolePolicy)"
    yield from _told(("iam-012",), title, trust, "a role that may do more", "roles")
    enter = _reach(holder, [Ask("sts:AssumeRole")], made)
    title = "assume a role (sts:AssumeRole)"
    yield from _told(("sts-001",), title, enter, "a role that may do more and trusts it", "roles")
    ids = {
        "iam:PutRolePolicy": ("iam-005", "iam-017", "iam-021"),
        "iam:AttachRolePolicy": ("iam-009", "iam-014", "iam-019"),
    }
    for grant in ROLE.grants:
        reached = _reach(holder, [Ask(grant, {BOUNDARY: ABSENT})], made, grant=grant)
        title = f"give a role any right ({grant})"
        needs = "a role that it is, may assume, or makes work for it"
        yield from _told(ids[grant], title, reached, needs, "roles")
    for kind in (ROLE, USER):
        for loosen in (kind.unbind, kind.bind):
            reached = _reach(holder, [Ask(loosen)], functools.partial(_makes, holder, (kind.create,)))
            title = f"take the boundary off a {kind.word} that is there ({loosen})"
            doubt = f"whether a {kind.word} that works for it is kept back by its boundary alone"
            for found in reached.beyond[:1]:
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
        made = functools.partial(_makes, holder, ("iam:CreatePolicy",)) if holder.policy_arns else _nothing
        yield from _told(ids, title, _reach(holder, [Ask(action)], made), "a policy attached to it", "policies")


def _passing(holder: Holder) -> Found:
    """Roles that it passes to a service."""
    reached: dict[str, _Reached] = {}
    # Without a condition on it, every service gets the same roles.
    told_apart = any(test.key == _SERVICE for one in holder.speaking(["iam:PassRole"]) for test in one.tests)
    told = told_values(holder, ["iam:PassRole"], _SERVICE)

    def passable(service: str) -> _Reached:
        key = service if told_apart else ""
        if key not in reached:
            # states.eu-west-1.amazonaws.com and states.amazonaws.com.cn are the same service.
            other = [one for one in told if _REGION.sub("", one).removesuffix(".cn") == service and one != service]
            found = [
                _reach(holder, [Ask("iam:PassRole", {_SERVICE: (one,)})], functools.partial(_makes_roles, holder))
                for one in (service, *(other if told_apart else ()))
            ]
            reached[key] = next((one for one in found if one.beyond), found[0])
        return reached[key]

    if not holder.allows("iam:PassRole"):
        return
    fired: set[str] = set()
    for method in PASSING:
        if not all(holder.allows(action) for action in method.actions):
            continue
        others = [_somewhere(holder, Ask(action, _stack_role(action))) for action in method.actions]
        whole = [one for one in others if one is not None]
        if len(whole) < len(others):
            continue
        fired |= set(method.actions)
        for service in method.services:
            yield from _passed(method, service, passable(service), whole)
    if not told_apart and not passable("").beyond:
        return
    for service, actions in _role_takers().items():
        if not passable(service).beyond:
            continue
        more = [
            one for one in actions if one not in fired and _somewhere(holder, Ask(one, _stack_role(one))) is not None
        ]
        if more:
            names = f"{', '.join(more[:5])}{f' and {len(more) - 5} more' if len(more) > 5 else ''}"
            title = f"pass a role to {service} (iam:PassRole, and {names})"
            doubt = ["whether these let the holder work with the role's rights"]
            yield path(
                ("PassRole",), title, passable(service).beyond[0], needs="a role that may do more", depends=doubt
            )


def _existing(holder: Holder) -> Found:
    """Things that are there and have a role."""
    for method in EXISTING:
        if not all(holder.allows(action) for action in method.actions):
            continue
        first, *rest = [Ask(action, {_STACK_ROLE: ABSENT} if "Stack" in action else {}) for action in method.actions]
        if any(_somewhere(holder, ask) is None for ask in rest):
            continue
        reached = _reach(holder, [first], functools.partial(_makes, holder, method.makers))
        title = f"make {method.thing} that is there work for it ({' + '.join(method.actions)})"
        yield from _told((method.id,), title, reached, f"{method.thing} with a role that may do more", _plural(method))


_LOOKS: Final[Sequence[Callable[[Holder], Found]]] = (
    _administrator,
    _new_roles,
    _new_users,
    _own_rights,
    _own_limits,
    _other_users,
    _roles,
    _policies,
    _passing,
    _existing,
)


@dataclass(frozen=True)
class _Reached:
    """What some calls reach.

    Args:
        wide: The way to reach anything there is.
        others: The ways to reach what others made, each with how the policies write that.
        own: How the policies write what the holder could have made itself.
    """

    wide: Way | None
    others: tuple[tuple[Way, str], ...]
    own: tuple[str, ...]

    @property
    def beyond(self) -> tuple[Way, ...]:
        """Return the ways to reach what the holder could not have made itself."""
        return (*([self.wide] if self.wide else []), *(one for one, _ in self.others))


def _reach(holder: Holder, asks: Sequence[Ask], made: Callable[[str], bool], *, grant: str | None = None) -> _Reached:
    def one(text: str) -> Way | None:
        return granting(holder, asks, grant, text) if grant else way(holder, asks, text)

    wide = best(one(text) for text in strangers(holder, asks[0].action))
    if wide is not None and wide.certain:
        return _Reached(wide, (), ())
    actions = [ask.action for ask in asks]
    patterns = patterns_written(holder, actions)
    others: dict[str, Way] = {}
    own: dict[str, None] = {}
    for text in known_names(holder, actions):
        found = one(text)
        if found is None:
            continue
        where = next(
            (one for one, start, fixed in patterns if text.startswith(start) and globs.matches(fixed, text)), text
        )
        if made(text) and _begins_a_name(where):
            own[where] = None
        else:
            others.setdefault(where, found)
    return _Reached(wide, tuple((found, where) for where, found in others.items()), tuple(own))


def _begins_a_name(pattern: str) -> bool:
    """Tell whether a pattern fixes how a name or a path begins: else what it matches is nobody's own."""
    kind_and_name = re.split(r"[/:]", pattern.split(":", 5)[-1], maxsplit=1)
    return len(kind_and_name) > 1 and len(re.split(r"[*?]", kind_and_name[1], maxsplit=1)[0]) >= _SHORTEST_PREFIX


def _told(ids: Iterable[str], title: str, reached: _Reached, needs: str, things: str) -> Found:
    """Yield what follows from what is reached: a path, one that depends on what others made, or an assumption."""
    if reached.wide is not None:
        yield path(ids, title, reached.wide, needs=needs)
        if reached.wide.certain:
            return
    for found, where in reached.others:
        yield path(ids, title, found, needs=needs, depends=[f"whether {things} under {where} may do more"])
    for where in reached.own:
        yield f"all {things} under {where} are made by this holder, with nothing more than it may give them"


def _passed(method: PassingMethod, service: str, reached: _Reached, others: Sequence[Way]) -> Found:
    title = f"pass a role to {service} and work with its rights (iam:PassRole + {' + '.join(method.actions)})"

    def joined(one: Way) -> Way:
        allowing = dict.fromkeys((*one.allowing, *(s for other in others for s in other.allowing)))
        depends = dict.fromkeys((*one.depends, *(d for other in others for d in other.depends)))
        certain = one.certain and all(other.certain for other in others)
        return Way(certain, one.resource, tuple(allowing), tuple(depends))

    whole = _Reached(
        wide=joined(reached.wide) if reached.wide else None,
        others=tuple((joined(one), where) for one, where in reached.others),
        own=reached.own,
    )
    yield from _told((method.id,), title, whole, f"a role that may do more and trusts {service}", "roles")


def _somewhere(holder: Holder, ask: Ask) -> Way | None:
    """Return how a call may be made on any resource at all."""
    wide = best(way(holder, [ask], text) for text in strangers(holder, ask.action))
    if wide is not None and wide.certain:
        return wide
    return best((wide, *(way(holder, [ask], text) for text in known_names(holder, [ask.action]))))


def _makes_roles(holder: Holder, text: str) -> bool:
    return way(holder, [Ask(ROLE.create)], text) is not None


def _makes(holder: Holder, makers: Sequence[str], text: str) -> bool:
    return any(way(holder, [Ask(maker)], text) is not None for maker in makers)


def _nothing(_: str) -> bool:
    return False


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


def _plural(method: ExistingMethod) -> str:
    return method.thing.split(" ", 1)[-1].split(" with ")[0].split(" that ")[0] + "s"


def _stack_role(action: str) -> dict[str, tuple[str, ...]]:
    # The role itself is asked about with iam:PassRole; here it only counts that one is given.
    return (
        {_STACK_ROLE: (f"arn:aws:iam::999999999999:role/{STRANGER}",)} if action.startswith("cloudformation:") else {}
    )


@functools.cache
def _role_takers() -> dict[str, tuple[str, ...]]:
    """Return every action that takes a role, as far as the catalogue tells, by the service principal that gets it."""
    principals = {action.split(":")[0]: method.services[0] for method in PASSING for action in method.actions}
    found: dict[str, tuple[str, ...]] = {}
    for service in catalogue.services():
        takers = tuple(one.full for one in catalogue.actions(service) if "iam:PassRole" in one.dependent_actions)
        if takers:
            principal = principals.get(service, f"{service}.amazonaws.com")
            found[principal] = (*found.get(principal, ()), *takers)
    return found


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
