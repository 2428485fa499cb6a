"""IAM's decision over one request: identity policies, a permissions boundary, and what is known of the request.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ci_user.policy import globs
from ci_user.policy.conditions import NOTHING, Context, holds, pattern
from ci_user.policy.statement import Statement
from ci_user.policy.three import Maybe, both, negation


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
    action = request.action
    return decide(
        [one for one in identity if speaks_of(one, action)],
        None if boundary is None else [one for one in boundary if speaks_of(one, action)],
        request,
    )


def decide(identity: Sequence[Statement], boundary: Sequence[Statement] | None, request: Request) -> Decision:
    """Return the decision as `evaluate` does, over statements that all speak of the request's action."""
    allowing: list[Statement] = []
    denying: list[Statement] = []
    granted: Maybe = False
    bounded: Maybe = boundary is None
    denied: Maybe = False
    for own, statements in ((True, identity), (False, boundary or ())):
        for one in statements:
            found = _applies(one, request)
            if found is False:
                continue
            if not one.allows:
                denying.append(one)
                denied = denied or found
            elif own:
                allowing.append(one)
                granted = granted or found
            else:
                bounded = bounded or found
    return Decision(both((granted, bounded, negation(denied))), tuple(allowing), tuple(denying))


def applies(statement: Statement, request: Request) -> Maybe:
    """Tell whether a statement speaks of a request; None when that depends on what is not known."""
    return _applies(statement, request) if speaks_of(statement, request.action) else False


def speaks_of(statement: Statement, action: str) -> bool:
    """Tell whether a statement speaks of an action at all."""
    action = action.lower()
    if statement.actions is not None:
        return any(globs.matches(globs.glob(one), action) for one in statement.actions)
    return not any(globs.matches(globs.glob(one), action) for one in statement.not_actions or ())


def _applies(statement: Statement, request: Request) -> Maybe:
    negated = statement.resources is None
    found = _resource(statement, request)
    if found is negated:
        return False
    for test in statement.tests:
        held = holds(test, request.context)
        if held is False:
            return False
        found = None if held is None or found is None else found
    return None if found is None else True


def _resource(statement: Statement, request: Request) -> Maybe:
    """Tell whether one of a statement's patterns matches the resource, be they of Resource or of NotResource."""
    text = request.resource
    known: Maybe = False
    for start, fixed, written in statement.resource_patterns:
        if fixed is not None:
            if text.startswith(start) and globs.matches(fixed, text):
                return True
            continue
        try:
            filled = pattern(written, request.context)
        except LookupError:
            continue
        if filled is None:
            known = None
        elif globs.matches(filled, text):
            return True
    return known
