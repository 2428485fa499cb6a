"""What one set of statements allows that another does not: an access diff, never silent about a change.

Where two patterns cannot be told apart by their text, both sides say so: a line too many is the price of none too few.
Actions are expanded through the catalogue only where old and new differ.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from ci_user.policy import catalogue, diff_words, globs
from ci_user.policy.lint_patterns import covers
from ci_user.policy.statement import Statement, Test

LINES: Final = 40
"""The most lines of each side that `AccessDiff.lines` returns."""


@dataclass(frozen=True)
class Actions:
    """One pattern of actions, or all but some.

    Args:
        pattern: In lower case; None for a ``NotAction``.
        but: The patterns of the ``NotAction``.
    """

    pattern: str | None
    but: tuple[str, ...] = ()


@dataclass(frozen=True)
class Resources:
    """One pattern of resources, or all but some; as `Actions`."""

    pattern: str | None
    but: tuple[str, ...] = ()


@dataclass(frozen=True)
class Change:
    """Access that one side has and the other does not.

    Args:
        actions: To what; several when they share all the rest.
        resources: On what; likewise.
        tests: Under which condition.
        denial: Whether it is a denial that came or went, rather than a permission.
        differing: Which of the actions that the catalogue knows differ, by full name; the others are as before. Empty
            when it knows none of those that differ: later ones will.
    """

    actions: tuple[Actions, ...]
    resources: tuple[Resources, ...]
    tests: tuple[Test, ...]
    denial: bool
    differing: tuple[str, ...]


@dataclass(frozen=True)
class AccessDiff:
    """What is newly allowed and what no longer is.

    Args:
        gained: Permissions that came and denials that went.
        lost: Permissions that went and denials that came.
    """

    gained: tuple[Change, ...]
    lost: tuple[Change, ...]

    def __bool__(self) -> bool:
        return bool(self.gained or self.lost)

    def lines(self, most: int = LINES) -> tuple[str, ...]:
        """Return it in words, safe to print: ``+ s3:DeleteBucket on arn:aws:s3:::shop-*``.

        Args:
            most: The most lines of each side; what is left out is counted.
        """
        found: list[str] = []
        for sign, changes in (("+", self.gained), ("-", self.lost)):
            found += [diff_words.line(sign, one) for one in changes[:most]]
            if len(changes) > most:
                found.append(f"{sign} and {len(changes) - most} more")
        return tuple(found)


def diff(old: Sequence[Statement], new: Sequence[Statement]) -> AccessDiff:
    """Compare what two sets of statements allow.

    Order, splitting, merging, repetition and wildcards that cover other patterns make no difference. Conditions are compared
    as sets of tests: one that has all tests of another, or the same with fewer alternatives, is the narrower one.

    Args:
        old: All statements of a holder, as they are.
        new: All of them, as they will be.
    """
    before, after = _Side.of(old), _Side.of(new)
    return AccessDiff(
        gained=(*_beyond(after.allows, before.allows, after.denials), *_beyond(before.denials, after.denials, ())),
        lost=(*_beyond(before.allows, after.allows, before.denials), *_beyond(after.denials, before.denials, ())),
    )


@dataclass(frozen=True)
class _Rule:
    """A statement, prepared for comparison."""

    allows: bool
    actions: tuple[Actions, ...]
    resources: tuple[Resources, ...]
    tests: frozenset[Test]
    exact: frozenset[str] = field(compare=False)
    wild: tuple[str, ...] = field(compare=False)

    @classmethod
    def of(cls, statement: Statement) -> _Rule:
        patterns = tuple(dict.fromkeys(statement.actions or ()))
        actions = tuple(Actions(one) for one in patterns)
        resources = tuple(Resources(one) for one in dict.fromkeys(statement.resources or ()))
        if statement.not_actions is not None:
            actions = (Actions(None, tuple(sorted(set(statement.not_actions)))),)
        if statement.not_resources is not None:
            resources = (Resources(None, tuple(sorted(set(statement.not_resources)))),)
        wild = tuple(one for one in patterns if _is_wild(one))
        return cls(
            statement.allows,
            actions,
            resources,
            frozenset(replace(test, values=tuple(sorted(set(test.values)))) for test in statement.tests),
            frozenset(patterns) - frozenset(wild),
            wild,
        )

    @functools.cached_property
    def known(self) -> frozenset[str]:
        """Return the full names of the catalogue's actions that are meant."""
        return frozenset(name for one in self.actions for name in _known(one))

    def covers_actions(self, other: Actions) -> bool:
        """Tell whether whatever `other` means is meant here too, as far as the text of the patterns shows it."""
        but = self.actions[0].but
        if other.pattern is None:
            if self.actions[0].pattern is not None:
                return "*" in self.wild
            return all(any(covers(narrow, one) for narrow in other.but) for one in but)
        if self.actions[0].pattern is None:
            return not any(_meet(one, other.pattern) for one in but)
        return other.pattern in self.exact or any(covers(one, other.pattern) for one in self.wild)

    def covers_resources(self, other: Resources) -> bool:
        """Tell the same of resources."""
        first = self.resources[0]
        if other.pattern is None:
            if first.pattern is not None:
                return any(one.pattern == "*" for one in self.resources)
            return all(any(covers(narrow, one) for narrow in other.but) for one in first.but)
        if first.pattern is None:
            return not any(_meet(one, other.pattern) for one in first.but)
        return any(covers(one.pattern or "", other.pattern) for one in self.resources)


@dataclass(frozen=True)
class _Side:
    allows: tuple[_Rule, ...]
    denials: tuple[_Rule, ...]

    @classmethod
    def of(cls, statements: Iterable[Statement]) -> _Side:
        rules = tuple(dict.fromkeys(_Rule.of(one) for one in statements))
        return cls(tuple(one for one in rules if one.allows), tuple(one for one in rules if not one.allows))


def _beyond(these: Sequence[_Rule], those: Sequence[_Rule], denials: Sequence[_Rule]) -> Iterator[Change]:
    """Return what `these` say and `those` do not; without what `denials` take away again in any case."""
    same = frozenset(those)
    unconditional = [one for one in denials if not one.tests]
    found = [
        change
        for rule in these
        if rule not in same
        for change in _uncovered(rule, [one for one in those if _is_wider(one.tests, rule.tests)], unconditional)
    ]
    return _grouped(found)


def _uncovered(rule: _Rule, wider: Sequence[_Rule], denials: Sequence[_Rule]) -> Iterator[Change]:
    others = (*wider, *denials)
    about = {one: tuple(other for other in others if other.covers_resources(one)) for one in rule.resources}

    @functools.cache
    def differing(actions: Actions, which: tuple[_Rule, ...]) -> tuple[str, ...] | None:
        if any(one.covers_actions(actions) for one in which):
            return None
        covered = frozenset[str]().union(*(one.known for one in which))
        return tuple(name for name in _known(actions) if name not in covered)

    tests = tuple(sorted(rule.tests, key=str))
    for actions in rule.actions:
        for resources in _fitting(actions, rule.resources):
            names = differing(actions, about[resources])
            if names is not None:
                yield Change((actions,), (resources,), tests, not rule.allows, names)


def _fitting(actions: Actions, resources: tuple[Resources, ...]) -> tuple[Resources, ...]:
    """Return the resources that are not plainly another service's, when some are not: a statement may be about several.

    Told by the service in the ARN; all when none fits, since then the catalogue may not know better.
    """
    if actions.pattern is None or len(resources) == 1:
        return resources
    services = _services(actions.pattern)
    if services is None:
        return resources
    fitting = tuple(one for one in resources if one.pattern is None or _vendor(one.pattern) in (None, *services))
    return fitting or resources


@functools.lru_cache(maxsize=4_096)
def _services(pattern: str) -> frozenset[str] | None:
    """Return the services whose ARNs a pattern's actions work on; None when one may work on any, or is not known."""
    found = catalogue.expand(pattern)
    arns = {arn for one in found for kind in one.resource_types for arn in catalogue.arn_patterns(one.service, kind)}
    named = {arn.split(":", 3)[2] for arn in arns} | {one.service for one in found}
    return None if not found or "*" in named else frozenset(named)


def _vendor(arn: str) -> str | None:
    parts = arn.split(":", 3)
    return None if len(parts) < 4 or _is_wild(parts[2]) or "${" in parts[2] else parts[2]


@functools.lru_cache(maxsize=512)
def _known(actions: Actions) -> tuple[str, ...]:
    """Return the full names of the catalogue's actions that are meant."""
    if actions.pattern is not None:
        return tuple(one.full for one in catalogue.expand(actions.pattern))
    barred = {one.full for pattern in actions.but for one in catalogue.expand(pattern)}
    return tuple(one.full for one in catalogue.expand("*") if one.full not in barred)


def _grouped(changes: Iterable[Change]) -> Iterator[Change]:
    """Put together what differs in its resources only, then, service by service, what differs in its actions only."""
    by_resources = _merged(
        changes,
        key=lambda one: (one.actions, one.tests, one.denial, one.differing),
        merge=lambda one, other: replace(one, resources=tuple(dict.fromkeys((*one.resources, *other.resources)))),
    )
    by_actions = _merged(
        by_resources,
        key=lambda one: (_kind(one), one.resources, one.tests, one.denial),
        merge=lambda one, other: replace(
            one,
            actions=tuple(dict.fromkeys((*one.actions, *other.actions))),
            differing=tuple(dict.fromkeys((*one.differing, *other.differing))),
        ),
    )
    return iter(by_actions)


def _merged(
    changes: Iterable[Change], key: Callable[[Change], object], merge: Callable[[Change, Change], Change]
) -> list[Change]:
    found: dict[object, Change] = {}
    for one in changes:
        place = key(one)
        found[place] = merge(found[place], one) if place in found else one
    return list(found.values())


def _kind(change: Change) -> object:
    """Return what changes must share to stand in one line: the service, and that all, or none, of what is known differs."""
    (actions,) = change.actions
    if actions.pattern is None or 0 < len(change.differing) < len(_known(actions)):
        return actions
    unknown_only = not change.differing and _is_wild(actions.pattern)
    return actions.pattern.partition(":")[0], unknown_only


def _is_wider(wide: frozenset[Test], narrow: frozenset[Test]) -> bool:
    """Tell whether one condition holds whenever the other does, as far as their tests show it."""
    return all(any(_follows(one, other) for other in narrow) for one in wide)


def _follows(wide: Test, narrow: Test) -> bool:
    same = (wide.operator, wide.quantifier, wide.key) == (narrow.operator, narrow.quantifier, narrow.key)
    if not same or (narrow.if_exists and not wide.if_exists):
        return False
    if wide.operator == "Null":
        return set(wide.values) == set(narrow.values)
    if "Not" in wide.operator:
        return set(wide.values) <= set(narrow.values)
    return set(narrow.values) <= set(wide.values)


def _is_wild(text: str) -> bool:
    return "*" in text or "?" in text


def _meet(one: str, other: str) -> bool:
    return globs.meet(globs.glob(diff_words.without_variables(one)), globs.glob(diff_words.without_variables(other)))
