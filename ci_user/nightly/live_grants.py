"""Which policy lets the CI user do what, by service and level: for the picture in the report. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from ci_user.nightly.model import Grant, Level
from ci_user.policy import catalogue
from ci_user.text import plain

if TYPE_CHECKING:
    from ci_user.policy.holder import Holder
    from ci_user.policy.statement import Statement

EVERY_SERVICE: Final = "*"

_LEVELS: Final[dict[str, Level]] = {
    "List": "list",
    "Read": "read",
    "Write": "write",
    "Tagging": "tagging",
    "Permissions management": "permissions",
}
_ORDER: Final = tuple(_LEVELS.values())


def grants(policy: str, attached_to: str, statements: Iterable[Statement], holder: Holder) -> tuple[Grant, ...]:
    """Return what one policy gives, as far as the boundary leaves room for it; by service.

    Args:
        policy: What to call the policy.
        attached_to: The user or the group that it hangs on.
        statements: Its statements.
        holder: The user with all of its policies and its boundary.
    """
    levels: dict[str, set[Level]] = {}
    everywhere: set[str] = set()
    for statement in statements:
        if not statement.allows:
            continue
        on_all = statement.resources is None or "*" in statement.resources
        for service, level in _given(statement, holder):
            levels.setdefault(service, set()).add(level)
            if on_all:
                everywhere.add(service)
    return tuple(
        Grant(
            policy=plain(policy, 300),
            holder=plain(attached_to, 200),
            service=service,
            levels=tuple(level for level in _ORDER if level in found),
            everywhere=service in everywhere,
        )
        for service, found in sorted(levels.items())
    )


def _given(statement: Statement, holder: Holder) -> Iterator[tuple[str, Level]]:
    for pattern in statement.actions or ("*",):
        if not pattern.partition(":")[0].strip("*"):
            # All services, one by one, would tell nobody anything; all but some is as good as all.
            yield from ((EVERY_SERVICE, level) for level in _ORDER)
            continue
        for action in catalogue.expand(pattern):
            level = _LEVELS.get(action.access_level)
            if level is not None and holder.allows(action.full):
                yield action.service, level
