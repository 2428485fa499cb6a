"""CIUSER_1: no administrator, by name or by effect."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Final

from ci_user.checks.attachments import (
    ARN_ATTRIBUTES,
    DOCUMENT_TYPES,
    attached_arns,
    is_attached,
    is_boundary,
)
from ci_user.checks.documents import Statement, UnreadableDocumentError, statements
from ci_user.checks.protocol import CheckContext
from ci_user.environment_policies import ADMINISTRATORS
from ci_user.plan_model import Plan, Resource

# Drawn anew each time, so that no document can leave out just the names that are asked about.
_NOBODY: Final = f"n{secrets.token_hex(8)}"

_IAM_POWERS: Final = {
    "iam:AttachRolePolicy": "role",
    "iam:AttachUserPolicy": "user",
    "iam:CreateAccessKey": "user",
    "iam:CreateRole": "role",
    "iam:CreateUser": "user",
    "iam:PassRole": "role",
    "iam:PutRolePolicy": "role",
    "iam:PutUserPolicy": "user",
}
"""Who may do all of these to anything is IAM's administrator, however the actions are spelled or split up."""


class NoAdministrator:
    """The recipe: do not give that user an administrator's access."""

    id = "CIUSER_1"
    name = "The CI user is no administrator"
    resource_types = DOCUMENT_TYPES | frozenset(ARN_ATTRIBUTES)
    never_acceptable = True
    fix = "name the services, actions and resources that the pipeline needs, instead of everything"

    def evaluate(self, resource: Resource, plan: Plan, context: CheckContext) -> str | None:
        """Judge each document but a boundary that is only a boundary, and each attached ARN by its name."""
        if resource.mode == "data":
            return None
        if resource.type in ARN_ATTRIBUTES:
            return _by_name(attached_arns(resource) or ())
        if is_boundary(resource, context) and not is_attached(resource, plan, context):
            return None
        document = resource.values.get("policy")
        if not isinstance(document, str):
            return "its document is not known, so nobody can say that it makes no administrator"
        try:
            return _by_effect(statements(document), context)
        except UnreadableDocumentError as error:
            return f"its document cannot be judged: {error}"


def _by_name(arns: Iterable[str]) -> str | None:
    for arn in arns:
        if arn.rsplit("/", 1)[-1].casefold().startswith(ADMINISTRATORS):
            return f"it attaches {arn}"
    return None


def _by_effect(found: Iterable[Statement], context: CheckContext) -> str | None:
    # Denies and conditions do not count: a policy that allows everything first and then takes some of it away is not
    # what a pipeline needs.
    allowing = [statement for statement in found if statement.allows]
    # Who is allowed an action that no service has was allowed everything, but for a list of exceptions.
    anything = f"arn:{context.partition}:{_NOBODY}:{_NOBODY}:{context.account_id}:{_NOBODY}/{_NOBODY}"
    if any(statement.covers(f"{_NOBODY}:{_NOBODY}", anything) for statement in allowing):
        return "it allows every action, or all but a few, on every resource"
    start = f"arn:{context.partition}:iam::{context.account_id}:"
    if all(
        any(statement.covers(power, f"{start}{kind}/{_NOBODY}") for statement in allowing)
        for power, kind in _IAM_POWERS.items()
    ):
        return "it allows everything in IAM on every user and role"
    return None
