"""Services that work for the holder with a role's rights: roles that it passes, and things that are there and have one."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Final

from ci_user.policy import catalogue
from ci_user.policy.conditions import ABSENT
from ci_user.policy.escalation_model import path
from ci_user.policy.escalation_reach import Found, Reached, makes, makes_roles, reached, somewhere, told
from ci_user.policy.holder import STRANGER, Holder
from ci_user.policy.methods import EXISTING, PASSING, ExistingMethod, PassingMethod
from ci_user.policy.ways import Ask, Way, told_values

_SERVICE: Final = "iam:passedtoservice"
_REGION: Final = re.compile(r"\.[a-z]{2}(-[a-z]+)+-[0-9]+(?=\.)")
_STACK_ROLE: Final = "cloudformation:rolearn"


def passing(holder: Holder) -> Found:
    """Roles that it passes to a service."""
    found_there: dict[str, Reached] = {}
    # Without a condition on it, every service gets the same roles.
    told_apart = any(test.key == _SERVICE for one in holder.speaking(["iam:PassRole"]) for test in one.tests)
    named = told_values(holder, ["iam:PassRole"], _SERVICE)

    def passable(service: str) -> Reached:
        key = service if told_apart else ""
        if key not in found_there:
            # states.eu-west-1.amazonaws.com and states.amazonaws.com.cn are the same service.
            other = [one for one in named if _REGION.sub("", one).removesuffix(".cn") == service and one != service]
            found = [
                reached(holder, [Ask("iam:PassRole", {_SERVICE: (one,)})], functools.partial(makes_roles, holder))
                for one in (service, *(other if told_apart else ()))
            ]
            found_there[key] = next((one for one in found if one.beyond), found[0])
        return found_there[key]

    if not holder.allows("iam:PassRole"):
        return
    fired: set[str] = set()
    for method in PASSING:
        if not all(holder.allows(action) for action in method.actions):
            continue
        others = [somewhere(holder, Ask(action, _stack_role(action))) for action in method.actions]
        whole = [one for one in others if one is not None]
        if len(whole) < len(others):
            continue
        fired |= set(method.actions)
        for service in method.services:
            yield from _passed(method, service, passable(service), whole)
    if not reached(holder, [Ask("iam:PassRole")], functools.partial(makes_roles, holder)).beyond:
        return
    for service, actions in _role_takers().items():
        if not passable(service).beyond:
            continue
        more = [
            one for one in actions if one not in fired and somewhere(holder, Ask(one, _stack_role(one))) is not None
        ]
        if more:
            names = f"{', '.join(more[:5])}{f' and {len(more) - 5} more' if len(more) > 5 else ''}"
            title = f"pass a role to {service} (iam:PassRole, and {names})"
            doubt = ["whether these let the holder work with the role's rights"]
            yield path(
                ("PassRole",), title, passable(service).beyond[0], needs="a role that may do more", depends=doubt
            )


def existing(holder: Holder) -> Found:
    """Things that are there and have a role."""
    for method in EXISTING:
        if not all(holder.allows(action) for action in method.actions):
            continue
        first, *rest = [Ask(action, {_STACK_ROLE: ABSENT} if "Stack" in action else {}) for action in method.actions]
        if any(somewhere(holder, ask) is None for ask in rest):
            continue
        found_there = reached(holder, [first], functools.partial(makes, holder, method.makers))
        title = f"make {method.thing} that is there work for it ({' + '.join(method.actions)})"
        yield from told(
            (method.id,), title, found_there, f"{method.thing} with a role that may do more", _plural(method)
        )


def _passed(method: PassingMethod, service: str, found_there: Reached, others: Sequence[Way]) -> Found:
    title = f"pass a role to {service} and work with its rights (iam:PassRole + {' + '.join(method.actions)})"

    def joined(one: Way) -> Way:
        allowing = dict.fromkeys((*one.allowing, *(s for other in others for s in other.allowing)))
        depends = dict.fromkeys((*one.depends, *(d for other in others for d in other.depends)))
        certain = one.certain and all(other.certain for other in others)
        return Way(certain, one.resource, tuple(allowing), tuple(depends))

    whole = Reached(
        wide=joined(found_there.wide) if found_there.wide else None,
        others=tuple((joined(one), where) for one, where in found_there.others),
        own=found_there.own,
    )
    yield from told((method.id,), title, whole, f"a role that may do more and trusts {service}", "roles")


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
