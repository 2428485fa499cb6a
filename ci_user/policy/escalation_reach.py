"""What calls reach: anything there is, what others made, or only what the holder could have made itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from ci_user.policy import globs
from ci_user.policy.escalation_model import Path, path
from ci_user.policy.escalation_principals import ROLE, granting
from ci_user.policy.holder import Holder
from ci_user.policy.ways import Ask, Way, best, known_names, patterns_written, strangers, way

Found = Iterator[Path | str]
"""Paths, and as strings what is taken for granted."""

_SHORTEST_PREFIX: Final = 3


@dataclass(frozen=True)
class Reached:
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


def reached(holder: Holder, asks: Sequence[Ask], made: Callable[[str], bool], *, grant: str | None = None) -> Reached:
    """Return what some calls on one resource reach.

    Args:
        holder: Who calls.
        asks: The calls.
        made: Tells whether the holder could have made a thing of this name itself.
        grant: The one of the calls that gives rights, if one does (see `granting`).

    Raises:
        TangledPatternsError: There are too many kinds of names to list.
    """

    def one(text: str) -> Way | None:
        return granting(holder, asks, grant, text) if grant else way(holder, asks, text)

    wide = best(one(text) for text in strangers(holder, asks[0].action))
    if wide is not None and wide.certain:
        return Reached(wide, (), ())
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
    return Reached(wide, tuple((found, where) for where, found in others.items()), tuple(own))


def _begins_a_name(pattern: str) -> bool:
    """Tell whether a pattern fixes how a name or a path begins: else what it matches is nobody's own."""
    kind_and_name = re.split(r"[/:]", pattern.split(":", 5)[-1], maxsplit=1)
    return len(kind_and_name) > 1 and len(re.split(r"[*?]", kind_and_name[1], maxsplit=1)[0]) >= _SHORTEST_PREFIX


def told(ids: Iterable[str], title: str, found_there: Reached, needs: str, things: str) -> Found:
    """Yield what follows from what is found_there: a path, one that depends on what others made, or an assumption."""
    if found_there.wide is not None:
        yield path(ids, title, found_there.wide, needs=needs)
        if found_there.wide.certain:
            return
    for found, where in found_there.others:
        yield path(ids, title, found, needs=needs, depends=[f"whether {things} under {where} may do more"])
    for where in found_there.own:
        yield f"all {things} under {where} are made by this holder, with nothing more than it may give them"


def somewhere(holder: Holder, ask: Ask) -> Way | None:
    """Return how a call may be made on any resource at all."""
    wide = best(way(holder, [ask], text) for text in strangers(holder, ask.action))
    if wide is not None and wide.certain:
        return wide
    return best((wide, *(way(holder, [ask], text) for text in known_names(holder, [ask.action]))))


def makes_roles(holder: Holder, text: str) -> bool:
    """Tell whether the holder may make a role of this ARN, within whatever boundary."""
    return way(holder, [Ask(ROLE.create)], text) is not None


def makes(holder: Holder, makers: Sequence[str], text: str) -> bool:
    """Tell whether the holder may make a thing of this ARN by one of some actions."""
    return any(way(holder, [Ask(maker)], text) is not None for maker in makers)


def makes_nothing(_: str) -> bool:
    """Tell that a thing was made by somebody else."""
    return False
