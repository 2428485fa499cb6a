"""Is there any request by which a holder may do something? On which resource, with which condition keys?

The search is exact for what policies can tell apart: for each resource and each key it tries one text of every kind that the
patterns of the statements distinguish. What nothing here can tell, such as an address that a caller has, stays unknown.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ci_user.policy import catalogue, globs
from ci_user.policy.conditions import Context, Values, pattern
from ci_user.policy.evaluate import Decision, Request, decide
from ci_user.policy.holder import STRANGER, Holder
from ci_user.policy.statement import Statement, Test

COMBINATIONS_AT_MOST: Final = 3_000
_PLACEHOLDER: Final = re.compile(r"\*+")


@dataclass(frozen=True)
class Ask:
    """One call of a way.

    Args:
        action: ``iam:CreateRole``.
        given: What this call's condition keys certainly are, by key in lower case.
    """

    action: str
    given: Mapping[str, Values] = field(default_factory=dict)


@dataclass(frozen=True)
class Way:
    """That a holder may make some calls on one resource.

    Args:
        certain: False when that depends on something unknown.
        resource: The resource of every call.
        allowing: The statements that allow them, or may.
        depends: What it depends on, in words, when it is not certain.
    """

    certain: bool
    resource: str
    allowing: tuple[Statement, ...]
    depends: tuple[str, ...] = ()


def best(ways: Iterable[Way | None]) -> Way | None:
    """Return the first certain way, else the first at all, else None."""
    doubtful: Way | None = None
    for way in ways:
        if way is not None and way.certain:
            return way
        doubtful = doubtful or way
    return doubtful


def way(holder: Holder, asks: Sequence[Ask], resource: str) -> Way | None:
    """Return whether all of the calls may be made on one resource, with condition keys that fit together; None when not."""
    decisions = []
    for ask in asks:
        decisions.append(_decided(holder, ask, resource, {}))
        if decisions[-1].allowed is False:
            return None
    if all(one.allowed for one in decisions):
        return _found(True, resource, decisions, ())
    spaces = _spaces(holder, asks)
    if math.prod(len(values) for values in spaces.values()) > COMBINATIONS_AT_MOST:
        return _found(False, resource, decisions, ("more combinations of conditions than can be tried",))
    doubtful: Way | None = None
    for values in itertools.product(*spaces.values()):
        tried = dict(zip(spaces, values, strict=True))
        decisions = [_decided(holder, ask, resource, tried) for ask in asks]
        if all(one.allowed for one in decisions):
            return _found(True, resource, decisions, ())
        if doubtful is None and all(one.allowed is not False for one in decisions):
            unknown = [key for key, value in tried.items() if value is None]
            doubtful = _found(False, resource, decisions, tuple(unknown or _unresolved(decisions)))
    return doubtful


def strangers(holder: Holder, action: str) -> tuple[str, ...]:
    """Return resources of the kind that an action works on, with a name that no policy has in mind, in each region told apart."""
    return named(holder, action, STRANGER)


def named(holder: Holder, action: str, name: str, kinds: Sequence[str] = ()) -> tuple[str, ...]:
    """Return resources of the kinds, or of those that an action works on, all of one name, in each region told apart.

    None for an action that nothing allows: what is asked about first is what has to be allowed.
    """
    if not holder.allows(action):
        return ()
    return tuple(
        text
        for universe in _universes(holder, action, name, kinds)
        for text in globs.witnesses(universe, _resource_globs(holder, (action,)))
    )


def known_names(holder: Holder, actions: Sequence[str]) -> tuple[str, ...]:
    """Return resources of the kind that the first action works on: one for each kind of name that the statements tell apart.

    Raises:
        TangledPatternsError: There are too many to list.
    """
    if not holder.allows(actions[0]):
        return ()
    told = _resource_globs(holder, actions)
    return tuple(
        text
        for universe in _universes(holder, actions[0], globs.NAME)
        for text in globs.witnesses(universe, told)
        if STRANGER not in text
    )


def patterns_written(holder: Holder, actions: Sequence[str]) -> list[tuple[str, str, str]]:
    """Return how the statements about some actions write what they let through, with its beginning and glob, narrowest first."""
    found: dict[str, tuple[str, str, str]] = {}
    for statement in holder.speaking(actions):
        if (statement.resources is not None) is statement.allows:
            found |= {
                one: (one, start, fixed) for start, fixed, one in statement.resource_patterns if fixed is not None
            }
    return sorted(found.values(), key=lambda one: -len(one[0].rstrip("*")))


def told_values(
    holder: Holder, actions: Sequence[str], key: str, universe: str = globs.STAR, makers: Sequence[str] = ()
) -> tuple[str, ...]:
    """Return the values of a key that the statements about some actions tell apart.

    Args:
        holder: Whose statements.
        actions: What they speak of.
        key: The key, in lower case.
        universe: A glob that the values match.
        makers: Actions on what the values name; the resources that their statements tell apart are told apart too.
    """
    tests = [test for statement in holder.speaking(actions) for test in statement.tests if test.key == key]
    return _texts(holder, tests, universe, _resource_globs(holder, makers) if makers else ())


def _decided(holder: Holder, ask: Ask, resource: str, tried: Mapping[str, Values | None]) -> Decision:
    values = {
        key: value if catalogue.knows_key(ask.action, key) else holder.unlisted(key, value)
        for key, value in {**tried, **ask.given}.items()
    }
    context = holder.context(values)
    return decide(*holder.deciding(ask.action, resource), Request(ask.action, resource, context))


def _found(certain: bool, resource: str, decisions: Sequence[Decision], depends: tuple[str, ...]) -> Way:
    allowing = dict.fromkeys(one for decision in decisions for one in decision.allowing)
    return Way(certain, resource, tuple(allowing), depends)


def _unresolved(decisions: Sequence[Decision]) -> tuple[str, ...]:
    found = (one.where for decision in decisions for one in (*decision.allowing, *decision.denying))
    return tuple(f"the policy variables of {where}" for where in dict.fromkeys(found))


def _spaces(holder: Holder, asks: Sequence[Ask]) -> dict[str, tuple[Values | None, ...]]:
    """Return, for each key that the decisions may hang on, what the requests may carry for it."""
    tests: dict[str, list[Test]] = {}
    for statement in holder.speaking([ask.action for ask in asks]):
        for test in statement.tests:
            tests.setdefault(test.key, []).append(test)
    spaces: dict[str, tuple[Values | None, ...]] = {}
    for key, about in tests.items():
        if key in holder.known or all(key in ask.given for ask in asks):
            continue
        told = _texts(holder, about)
        # What the others carry follows from it, see _decided.
        knowing = [ask for ask in asks if catalogue.knows_key(ask.action, key)] or asks
        candidates = dict.fromkeys(value for ask in knowing for value in holder.candidates(ask.action, key, told))
        spaces[key] = tuple(candidates)
    return spaces


def _texts(
    holder: Holder, tests: Sequence[Test], universe: str = globs.STAR, more: Sequence[str] = ()
) -> tuple[str, ...]:
    """Return one text of each kind that the tests tell apart; of moments and numbers, those that they name."""
    context = holder.context({})
    patterns, plain = list(more), []
    for test in tests:
        for value in test.values:
            try:
                filled = pattern(value, context)
            except LookupError:
                continue
            if filled is None:
                continue
            if test.operator.startswith(("Date", "Numeric")):
                plain.append(value)
            elif test.operator.endswith("Like") or test.operator.startswith("Arn"):
                patterns.append(filled)
            elif test.operator.startswith(("String", "Bool")):
                patterns.append(value if "${" not in value else filled)
    # An empty text is none that a request carries: a stranger stands for it.
    found = (text or STRANGER for text in globs.witnesses(universe, patterns))
    return tuple(dict.fromkeys((*found, *plain)))


def _resource_globs(holder: Holder, actions: Sequence[str]) -> tuple[str, ...]:
    context: Context = holder.context({})
    found: dict[str, None] = {}
    for statement in holder.speaking(actions):
        for text in statement.resources or statement.not_resources or ():
            try:
                filled = pattern(text, context)
            except LookupError:
                continue
            if filled is not None:
                found[filled] = None
    return tuple(found)


def _universes(holder: Holder, action: str, name: str, kinds: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the ARNs that an action works on as globs, with ``name`` for every part that is a name."""
    known = catalogue.action(action)
    service = action.split(":", 1)[0].lower()
    if known is None:
        return (globs.STAR,) if name == globs.NAME else (f"arn:{holder.partition}:{service}:{globs.WORD}:{name}",)
    kinds = kinds or known.required_resource_types or known.resource_types
    patterns = [arn for kind in kinds for arn in catalogue.arn_patterns(known.service, kind)]
    return tuple(dict.fromkeys(_universe(holder, arn, name) for arn in patterns)) or ("*",)


def _universe(holder: Holder, arn: str, name: str) -> str:
    parts = arn.split(":", 5)
    if len(parts) < 6:
        return _PLACEHOLDER.sub(name, arn)
    partition, region, account = parts[1], parts[3], parts[4]
    head = [
        "arn",
        holder.partition if partition == "*" else partition,
        parts[2],
        globs.WORD if region == "*" else region,
        holder.account if account == "*" else account,
    ]
    return ":".join((*head, _PLACEHOLDER.sub(name, parts[5])))
