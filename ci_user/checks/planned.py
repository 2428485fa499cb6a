"""The CI user as a plan will leave it: its policies, its boundary, what is known of it."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING

from ci_user.checks.attachments import ARN_ATTRIBUTES, DOCUMENT_TYPES, attached_arns, is_boundary, policy_arn
from ci_user.checks.protocol import CheckContext
from ci_user.plan_model import Plan, Resource
from ci_user.policy.documents import canonical
from ci_user.policy.statement import UnreadableStatementError, parse

if TYPE_CHECKING:
    from ci_user.policy.escalation_model import Escalation
    from ci_user.policy.holder import Holder
    from ci_user.policy.statement import Statement

Documents = tuple[tuple[str, str], ...]
"""Policy documents as JSON, each with what to call it."""


def planned_documents(plan: Plan, context: CheckContext) -> Documents:
    """Return every document that will give the CI user rights: of the plan, and of the existing policies it attaches.

    Raises:
        UnreadableStatementError: One is not known: then nobody can say what the user may do.
    """
    found: dict[str, str] = {}
    own = set()
    for resource in plan.managed:
        if resource.type in DOCUMENT_TYPES and not is_boundary(resource, context):
            own.add(policy_arn(resource, context))
            found[_name(resource)] = _text(resource.values.get("policy"), resource.address)
    contents = dict(context.contents)
    for resource in plan.managed:
        for arn in (attached_arns(resource) or ()) if resource.type in ARN_ATTRIBUTES else ():
            if arn not in own:
                found[arn] = _text(contents.get(arn), arn)
    return tuple(sorted(found.items()))


def holder(documents: Documents, context: CheckContext) -> Holder:
    """Return the CI user with these documents, under its boundary.

    Raises:
        UnreadableStatementError: A document is not shaped like a policy.
    """
    from ci_user.policy.holder import Holder

    identity: tuple[Statement, ...] = ()
    for name, text in documents:
        identity += parse(text, name)
    start = f"arn:{context.partition}:iam::{context.account_id}:"
    return Holder(
        identity=identity,
        boundary=parse(context.boundary_document, "the boundary"),
        arn=f"{start}user/{context.user_name}",
        long_term_keys=True,
        policy_arns=tuple(name if name.startswith("arn:") else f"{start}policy/{name}" for name, _ in documents),
        boundary_arn=context.boundary_arn,
        groups=(context.group_name,),
        contents={
            f"{start}policy/{context.role_boundary_name}": parse(context.role_boundary_document, "the role boundary")
        },
    )


@functools.lru_cache(maxsize=8)
def judged(documents: Documents, context: CheckContext) -> Escalation:
    """Return whether the CI user with these documents can become more than it is.

    Raises:
        UnreadableStatementError: A document is not shaped like a policy.
    """
    from ci_user.policy.escalation import escalation

    return escalation(holder(documents, context))


def _text(document: object, name: str) -> str:
    if not isinstance(document, str):
        raise UnreadableStatementError(f"what {name} allows is not known")
    try:
        # Terraform writes documents in an order of its own: so the same document is judged once.
        return canonical(json.loads(document))
    except (ValueError, RecursionError, AttributeError):
        return document


def _name(resource: Resource) -> str:
    name = resource.values.get("name")
    return name if isinstance(name, str) and name else resource.address
