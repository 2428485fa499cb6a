"""CIUSER_10 and CIUSER_11: the CI user reaches no state, no lease, no CI key, and no other environment."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from ci_user.checks.planned import Documents, holder, judged, planned_documents
from ci_user.checks.protocol import CheckContext
from ci_user.plan_model import Plan, Resource
from ci_user.policy.reach import Belonging, Touch, reach, summary
from ci_user.policy.statement import UnreadableStatementError


class NothingGuarded:
    """Who reads the state or a key in its stage has what the tool is there to protect."""

    id = "CIUSER_10"
    name = "The CI user reaches no state, no lease and no CI key"
    resource_types = frozenset({"aws_iam_user"})
    never_acceptable = True
    fix = "leave the boundary to the tool, which denies all of it"

    def evaluate(self, resource: Resource, plan: Plan, context: CheckContext) -> str | None:
        """Tell what is reached, certainly or perhaps."""
        belongings = tuple(Belonging(owner, arns) for owner, arns in context.guarded if arns)
        return _reached(resource, plan, context, belongings, doubtful=True)


class OnlyOwnEnvironment:
    """Staging must not reach production."""

    id = "CIUSER_11"
    name = "The CI user reaches no other environment of its account"
    resource_types = frozenset({"aws_iam_user"})
    never_acceptable = False
    fix = "name the resources by the environment's prefix, or accept this with a reason"

    def evaluate(self, resource: Resource, plan: Plan, context: CheckContext) -> str | None:
        """Tell what is reached for certain, to write or to read what somebody keeps."""
        belongings = tuple(Belonging(f"the environment {name}", (), prefix) for name, prefix in context.neighbours)
        return _reached(resource, plan, context, belongings, doubtful=False)


def _reached(
    resource: Resource, plan: Plan, context: CheckContext, belongings: tuple[Belonging, ...], *, doubtful: bool
) -> str | None:
    if resource.mode == "data" or resource.values.get("name") != context.user_name or not belongings:
        return None
    try:
        documents = planned_documents(plan, context)
        if judged(documents, context).verdict == "escalates":
            return None  # CIUSER_8 says so, and who becomes more reaches everything
        found = _touches(documents, context, belongings)
    except UnreadableStatementError:
        return None  # CIUSER_9 says so
    told = [touch for touch in found if touch.harmful and (doubtful or not touch.depends)]
    return _in_words(told)


@functools.lru_cache(maxsize=8)
def _touches(documents: Documents, context: CheckContext, belongings: tuple[Belonging, ...]) -> tuple[Touch, ...]:
    return reach(holder(documents, context), belongings)


def _in_words(touches: Sequence[Touch]) -> str | None:
    lines = summary(touches)
    if not lines:
        return None
    return "; ".join(lines[:4]) + (f"; and {len(lines) - 4} more" if len(lines) > 4 else "")
