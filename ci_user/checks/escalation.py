"""CIUSER_8 and CIUSER_9: the CI user cannot become more than it is, and that could be decided."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ci_user.checks.planned import judged, planned_documents
from ci_user.checks.protocol import CheckContext
from ci_user.plan_model import Plan, Resource
from ci_user.policy.statement import UnreadableStatementError

if TYPE_CHECKING:
    from ci_user.policy.escalation_model import Path

_FIX = "`invoke policy.show --env NAME` has the documents, `invoke policy.escalation` every path and its statements"


class NoEscalation:
    """Its policies united, intersected with its boundary, and what it may do with them."""

    id = "CIUSER_8"
    name = "The CI user cannot become more than it is"
    resource_types = frozenset({"aws_iam_user"})
    never_acceptable = True
    fix = f"narrow the statements; {_FIX}"

    def evaluate(self, resource: Resource, plan: Plan, context: CheckContext) -> str | None:
        """Tell each path that is open."""
        if not _concerns(resource, context):
            return None
        try:
            found = judged(planned_documents(plan, context), context)
        except UnreadableStatementError:
            return None  # CIUSER_9 says so
        return in_words(found.paths)


class EscalationDecided:
    """What hangs on something that no document tells is not safe."""

    id = "CIUSER_9"
    name = "Whether the CI user can become more than it is could be decided"
    resource_types = frozenset({"aws_iam_user"})
    never_acceptable = False
    fix = f"write the statements without what they depend on, or accept this with a reason; {_FIX}"

    def evaluate(self, resource: Resource, plan: Plan, context: CheckContext) -> str | None:
        """Tell each path that could not be decided; a document that is not known decides nothing."""
        if not _concerns(resource, context):
            return None
        try:
            found = judged(planned_documents(plan, context), context)
        except UnreadableStatementError as error:
            return str(error)
        return in_words(found.unknown)


def in_words(paths: Sequence[Path]) -> str | None:
    """Return the first paths in one line; None when there is none."""
    if not paths:
        return None
    told = []
    for one in paths[:3]:
        depends = f", depending on {'; '.join(one.depends)}" if one.depends else ""
        told.append(f"{one.title}{depends} (by {'; '.join(one.statements[:3])})")
    more = f"; and {len(paths) - 3} more" if len(paths) > 3 else ""
    return f"{'; '.join(told)}{more}"


def _concerns(resource: Resource, context: CheckContext) -> bool:
    return resource.mode == "managed" and resource.values.get("name") == context.user_name
