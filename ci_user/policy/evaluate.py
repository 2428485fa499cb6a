"""IAM's decision over one request: identity policies, a permissions boundary, and what is known of the request.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ci_user.policy import globs
from ci_user.policy.conditions import NOTHING, Context, holds, pattern
from ci_user.policy.statement import Statement
from ci_user.policy.three import Maybe, both, either, negation


@dataclass(frozen=True)
class Request:
    """One call.

    Args:
        action: ``iam:CreateRole``; its case does not matter.
        resource: The resource's ARN; ``*`` for an action that knows no resource.
        context: The condition keys.
    """

    action: str
    resource: str
    context: Context = NOTHING


@dataclass(frozen=True)
class Decision:
    """What IAM answers.

    Args:
        allowed: None when that depends on what is not known of the request.
        allowing: The statements of the identity's policies that allow it, or may.
        denying: The statements that deny it, or may.
    """

    allowed: Maybe
    allowing: tuple[Statement, ...]
    denying: tuple[Statement, ...]


def evaluate(identity: Sequence[Statement], boundary: Sequence[Statement] | None, request: Request) -> Decision:
    """Return the decision: what both the policies and the boundary allow, and neither denies.

    Args:
        identity: The statements of all of the identity's policies.
        boundary: Those of its permissions boundary; None when it has none.
        request: The call.
    """
    every = identity if boundary is None else (*identity, *boundary)
    denials = [(one, applies(one, request)) for one in every if not one.allows]
    denied = either(found for _, found in denials)
    grants = [(one, applies(one, request)) for one in identity if one.allows]
    granted = either(found for _, found in grants)
    bounded: Maybe = True
    if boundary is not None:
        bounded = either(applies(one, request) for one in boundary if one.allows)
    return Decision(
        both((granted, bounded, negation(denied))),
        tuple(one for one, found in grants if found is not False),
        tuple(one for one, found in denials if found is not False),
    )


def applies(statement: Statement, request: Request) -> Maybe:
    """Tell whether a statement speaks of a request; None when that depends on what is not known."""
    if not speaks_of(statement, request.action):
        return False
    return both(_of(statement, request))


def speaks_of(statement: Statement, action: str) -> bool:
    """Tell whether a statement speaks of an action at all."""
    action = action.lower()
    if statement.actions is not None:
        return any(globs.matches(globs.glob(one), action) for one in statement.actions)
    return not any(globs.matches(globs.glob(one), action) for one in statement.not_actions or ())


def _of(statement: Statement, request: Request) -> Iterable[Maybe]:
    if statement.resources is not None:
        yield _resource(statement.resources, request)
    else:
        yield negation(_resource(statement.not_resources or (), request))
    for test in statement.tests:
        yield holds(test, request.context)


def _resource(patterns: Sequence[str], request: Request) -> Maybe:
    return either(_matches(one, request) for one in patterns)


def _matches(text: str, request: Request) -> Maybe:
    try:
        found = pattern(text, request.context)
    except LookupError:
        return False
    return None if found is None else globs.matches(found, request.resource)
